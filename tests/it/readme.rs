//! The README's commands, as they stand there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};
use usher_testkit::{
    api::FakeApi,
    ca::Ca,
    idp::{Audience, FakeIdp, Reply},
    usherd::Usherd,
};

use crate::support::sandbox;

/// The guide's own names and values.
const IDP: &str = "YOUR_IDP_DOMAIN";
const GATEWAY: &str = "gateway.production.netfoundry.io";
const TOKEN: &str = "eyJhbGciOi...";
const ACCOUNT: &str = "e2c7a6d0-e85a-4ca2-8e4b-3b2121cb3bec";
const API_TOKEN: &str = "XXXXXXXXXXXXXXXX";

/// The README's code blocks of this kind, in order.
fn blocks(kind: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mut found = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{kind}") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(block.join("\n"));
        }
    }
    found
}

struct World {
    usherd: Usherd,
    idp: FakeIdp,
    api: FakeApi,
    ca: Ca,
}

impl World {
    /// The guide's IdP and API, and usherd with the README's profiles; only where the servers are is this
    /// test's own.
    fn new() -> Self {
        let ca = Ca::new();
        let identity = ca.named("guide", &[IDP, GATEWAY, "127.0.0.1"]);
        let idp = FakeIdp::builder()
            .client("YOUR_CLIENT_ID", "YOUR_CLIENT_SECRET")
            .scopes(&["frontdoor.read", "frontdoor.write"])
            .audience(Audience::Required(format!("https://{GATEWAY}/frontdoor")))
            .identity(identity.clone())
            .start(&ca);
        idp.set_default(Reply::token().field("access_token", json!(TOKEN)));
        idp.tokens().add(TOKEN);
        let api = FakeApi::builder().accept(&idp).account(ACCOUNT, API_TOKEN).identity(identity).start(&ca);
        let sandbox = sandbox();
        let secret = sandbox.secret("frontdoor", idp.client_secret());
        let token = sandbox.api_token("automation", API_TOKEN);
        let [profiles] = blocks("toml guide").try_into().unwrap();
        let here = profiles
            .replace("\"frontdoor.secret\"", &format!("{:?}", secret.display().to_string()))
            .replace("\"automation.token\"", &format!("{:?}", token.display().to_string()))
            .replace(IDP, &idp.host())
            .replace(&format!("https://{GATEWAY}"), &api.origin());
        sandbox.config(&format!("ca_file = {:?}\n{here}", ca.pem().display().to_string()));
        Self { usherd: sandbox.start(), idp, api, ca }
    }

    /// Runs a block in sh, with usher on the PATH and curl set up to find the servers.
    fn sh(&self, block: &str) -> Output {
        let at = |origin: &str| origin.trim_start_matches("https://").to_owned();
        let curlrc = format!(
            "cacert = \"{}\"\nconnect-to = \"{IDP}:443:{}\"\nconnect-to = \"{GATEWAY}:443:{}\"\n",
            self.ca.pem().display(),
            self.idp.host(),
            at(&self.api.origin()),
        );
        let home = self.usherd.file("guide/.curlrc", &curlrc);
        let bin = Path::new(env!("CARGO_BIN_EXE_usher")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-e", "-c", block])
            .env_clear()
            .env("PATH", path)
            .env("HOME", home.parent().unwrap())
            .env("USHER_SOCKET", self.usherd.socket())
            // usher has curl read no .curlrc.
            .env("CURL_CA_BUNDLE", self.ca.pem())
            .output()
            .unwrap()
    }

    fn answer(&self, block: &str) -> String {
        let output = self.sh(block);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{block}\n{told}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn each_command_of_the_guide_and_its_counterpart_get_the_same() {
    let world = World::new();
    let (guide, usher) = (blocks("sh guide"), blocks("sh usher"));
    assert_eq!((guide.len(), usher.len()), (3, 3), "the README shows the guide's three ways");

    let response: Value = serde_json::from_str(&world.answer(&guide[0])).unwrap();
    assert_eq!(response["access_token"], TOKEN);
    assert_eq!(world.answer(&usher[0]), format!("{TOKEN}\n"));
    let requests = world.idp.requests();
    assert_eq!(requests[0].json(), requests[1].json(), "usher sends the guide's request");

    for (guide, usher) in guide.iter().zip(&usher).skip(1) {
        let (by_guide, by_usher) = (world.answer(guide), world.answer(usher));
        assert!(by_guide.contains("\"content\""), "{by_guide}");
        assert_eq!(by_guide, by_usher);
        let requests = world.api.requests();
        let [.., by_guide, by_usher] = requests.as_slice() else { panic!("{} requests", requests.len()) };
        for name in ["authorization", "accept"] {
            assert_eq!(by_guide.header(name), by_usher.header(name), "{name}");
        }
        assert_eq!(by_guide.path, by_usher.path);
    }
}

#[test]
fn the_first_five_minutes_begin_with_a_configuration_that_is_right() {
    let sandbox = sandbox();
    let toml = blocks("toml");
    sandbox.config(toml.first().expect("the README shows a configuration"));
    let told = sandbox.usherd(&["--check-config"]).expect_ok().stderr;
    // The secret's file is the reader's to make.
    assert!(told.contains("1 profile, no mistakes") && told.contains("secret unavailable"), "{told}");
}

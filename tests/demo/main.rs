//! `cargo demo`: what NetFoundry's guide shows, done with usher, and then by 200 processes at once.
//!
//! An identity provider and an API of its own run on this machine, by https with a CA made on the spot.
//! Nothing is left behind. Exits non-zero if anything was not as it should be.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to a person")]

mod stage;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use usher_testkit::{
    api::FakeApi,
    ca::Ca,
    idp::{Audience, FakeIdp},
    sandbox::Sandbox,
    usherd::Usherd,
};

use self::stage::{Stage, Stopwatch, shortened};

/// How many processes ask at once.
const CROWD: usize = 200;

const AUDIENCE: &str = "https://gateway.production.netfoundry.io/frontdoor";

fn main() -> ExitCode {
    if let Err(missing) = prerequisites() {
        eprintln!("cargo demo: {missing}");
        return ExitCode::FAILURE;
    }
    match demo(&Stage::new()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo demo: something is not as it should be: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Rust and a C linker are there, or this would not run.
fn prerequisites() -> anyhow::Result<()> {
    Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .map(drop)
        .context("curl is missing: install it (Debian: apt-get install curl) and try again")
}

fn demo(stage: &Stage) -> anyhow::Result<()> {
    stage
        .title("usher: one daemon owns the secrets; every process gets only the short-lived token it needs.");

    stage.step("An identity provider and an API, on this machine, by https with a CA made on the spot");
    let ca = Ca::new();
    let idp = FakeIdp::builder()
        .client("demo-client", "demo-client-secret-1f7a")
        .scopes(&["frontdoor.read", "frontdoor.write"])
        .audience(Audience::Required(AUDIENCE.to_owned()))
        .start(&ca);
    let api = FakeApi::start(&ca, &idp);
    stage.say(&format!("IdP  {}", idp.token_url()));
    stage.say(&format!("API  {}", api.base_url()));

    stage.step("A configuration: secrets stay in files that only you can read, the configuration names them");
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_usherd"), env!("CARGO_BIN_EXE_usher"));
    sandbox.watch(&idp);
    let config = configuration(&sandbox, &ca, &idp, &api);
    sandbox.config(&config);
    stage.listing("~/.config/usher/config.toml", &config);

    stage.step("The daemon");
    let stopwatch = Stopwatch::start();
    let usherd = sandbox.start();
    stage.command("usherd &");
    stage.say(&format!("ready after {}", stopwatch.read()));

    guide(stage, &usherd, &ca, &idp, &api)?;
    let requests = crowd(stage, &usherd, &idp)?;

    stage.step("The end: SIGTERM, and a search for the secrets");
    let output = usherd.stop();
    ensure!(output.code() == Some(0), "usherd ended with {:?}", output.status);
    sandbox.leaks().assert_clean();
    stage.say("usherd finished its calls and exited 0");
    stage.say("no secret is in any log, argument, environment or file but its own");
    stage.result(&format!("token requests that the IdP saw for the {CROWD} processes: {requests}"));
    Ok(())
}

/// As a user would write it, but for the addresses of this machine.
fn configuration(sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp, api: &FakeApi) -> String {
    let secret = sandbox.secret("frontdoor", idp.client_secret());
    let token = sandbox.api_token("automation", api.api_token());
    format!(
        r#"[profile.frontdoor]
preset        = "netfoundry-frontdoor"
idp           = "{idp}"
client_id     = "{client}"
client_secret = {{ file = "{secret}" }}
base_url      = "{api}"
ca_file       = "{ca}"

[profile.automation]
preset        = "netfoundry-api-token"
account_id    = "{account}"
api_token     = {{ file = "{token}" }}
base_url      = "{api}"
by_name_only  = true
"#,
        idp = idp.host(),
        client = idp.client_id(),
        secret = secret.display(),
        api = api.base_url(),
        ca = ca.pem().display(),
        account = api.account_id(),
        token = token.display(),
    )
}

/// The guide's three examples.
fn guide(stage: &Stage, usherd: &Usherd, ca: &Ca, idp: &FakeIdp, api: &FakeApi) -> anyhow::Result<()> {
    stage.step("A token by OAuth 2.0 client credentials, as the guide obtains it");
    stage.command("usher token frontdoor");
    let token = usherd.usher(&["token", "frontdoor"]).expect_ok().stdout;
    let token = token.trim_end();
    stage.say(&shortened(token));
    stage.quiet("(this IdP marks its tokens, so that the search at the end would find one that leaked)");
    ensure!(idp.issued() == [token], "the token is not the one that the IdP issued");
    let asked = idp.requests().pop().context("the IdP saw no request")?;
    stage.quiet(&format!(
        "the IdP was sent a JSON body: grant_type, client_id, client_secret, audience, scope ({} bytes)",
        asked.body.len()
    ));

    let ca = ca.pem().to_str().context("a path that is not UTF-8")?.to_owned();
    stage.step("An API call with it: curl never shows the token, and may take it to this API only");
    stage.command("usher curl -p frontdoor -sS '/shares?page=0&size=20'");
    stage.quiet("(with --cacert, too, for the CA of this demo)");
    let call = |profile: &str, path: &str| {
        let args = ["curl", "-p", profile, "-sS", "--fail", "--cacert", &ca, path];
        usherd.usher(&args).expect_ok().stdout
    };
    let shares = call("frontdoor", "/shares?page=0&size=20");
    stage.say(&shortened(shares.trim_end()));
    ensure!(shares.contains("content"), "the API did not answer with shares");

    stage.step("The same with an API account's token, sent as Basic ACCOUNT_ID:API_TOKEN");
    stage.command("usher curl -p automation -sS '/environments?page=0&size=20'");
    let environments = call("automation", "/environments?page=0&size=20");
    stage.say(&shortened(environments.trim_end()));
    let sent = api.requests().pop().context("the API saw no request")?;
    let expected = format!("Basic {}:{}", api.account_id(), api.api_token());
    ensure!(sent.header("authorization") == Some(&expected), "the API was not sent the guide's header");
    Ok(())
}

/// Many at once; how many token requests they cost.
fn crowd(stage: &Stage, usherd: &Usherd, idp: &FakeIdp) -> anyhow::Result<usize> {
    stage.step(&format!("{CROWD} processes at once, and nothing in the cache"));
    stage.command("usher forget frontdoor");
    stage.say(usherd.usher(&["forget", "frontdoor"]).expect_ok().stdout.trim_end());
    stage.command(&format!("seq {CROWD} | xargs -P {CROWD} -I+ usher token frontdoor"));
    let before = idp.token_requests();
    let stopwatch = Stopwatch::start();
    let running: Vec<_> = (0..CROWD).map(|_| usherd.spawn_usher(&["token", "frontdoor"])).collect();
    let mut tokens: Vec<_> = running.into_iter().map(|usher| usher.wait().expect_ok().stdout).collect();
    let took = stopwatch.read();
    let count = tokens.len();
    tokens.dedup();
    ensure!(tokens.len() == 1, "the {CROWD} processes did not all get the same token");
    stage.say(&format!("{count} tokens after {took}, all of them the same one"));
    let requests = idp.token_requests() - before;
    ensure!(requests == 1, "the IdP saw {requests} token requests for the {CROWD} processes, not 1");
    stage.command("usher status");
    for line in usherd.usher(&["status"]).expect_ok().stdout.lines().filter(|line| !line.is_empty()).take(4) {
        stage.say(line);
    }
    Ok(requests)
}

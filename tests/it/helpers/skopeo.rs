//! skopeo, which stands for podman and buildah too: they read their credentials with the same library.

use std::process::Command;

use serde_json::Value;
use usher_testkit::{
    ca::Ca, git_server::basic, idp::FakeIdp, process::Output, programs, registry::Registry, usherd::Usherd,
};

use super::{call_usher, client, owner, run};
use crate::support::sandbox;

struct Skopeo {
    usherd: Usherd,
    idp: FakeIdp,
    registry: Registry,
    // Its root is read for every token request.
    _ca: Ca,
}

impl Skopeo {
    fn new(username: &str) -> Self {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let registry = Registry::builder().accept(&idp, username).start(&ca);
        let sandbox = sandbox();
        sandbox.watch(&idp);
        sandbox.config(&owner(&sandbox, &ca, &idp, &format!("http://{}/", registry.host()), username));
        call_usher(&sandbox, &["docker-credential-usher"]);
        Self { usherd: sandbox.start(), idp, registry, _ca: ca }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = client(&self.usherd, &programs::find("skopeo"));
        let policy =
            self.usherd.file("home/policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
        command.arg("--policy").arg(policy).args(args);
        command
    }

    fn run(&self, command: Command) -> Output {
        run(&self.usherd, command, "")
    }

    /// `skopeo inspect`, told of usher by `auth.json`.
    fn inspect(&self) -> Output {
        let text = format!("{{\"credHelpers\":{{\"{}\":\"usher\"}}}}", self.registry.host());
        let auth = self.usherd.file("home/auth.json", &text);
        let image = format!("docker://{}", self.registry.image());
        let mut command = self.command(&["inspect", "--tls-verify=false", &image]);
        command.env("REGISTRY_AUTH_FILE", auth);
        self.run(command)
    }
}

fn is_image(output: Output) {
    let image: Value = serde_json::from_str(&output.expect_ok().stdout).unwrap();
    assert_eq!((&image["Os"], &image["Architecture"]), (&"linux".into(), &"amd64".into()));
}

#[test]
fn an_auth_file_names_usher_for_a_registry() {
    let skopeo = Skopeo::new("oauth2");
    is_image(skopeo.inspect());
    let expected = ("oauth2".to_owned(), skopeo.idp.issued().remove(0));
    let requests = skopeo.registry.token_requests();
    let sent: Vec<_> =
        requests.iter().filter_map(|request| basic(request.header("authorization")?)).collect();
    assert!(!sent.is_empty() && sent.iter().all(|pair| *pair == expected));
}

#[test]
fn an_identity_token_works_there_too() {
    let skopeo = Skopeo::new("<token>");
    is_image(skopeo.inspect());
    let requests = skopeo.registry.token_requests();
    let token = ("refresh_token".to_owned(), skopeo.idp.issued().remove(0));
    assert!(requests.iter().any(|request| request.method == "POST" && request.form().contains(&token)));
}

#[test]
fn its_configuration_names_usher_for_all_registries() {
    let skopeo = Skopeo::new("oauth2");
    let settings = skopeo.usherd.file("home/registries.conf", "credential-helpers = [\"usher\"]\n");
    let image = format!("docker://{}", skopeo.registry.image());
    let mut command = skopeo.command(&["--registries-conf"]);
    command.arg(settings).args(["copy", "--src-tls-verify=false", &image, "dir:copied"]);
    let _ = skopeo.run(command).expect_ok();
    assert!(skopeo.usherd.dir().join("home/copied/manifest.json").is_file());
    assert_eq!(skopeo.idp.token_requests(), 1);
}

#[test]
fn what_kept_usher_from_answering_is_shown() {
    let skopeo = Skopeo::new("oauth2");
    skopeo.idp.set_default(usher_testkit::idp::Reply::oauth_error(401, "invalid_client", "no"));
    let failed = skopeo.inspect();
    assert!(!failed.status.success() && failed.stderr.contains("invalid_client"), "{}", failed.stderr);
    assert!(skopeo.registry.token_requests().is_empty(), "nobody went there without a credential");
}

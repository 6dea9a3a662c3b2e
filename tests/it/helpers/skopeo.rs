//! skopeo, told of usher in each of its ways.

use std::{ops::Deref, process::Command};

use serde_json::Value;
use usher_testkit::{process::Output, programs, registry::Registry};

use super::{client, place::Place, run};

/// A skopeo that asks usher about a registry.
struct Skopeo(Place);

impl Deref for Skopeo {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Skopeo {
    fn new(username: &str) -> Self {
        Self(Place::owned(Registry::builder(), username))
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
        self.inspect_with(&["--tls-verify=false"])
    }

    fn inspect_with(&self, options: &[&str]) -> Output {
        let text = format!("{{\"credHelpers\":{{\"{}\":\"usher\"}}}}", self.registry.host());
        let auth = self.usherd.file("home/auth.json", &text);
        let image = format!("docker://{}", self.registry.image());
        let mut command = self.command(&["inspect"]);
        command.args(options).arg(image);
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
    skopeo.all_came_with_the_token("oauth2");
}

#[test]
fn an_identity_token_works_there_too() {
    let skopeo = Skopeo::new("<token>");
    is_image(skopeo.inspect());
    skopeo.all_came_with_an_identity();
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

#[test]
fn a_registry_with_tls_is_the_profiles_by_its_name_and_port() {
    let skopeo = Skopeo(Place::owned(Registry::builder().tls(), "oauth2"));
    let failed = skopeo.inspect_with(&[]);
    assert!(failed.stderr.contains("unknown authority"), "it looks at the certificate: {}", failed.stderr);
    let certificates = skopeo.certificates();
    is_image(skopeo.inspect_with(&["--cert-dir", certificates.to_str().unwrap()]));
    skopeo.all_came_with_the_token("oauth2");
}

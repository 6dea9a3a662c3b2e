//! docker's CLI and a real registry: logins that are stored, and a profile's token in their place.

use std::{ops::Deref, path::PathBuf, process::Command};

use serde_json::{Value, json};
use usher_testkit::{ca::Ca, idp::FakeIdp, process::Output, programs, registry::Registry, tokens::canary};

use super::{
    client, helper, owner,
    place::{NOT_FOUND, Place},
    run,
};
use crate::support::sandbox;

/// A docker that asks usher about a registry.
struct Docker(Place);

impl Deref for Docker {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Docker {
    fn new(place: Place) -> Self {
        place.usherd.file("home/.docker/config.json", "{\"credsStore\":\"usher\"}");
        Self(place)
    }

    /// The registry is its users' own.
    fn stored() -> Self {
        Self::new(Place::stored(Registry::builder()))
    }

    /// The registry is a profile's, whose token goes with this user name.
    fn owned(username: &str) -> Self {
        Self::new(Place::owned(Registry::builder(), username))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = client(&self.usherd, &programs::find("docker"));
        command.args(args).env("DOCKER_CONFIG", self.usherd.dir().join("home/.docker"));
        // There is no engine, and none is to be found by chance.
        command.env("DOCKER_HOST", format!("unix://{}/none.sock", self.usherd.dir().display()));
        command
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        run(&self.usherd, self.command(args), input)
    }

    fn login(&self) -> Output {
        let host = self.registry.host();
        self.run(&["login", "--username", "alice", "--password-stdin", &host], &self.password)
    }

    fn inspect(&self) -> Output {
        self.run(&["manifest", "inspect", "--insecure", &self.registry.image()], "")
    }

    fn config(&self) -> Value {
        let file: PathBuf = self.usherd.dir().join("home/.docker/config.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }
}

fn is_image(output: &Output) {
    let manifest: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(manifest["schemaVersion"], 2, "{}", output.stderr);
}

#[test]
fn a_login_is_stored_and_gone_with_the_logout() {
    let docker = Docker::stored();
    assert!(!docker.inspect().status.success());
    let said = docker.login().expect_ok();
    assert!(said.stdout.contains("Login Succeeded"), "{}", said.stdout);
    is_image(&docker.inspect().expect_ok());
    let host = docker.registry.host();
    let auth = docker.config()["auths"][&host].clone();
    assert_eq!(auth, json!({}), "docker leaves the password to the helper");
    let listed: Value = serde_json::from_str(&docker.helper("list", "unused").expect_ok().stdout).unwrap();
    assert_eq!(listed[&host], "alice");
    let got: Value = serde_json::from_str(&docker.helper("get", &host).expect_ok().stdout).unwrap();
    assert_eq!(got, json!({ "ServerURL": host, "Username": "alice", "Secret": docker.password }));
    let _ = docker.run(&["logout", &host], "").expect_ok();
    assert_eq!(docker.helper("get", &host).expect_code(1).stdout, NOT_FOUND);
    assert!(!docker.inspect().status.success());
    assert_eq!(docker.idp.token_requests(), 0);
}

#[test]
fn a_login_survives_a_restart_of_usherd() {
    let docker = Docker::stored();
    let _ = docker.login().expect_ok();
    let docker = Docker(docker.0.restarted());
    is_image(&docker.inspect().expect_ok());
}

#[test]
fn an_identity_token_is_stored_in_the_passwords_place() {
    let identity = canary("IDENTITY");
    let docker = Docker::new(Place::stored(Registry::builder().identity(&identity)));
    docker.usherd.leaks().token("the identity token", &identity);
    let _ = docker.login().expect_ok();
    let got = docker.helper("get", &docker.registry.host()).expect_ok().stdout;
    let got: Value = serde_json::from_str(&got).unwrap();
    assert_eq!((&got["Username"], &got["Secret"]), (&json!("<token>"), &json!(identity)));
    is_image(&docker.inspect().expect_ok());
    let last = docker.registry.token_requests().pop().unwrap();
    assert_eq!(last.method, "POST");
    assert!(last.form().contains(&("refresh_token".to_owned(), identity)));
}

#[test]
fn a_profiles_token_is_the_password_under_its_user_name() {
    let docker = Docker::owned("oauth2");
    is_image(&docker.inspect().expect_ok());
    is_image(&docker.inspect().expect_ok());
    docker.all_came_with_the_token("oauth2");
    let listed: Value = serde_json::from_str(&docker.helper("list", "").expect_ok().stdout).unwrap();
    assert_eq!(listed, json!({ docker.registry.host(): "oauth2" }));
}

#[test]
fn a_profiles_token_may_be_an_identity_token() {
    let docker = Docker::owned("<token>");
    is_image(&docker.inspect().expect_ok());
    let last = docker.registry.token_requests().pop().unwrap();
    assert_eq!(last.method, "POST");
    assert!(last.form().contains(&("refresh_token".to_owned(), docker.idp.issued().remove(0))));
}

#[test]
fn a_login_where_a_profile_answers_is_not_stored_and_says_so() {
    let docker = Docker::owned("oauth2");
    let failed = docker.login().expect_code(1);
    let told = "not stored: the profile frontdoor owns this registry";
    assert!(failed.stderr.contains(told), "{}", failed.stderr);
    let got = docker.helper("get", &docker.registry.host()).expect_ok().stdout;
    assert!(got.contains(&docker.idp.issued()[0]) && !got.contains(&docker.password));
    // What usherd itself has issued is no news.
    let described = json!({
        "ServerURL": docker.registry.host(), "Username": "oauth2", "Secret": docker.idp.issued()[0],
    });
    assert_eq!(docker.helper("store", &described.to_string()).expect_ok().stdout, "");
}

#[test]
fn a_profile_without_a_user_name_says_what_is_missing() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let sandbox = sandbox();
    sandbox.watch(&idp);
    let profile = owner(&sandbox, &ca, &idp, "https://registry.example.com/", "oauth2");
    sandbox.config(&profile.replace("username = \"oauth2\"\n", ""));
    let usherd = sandbox.start();
    let said = helper(&usherd, &["docker", "get"], "registry.example.com").expect_code(1);
    assert!(said.stdout.contains("frontdoor") && said.stdout.contains("username"), "{}", said.stdout);
    assert_eq!(said.stderr, "");
}

#[test]
fn twenty_at_once_store_and_get_each_its_own() {
    let docker = Docker::stored();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let docker = &docker;
            scope.spawn(move || {
                let (server, secret) = (format!("r{number}.example.com"), canary("SECRET"));
                docker.usherd.leaks().token("a stored secret", &secret);
                let described = json!({ "ServerURL": server, "Username": "alice", "Secret": secret });
                let _ = docker.helper("store", &described.to_string()).expect_ok();
                let got = docker.helper("get", &server).expect_ok().stdout;
                assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), described);
            });
        }
    });
    let listed: Value = serde_json::from_str(&docker.helper("list", "").expect_ok().stdout).unwrap();
    let stored = listed.as_object().unwrap().keys().filter(|server| server.starts_with('r')).count();
    assert_eq!(stored, 20, "{listed}");
}

#[test]
fn a_refused_token_stays_until_somebody_says_so() {
    // docker tells its helpers of no refusal; `usher forget` does.
    let docker = Docker::owned("oauth2");
    is_image(&docker.inspect().expect_ok());
    docker.registry.refuse(&docker.idp.issued()[0]);
    assert!(!docker.inspect().status.success());
    let _ = docker.usherd.usher(&["forget", "frontdoor"]).expect_ok();
    is_image(&docker.inspect().expect_ok());
    assert_eq!(docker.idp.token_requests(), 2);
}

#[test]
fn a_registry_with_tls_is_the_profiles_by_its_name_and_port() {
    let docker = Docker::new(Place::owned(Registry::builder().tls(), "oauth2"));
    let mut command = docker.command(&["manifest", "inspect", &docker.registry.image()]);
    command.env("SSL_CERT_FILE", docker.ca.pem());
    is_image(&run(&docker.usherd, command, "").expect_ok());
    docker.all_came_with_the_token("oauth2");
    let listed: Value = serde_json::from_str(&docker.helper("list", "").expect_ok().stdout).unwrap();
    assert_eq!(listed, json!({ docker.registry.host(): "oauth2" }));
}

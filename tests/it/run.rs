//! `usher run`: a command with the token in its own environment, which is in everything else its own master.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is the failure of the test")]

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt as _};

use nix::sys::signal::Signal;
use usher_testkit::{
    api::{ACCOUNT, FakeApi},
    ca::Ca,
    idp::FakeIdp,
    process::Output,
};

use crate::support::{World, named, sandbox};

/// The variables in the output of `env -0`.
fn variables(output: &Output) -> BTreeMap<&str, &str> {
    output.stdout.split_terminator('\0').filter_map(|entry| entry.split_once('=')).collect()
}

#[test]
fn the_commands_environment_has_the_token_and_its_arguments_do_not() {
    let world = World::new("");
    let line = ["run", "-p", "frontdoor", "--", "env", "-0"];
    let output = world.usherd.command(&line).env("KEPT", "yes").answers_token().run().expect_ok();
    let found = variables(&output);
    let token = &world.idp.issued()[0];
    assert_eq!(found["NETFOUNDRY_API_TOKEN"], token);
    assert_eq!(
        (found["MOPENV"], found["MOPURL"]),
        ("production", "https://gateway.production.netfoundry.io/")
    );
    assert_eq!((found["KEPT"], output.stderr.as_str()), ("yes", ""));
    assert_eq!(found.values().filter(|value| value.contains(token.as_str())).count(), 1);
    let line = ["run", "-p", "frontdoor", "--", "cat", "/proc/self/cmdline"];
    assert_eq!(world.usherd.usher(&line).expect_ok().stdout, "cat\0/proc/self/cmdline\0");
}

#[test]
fn variables_can_be_named() {
    let world = World::new("");
    let line = ["run", "--env", "TF_TOKEN", "--env", "UNTIL=expires_at", "--header-env", "AUTH", "env", "-0"];
    let output =
        world.usherd.command(&line).env("USHER_PROFILE", "frontdoor").answers_token().run().expect_ok();
    let found = variables(&output);
    let token = &world.idp.issued()[0];
    assert_eq!((found["TF_TOKEN"], found["AUTH"]), (token.as_str(), format!("Bearer {token}").as_str()));
    assert!(found["UNTIL"].parse::<u64>().unwrap() > 1_700_000_000);
    assert!(!found.contains_key("NETFOUNDRY_API_TOKEN") && !found.contains_key("USHER_TOKEN"));
}

#[test]
fn a_profile_without_a_preset_of_netfoundry_sets_usher_token() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let secret = sandbox.secret("plain", idp.client_secret());
        format!(
            "[profile.plain]\ntoken_url = \"{}\"\nbody = \"json\"\nclient_auth = \"body\"\nclient_id = \"{}\"\n\
             client_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n",
            idp.token_url(),
            idp.client_id(),
            secret.display(),
            ca.pem().display(),
        )
    });
    let output = world.usherd.command(&["run", "--", "env", "-0"]).answers_token().run().expect_ok();
    let found = variables(&output);
    assert_eq!(found["USHER_TOKEN"], world.idp.issued()[0]);
    assert!(!found.contains_key("MOPENV") && !found.contains_key("NETFOUNDRY_API_TOKEN"));
}

#[test]
fn exit_code_signal_and_process_are_the_commands_own() {
    let world = World::new("");
    let sh = |script: &str| world.usherd.spawn_usher(&["run", "-p", "frontdoor", "--", "sh", "-c", script]);
    let running = sh("echo $$; exit 7");
    let pid = running.pid();
    let output = running.wait().expect_code(7);
    assert_eq!(output.stdout, format!("{pid}\n"));
    let ended = sh("kill -TERM $$").wait().status;
    assert_eq!(ended.signal(), Some(Signal::SIGTERM as i32));

    let script = world.usherd.file("not-executable", "#!/bin/sh\n");
    for (program, code, said) in
        [("no-such-command-at-all", 127, "is it installed"), (script.to_str().unwrap(), 126, "cannot run")]
    {
        let told = world.usherd.usher(&["run", "-p", "frontdoor", "--", program]).expect_code(code);
        assert!(told.stderr.contains(said) && told.stdout.is_empty(), "{}", told.stderr);
    }
}

#[test]
fn without_a_token_nothing_is_run() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let wrong = sandbox.secret("wrong", &usher_testkit::tokens::canary("WRONG"));
        let right = sandbox.dir().join("secrets/frontdoor");
        named("wrong", sandbox, ca, idp, "").replace(right.to_str().unwrap(), wrong.to_str().unwrap())
    });
    for (profile, code) in [("wrong", 77), ("nope", 78)] {
        let told = world.usherd.usher(&["run", "-p", profile, "--", "touch", "ran"]).expect_code(code);
        assert!(told.stderr.starts_with("usher: "), "{}", told.stderr);
    }
    for line in [&["run"][..], &["run", "-p", "wrong", "--"], &["run", "--env", "A-B", "touch", "ran"]] {
        let _ = world.usherd.usher(line).expect_code(64);
    }
    assert!(!world.usherd.dir().join("ran").exists());
}

#[test]
fn a_long_lived_secret_in_an_environment_is_warned_about() {
    let ca = Ca::new();
    let api = FakeApi::builder().start(&ca);
    let sandbox = sandbox();
    let token = sandbox.api_token("automation", api.api_token());
    sandbox.config(&format!(
        "[profile.automation]\npreset = \"netfoundry-api-token\"\naccount_id = \"{ACCOUNT}\"\n\
         api_token = {{ file = \"{}\" }}\n",
        token.display()
    ));
    let usherd = sandbox.start();
    for line in [&["run", "env", "-0"][..], &["run", "--header-env", "A", "env", "-0"], &["env"]] {
        let output = usherd.command(line).answers_token().run().expect_ok();
        assert!(
            output.stderr.contains("warning: automation hands out a long-lived secret"),
            "{}",
            output.stderr
        );
        assert!(output.stdout.contains(api.api_token()), "{line:?}");
    }
}

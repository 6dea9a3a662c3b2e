//! `usher env`: what a shell makes of it.

#![allow(clippy::unwrap_used, reason = "a panic is the failure of the test")]

use std::process::Command;

use usher_testkit::{idp::FakeIdp, sandbox::Sandbox};

use crate::support::{World, frontdoor, named, sandbox};

/// What `sh` says after it has evaluated `script`.
fn after(sandbox: &Sandbox, script: &str, then: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", &format!("{script}{then}")])
        .env("MOPENV", "before")
        .current_dir(sandbox.dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn env(sandbox: &Sandbox, args: &[&str]) -> String {
    let output = sandbox.command(&[&["env"], args].concat()).answers_token().run().expect_ok();
    assert_eq!(output.stderr, "");
    output.stdout
}

#[test]
fn a_shell_gets_what_netfoundrys_tools_read() {
    let world = World::new("");
    let script = env(&world.usherd, &["frontdoor"]);
    assert_eq!(script.lines().count(), 3, "{}", script.len());
    let found = after(&world.usherd, &script, "sh -c 'echo $NETFOUNDRY_API_TOKEN $MOPENV $MOPURL'");
    let token = &world.idp.issued()[0];
    assert_eq!(found, format!("{token} production https://gateway.production.netfoundry.io/\n"));
    assert_eq!(env(&world.usherd, &["-p", "frontdoor"]), script, "from the cache, as an option");
    let fish = env(&world.usherd, &["frontdoor", "--shell", "fish"]);
    assert!(fish.starts_with(&format!("set -gx NETFOUNDRY_API_TOKEN '{token}'\n")));
}

#[test]
fn staging_is_told_from_production_and_nothing_is_left_over() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let staging = "audience = \"https://gateway.staging.netfoundry.io/frontdoor\"\n\
                       urls = [\"https://gateway.staging.netfoundry.io/frontdoor\"]";
        let elsewhere = "audience = \"https://api.example.com\"\nurls = [\"https://api.example.com/\"]";
        named("staging", sandbox, ca, idp, staging) + &named("elsewhere", sandbox, ca, idp, elsewhere)
    });
    let script = env(&world.usherd, &["staging"]);
    assert_eq!(
        after(&world.usherd, &script, "echo $MOPENV $MOPURL"),
        "staging https://gateway.staging.netfoundry.io/\n"
    );
    let script = env(&world.usherd, &["elsewhere"]);
    assert_eq!(after(&world.usherd, &script, "echo ${MOPENV-none} ${MOPURL-none}"), "none none\n");
}

#[test]
fn unset_takes_away_all_and_needs_neither_token_nor_daemon() {
    let expected = "unset NETFOUNDRY_API_TOKEN\nunset MOPENV\nunset MOPURL\nunset USHER_TOKEN\n";
    assert_eq!(env(&sandbox(), &["--unset"]), expected);
    assert_eq!(after(&sandbox(), expected, "echo ${MOPENV-none}"), "none\n");

    let world = World::new("");
    let some = "unset NETFOUNDRY_API_TOKEN\nunset MOPENV\nunset MOPURL\n";
    assert_eq!(env(&world.usherd, &["frontdoor", "--unset"]), some);
    assert_eq!(
        env(&world.usherd, &["frontdoor", "--unset", "--shell", "fish"]),
        some.replace("unset", "set -e")
    );
    assert_eq!(world.idp.token_requests(), 0);
}

#[test]
fn a_failure_leaves_nothing_to_evaluate() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, "") + &named("other", sandbox, ca, idp, "")
    });
    for (args, code) in [(&["env", "nope"][..], 78), (&["env"], 64), (&["env", "--shell", "csh"], 64)] {
        assert_eq!(world.usherd.usher(args).expect_code(code).stdout, "", "{args:?}");
    }
}

//! Who else may ask: `allowed_users`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the failure of the test")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

use serde_json::Value;
use usher_testkit::{PATIENCE, idp::FakeIdp, process::Output, usherd::Usherd};

use crate::support::{World, facts, frontdoor, is_root};

/// Users without a name.
const LISTED: u32 = 54_321;
const UNLISTED: u32 = 54_322;

/// A daemon that lets [`LISTED`] ask, at a socket that everybody can reach.
fn shared() -> World {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        format!("allowed_users = [{LISTED}]\n{}", frontdoor(sandbox, ca, idp, ""))
    });
    let usherd = &world.usherd;
    let socket = usherd.socket();
    for directory in [usherd.dir(), socket.parent().unwrap().parent().unwrap(), socket.parent().unwrap()] {
        usherd.chmod(directory, 0o711);
    }
    usherd.chmod(&socket, 0o666);
    let program = usherd.dir().join("usher");
    fs::copy(env!("CARGO_BIN_EXE_usher"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    world
}

/// What another user's `usher ARGS… --json` comes to.
fn as_user(uid: u32, usherd: &Usherd, args: &[&str]) -> Output {
    let output = Command::new(usherd.dir().join("usher"))
        .args(args)
        .arg("--json")
        .env_clear()
        .env("USHER_SOCKET", usherd.socket())
        .env("USHER_SERVER_UID", "0")
        .current_dir("/")
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    usherd.leaks().note("another user's stderr", &stderr);
    Output { status: output.status, stdout, stderr }
}

#[test]
fn a_user_who_is_listed_gets_tokens_and_one_who_is_not_gets_no_byte() {
    if !is_root("tokens for other users") {
        return;
    }
    let world = shared();
    let answer = as_user(LISTED, &world.usherd, &["token", "frontdoor"]).expect_ok().stdout;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["access_token"], world.idp.issued()[0]);
    assert_eq!(as_user(UNLISTED, &world.usherd, &["token", "frontdoor"]).expect_code(69).stdout, "");
    world.usherd.wait_for_log(&format!("connection refused: not the owner peer=uid {UNLISTED}"), PATIENCE);
    // The owner's own token is the very same.
    facts(&world.usherd, &["frontdoor"]);
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_user_who_is_listed_cannot_administer() {
    if !is_root("administration by other users") {
        return;
    }
    let world = shared();
    facts(&world.usherd, &["frontdoor"]);
    for verb in [&["status"][..], &["reload"], &["forget", "frontdoor"], &["stop"]] {
        let refused = as_user(LISTED, &world.usherd, verb).expect_code(77);
        let told: Value = serde_json::from_str(&refused.stderr).unwrap();
        assert_eq!(told["error"]["reason"], "ACCESS_DENIED", "{verb:?}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("uid {LISTED} may not see or steer the daemon")), "{message}");
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(facts(&world.usherd, &["frontdoor"])["source"], "cache");
}

#[test]
fn a_user_who_is_taken_off_the_list_is_refused_after_the_reload() {
    if !is_root("other users taken off the list") {
        return;
    }
    let world = shared();
    let _ = as_user(LISTED, &world.usherd, &["token", "frontdoor"]).expect_ok();
    let config = fs::read_to_string(world.usherd.config_path()).unwrap();
    world.usherd.config(&config.replace(&LISTED.to_string(), &UNLISTED.to_string()));
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    assert_eq!(as_user(LISTED, &world.usherd, &["token", "frontdoor"]).expect_code(69).stdout, "");
    let _ = as_user(UNLISTED, &world.usherd, &["token", "frontdoor"]).expect_ok();
}

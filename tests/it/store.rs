//! What is kept over a restart, and what may happen to it on the way.

#![expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]

mod damage;
mod disk;
mod time;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use usher_testkit::{
    idp::{FakeIdp, Reply},
    sandbox::Sandbox,
    usherd::Usherd,
};

use crate::{
    crash::Place,
    support::{World, facts, frontdoor, refusal, status},
};

/// What makes a daemon keep its tokens.
const STORE: &str = "[store]\nkey = { file = \"store.key\" }\n";

/// A daemon that keeps its tokens; `extra` lines of its profile.
fn keeping(extra: &str) -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| frontdoor(sandbox, ca, idp, extra) + STORE)
}

fn directory(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir().join("state/usher/store")
}

fn key(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir().join("config/usher/store.key")
}

/// The files of keys.
fn tokens(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = fs::read_dir(directory(sandbox)).expect("the store's directory");
    let files = files.map(|file| file.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "token")).collect()
}

/// The same daemon once more, after an orderly end.
fn restart(world: World) -> World {
    restart_by(world, |usherd| drop(usherd.stop()))
}

fn restart_by(world: World, end: impl FnOnce(Usherd)) -> World {
    let World { usherd, idp, ca } = world;
    let sandbox = Sandbox::clone(&usherd);
    end(usherd);
    World { usherd: sandbox.start(), idp, ca }
}

/// The same daemon once more, as this program runs it.
fn restart_under(world: World, wrapper: &[&str]) -> World {
    let World { usherd, idp, ca } = world;
    let sandbox = Sandbox::clone(&usherd);
    drop(usherd.stop());
    World { usherd: sandbox.start_under(wrapper), idp, ca }
}

fn source(sandbox: &Sandbox) -> Value {
    facts(sandbox, &["frontdoor"])["source"].clone()
}

/// Why tokens are kept in memory only.
fn degraded(sandbox: &Sandbox) -> String {
    status(sandbox, &[])["store"]["degraded"].as_str().unwrap_or_default().to_owned()
}

/// Once all is on disk.
fn wait_until_kept(sandbox: &Sandbox) {
    wait(|| status(sandbox, &[])["store"]["pending"] == 0);
}

/// Asks again and again, as nobody tells.
#[expect(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]
fn wait(mut until: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !until() {
        assert!(begun.elapsed() < usher_testkit::PATIENCE, "it does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_restart_costs_no_request() {
    let world = keeping("");
    let before = facts(&world.usherd, &["frontdoor"]);
    let world = restart(world);
    let after = facts(&world.usherd, &["frontdoor"]);
    assert_eq!((&before["source"], &after["source"]), (&json!("fetched"), &json!("cache")));
    for same in ["token_id", "expires_at", "scopes"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(world.idp.token_requests(), 1);
    // Who was told of the token before the restart can reject it after it.
    let id = before["token_id"].as_str().expect("a token_id");
    assert_eq!(facts(&world.usherd, &["frontdoor", "--rejected", id])["source"], "refreshed");
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn a_kill_costs_no_request_and_nothing_on_disk_tells_the_token() {
    let world = keeping("");
    facts(&world.usherd, &["frontdoor"]);
    wait_until_kept(&world.usherd);
    let secrets =
        [world.idp.issued()[0].clone(), world.idp.client_secret().to_owned(), "frontdoor".to_owned()];
    for path in tokens(&world.usherd) {
        let bytes = fs::read(&path).expect("a file");
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} is readable", path.display());
        }
    }
    let world = restart_by(world, Usherd::kill);
    assert_eq!(source(&world.usherd), "cache");
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn what_is_forgotten_does_not_come_back() {
    let world = keeping("");
    facts(&world.usherd, &["frontdoor"]);
    let _ = world.usherd.usher(&["forget", "frontdoor"]).expect_ok();
    let world = restart(world);
    assert_eq!(source(&world.usherd), "fetched");
}

#[test]
fn what_waits_to_be_revoked_is_revoked_after_the_restart() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, &format!("revocation_url = \"{}\"", idp.revocation_url())) + STORE
    });
    facts(&world.usherd, &["frontdoor"]);
    world.idp.push_revocation(Reply::status(503).header("Retry-After", "600"));
    let told = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_ok().stderr;
    assert!(told.contains("not revoked yet"), "{told}");
    assert!(world.idp.revoked().is_empty());
    let world = restart(world);
    wait(|| !world.idp.revoked().is_empty());
    assert_eq!(world.idp.revoked(), world.idp.issued());
    assert_eq!(source(&world.usherd), "fetched");
    let world = restart(world);
    assert_eq!(world.idp.revocations(), 2, "and once");
    assert_eq!(source(&world.usherd), "cache");
}

#[test]
fn the_budget_is_not_exceeded_by_restarts() {
    let mut world = keeping("max_token_requests = \"2/1h\"");
    for _ in 0..2 {
        assert_eq!(source(&world.usherd), "fetched");
        let _ = world.usherd.usher(&["forget", "frontdoor"]).expect_ok();
        world = restart(world);
    }
    let error = refusal(&world.usherd, &["frontdoor"], 75);
    assert_eq!(error["reason"], "RATE_LIMITED", "{error}");
    assert_eq!(status(&world.usherd, &[])["profiles"][0]["tokens"][0]["budget_left"], 0);
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn status_says_where_tokens_are_kept_and_that_a_key_in_a_file_is_weak() {
    let world = keeping("");
    let store = &status(&world.usherd, &[])["store"];
    assert_eq!(store["directory"], directory(&world.usherd).to_str().expect("UTF-8"));
    let expected = format!("file {}", key(&world.usherd).display());
    assert_eq!(
        (&store["key_source"], &store["weak_key"], &store["degraded"]),
        (&json!(expected), &json!(true), &Value::Null)
    );
    let text = world.usherd.usher(&["status"]).expect_ok().stdout;
    assert!(text.contains("(weak: whoever can read your files has both)"), "{text}");
    let without = World::new("");
    assert_eq!(status(&without.usherd, &[])["store"], Value::Null);
    assert!(!without.usherd.dir().join("state/usher/store").exists());
}

#[test]
fn a_key_of_systemds_is_not_weak_and_without_it_nothing_is_read() {
    let credentials = |sandbox: &Sandbox| {
        let path = sandbox.file("credentials/usher-store", &"k".repeat(64));
        sandbox.set_env("CREDENTIALS_DIRECTORY", path.parent().and_then(Path::to_str).expect("UTF-8"));
    };
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        credentials(sandbox);
        frontdoor(sandbox, ca, idp, "") + "[store]\nkey = { credential = \"usher-store\" }\n"
    });
    assert_eq!(status(&world.usherd, &[])["store"]["weak_key"], false);
    facts(&world.usherd, &["frontdoor"]);
    let world = restart_by(world, |usherd| {
        usherd.remove_env("CREDENTIALS_DIRECTORY");
        drop(usherd.stop());
    });
    let before = fs::read(&tokens(&world.usherd)[0]).expect("a file");
    assert_eq!(source(&world.usherd), "fetched", "it goes on in memory");
    wait(|| degraded(&world.usherd).contains("credential usher-store"));
    assert_eq!(fs::read(&tokens(&world.usherd)[0]).expect("a file"), before, "and leaves the disk alone");
    let world = restart_by(world, |usherd| {
        credentials(&usherd);
        drop(usherd.stop());
    });
    assert_eq!(source(&world.usherd), "cache");
}

#[test]
fn another_store_counts_from_the_next_start_on_and_a_reload_says_so() {
    let world = World::new("");
    let config = fs::read_to_string(world.usherd.config_path()).expect("the configuration");
    world.usherd.config(&(config + STORE));
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    world.usherd.wait_for_log("takes effect when usherd is started again", usher_testkit::PATIENCE);
    let world = restart(world);
    assert_eq!(source(&world.usherd), "fetched");
    let world = restart(world);
    assert_eq!(source(&world.usherd), "cache");
}

#[test]
fn killed_at_any_step_of_a_write_the_store_is_as_before_or_as_it_was_to_be() {
    let place = Place::with_store();
    let calls = place.system_calls();
    let killed: usize = ["fsync", "rename", "renameat2", "unlink", "unlinkat", "mkdir", "flock"]
        .iter()
        .filter(|call| calls.contains(**call))
        .map(|call| place.kill_at_each(call))
        .sum();
    assert!(killed >= 5, "only {killed} of all that it does leave a trace");
}

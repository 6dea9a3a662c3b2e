//! Files that are not as they were written.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;
use usher_testkit::{PATIENCE, sandbox::Sandbox};

use super::{degraded, directory, keeping, key, restart, restart_by, source, tokens, wait};
use crate::support::{facts, frontdoor, sandbox};

/// What somebody does to the store.
type Damage = (&'static str, fn(&Sandbox));

#[test]
fn damaged_and_foreign_files_are_put_aside_and_cost_one_request() {
    let cases: [Damage; 6] = [
        ("a flipped bit", |sandbox| {
            let mut bytes = fs::read(&tokens(sandbox)[0]).expect("a file");
            bytes[40] ^= 1;
            fs::write(&tokens(sandbox)[0], bytes).expect("written");
        }),
        ("half of it", |sandbox| {
            let bytes = fs::read(&tokens(sandbox)[0]).expect("a file");
            fs::write(&tokens(sandbox)[0], &bytes[..bytes.len() / 2]).expect("written");
        }),
        ("nothing in it", |sandbox| fs::write(&tokens(sandbox)[0], "").expect("written")),
        ("another name", |sandbox| {
            let other = directory(sandbox).join("0123456789abcdef0123456789abcdef.token");
            fs::rename(&tokens(sandbox)[0], other).expect("renamed");
        }),
        ("others can read it", |sandbox| {
            fs::set_permissions(&tokens(sandbox)[0], fs::Permissions::from_mode(0o644)).expect("chmod");
        }),
        ("far too much", |sandbox| {
            fs::File::create(&tokens(sandbox)[0]).and_then(|file| file.set_len(1 << 23)).expect("made");
        }),
    ];
    let mut world = keeping("");
    facts(&world.usherd, &["frontdoor"]);
    for (what, damage) in cases {
        let requests = world.idp.token_requests();
        world = restart_by(world, |usherd| {
            let sandbox = Sandbox::clone(&usherd);
            drop(usherd.stop());
            damage(&sandbox);
        });
        assert_eq!(source(&world.usherd), "fetched", "{what}");
        assert_eq!(world.idp.token_requests(), requests + 1, "{what}");
        assert_eq!(degraded(&world.usherd), "", "{what}");
        world.usherd.wait_for_log("put aside as ", PATIENCE);
        // What it has now is kept as if nothing had happened.
        world = restart(world);
        assert_eq!(source(&world.usherd), "cache", "{what}");
    }
}

#[test]
fn with_another_key_it_runs_in_memory_and_overwrites_nothing() {
    let world = keeping("");
    facts(&world.usherd, &["frontdoor"]);
    let world = restart_by(world, |usherd| {
        let path = key(&usherd);
        drop(usherd.stop());
        fs::copy(&path, path.with_extension("right")).expect("copied");
        fs::write(&path, "x".repeat(64)).expect("written");
    });
    let before = fs::read(&tokens(&world.usherd)[0]).expect("a file");
    assert_eq!(source(&world.usherd), "fetched");
    assert_eq!(source(&world.usherd), "cache");
    wait(|| degraded(&world.usherd).contains("was made with another key"));
    let text = world.usherd.usher(&["status"]).expect_ok().stdout;
    assert!(text.contains("DEGRADED: tokens are kept in memory only;"), "{text}");
    assert!(text.contains("put the right one back"), "{text}");
    let world = restart_by(world, |usherd| {
        let (path, sandbox) = (key(&usherd), Sandbox::clone(&usherd));
        drop(usherd.stop());
        assert_eq!(fs::read(&tokens(&sandbox)[0]).expect("a file"), before);
        fs::rename(path.with_extension("right"), &path).expect("renamed");
    });
    assert_eq!(source(&world.usherd), "cache", "the right key opens what was there");
}

#[test]
fn a_key_that_comes_late_opens_what_was_there() {
    let world = keeping("");
    let before = facts(&world.usherd, &["frontdoor"]);
    let world = restart_by(world, |usherd| {
        let path = key(&usherd);
        drop(usherd.stop());
        fs::rename(&path, path.with_extension("hidden")).expect("renamed");
    });
    wait(|| degraded(&world.usherd).contains("cannot be read"));
    fs::rename(key(&world.usherd).with_extension("hidden"), key(&world.usherd)).expect("renamed");
    world.usherd.wait_for_log("taken over from before the restart", PATIENCE);
    let after = facts(&world.usherd, &["frontdoor"]);
    assert_eq!((&after["source"], &after["token_id"]), (&json!("cache"), &before["token_id"]));
    assert_eq!((world.idp.token_requests(), degraded(&world.usherd)), (1, String::new()));
}

#[test]
fn of_two_daemons_on_one_store_the_second_runs_in_memory() {
    let world = keeping("");
    facts(&world.usherd, &["frontdoor"]);
    let other = sandbox();
    let config = frontdoor(&other, &world.ca, &world.idp, "");
    let (key, directory) = (key(&world.usherd), directory(&world.usherd));
    let store = format!("[store]\nkey = {{ file = {key:?} }}\ndirectory = {directory:?}\n");
    other.watch(&world.idp);
    other.config(&(config + &store));
    let second = other.start();
    assert_eq!(source(&second), "fetched");
    wait(|| {
        degraded(&second).contains(&format!("another usherd (pid {}) uses the store in", world.usherd.pid()))
    });
    assert_eq!(source(&second), "cache");
    assert_eq!(degraded(&world.usherd), "");
}

#[test]
fn a_store_full_of_junk_keeps_nobody_waiting() {
    let world = keeping("");
    facts(&world.usherd, &["frontdoor"]);
    let world = restart_by(world, |usherd| {
        let directory = directory(&usherd);
        drop(usherd.stop());
        for number in 0..5_000 {
            fs::write(directory.join(format!("{number:032x}.token")), "junk").expect("written");
        }
        fs::write(directory.join("notes.txt"), "somebody's").expect("written");
    });
    facts(&world.usherd, &["frontdoor"]);
    wait(|| tokens(&world.usherd).len() == 1);
    let names = fs::read_dir(directory(&world.usherd)).expect("the directory").count();
    assert!(names <= 1 + 100 + 3, "{names} files are left: a hundred to look at, and what belongs there");
    assert!(directory(&world.usherd).join("notes.txt").exists(), "what is none of ours is left alone");
}

//! `usher use`: the default profile, in the file and in the daemon.

#![allow(clippy::unwrap_used, reason = "a panic is the failure of the test")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
};

use serde_json::{Value, json};
use usher_testkit::idp::FakeIdp;

use crate::support::{World, facts, named};

/// Profiles `a` and `b`, below comments that somebody cares about.
fn two() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let both = named("a", sandbox, ca, idp, "") + &named("b", sandbox, ca, idp, "# the end\t");
        format!("# Ask Ada before you change anything.\r\n\r\n# ours\r\n{both}")
    })
}

#[test]
fn the_default_is_set_in_the_file_and_taken_at_once() {
    let world = two();
    let usherd = &world.usherd;
    let path = usherd.config_path();
    let before = fs::read_to_string(&path).unwrap();
    assert!(usherd.usher(&["use"]).expect_code(64).stderr.contains("there is no default profile"));

    let said = usherd.usher(&["use", "b"]).expect_ok();
    assert_eq!(said.stdout, format!("b is now the default profile: {}\n", path.display()));
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(after, before.replacen("\r\n\r\n", "\r\n\r\ndefault_profile = \"b\"\r\n", 1));
    assert_eq!(usherd.usher(&["use"]).expect_ok().stdout, "b\n");
    assert_eq!(facts(usherd, &[])["profile"], "b");
    let told: Value =
        serde_json::from_str(&usherd.usher(&["use", "a", "--json"]).expect_ok().stdout).unwrap();
    assert_eq!(told, json!({ "default_profile": "a", "before": "b", "changed": true }));
    assert_eq!(fs::read_to_string(&path).unwrap(), after.replace("= \"b\"", "= \"a\""));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(usherd.usher(&["use", "a"]).expect_ok().stdout, "a is the default profile already\n");
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "nothing to write");
}

#[test]
fn a_link_stays_one() {
    let world = two();
    let path = world.usherd.config_path();
    let real = world.usherd.dir().join("config/real.toml");
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    let _ = world.usherd.usher(&["use", "b"]).expect_ok();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("default_profile = \"b\""));
}

#[test]
fn what_is_wrong_changes_nothing() {
    let world = two();
    let usherd = &world.usherd;
    let path = usherd.config_path();
    let good = fs::read_to_string(&path).unwrap();
    assert!(usherd.usher(&["use", "nope"]).expect_code(78).stderr.contains("nope"));
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
    for broken in ["[profile.a\n", "unknown_key = 1\n"] {
        let broken = format!("{broken}{good}");
        usherd.config(&broken);
        let told = usherd.usher(&["use", "b"]).expect_code(78).stderr;
        assert!(told.contains("line 1"), "{told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
    assert!(usherd.usher(&["use"]).expect_code(64).stdout.is_empty());
    // A profile that is only in the file yet will do.
    usherd.config(&good.replace("[profile.b]", "[profile.c]"));
    let _ = usherd.usher(&["use", "c"]).expect_ok();
    assert_eq!(facts(usherd, &[])["profile"], "c");
}

//! Disks that are full, slow, or fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use usher_testkit::PATIENCE;

use super::{STORE, degraded, directory, keeping, restart, restart_under, source, tokens, wait};
use crate::support::{World, facts, frontdoor, is_root};

/// A daemon that is to keep its tokens from its next start on: it has none yet.
fn about_to_keep() -> World {
    let world = World::new("");
    let config = frontdoor(&world.usherd, &world.ca, &world.idp, "");
    world.usherd.config(&(config + STORE));
    world
}

/// The same daemon once more, whose system calls `strace` tampers with.
fn tampered(world: World, inject: &str) -> World {
    let inject = format!("inject={inject}");
    restart_under(world, &["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject])
}

#[test]
fn where_writing_fails_tokens_are_served_from_memory_and_status_says_so() {
    for (inject, expected) in [
        ("fsync:error=EIO", "Input/output error"),
        ("fsync:error=EDQUOT", "quota exceeded"),
        ("rename,renameat2:error=ENOSPC", "No space left"),
        ("rename,renameat2:error=EROFS", "Read-only file system"),
        ("rename,renameat2:error=ENOMEM", "Cannot allocate memory"),
    ] {
        let world = tampered(about_to_keep(), inject);
        assert_eq!(source(&world.usherd), "fetched", "{inject}");
        assert_eq!(source(&world.usherd), "cache", "{inject}");
        wait(|| degraded(&world.usherd).contains(expected));
        assert!(tokens(&world.usherd).is_empty(), "{inject}");
        // The disk is well again.
        let world = restart(world);
        assert_eq!(source(&world.usherd), "fetched", "{inject}");
        let world = restart(world);
        assert_eq!(
            (source(&world.usherd), degraded(&world.usherd)),
            ("cache".into(), String::new()),
            "{inject}"
        );
    }
}

#[test]
fn a_write_that_fails_leaves_what_was_there_but_no_token_that_was_rejected() {
    let world = keeping("");
    let id = facts(&world.usherd, &["frontdoor"])["token_id"].as_str().expect("a token_id").to_owned();
    let world = tampered(world, "fsync:error=ENOSPC");
    let before = fs::read(&tokens(&world.usherd)[0]).expect("a file");
    assert_eq!(facts(&world.usherd, &["frontdoor", "--scope", "frontdoor.read"])["source"], "fetched");
    wait(|| degraded(&world.usherd).contains("No space left"));
    assert_eq!(fs::read(&tokens(&world.usherd)[0]).expect("a file"), before);
    let world = tampered(world, "fsync:error=ENOSPC");
    assert_eq!(facts(&world.usherd, &["frontdoor", "--rejected", &id])["source"], "refreshed");
    wait(|| tokens(&world.usherd).is_empty());
    let world = restart(world);
    assert_eq!(source(&world.usherd), "fetched");
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_the_end() {
    let world = restart_under(about_to_keep(), &["prlimit", "--fsize=100"]);
    assert_eq!(source(&world.usherd), "fetched");
    wait(|| degraded(&world.usherd).contains("File too large"));
    assert_eq!(source(&world.usherd), "cache");
}

#[test]
fn a_full_disk_is_told_and_once_there_is_room_all_is_kept() {
    if !is_root("a store on a disk that is full") {
        return;
    }
    let world = about_to_keep();
    let directory = directory(&world.usherd);
    fs::create_dir_all(&directory).expect("made");
    let mounted = Mount::of_64_kib(&directory);
    let world = restart(world);
    // The start has written what it needs; from now on there is no room.
    wait(|| directory.join("store").exists());
    let filler = directory.join("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]).expect_err("there is no room for it");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(source(&world.usherd), "fetched");
    wait(|| degraded(&world.usherd).contains("No space left"));
    assert_eq!(source(&world.usherd), "cache");
    fs::remove_file(&filler).expect("removed");
    wait(|| degraded(&world.usherd).is_empty());
    world.usherd.wait_for_log("tokens are kept on disk again", PATIENCE);
    assert_eq!(tokens(&world.usherd).len(), 1);
    drop(world);
    drop(mounted);
}

/// A file system of its own.
struct Mount(PathBuf);

impl Mount {
    fn of_64_kib(at: &Path) -> Self {
        let options = ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"];
        let status = Command::new("mount").args(options).arg(at).status();
        assert!(status.expect("mount runs").success());
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whatever the test left open does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_hangs_keeps_nobody_waiting() {
    // For an hour, once the store is made.
    let world = restart(about_to_keep());
    let world = tampered(world, "fsync:delay_enter=3600000000");
    assert_eq!(source(&world.usherd), "fetched");
    for _ in 0..20 {
        assert_eq!(source(&world.usherd), "cache");
    }
    let told = world.usherd.usher(&["forget", "frontdoor"]).expect_ok().stderr;
    assert!(told.contains("a copy may still be on disk"), "{told}");
    assert_eq!(source(&world.usherd), "fetched");
    wait(|| degraded(&world.usherd).contains("does not answer: a write is still under way"));
    // Nor does it keep the daemon from its end, but for strace, which holds what it delays.
    let strace = tracer(world.usherd.pid());
    let _ = world.usherd.usher(&["stop"]).expect_ok();
    world.usherd.wait_for_log("some tokens could not be kept", PATIENCE);
    world.usherd.wait_for_log("stopped", PATIENCE);
    kill(strace, Signal::SIGKILL).expect("strace is killed");
    let _ = world.usherd.wait_exit(PATIENCE);
}

/// Who traces this process (proc(5), `/proc/PID/status`).
fn tracer(pid: u32) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    Pid::from_raw(tracer.and_then(|pid| pid.trim().parse().ok()).expect("a tracer"))
}

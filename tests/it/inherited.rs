//! What the daemon is born with: descriptors that somebody left open, and those that somebody closed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the failure of the test")]

use std::{fs, io::Read as _, path::Path};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    unistd::pipe,
};
use usher_testkit::{ca::Ca, idp::FakeIdp, sandbox::Sandbox};

use crate::support::{facts, frontdoor, is_root, sandbox, status};

fn with_idp() -> (Sandbox, FakeIdp, Ca) {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    sandbox.config(&frontdoor(&sandbox, &ca, &idp, ""));
    (sandbox, idp, ca)
}

#[test]
fn without_standard_descriptors_it_serves_and_none_of_its_own_takes_their_numbers() {
    let (sandbox, _idp, _ca) = with_idp();
    for (closing, numbers) in [("<&-", 0..1), (">&-", 1..2), ("2>&-", 2..3), ("<&- >&- 2>&-", 0..3)] {
        let shell = ["sh", "-c", &format!("exec \"$0\" \"$@\" {closing}")];
        let usherd = sandbox.launch().by(&shell).start().unwrap();
        facts(&usherd, &["frontdoor"]);
        if is_root("which descriptors a daemon has") {
            for number in numbers {
                let link = fs::read_link(format!("/proc/{}/fd/{number}", usherd.pid())).unwrap();
                assert_eq!(link, Path::new("/dev/null"), "{closing}: {number}");
            }
        }
        assert!(usherd.stop().status.success(), "{closing}");
    }
}

#[test]
fn a_daemon_in_the_background_holds_nothing_open_that_its_starter_had() {
    let (sandbox, _idp, _ca) = with_idp();
    sandbox.remove_env("USHER_AUTOSTART");
    let (read, write) = pipe().unwrap();
    // As in a job that has a pipe open, and waits for its end.
    fcntl(&write, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let _ = sandbox.usher(&["token", "frontdoor"]).expect_ok();
    drop(write);
    // Its end is here though the daemon lives on.
    assert_eq!(fs::File::from(read).read(&mut [0]).unwrap(), 0);
    assert!(status(&sandbox, &[])["pid"].is_u64());
    let _ = sandbox.usher(&["stop"]).expect_ok();
}

//! `usher` and the usherd that it starts, killed on the way: the next `usher` starts one, and gets its token.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus, Stdio},
};

use nix::libc::SIGKILL;
use usher_testkit::{ca::Ca, idp::FakeIdp, sandbox::Sandbox};

use super::LEAVES_A_TRACE;
use crate::support::{frontdoor, sandbox};

/// A home in which usher may start usherd; it is stopped at the end.
pub(crate) struct Home {
    sandbox: Sandbox,
    _idp: FakeIdp,
    _ca: Ca,
}

impl Home {
    pub(crate) fn new() -> Self {
        let (ca, sandbox) = (Ca::new(), sandbox());
        let idp = FakeIdp::start(&ca);
        sandbox.watch(&idp);
        sandbox.config(&frontdoor(&sandbox, &ca, &idp, ""));
        sandbox.remove_env("USHER_AUTOSTART");
        Self { sandbox, _idp: idp, _ca: ca }
    }

    /// `usher token` under strace, which follows it into the usherd that it starts.
    fn token(&self, strace: &[&str]) -> ExitStatus {
        Command::new("strace")
            .args(["-D", "-f", "-qq"])
            .args(strace)
            .arg(self.sandbox.usher_path())
            .args(["token", "frontdoor"])
            .env_clear()
            .envs(self.sandbox.env_of_usher())
            .current_dir(self.sandbox.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // strace lives as long as usherd: it must not hold a pipe of ours.
            .stderr(Stdio::null())
            .status()
            .expect("strace")
    }

    /// The next caller finds a daemon or starts one, whatever was left, and ends it.
    fn goes_on(&self, after: &str) {
        // Where usherd came to serve, this may be the call that it is killed in, or the stop. A process that is
        // killed keeps its socket for some moments more, in which a call may still come to it.
        for _ in 0..2 {
            let output = self.sandbox.usher(&["token", "frontdoor", "--timeout", "10s"]);
            let broke_off = ["the connection to usherd broke off", "hung up at once"]
                .iter()
                .any(|told| output.stderr.contains(told));
            assert!(output.status.success() || broke_off, "after {after}: {}", output.stderr);
            self.sandbox.usher(&["stop"]);
        }
        let output = self.sandbox.usher(&["token", "frontdoor", "--timeout", "10s"]);
        assert!(output.status.success(), "after {after}: {}", output.stderr);
        let output = self.sandbox.usher(&["stop"]);
        assert!(output.status.success(), "after {after}: {}", output.stderr);
    }

    /// The system calls of both programs, and how often one process makes each.
    pub(crate) fn system_calls(&self) -> BTreeMap<String, usize> {
        let trace = self.sandbox.dir().join("trace");
        assert!(self.token(&["-o", trace.to_str().unwrap()]).success());
        let _ = self.sandbox.usher(&["stop"]).expect_ok();
        let trace = fs::read_to_string(trace).unwrap();
        let mut each = BTreeMap::<(&str, &str), usize>::new();
        for line in trace.lines() {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                *each.entry((pid, name)).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((_, name), count) in each {
            let known = most.entry(name.to_owned()).or_insert(0);
            *known = count.max(*known);
        }
        most
    }

    /// Kills whichever of the two makes this system call for the first time, the second, and so on. How
    /// often it was usher itself, and how often usher was told of the end of usherd, or got its token.
    pub(crate) fn kill_at_each(&self, call: &str, count: usize) -> (usize, usize) {
        let (mut killed, mut told) = (0, 0);
        for number in 1..=count {
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let status = self.token(&["-o", "/dev/null", "-e", &inject]);
            match status.signal() {
                Some(SIGKILL) => killed += 1,
                None => told += 1,
                _ => panic!("{inject}: {status}"),
            }
            self.goes_on(&inject);
        }
        (killed, told)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.sandbox.usher(&["stop"]);
    }
}

#[test]
fn killed_while_one_starts_the_other_the_next_caller_gets_its_token() {
    let home = Home::new();
    let (mut killed, mut told) = (0, 0);
    for (call, count) in home.system_calls() {
        if LEAVES_A_TRACE.contains(&call.as_str()) {
            let (kills, others) = home.kill_at_each(&call, count);
            killed += kills;
            told += others;
        }
    }
    assert!(killed >= 3 && told >= 3, "usher was killed {killed} times, and {told} times it was not");
}

//! usherd started by usher, stopped by it, and done without.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the failure of the test")]

mod activated;

use std::{
    fs,
    os::unix::{
        fs::{DirBuilderExt as _, chown},
        net::UnixStream,
    },
    time::Duration,
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::{Pid, getpgid},
};
use serde_json::Value;
use usher_testkit::{
    PATIENCE,
    ca::Ca,
    idp::{FakeIdp, Gate, Reply},
    sandbox::{Running, Sandbox},
};

use crate::support::{frontdoor, is_root, sandbox};

/// A home without a daemon, in which usher may start one; it is stopped at the end.
struct Home {
    sandbox: Sandbox,
    idp: FakeIdp,
    ca: Ca,
}

impl Home {
    fn new(extra: &str) -> Self {
        let (ca, sandbox) = (Ca::new(), sandbox());
        let idp = FakeIdp::start(&ca);
        sandbox.watch(&idp);
        sandbox.config(&frontdoor(&sandbox, &ca, &idp, extra));
        sandbox.remove_env("USHER_AUTOSTART");
        Self { sandbox, idp, ca }
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.sandbox.usher(&["status", "--json"]).expect_ok().stdout).unwrap()
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap()
    }

    /// A daemon runs, and a call waits for the IdP until the gate is opened.
    fn call_in_flight(&self) -> (Running, Gate) {
        let _ = self.sandbox.usher(&["token", "frontdoor"]).expect_ok();
        let _ = self.sandbox.usher(&["forget", "frontdoor"]).expect_ok();
        let (reply, gate) = Reply::token().hold();
        self.idp.push(reply);
        let call = self.sandbox.spawn_usher(&["token", "frontdoor"]);
        gate.wait_arrived(PATIENCE);
        (call, gate)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.sandbox.usher(&["stop"]);
    }
}

#[test]
fn five_hundred_callers_at_once_start_one_daemon_and_cost_one_request() {
    let home = Home::new("");
    let callers: Vec<_> = (0..500).map(|_| home.sandbox.spawn_usher(&["token", "frontdoor"])).collect();
    let mut tokens: Vec<_> = callers.into_iter().map(|usher| usher.wait().expect_ok().stdout).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_eq!(home.idp.token_requests(), 1);
    let pid = home.pid();
    let _ = home.sandbox.usher(&["token", "frontdoor"]).expect_ok();
    assert_eq!(home.pid(), pid);
}

#[test]
fn it_outlives_the_job_that_started_it_and_took_nothing_of_it_along() {
    let home = Home::new("");
    let output = home.sandbox.command(&["token", "frontdoor"]).env("JOB_CANARY", "of-the-job").run();
    let _ = output.expect_ok();
    let pid = Pid::from_raw(home.pid());
    let group = getpgid(Some(pid)).unwrap();
    assert_eq!(group, pid, "it leads a group, and a session, of its own");
    assert_ne!(group, getpgid(None).unwrap());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).ok().unwrap_or("/".into()).to_str(), Some("/"));
    if is_root("what the environment of such a daemon holds") {
        let environ = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        assert!(environ.contains("XDG_RUNTIME_DIR=") && !environ.contains("JOB_CANARY"), "{environ:?}");
    }
    let log = home.sandbox.dir().join("state/usher/usherd.log");
    assert!(fs::read_to_string(log).unwrap().contains("token fetched"));
    // A daemon that was killed is started again.
    kill(pid, Signal::SIGKILL).unwrap();
    let dying = (0..1_000_000).take_while(|_| UnixStream::connect(home.sandbox.socket()).is_ok());
    assert!(dying.count() < 1_000_000, "it does not die");
    let _ = home.sandbox.usher(&["token", "frontdoor"]).expect_ok();
    assert_ne!(home.pid(), pid.as_raw());
}

#[test]
fn what_cannot_be_started_says_why() {
    let home = Home::new("");
    home.sandbox.config("[profile.frontdoor]\nclient_id = 7\n");
    let told = home.sandbox.usher(&["token", "frontdoor"]).expect_code(78).stderr;
    for expected in
        ["does not start", "config.toml has", "line 2: profile.frontdoor.client_id", "--check-config"]
    {
        assert!(told.contains(expected), "{expected:?} is not in {told}");
    }
    let told = home.sandbox.command(&["token", "frontdoor"]).env("USHER_AUTOSTART", "0").run();
    assert!(told.expect_code(69).stderr.contains("not running"));
    let told = home.sandbox.usher(&["status"]).expect_code(69).stderr;
    assert!(told.contains("not running"), "asking how it is does not start it: {told}");
}

#[test]
fn a_variable_of_the_callers_is_no_secret_of_such_a_daemon() {
    let home = Home::new("");
    home.sandbox.config(
        "[profile.x]\ntoken_url = \"https://127.0.0.1:1/t\"\nclient_id = \"x\"\nclient_secret = { env = \"JOB_SECRET\" }\n",
    );
    let told = home.sandbox.command(&["token", "x"]).env("JOB_SECRET", "s").run().expect_code(78).stderr;
    assert!(told.contains("JOB_SECRET") && told.contains("passes no variables"), "{told}");
}

#[test]
fn stop_says_when_it_has_ended_and_is_no_error_twice() {
    let home = Home::new("");
    let _ = home.sandbox.usher(&["token", "frontdoor"]).expect_ok();
    let pid = Pid::from_raw(home.pid());
    let told = home.sandbox.usher(&["stop"]).expect_ok().stdout;
    assert!(told.contains(&format!("usherd (pid {pid}) has finished its calls and stopped")), "{told}");
    assert_eq!(home.sandbox.usher(&["stop"]).expect_ok().stdout, "usherd was not running\n");
}

#[test]
fn a_call_during_the_end_of_one_daemon_is_answered_by_the_next() {
    let home = Home::new("");
    let (in_flight, gate) = home.call_in_flight();
    let stop = home.sandbox.spawn_usher(&["stop"]);
    // Only when nobody listens any more is the daemon about to end.
    while UnixStream::connect(home.sandbox.socket()).is_ok() {
        std::thread::yield_now();
    }
    let next = home.sandbox.spawn_usher(&["token", "frontdoor"]);
    assert!(stop.is_running(), "it does not say that usherd has ended while a call goes on");
    gate.release();
    let _ = in_flight.wait().expect_ok();
    let _ = stop.wait().expect_ok();
    let _ = next.wait().expect_ok();
}

#[test]
fn stop_does_not_say_that_it_has_ended_before_it_has() {
    let home = Home::new("");
    let (in_flight, gate) = home.call_in_flight();
    let told = home.sandbox.usher(&["stop", "--timeout", "1s"]).expect_code(75);
    assert_eq!(told.stdout, "");
    assert!(told.stderr.contains("has not finished its last within 1s"), "{}", told.stderr);
    gate.release();
    let _ = in_flight.wait().expect_ok();
}

#[test]
fn a_start_that_takes_too_long_is_waited_for_as_long_as_the_caller_says() {
    let home = Home::new("");
    // Somebody else is starting usherd, and does not come to an end.
    let directory = home.sandbox.dir().join("run/usher");
    fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    let lock = fs::File::create(directory.join("start.lock")).unwrap();
    let _turn = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let told = home.sandbox.usher(&["token", "frontdoor", "--timeout", "1s"]).expect_code(75).stderr;
    assert!(told.contains("within 1s"), "{told}");
}

#[test]
fn anothers_runtime_directory_is_left_as_it_is() {
    if !is_root("what usher does in another user's runtime directory") {
        return;
    }
    let home = Home::new("");
    let theirs = home.sandbox.dir().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(1000), Some(1000)).unwrap();
    let run =
        home.sandbox.command(&["token", "frontdoor"]).env("XDG_RUNTIME_DIR", theirs.to_str().unwrap()).run();
    assert!(run.expect_code(69).stderr.contains("belongs to uid 1000, not to you"));
    assert!(!theirs.join("usher").exists());
}

#[test]
fn once_needs_no_daemon_and_leaves_none() {
    let home = Home::new("");
    let told = home.sandbox.usher(&["token", "frontdoor", "--once", "--json"]).expect_ok().stdout;
    let facts: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&facts["source"], &facts["profile"]), (&"fetched".into(), &"frontdoor".into()));
    assert_eq!(home.idp.token_requests(), 1);
    assert!(!home.sandbox.socket().exists());
    let _ = home.sandbox.usher(&["status"]).expect_code(69);
}

#[test]
fn once_takes_all_it_needs_from_the_environment() {
    let home = Home::new("");
    fs::remove_file(home.sandbox.config_path()).unwrap();
    let ca = home.ca.pem().to_str().unwrap().to_owned();
    let with = |args: &[&str]| {
        home.sandbox
            .command(&[&["token", "--once", "--from-env"], args].concat())
            .env("USHER_PRESET", "netfoundry-frontdoor")
            .env("USHER_IDP", &home.idp.host())
            .env("USHER_CLIENT_ID", home.idp.client_id())
            .env("USHER_CA_FILE", &ca)
            // Not for the leak scanner: this job's environment is where the secret is.
            .secret_env("USHER_CLIENT_SECRET", home.idp.client_secret())
    };
    let token = with(&[]).run().expect_ok().stdout;
    assert_eq!(token.trim_end(), home.idp.issued()[0]);
    let told = with(&["--format", "github"]).masks_token().run().expect_ok();
    let token = &home.idp.issued()[1];
    assert_eq!(told.stderr, format!("::add-mask::{token}\n"));
    assert!(told.stdout.starts_with(&format!("token={token}\nauthorization=Bearer {token}\nexpires_at=")));
    let told = with(&[]).env_remove("USHER_IDP").run().expect_code(78).stderr;
    assert!(told.contains("USHER_IDP: is missing") && !told.contains("line "), "{told}");
}

#[test]
fn a_clock_that_is_far_from_the_idps_is_told() {
    let home = Home::new("");
    let late = Reply::token().header("Date", "Fri, 15 Jan 2027 08:00:00 GMT");
    home.idp.push(late);
    let _ = home.sandbox.usher(&["token", "frontdoor"]).expect_ok();
    let offset = home.status()["profiles"][0]["clock_offset_seconds"].as_i64().unwrap();
    assert!(offset.unsigned_abs() > Duration::from_secs(60).as_secs(), "{offset}");
    let told = home.sandbox.usher(&["status"]).expect_ok().stdout;
    assert!(told.contains("frontdoor: the IdP's clock is"), "{told}");
}

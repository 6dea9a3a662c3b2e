//! The harness with stand-ins for both programs: a shell script, and this test binary as a daemon.

use std::os::unix::{fs::PermissionsExt as _, net::UnixDatagram, process::ExitStatusExt as _};

use tempfile::TempDir;

use super::*;
use crate::curl::CurlSpy;

const SECRET: &str = "CANARY-HARNESS-SECRET";

/// Not a test of its own: the daemon that [`sandbox`] starts.
#[test]
fn stand_in_daemon() {
    let Ok(address) = std::env::var("NOTIFY_SOCKET") else { return };
    eprintln!("about to be ready {}", std::env::var("SAY").unwrap_or_default());
    UnixDatagram::unbound().unwrap().send_to(b"STATUS=up\nREADY=1\n", address).unwrap();
    loop {
        thread::park();
    }
}

/// A sandbox with stand-ins, and the directory that they lie in.
struct Stage {
    sandbox: Sandbox,
    _programs: TempDir,
}

impl Deref for Stage {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

/// A sandbox whose usherd is `daemon` (shell), and whose usher prints its stdin and arguments.
fn sandbox(daemon: &str) -> Stage {
    let programs = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = programs.path().join(name);
        crate::ca::write_private(&path, format!("#!/bin/sh\n{text}\n").as_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    };
    let usher = script("usher", "cat; echo \"$@\"; echo \"$EXTRA\" >&2; exit 3");
    Stage { sandbox: Sandbox::new(script("usherd", daemon), usher), _programs: programs }
}

fn stand_in() -> String {
    let test = std::env::current_exe().unwrap();
    format!("exec '{}' --exact usherd::tests::stand_in_daemon --nocapture", test.display())
}

fn leaks_of(run: impl FnOnce()) -> Option<String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    caught.err().map(|panic| *panic.downcast::<String>().unwrap())
}

#[test]
fn a_daemon_is_ready_when_it_says_so() {
    let usherd = sandbox(&stand_in()).start();
    usherd.wait_for_log("about to be ready", PATIENCE);
    assert!(usherd.socket().ends_with("run/usher/usher.sock"));
    usherd.signal(Signal::SIGHUP);
    let status = usherd.wait_exit(PATIENCE);
    assert_eq!(status.signal(), Some(1));
}

#[test]
fn a_daemon_that_ends_first_is_a_failure_with_its_words() {
    let sandbox = sandbox("echo no config >&2; exit 64");
    let failure = sandbox.try_start(&[]).unwrap_err();
    assert_eq!(
        (failure.status.and_then(|status| status.code()), failure.stderr.as_str()),
        (Some(64), "no config\n")
    );
    assert_eq!(sandbox.usherd(&["--check-config"]).code(), Some(64));
}

#[test]
fn a_secret_in_the_log_fails_at_the_end() {
    let message = leaks_of(|| {
        let sandbox = sandbox(&stand_in());
        sandbox.secret("frontdoor", SECRET);
        sandbox.set_env("SAY", SECRET);
        sandbox.start();
    })
    .expect("a leak");
    assert!(message.contains("usherd stderr shows frontdoor"), "{message}");
    assert!(message.contains("usherd's /proc environ shows frontdoor"), "{message}");
    assert!(!message.contains(SECRET), "{message}");
}

#[test]
fn a_declared_variable_of_the_daemon_is_no_leak() {
    let usherd = sandbox(&stand_in());
    usherd.secret_env("FRONTDOOR_SECRET", SECRET);
    usherd.start().stop();
}

#[test]
fn runs_of_usher_are_collected() {
    let sandbox = sandbox("exit 1");
    let output = sandbox.command(&["token", "frontdoor"]).stdin("in\n").env("EXTRA", "words").run();
    assert_eq!((output.code(), output.stdout.as_str()), (Some(3), "in\ntoken frontdoor\n"));
    assert_eq!(output.stderr, "words\n");
    let many: Vec<_> = (0..20).map(|_| sandbox.spawn_usher(&["status"])).collect();
    assert!(many.into_iter().all(|running| running.wait().code() == Some(3)));
}

#[test]
fn tokens_in_answers_are_fine_and_elsewhere_leaks() {
    assert_eq!(leaks_of(|| token_in(&["token", SECRET], false)), Some(leak("argv of usher token")));
    assert_eq!(leaks_of(|| token_in(&["token"], true)), None);
    assert_eq!(leaks_of(|| token_in(&["status"], true)), Some(leak("stdout of usher status")));
}

fn token_in(args: &[&str], stdin: bool) {
    let sandbox = sandbox("exit 1");
    sandbox.api_token("automation", SECRET);
    let command = sandbox.command(args);
    let _ = if stdin { command.stdin(SECRET).run() } else { command.run() };
}

fn leak(place: &str) -> String {
    format!("secrets leaked:\n  {place} shows automation")
}

#[test]
fn what_is_left_on_disk_and_what_curl_was_given_is_scanned() {
    let message = leaks_of(|| {
        let sandbox = sandbox("exit 1");
        sandbox.secret("frontdoor", SECRET);
        sandbox.file("state/usher/cache", &format!("token={SECRET}"));
    });
    assert_eq!(message.as_deref(), Some("secrets leaked:\n  the file state/usher/cache shows frontdoor"));

    let message = leaks_of(|| {
        let sandbox = sandbox("exit 1");
        sandbox.secret("frontdoor", SECRET);
        let spy = CurlSpy::install(&sandbox);
        let curl = sandbox.dir().join("curl-spy/curl");
        let output = std::process::Command::new(curl).args(["--version", "-H", SECRET]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("curl "));
        assert_eq!(spy.calls()[0].args, ["--version", "-H", SECRET]);
        assert!(spy.calls()[0].env.iter().any(|entry| entry.starts_with("PATH=")));
    })
    .expect("a leak");
    assert!(message.contains("the file curl/") && message.contains(".args shows frontdoor"), "{message}");
}

//! Secrets that a program prints or systemd hands over: what the program gets, what it may do, and what
//! happens when it does not behave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]
#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::Value;
use tokio::task::{JoinSet, yield_now};
use usher_proto::v1::{GetTokenRequest, StatusRequest};
use usher_testkit::{PATIENCE, ca::Ca, idp::FakeIdp, sandbox::Sandbox, tokens::canary};

use crate::support::{World, facts, frontdoor, is_root, named, refusal, sandbox, status};

/// `{ command = [...] }` for a script that finds its sandbox's `home` in `$HOME` and prints a secret by
/// `answer`.
fn script(sandbox: &Sandbox, idp: &FakeIdp, name: &str, script: &str) -> PathBuf {
    let answer = format!("answer() {{ printf '%s\\n' '{}'; }}", idp.client_secret());
    let path = sandbox.file(&format!("bin/{name}"), &format!("#!/bin/sh\n{answer}\n{script}\n"));
    sandbox.chmod(&path, 0o700);
    path
}

/// A profile whose secret comes from `reference`.
fn profile(name: &str, sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp, reference: &str) -> String {
    let file = format!("file = \"{}\"", sandbox.dir().join("secrets/frontdoor").display());
    named(name, sandbox, ca, idp, "").replace(&file, reference)
}

fn command(path: &Path) -> String {
    format!("command = [\"{}\", \"an argument\"]", path.display())
}

/// A daemon with the profile `frontdoor`, whose secret is in a file, and `other`, whose secret this script
/// prints.
fn with_script(text: &str) -> World {
    with_script_and(text, |_| ())
}

fn with_script_and(text: &str, prepare: impl FnOnce(&Sandbox)) -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        prepare(sandbox);
        let path = script(sandbox, idp, "other", text);
        frontdoor(sandbox, ca, idp, "") + &profile("other", sandbox, ca, idp, &command(&path))
    })
}

/// What the script left in its home.
fn left(sandbox: &Sandbox, name: &str) -> Option<String> {
    fs::read_to_string(sandbox.dir().join("home").join(name)).ok().filter(|text| text.ends_with('\n'))
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        std::thread::yield_now();
    }
}

fn is_gone(pid: &str) -> Option<()> {
    // Who is not reaped yet has no command line any more.
    fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default().is_empty().then_some(())
}

/// The refusal of the profile `other`, which leaves the other one alone.
fn unavailable(world: &World, words: &[&str]) -> String {
    let error = refusal(&world.usherd, &["other", "--timeout", "20s"], 78);
    assert_eq!(error["reason"], "SECRET_UNAVAILABLE", "{error}");
    let message = error["message"].as_str().unwrap().to_owned();
    for word in words {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
    facts(&world.usherd, &["frontdoor"]);
    message
}

#[test]
fn a_programs_output_is_the_secret_and_its_environment_is_clean() {
    let world = with_script_and("env > $HOME/env; echo \"$1\" > $HOME/argument; answer", |sandbox| {
        sandbox.set_env("CANARY_VARIABLE", "canary-value");
        sandbox.set_env("LD_PRELOAD_NOT", "canary-value");
        sandbox.set_env("GNUPGHOME", "/some/where");
        sandbox.set_env("PATH", &format!("/canary-path:{}", std::env::var("PATH").unwrap()));
    });
    assert_eq!(facts(&world.usherd, &["other"])["source"], "fetched");
    assert_eq!(left(&world.usherd, "argument").as_deref(), Some("an argument\n"));
    let env = left(&world.usherd, "env").unwrap();
    let home = format!("HOME={}", world.usherd.dir().join("home").display());
    for line in [&*home, "PATH=/usr/local/bin:/usr/bin:/bin", "GNUPGHOME=/some/where"] {
        assert!(env.lines().any(|found| found == line), "no {line} in:\n{env}");
    }
    for name in ["CANARY", "canary", "NOTIFY_SOCKET", "LD_PRELOAD"] {
        assert!(!env.contains(name), "{name} in:\n{env}");
    }
}

#[test]
fn no_descriptor_reaches_a_program() {
    // Left open by whoever starts usherd.
    let canary = tempfile::NamedTempFile::with_prefix("inherited").unwrap();
    fcntl(&canary, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let world = with_script("exec ls -l /proc/self/fd > $HOME/fds");
    // Connections to the IdP and to a caller are open meanwhile.
    facts(&world.usherd, &["frontdoor"]);
    let pid = world.usherd.pid();
    if let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) {
        let has = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == canary.path());
        assert!(entries.flatten().any(has), "usherd has not got the descriptor that this is about");
    }
    unavailable(&world, &["is empty"]);
    let fds = left(&world.usherd, "fds").unwrap();
    let mut open: Vec<(&str, &str)> = fds
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(line, target)| (line.rsplit(' ').next().unwrap(), target))
        .collect();
    open.sort_unstable();
    let numbers: Vec<&str> = open.iter().map(|(number, _)| *number).collect();
    // 3 is the directory that ls reads.
    assert_eq!(numbers, ["0", "1", "2", "3"], "{fds}");
    assert!(open[0].1 == "/dev/null" && open[2].1 == "/dev/null" && open[3].1.ends_with("/fd"), "{fds}");
}

#[test]
fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let world = with_script("sleep 300 & echo $! > $HOME/grandchild; echo $$ > $HOME/child; sleep 300");
    let begun = Instant::now();
    let call = world.usherd.spawn_usher(&["token", "other", "--timeout", "20s", "--json"]);
    let child = wait_for("the program", || left(&world.usherd, "child"));
    // Meanwhile everything else goes on.
    facts(&world.usherd, &["frontdoor"]);
    assert!(begun.elapsed() < Duration::from_secs(9));
    let output = call.wait().expect_code(78);
    let took = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&took), "{took:?}");
    let told: Value = serde_json::from_str(&output.stderr).unwrap();
    assert_eq!(told["error"]["reason"], "SECRET_UNAVAILABLE");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("bin/other did not end within 10 s"), "{message}");
    let grandchild = left(&world.usherd, "grandchild").unwrap();
    for pid in [&child, &grandchild] {
        wait_for("its end", || is_gone(pid));
    }
    // The profile says so.
    let entry = &status(&world.usherd, &["other"])["profiles"][0];
    assert!(entry.to_string().contains("did not end within 10 s"), "{entry}");
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_program_ends_with_the_daemon() {
    let world = with_script("sleep 300 & echo $! > $HOME/grandchild; sleep 300");
    let _call = world.usherd.spawn_usher(&["token", "other", "--timeout", "1s"]);
    let grandchild = wait_for("the program", || left(&world.usherd, "grandchild"));
    world.usherd.signal(Signal::SIGTERM);
    assert!(world.usherd.wait_exit(PATIENCE).success());
    wait_for("its end", || is_gone(&grandchild));
}

#[test]
fn a_program_that_leaves_a_daemon_behind_is_not_waited_for() {
    for background in ["sleep 300 &", "setsid sleep 20 & sleep 0.3;"] {
        let world = with_script(&format!("{background} answer"));
        let begun = Instant::now();
        facts(&world.usherd, &["other"]);
        assert!(begun.elapsed() < Duration::from_secs(8), "{background}");
    }
}

#[test]
fn a_program_that_prints_a_gibibyte_is_stopped_at_once() {
    let world = with_script("echo $$ > $HOME/child; exec head -c 1073741824 /dev/zero");
    let begun = Instant::now();
    unavailable(&world, &["printed more than 65536 bytes"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    wait_for("its end", || is_gone(&left(&world.usherd, "child").unwrap()));
    let status = fs::read_to_string(format!("/proc/{}/status", world.usherd.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 * 1024, "{peak}");
}

#[test]
fn a_program_that_fails_is_told_of_and_what_it_says_is_not() {
    // That it shows nowhere is for the sandbox to find out, at its end.
    let world = with_script("answer >&2; answer; exit 3");
    unavailable(&world, &["bin/other failed (exit status: 3)", "run it yourself"]);
    // Its correction counts at once.
    let path = script(&world.usherd, &world.idp, "other.new", "answer >&2; answer");
    fs::rename(path, world.usherd.dir().join("bin/other")).unwrap();
    facts(&world.usherd, &["other"]);
}

#[test]
fn a_program_that_wants_a_terminal_has_none() {
    let world = with_script("answer > /dev/tty || exit 4; read it < /dev/tty; answer");
    let begun = Instant::now();
    unavailable(&world, &["failed (exit status"]);
    assert!(begun.elapsed() < Duration::from_secs(8));
    let silent = with_script("read it; answer");
    facts(&silent.usherd, &["other"]);
}

#[test]
fn what_is_no_secret_is_not_taken_for_one() {
    for (text, words) in [
        ("true", "is empty"),
        ("echo", "is empty"),
        ("printf '\\377\\376'", "is not UTF-8"),
        ("kill -9 $$", "signal: 9"),
    ] {
        unavailable(&with_script(text), &[words]);
    }
}

#[test]
fn a_program_is_named_by_its_whole_path() {
    for (reference, words) in [
        ("command = [\"pass\", \"show\", \"x\"]", "begins with the program's whole path"),
        ("command = [\"./pass\"]", "begins with the program's whole path"),
        ("command = [\"~/bin/pass\"]", "begins with the program's whole path"),
        ("command = []", "begins with the program's whole path"),
        ("command = \"/usr/bin/pass\"", "client_secret"),
        ("command = [\"/bin/echo\"], file = \"/x\"", "must name exactly one source"),
        ("credential = \"../frontdoor\"", "is not the name of a systemd credential"),
        ("credential = \"a/b\"", "is not the name of a systemd credential"),
        ("credential = \"..\"", "is not the name of a systemd credential"),
        ("credential = \"\"", "is not the name of a systemd credential"),
    ] {
        let (ca, sandbox) = (Ca::new(), sandbox());
        let idp = FakeIdp::start(&ca);
        sandbox.config(&profile("frontdoor", &sandbox, &ca, &idp, reference));
        let report = sandbox.usherd(&["--check-config"]).expect_code(78).stderr;
        assert!(report.contains("profile.frontdoor.client_secret") && report.contains(words), "{report}");
    }
}

#[test]
fn a_program_that_others_could_change_is_not_run() {
    let world = with_script("echo > $HOME/ran; answer");
    let (path, bin) = (world.usherd.dir().join("bin/other"), world.usherd.dir().join("bin"));
    for (what, mode, back) in [(&path, 0o720, 0o700), (&path, 0o702, 0o700), (&bin, 0o777, 0o700)] {
        world.usherd.chmod(what, mode);
        let words = format!("{} has mode {mode:04o}, so that others can write it", what.display());
        unavailable(&world, &[&words]);
        let entry = &status(&world.usherd, &["other"])["profiles"][0];
        assert!(entry["secret_error"].as_str().unwrap().contains(&words), "{entry}");
        world.usherd.chmod(what, back);
    }
    if is_root("a program that belongs to somebody else") {
        chown(&path, Some(65_534), None).unwrap();
        unavailable(&world, &["belongs to uid 65534"]);
        chown(&path, Some(0), None).unwrap();
    }
    assert_eq!(left(&world.usherd, "ran"), None);
    world.usherd.chmod(&path, 0o600);
    unavailable(&world, &["cannot be run: Permission denied"]);
    fs::remove_file(&path).unwrap();
    unavailable(&world, &["bin/other: No such file"]);
}

#[test]
fn many_callers_run_a_program_once() {
    let world = with_script_and("echo run >> $HOME/runs; read go < $HOME/go; answer", |sandbox| {
        mkfifo(&sandbox.dir().join("home/go"), Mode::from_bits_truncate(0o600)).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = world.usherd.connect().await;
        let mut calls = JoinSet::new();
        for number in 0..50 {
            // Two keys: they share the program, not the request.
            let scope = if number % 2 == 0 { "frontdoor.read" } else { "frontdoor.write" };
            let (profile, scopes) = ("other".to_owned(), vec![scope.to_owned()]);
            let request = GetTokenRequest { profile, scopes, ..Default::default() };
            let mut client = connection.tokens();
            calls.spawn(async move { client.get_token(request).await });
        }
        yield_now().await;
        // Sent after the calls on the same connection, and so received after them.
        connection.admin().status(StatusRequest::default()).await.unwrap();
        wait_for("the program", || left(&world.usherd, "runs"));
        fs::write(world.usherd.dir().join("home/go"), "go\n").unwrap();
        for answer in calls.join_all().await {
            answer.unwrap();
        }
    });
    assert_eq!(left(&world.usherd, "runs").as_deref(), Some("run\n"));
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn a_program_is_not_run_before_a_token_is_wanted() {
    let world = with_script("echo run >> $HOME/runs; answer");
    let _ = world.usherd.usherd(&["--check-config"]).expect_ok();
    let _ = world.usherd.usher(&["status"]).expect_ok();
    assert_eq!(status(&world.usherd, &["other"])["profiles"][0]["secret_error"], Value::Null);
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    let _ = world.usherd.usher(&["status"]).expect_ok();
    assert_eq!(left(&world.usherd, "runs"), None);
    facts(&world.usherd, &["other"]);
    facts(&world.usherd, &["other"]);
    assert_eq!(left(&world.usherd, "runs").as_deref(), Some("run\n"));
}

// --- systemd's credentials -------------------------------------------------------------------------

fn with_credential(prepare: impl FnOnce(&Sandbox, &FakeIdp)) -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        prepare(sandbox, idp);
        frontdoor(sandbox, ca, idp, "") + &profile("other", sandbox, ca, idp, "credential = \"other.secret\"")
    })
}

#[test]
fn a_credential_of_systemd_is_read_anew_for_every_request() {
    let world = with_credential(|sandbox, idp| {
        let path = sandbox.file("credentials/other.secret", &format!("{}\n", idp.client_secret()));
        // As systemd leaves it: nobody can write it.
        sandbox.chmod(&path, 0o400);
        sandbox.chmod(path.parent().unwrap(), 0o500);
        sandbox.set_env("CREDENTIALS_DIRECTORY", path.parent().unwrap().to_str().unwrap());
    });
    facts(&world.usherd, &["other"]);
    let path = world.usherd.dir().join("credentials/other.secret");
    world.usherd.chmod(path.parent().unwrap(), 0o700);
    world.usherd.chmod(&path, 0o644);
    let _ = world.usherd.usher(&["forget", "other"]).expect_ok();
    unavailable(&world, &["other.secret has mode 0644"]);
    fs::remove_file(&path).unwrap();
    unavailable(&world, &["other.secret: No such file", "LoadCredential=other.secret:"]);
    let new = canary("ROTATED-SECRET");
    world.usherd.leaks().secret("the rotated secret", &new);
    world.idp.set_client(world.idp.client_id(), &new);
    let path = world.usherd.file("credentials/other.secret", &new);
    world.usherd.chmod(&path, 0o400);
    facts(&world.usherd, &["other"]);
}

#[test]
fn a_daemon_without_credentials_says_how_to_get_them() {
    for directory in [None, Some(""), Some("relative")] {
        let world = with_credential(|sandbox, _| {
            if let Some(directory) = directory {
                sandbox.set_env("CREDENTIALS_DIRECTORY", directory);
            }
        });
        let words = ["no credential other.secret", "systemd unit", "LoadCredential=other.secret:"];
        unavailable(&world, &words);
        let entry = &status(&world.usherd, &["other"])["profiles"][0];
        assert!(entry["secret_error"].as_str().unwrap().contains("LoadCredential="), "{entry}");
    }
}

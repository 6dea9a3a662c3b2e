//! The daemon's life: how it ends, what a reload changes and what it leaves alone, and what it keeps from
//! other processes of its own user.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::{
        fs::{MetadataExt as _, chown},
        net::UnixStream,
        process::CommandExt as _,
    },
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Reply},
    usherd::Usherd,
};

use crate::support::{World, facts, named, refusal, sandbox, status};

/// Profiles with these names and more lines, all of one client.
fn profiles(world: &World, profiles: &[(&str, &str)]) -> String {
    let one = |(name, extra): &(&str, &str)| named(name, &world.usherd, &world.ca, &world.idp, extra);
    profiles.iter().map(one).collect()
}

/// A daemon with the profiles a, b and c.
fn abc() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        ["a", "b", "c"].map(|name| named(name, sandbox, ca, idp, "")).concat()
    })
}

/// The token of a profile, by its name in logs: no secret.
fn token(usherd: &Usherd, profile: &str) -> String {
    facts(usherd, &[profile])["token_id"].as_str().unwrap().to_owned()
}

#[test]
fn sigterm_lets_a_call_in_flight_finish_and_takes_no_new_one() {
    let world = World::new("");
    let (reply, gate) = Reply::token().hold();
    world.idp.push(reply);
    let call = world.usherd.spawn_usher(&["token", "frontdoor"]);
    gate.wait_arrived(PATIENCE);
    world.usherd.signal(Signal::SIGTERM);
    world.usherd.wait_for_log("no new connections", PATIENCE);
    let late = UnixStream::connect(world.usherd.socket()).err().map(|error| error.kind());
    let turned_away = matches!(late, Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound));
    assert!(call.is_running());
    gate.release();
    assert_eq!(call.wait().expect_ok().stdout.trim_end(), world.idp.issued()[0]);
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
    assert!(!world.usherd.socket().exists());
    assert!(turned_away, "a connection during the drain was left waiting: {late:?}");
}

#[test]
fn sigint_and_sigterm_end_it_with_exit_code_0() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let world = World::new("");
        facts(&world.usherd, &["frontdoor"]);
        world.usherd.signal(signal);
        assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0), "{signal}");
        assert!(!world.usherd.socket().exists(), "{signal}");
        world.usherd.wait_for_log(signal.as_str(), PATIENCE);
    }
}

#[test]
fn sighup_takes_a_new_profile_and_keeps_the_token_of_an_old_one() {
    let world = World::new("");
    let before = token(&world.usherd, "frontdoor");
    refusal(&world.usherd, &["new"], 78);
    world.usherd.config(&profiles(&world, &[("frontdoor", ""), ("new", "")]));
    world.usherd.signal(Signal::SIGHUP);
    world.usherd.wait_for_log("configuration reloaded", PATIENCE);
    assert_eq!(token(&world.usherd, "frontdoor"), before);
    assert_eq!(world.idp.token_requests(), 1);
    assert_ne!(token(&world.usherd, "new"), before);
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn reload_says_what_changed_and_a_changed_grant_loses_its_own_tokens_alone() {
    let world = abc();
    let before = ["a", "b", "c"].map(|name| token(&world.usherd, name));
    assert_eq!(world.idp.token_requests(), 3);
    let config = profiles(&world, &[("a", ""), ("b", "audience = \"https://other.example\""), ("d", "")]);
    world.usherd.config(&config);
    let said = world.usherd.usher(&["reload"]).expect_ok().stdout;
    assert_eq!(said, "reloaded: added d; changed b; removed c; 1 unchanged\n");
    assert_eq!(token(&world.usherd, "a"), before[0]);
    assert_eq!(world.idp.token_requests(), 3);
    assert_ne!(token(&world.usherd, "b"), before[1]);
    assert_eq!(world.idp.token_requests(), 4);
    let error = refusal(&world.usherd, &["c"], 78);
    assert_eq!(error["reason"], "PROFILE_UNKNOWN");
    assert!(error["message"].as_str().unwrap().contains("there are a, b, d"), "{error}");
    let again = world.usherd.usher(&["reload", "--json"]).expect_ok().stdout;
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        again,
        serde_json::json!({"added": [], "changed": [], "removed": [], "unchanged": 3, "settings_changed": false})
    );
}

#[test]
fn what_does_not_touch_the_grant_costs_no_token() {
    let world = World::new("");
    let before = token(&world.usherd, "frontdoor");
    let config = profiles(&world, &[("frontdoor", "urls = [\"https://api.example.com/\"]")]);
    world.usherd.config(&config);
    assert_eq!(world.usherd.usher(&["reload"]).expect_ok().stdout, "reloaded: changed frontdoor\n");
    assert_eq!(token(&world.usherd, "frontdoor"), before);
    assert_eq!(world.idp.token_requests(), 1);
    assert_eq!(status(&world.usherd, &[])["profiles"][0]["urls"][0], "https://api.example.com/");
}

#[test]
fn a_broken_configuration_changes_nothing_and_shows_until_it_is_mended() {
    let world = World::new("");
    let before = token(&world.usherd, "frontdoor");
    let good = fs::read_to_string(world.usherd.config_path()).unwrap();
    let healthy = |usherd: &Usherd| {
        assert_eq!(status(usherd, &[])["config_error"], serde_json::Value::Null);
        assert!(!usherd.usher(&["status"]).expect_ok().stdout.contains("REFUSED"));
    };
    healthy(&world.usherd);
    world.usherd.config(&format!("colour = 1\n{good}scope = []\n"));

    let output = world.usherd.usher(&["reload"]).expect_code(78);
    assert_eq!(output.stdout, "");
    let words = ["line 1: colour: is not a key here", "profile.frontdoor.scope: is not a key here"];
    for word in words.into_iter().chain(["what ran before still runs", "config.toml has 2 problems"]) {
        assert!(output.stderr.contains(word), "no {word:?} in: {}", output.stderr);
    }
    assert_eq!(token(&world.usherd, "frontdoor"), before);
    let told = status(&world.usherd, &[]);
    let human = world.usherd.usher(&["status"]).expect_ok().stdout;
    assert!(human.contains("CONFIGURATION REFUSED"), "{human}");
    for word in words {
        assert!(told["config_error"].as_str().unwrap().contains(word), "{told}");
        assert!(human.contains(word), "{human}");
    }

    world.usherd.config(&good);
    assert_eq!(
        world.usherd.usher(&["reload"]).expect_ok().stdout,
        "reloaded: nothing changed (1 profiles)\n"
    );
    healthy(&world.usherd);
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn sighup_with_a_broken_configuration_ends_nothing() {
    let world = World::new("");
    world.usherd.config("[profile.frontdoor\n");
    world.usherd.signal(Signal::SIGHUP);
    world.usherd.wait_for_log("the configuration is not taken", PATIENCE);
    facts(&world.usherd, &["frontdoor"]);
    let told = status(&world.usherd, &[]);
    assert!(told["config_error"].as_str().unwrap().contains("line 1"), "{told}");
    fs::remove_file(world.usherd.config_path()).unwrap();
    let said = world.usherd.usher(&["reload"]).expect_code(78).stderr;
    assert!(said.contains("config.toml"), "{said}");
    facts(&world.usherd, &["frontdoor"]);
}

#[test]
fn a_fetch_for_a_profile_that_is_removed_is_dropped() {
    let world = World::new("");
    let (reply, gate) = Reply::token().hold();
    world.idp.push(reply);
    let call = world.usherd.spawn_usher(&["token", "frontdoor"]);
    gate.wait_arrived(PATIENCE);
    world.usherd.config("");
    let said = world.usherd.usher(&["reload"]).expect_ok().stdout;
    assert_eq!(said, "reloaded: removed frontdoor\n");
    // Told at once: the IdP still keeps its answer back.
    let told = call.wait().expect_code(78);
    assert_eq!(told.stdout, "");
    assert!(told.stderr.contains("the configuration has no profile yet"), "{}", told.stderr);
    gate.release();
    refusal(&world.usherd, &["frontdoor"], 78);
    world.usherd.config(&profiles(&world, &[("frontdoor", "")]));
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    assert_eq!(facts(&world.usherd, &["frontdoor"])["source"], "fetched");
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn after_forget_the_next_call_fetches() {
    let world = abc();
    let before = token(&world.usherd, "a");
    let other = token(&world.usherd, "b");
    let said = world.usherd.usher(&["forget", "a"]).expect_ok().stdout;
    assert_eq!(said, "forgot 1 token of a; it stays valid at the IdP until it expires\n");
    assert_eq!(world.usherd.usher(&["forget", "a"]).expect_ok().stdout, "a held no token\n");
    assert_ne!(token(&world.usherd, "a"), before);
    assert_eq!(token(&world.usherd, "b"), other);
    assert_eq!(world.idp.token_requests(), 3);
}

#[test]
fn it_leaves_no_core_dump() {
    let world = World::new("");
    let limits = fs::read_to_string(format!("/proc/{}/limits", world.usherd.pid())).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{limits}");
}

/// Root may read everything, so that as root it runs as somebody else here.
#[test]
fn another_process_of_its_user_cannot_read_its_memory_or_environment() {
    let sandbox = sandbox();
    let uid = if geteuid().is_root() { 65_534 } else { geteuid().as_raw() };
    let config = sandbox.file("open/config.toml", "");
    sandbox.chmod(sandbox.dir(), 0o711);
    sandbox.chmod(config.parent().unwrap(), 0o711);
    sandbox.chmod(&config, 0o644);
    let runtime = sandbox.dir().join("run");
    chown(&runtime, Some(uid), None).unwrap();
    // The kit's daemon cannot be somebody else.
    let program = sandbox.dir().join("open/usherd");
    fs::copy(env!("CARGO_BIN_EXE_usherd"), &program).unwrap();
    sandbox.chmod(&program, 0o755);
    let mut daemon = Command::new(program)
        .arg("--config")
        .arg(config)
        .env_clear()
        .env("XDG_RUNTIME_DIR", &runtime)
        .current_dir("/")
        .uid(uid)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(daemon.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended before it was ready");
    }
    let proc = format!("/proc/{}", daemon.id());
    let read = |name: &str| {
        let mut cat = Command::new("head");
        cat.args(["-c1", &format!("{proc}/{name}")]).uid(uid).output().unwrap()
    };
    let refused = ["environ", "mem", "maps"].map(|name| (name, read(name)));
    let status = read("status");
    let owner = fs::metadata(&proc).unwrap().uid();
    kill(Pid::from_raw(daemon.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0), "{rest}");
    assert_eq!(owner, uid);
    assert!(status.status.success(), "what everybody may read can be read");
    for (name, output) in refused {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("denied"), "{name}: {said}");
    }
}

#[test]
fn a_static_token_of_a_profile_that_is_removed_is_not_handed_out() {
    let world = World::new("");
    let fifo = world.usherd.dir().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let slow = format!(
        "[profile.slow]\npreset = \"netfoundry-api-token\"\naccount_id = \"acc\"\n\
         api_token = {{ command = [\"/bin/cat\", \"{}\"] }}\n",
        fifo.display()
    );
    world.usherd.config(&slow);
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    let call = world.usherd.spawn_usher(&["token", "slow"]);
    // Opens when the program reads: the call is under way.
    let mut secret = fs::File::options().write(true).open(&fifo).unwrap();
    world.usherd.config("");
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    io::Write::write_all(&mut secret, b"long-lived").unwrap();
    drop(secret);
    let told = call.wait().expect_code(78);
    assert_eq!(told.stdout, "");
    assert!(told.stderr.contains("there is no profile \"slow\""), "{}", told.stderr);
}

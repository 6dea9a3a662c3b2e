//! Peers, pipes and files that would stop a daemon which trusted them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the failure of the test")]

use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{World, facts, sandbox};
use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{GetTokenRequest, ReloadRequest},
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn silent_connections_take_nobodys_place() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The daemon inherits it: 64 of these are not for connections.
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(128), 128).unwrap_or_else(|error| panic!("{error} ({hard})"));
    let world = World::new("");
    let silent: Vec<_> = (0..90).map(|_| UnixStream::connect(world.usherd.socket()).unwrap()).collect();
    for _ in 0..3 {
        facts(&world.usherd, &["frontdoor", "--timeout", "3s"]);
    }
    let mut gone = 0;
    for mut stream in silent {
        stream.set_nonblocking(true).unwrap();
        // After its greeting, the end: that one was dropped. Where there is nothing yet, it waits.
        gone += usize::from(std::io::copy(&mut stream.by_ref().take(1000), &mut std::io::sink()).is_ok());
    }
    assert!(gone >= 90 - 64, "only {gone} of 90 silent connections made room");
}

#[test]
fn a_connection_that_says_nothing_is_ended() {
    let world = World::new("");
    let mut silent = UnixStream::connect(world.usherd.socket()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut greeting = Vec::new();
    silent.read_to_end(&mut greeting).expect("the end of the connection, within seconds");
    facts(&world.usherd, &["frontdoor"]);
}

#[test]
fn a_silent_peer_does_not_hold_up_the_end() {
    let world = World::new("");
    let _silent = UnixStream::connect(world.usherd.socket()).unwrap();
    facts(&world.usherd, &["frontdoor"]);
    world.usherd.signal(Signal::SIGTERM);
    assert_eq!(world.usherd.wait_exit(Duration::from_secs(4)).code(), Some(0));
    assert!(!world.usherd.stderr_so_far().contains("broken off"), "{}", world.usherd.stderr_so_far());
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let sandbox = sandbox();
    sandbox.config("");
    let dir = sandbox.dir().to_owned();
    let mut usherd = Command::new(env!("CARGO_BIN_EXE_usherd"))
        .env_clear()
        .env("HOME", dir.join("home"))
        .env("XDG_RUNTIME_DIR", dir.join("run"))
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It is there once it answers; each try waits for the socket by itself.
    let version = || sandbox.usher(&["--version"]).stdout;
    assert!((0..1000).any(|_| version().contains("(running")), "usherd does not start");
    // A pipe holds 64 KiB; every one of these calls is a line of the log.
    runtime().block_on(async {
        let uid = nix::unistd::geteuid().as_raw();
        let connection = usher_proto::client::Connection::open(&sandbox.socket(), uid).await.unwrap();
        for _ in 0..3000 {
            let request = GetTokenRequest { profile: "x".repeat(100), ..Default::default() };
            let refused = connection.tokens().get_token(request).await.unwrap_err();
            assert_eq!(Failure::from(&refused).reason, ErrorReason::ProfileUnknown);
        }
    });
    kill(Pid::from_raw(usherd.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(usherd.wait().unwrap().code(), Some(0));
}

#[test]
fn however_much_is_wrong_the_caller_is_told() {
    let world = World::new("");
    let mistakes: Vec<_> =
        (0..5000).map(|number| format!("[profile.\"p{number}\"]\nnonsense = \"\u{e4}\"\n")).collect();
    world.usherd.config(&mistakes.concat());
    let told = world.usherd.usher(&["reload"]).expect_code(78).stderr;
    assert!(
        told.contains("100 problems or more") || told.contains("more: `usherd --check-config`"),
        "{told}"
    );
    let refused = runtime().block_on(async {
        let connection = world.usherd.connect().await;
        connection.admin().reload(ReloadRequest {}).await.unwrap_err()
    });
    assert_eq!(Failure::from(&refused).reason, ErrorReason::ConfigInvalid);
    let long = "n".repeat(50_000);
    let told = world.usherd.usher(&["token", &long]).expect_code(78).stderr;
    assert!(told.contains("there is no profile") && told.len() < 10_000, "{} bytes", told.len());
    facts(&world.usherd, &["frontdoor"]);
}

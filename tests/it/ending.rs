//! How usherd ends: by itself when nobody calls, when its socket is taken from it, and without losing a call.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the failure of the test")]
#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::{
    fs,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use usher_proto::v1::GetTokenRequest;
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Reply},
};

use crate::support::{World, facts, frontdoor};

mod long;

/// A daemon with a line at the top of its configuration.
fn with_setting(line: &str, expires_in: u64) -> World {
    World::with(FakeIdp::builder().expires_in(expires_in), |sandbox, ca, idp| {
        format!("{line}\n{}", frontdoor(sandbox, ca, idp, ""))
    })
}

/// Reloads with another line at the top: a daemon that is to end for want of calls must not do so before the
/// first.
fn from_now_on(world: &World, line: &str) {
    let config = fs::read_to_string(world.usherd.config_path()).unwrap();
    world.usherd.config(&format!("{line}\n{config}"));
    let _ = world.usherd.usher(&["reload"]).expect_ok();
}

#[test]
fn a_daemon_that_nobody_calls_ends_once_its_last_token_has_expired() {
    let world = with_setting("", 5);
    let begun = Instant::now();
    facts(&world.usherd, &["frontdoor"]);
    from_now_on(&world, "idle_exit = \"10ms\"");
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
    assert!(begun.elapsed() > Duration::from_secs(4), "it ended while its token could still be used");
    world.usherd.wait_for_log("nobody has called for a while", PATIENCE);
    assert!(!world.usherd.socket().exists());
}

#[test]
fn an_autostarted_daemon_ends_too_and_the_next_call_starts_another() {
    let world = with_setting("", 1);
    world.usherd.remove_env("USHER_AUTOSTART");
    facts(&world.usherd, &["frontdoor"]);
    from_now_on(&world, "idle_exit = \"10ms\"");
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
    facts(&world.usherd, &["frontdoor"]);
    assert_eq!(world.idp.token_requests(), 2);
    world.usherd.usher(&["stop"]);
}

#[test]
fn a_daemon_whose_socket_was_removed_says_so_and_ends() {
    let world = World::new("");
    facts(&world.usherd, &["frontdoor"]);
    fs::remove_file(world.usherd.socket()).unwrap();
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
    world.usherd.wait_for_log("the socket's path leads elsewhere now", PATIENCE);
    let _another = world.usherd.sandbox().start();
    facts(&world.usherd, &["frontdoor"]);
}

#[test]
fn a_daemon_whose_socket_was_replaced_leaves_the_other_one_alone() {
    let world = World::new("");
    let socket = world.usherd.socket();
    let theirs = socket.with_extension("theirs");
    let _listener = UnixListener::bind(&theirs).unwrap();
    fs::rename(&theirs, &socket).unwrap();
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
    world.usherd.wait_for_log("the socket's path leads elsewhere now", PATIENCE);
    assert!(socket.exists(), "it took away another one's socket");
}

#[test]
fn a_daemon_whose_directory_was_moved_away_ends() {
    let world = World::new("");
    let directory = world.usherd.socket().parent().unwrap().to_owned();
    fs::rename(&directory, directory.with_extension("old")).unwrap();
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn callers_who_wait_to_be_accepted_are_served_before_it_ends() {
    let world = World::new("");
    facts(&world.usherd, &["frontdoor"]);
    world.usherd.signal(Signal::SIGSTOP);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers = runtime.block_on(async {
        // The kernel takes them for it, into the socket's queue.
        let mut connections = Vec::new();
        for _ in 0..100 {
            connections.push(world.usherd.connect().await);
        }
        world.usherd.signal(Signal::SIGTERM);
        world.usherd.signal(Signal::SIGCONT);
        let calls = connections.into_iter().map(|connection| {
            tokio::spawn(async move {
                let request = GetTokenRequest { profile: "frontdoor".into(), ..Default::default() };
                connection.tokens().get_token(request).await
            })
        });
        let mut answers = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            answers.push(call.await.unwrap());
        }
        answers
    });
    for answer in answers {
        assert_eq!(answer.unwrap().into_inner().access_token, world.idp.issued()[0]);
    }
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn calls_that_take_too_long_are_broken_off_at_the_end() {
    let world = with_setting("shutdown_timeout = \"100ms\"", 3600);
    let (reply, gate) = Reply::token().hold();
    world.idp.push(reply);
    let call = world.usherd.spawn_usher(&["token", "frontdoor"]);
    gate.wait_arrived(PATIENCE);
    world.usherd.signal(Signal::SIGTERM);
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
    world.usherd.wait_for_log("calls did not finish in time", PATIENCE);
    assert!(!call.wait().status.success());
    gate.release();
}

#[test]
fn another_idle_exit_counts_from_a_sighup_on_although_nobody_calls() {
    let world = with_setting("idle_exit = \"never\"", 3600);
    let config = fs::read_to_string(world.usherd.config_path()).unwrap();
    world.usherd.config(&config.replace("never", "1s"));
    world.usherd.signal(Signal::SIGHUP);
    assert_eq!(world.usherd.wait_exit(PATIENCE).code(), Some(0));
    world.usherd.wait_for_log("nobody has called for a while", PATIENCE);
}

#[test]
fn a_stream_that_lasts_for_ever_does_not_hold_up_the_end() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let world = with_setting("shutdown_timeout = \"1m\"", 3600);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let origin = tonic::codegen::http::Uri::from_static("http://localhost");
        let mut health = HealthClient::with_origin(world.usherd.connect().await, origin);
        let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert!(watch.message().await.unwrap().is_some());
        world.usherd.signal(Signal::SIGTERM);
        let end = tokio::time::timeout(PATIENCE, watch.message()).await.expect("the end").unwrap_err();
        assert_eq!(end.code(), tonic::Code::Unavailable, "{end}");
    });
    assert_eq!(world.usherd.wait_exit(Duration::from_secs(10)).code(), Some(0));
}

//! A system that has run out of something: errors of accept (C30), and no descriptors left (C31).

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tonic::Code;
use usher_proto::{
    client::Connection,
    error::{ErrorReason, Failure},
    v1::GetTokenRequest,
};
use usher_testkit::{idp::FakeIdp, vitals::Vitals};

use super::{good_call, runtime};
use crate::support::{World, frontdoor, is_root, named, wait_until_fetched};

/// A daemon whose accept fails in this way, `which` time; the rest works.
fn failing(error: &str, which: &str) -> (World, std::path::PathBuf) {
    let trace = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
    let inject = format!("inject=accept4:error={error}:when={which}");
    let output = trace.to_str().unwrap();
    // It has to be the parent: usherd lets nobody attach. `-I` as it is by default with `-o`.
    let strace = ["strace", "-f", "-qq", "-o", output, "-e", "trace=accept4", "-e", &inject];
    (World::under(&strace), trace)
}

async fn get(connection: &Connection, profile: &str) -> Result<(), tonic::Status> {
    let request = GetTokenRequest { profile: profile.to_owned(), ..Default::default() };
    connection.tokens().get_token(request).await.map(drop)
}

#[test]
fn after_errors_of_accept_callers_are_served_again() {
    for error in ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED"] {
        let (world, trace) = failing(error, "2..7");
        runtime().block_on(async {
            let kept = world.usherd.connect().await;
            get(&kept, "frontdoor").await.unwrap();
            let begun = Instant::now();
            let connection = world.usherd.connect().await;
            let (answer, meanwhile) = tokio::join!(get(&connection, "frontdoor"), get(&kept, "frontdoor"));
            answer.and(meanwhile).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10), "{error}: {:?}", begun.elapsed());
            good_call(&world.usherd).await;
        });
        let calls = fs::read_to_string(&trace).unwrap();
        assert_eq!(calls.matches("(INJECTED)").count(), 6, "{error}: {calls}");
        assert_eq!(world.usherd.exit(), None);
        let log = world.usherd.stderr_so_far();
        assert_eq!(log.matches("cannot take a connection in").count(), 1, "{log}");
        drop(world);
        fs::remove_file(trace).unwrap();
    }
}

#[test]
fn while_accept_fails_the_daemon_neither_spins_nor_hangs() {
    let (world, trace) = failing("EMFILE", "2+");
    runtime().block_on(async {
        let kept = world.usherd.connect().await;
        get(&kept, "frontdoor").await.unwrap();
        // Somebody knocks all the time.
        let _waiting = std::os::unix::net::UnixStream::connect(world.usherd.socket()).unwrap();
        let (begun, before) = (Instant::now(), Vitals::of(world.usherd.pid()).cpu);
        let mut calls = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            get(&kept, "frontdoor").await.expect("a connection that is there works");
            calls += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (elapsed, cpu) =
            (begun.elapsed(), Vitals::of(world.usherd.pid()).cpu.checked_sub(before).unwrap());
        eprintln!("{cpu:?} of processor in {elapsed:?}, for {calls} calls");
        assert!(cpu * 5 < elapsed, "{cpu:?} of processor in {elapsed:?}");
    });
    let tries = fs::read_to_string(&trace).unwrap().matches("(INJECTED)").count();
    assert!((3..100).contains(&tries), "{tries} tries");
    world.usherd.signal(Signal::SIGTERM);
    assert_eq!(world.usherd.wait_exit(Duration::from_secs(10)).code(), Some(0));
    drop(world);
    fs::remove_file(trace).unwrap();
}

/// Sets the limit of descriptors of a process that runs.
fn limit(pid: u32, descriptors: usize) {
    let (pid, limit) = (format!("--pid={pid}"), format!("--nofile={descriptors}:20000"));
    let done = Command::new("prlimit").args([pid, limit]).status().unwrap();
    assert!(done.success(), "prlimit: {done}");
}

/// The lowest number that is free.
fn lowest_free(pid: u32) -> usize {
    let used: Vec<usize> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    (0..=used.len()).find(|number| !used.contains(number)).unwrap()
}

#[test]
fn without_a_free_descriptor_status_works_and_a_request_is_unavailable_until_there_is_one() {
    if !is_root("descriptors that are used up") {
        return;
    }
    // Secrets in the environment need no descriptor: it is the socket to the IdP that cannot be had.
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let file = format!("{{ file = \"{}\" }}", sandbox.secret("frontdoor", idp.client_secret()).display());
        sandbox.secret_env("COLD_SECRET", idp.client_secret());
        let cold = named("cold", sandbox, ca, idp, "").replace(&file, "{ env = \"COLD_SECRET\" }");
        format!("{}\n{cold}", frontdoor(sandbox, ca, idp, ""))
    });
    let pid = world.usherd.pid();
    let before = Vitals::of(pid);
    runtime().block_on(async {
        let kept = world.usherd.connect().await;
        get(&kept, "frontdoor").await.unwrap();
        limit(pid, lowest_free(pid));
        let refused = get(&kept, "cold").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert_eq!(Failure::from(&refused).reason, ErrorReason::IdpUnreachable, "{refused:?}");
        get(&kept, "frontdoor").await.expect("what is in the cache needs no descriptor");
        for _ in 0..5 {
            let status = world.usherd.usher(&["status"]);
            assert_eq!(status.code(), Some(0), "{}", status.stderr);
        }
        limit(pid, 20_000);
        good_call(&world.usherd).await;
    });
    wait_until_fetched(&world.usherd, "cold");
    assert_eq!(world.idp.token_requests(), 2);
    assert_eq!(world.usherd.exit(), None);
    let now = Vitals::of(pid);
    assert!(now.resident < before.resident + super::SLACK, "{now:?}, before: {before:?}");
}

//! Thousands of connections (C29) and of streams (C38), and the memory that they leave behind.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use usher_proto::client::Connection;
use usher_testkit::{
    PATIENCE,
    http2::{self, flag, kind},
    vitals::Vitals,
};

use super::{Daemon, GET_TOKEN, good_call, request, runtime};
use crate::support::World;

/// So many descriptors for this process; says so where it may not have them.
fn descriptors(wanted: u64) -> bool {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    if hard < wanted {
        eprintln!("\n*** SKIPPED, NOT TESTED: {wanted} descriptors are needed, {hard} are allowed ***\n");
    }
    hard >= wanted
}

#[test]
fn two_thousand_silent_connections_keep_nobody_out() {
    if !descriptors(2200) {
        return;
    }
    let daemon = Daemon::of(World::under(&["prlimit", "--nofile=256:256"]));
    let begun = (Instant::now(), Vitals::of(daemon.pid).cpu);
    let mut silent = Vec::new();
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        silent.extend((0..100).map(|_| UnixStream::connect(daemon.socket()).unwrap()));
        longest = longest.max(runtime().block_on(good_call(&daemon.world.usherd)));
        let open = Vitals::of(daemon.pid).descriptors;
        assert!(open.is_none_or(|open| open <= 256), "{open:?} in round {round}");
    }
    // Their first seconds are over without a word.
    while Vitals::of(daemon.pid).descriptors.is_some_and(|open| Some(open) > daemon.before.descriptors) {
        assert!(begun.0.elapsed() < PATIENCE, "silent connections stay");
        nix::poll::poll(&mut [], nix::poll::PollTimeout::from(100_u8)).unwrap();
    }
    let (elapsed, cpu) = (begun.0.elapsed(), Vitals::of(daemon.pid).cpu.checked_sub(begun.1).unwrap());
    eprintln!("{cpu:?} of processor in {elapsed:?}; the longest good call took {longest:?}");
    // Stock tonic takes nine tenths. A debug build, on a machine with other work, takes its time for accepting.
    assert!(cpu * 2 < elapsed, "{cpu:?} of processor in {elapsed:?}");
    drop(silent);
    let log = daemon.world.usherd.stderr_so_far();
    assert_eq!(log.matches("no room for more connections").count(), 1, "{log}");
    daemon.is_unharmed("silent connections");
}

#[test]
fn streams_beyond_the_limit_are_refused_and_the_others_served() {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let daemon = Daemon::new();
    let mut client = daemon.client();
    let open = http2::call(GET_TOKEN, &[]);
    for number in 0..128 + 20 {
        client.frame(kind::HEADERS, flag::END_HEADERS, 2 * number + 1, &open).unwrap();
    }
    let mut refused = Vec::new();
    while refused.len() < 20 {
        let frame = client.next(Duration::from_secs(4)).unwrap().expect("the connection lives on");
        if frame.kind == kind::RST_STREAM {
            assert_eq!(frame.payload, REFUSED_STREAM);
            refused.push(frame.stream);
        }
    }
    refused.sort_unstable();
    assert_eq!(refused, (128..148).map(|number| 2 * number + 1).collect::<Vec<_>>());
    let body = http2::message(&request());
    for number in 0..128 {
        client.frame(kind::DATA, flag::END_STREAM, 2 * number + 1, &body).unwrap();
        let answer = client.answer(2 * number + 1, Duration::from_secs(4));
        assert_eq!(answer.grpc_status(2 * number + 1), Some(0), "{answer:?}");
    }
    drop(client);
    daemon.is_unharmed("128 streams and 20 more");

    // Who goes on against what was announced, loses the connection.
    let mut client = daemon.client();
    let endless = (0..10_000).map(|number| {
        http2::Frame::new(kind::HEADERS, flag::END_HEADERS, 2 * number + 1, open.clone()).bytes()
    });
    let end = client.flood(endless, Duration::from_secs(4));
    assert!(!end.open && end.goaway().is_some(), "{:?}", end.goaway());
    daemon.is_unharmed("10,000 streams");
}

#[test]
fn what_a_storm_took_goes_back_to_the_system() {
    const STORM: usize = 1000;
    if !descriptors(2 * STORM as u64) {
        return;
    }
    let daemon = Daemon::new();
    let peak = runtime().block_on(async {
        let uid = nix::unistd::geteuid().as_raw();
        let mut all = Vec::new();
        for _ in 0..STORM {
            let connection = Connection::open(&daemon.socket(), uid).await.unwrap();
            let request = usher_proto::v1::GetTokenRequest::default();
            connection.tokens().get_token(request).await.unwrap();
            all.push(connection);
        }
        Vitals::of(daemon.pid).resident
    });
    let grown = peak - daemon.before.resident;
    assert!(grown > 4 * 1024, "the storm took only {grown} KiB");
    let begun = Instant::now();
    loop {
        let left = Vitals::of(daemon.pid).resident.saturating_sub(daemon.before.resident);
        if left * 4 < grown {
            eprintln!(
                "{} KiB before, {peak} at the peak, {left} more than before after it",
                daemon.before.resident
            );
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{left} of {grown} KiB are left");
        nix::poll::poll(&mut [], nix::poll::PollTimeout::from(100_u8)).unwrap();
    }
    daemon.is_unharmed("a storm");
}

//! One process that asks for all there is (C41), and what is left for another.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use usher_proto::{client::Connection, v1::GetTokenRequest};
use usher_testkit::PATIENCE;

use super::{Daemon, good_call_within, runtime};

/// Set in a process that floods: the socket, and how.
const FLOOD: &str = "USHER_TEST_FLOOD";

/// Calls in a loop on so many connections, so many at a time on each.
async fn flood(socket: std::path::PathBuf, connections: usize, calls: usize) {
    let uid = nix::unistd::geteuid().as_raw();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let connection = Connection::open(&socket, uid).await.unwrap();
        for _ in 0..calls {
            let connection = connection.clone();
            all.spawn(async move {
                while connection.tokens().get_token(GetTokenRequest::default()).await.is_ok() {}
            });
        }
    }
    #[expect(clippy::print_stdout, reason = "the parent waits for it")]
    {
        println!("\nFLOODING");
    }
    all.join_all().await;
}

/// This test's own program, flooding until it is killed.
struct Flooder(std::process::Child);

impl Flooder {
    fn start(daemon: &Daemon, connections: usize, calls: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "hostile::fairness::a_process_that_floods_when_it_is_told_to"])
            .env(FLOOD, format!("{connections} {calls} {}", daemon.socket().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "FLOODING"), "it does not flood");
        Self(child)
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_process_that_floods_when_it_is_told_to() {
    let Ok(told) = std::env::var(FLOOD) else { return };
    let [connections, calls, socket] = told.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let flood = flood(socket.into(), connections.parse().unwrap(), calls.parse().unwrap());
    runtime().block_on(async { tokio::time::timeout(Duration::from_secs(60), flood).await.unwrap_or(()) });
}

/// The half and the 99th of a hundred.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Calls for so long, on a connection that is kept and on new ones.
pub(super) fn honest(daemon: &Daemon, long: Duration) -> [(Duration, Duration); 2] {
    runtime().block_on(async {
        let kept = daemon.world.usherd.connect().await;
        let (mut on_kept, mut on_new) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        while begun.elapsed() < long || on_new.len() < 20 {
            let call = Instant::now();
            kept.tokens().get_token(GetTokenRequest::default()).await.unwrap();
            on_kept.push(call.elapsed());
            on_new.push(good_call_within(PATIENCE, &daemon.world.usherd).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        [quantiles(on_kept), quantiles(on_new)]
    })
}

/// A flood by another process of the same user; how long honest calls take without it and with it.
pub(super) fn under_flood(connections: usize, calls: usize, long: Duration) {
    let daemon = Daemon::new();
    let alone = honest(&daemon, long);
    let flooder = Flooder::start(&daemon, connections, calls);
    let crowded = honest(&daemon, long);
    drop(flooder);
    for (what, alone, crowded) in [("kept", alone[0], crowded[0]), ("new", alone[1], crowded[1])] {
        eprintln!("{connections} x {calls}, {what} connection, p50 and p99: {alone:?}, crowded {crowded:?}");
    }
    daemon.is_unharmed("a flood of calls");
}

#[test]
fn whoever_floods_does_not_keep_others_waiting() {
    under_flood(50, 128, Duration::from_secs(2));
}

#[test]
fn whoever_takes_every_place_for_good_loses_one_to_others() {
    // Calls that last: a place with a call is nobody else's, but not all of them are one's own.
    let daemon = Daemon::of(crate::support::World::under(&["prlimit", "--nofile=96:96"]));
    let watch = usher_testkit::http2::call("/grpc.health.v1.Health/Watch", &[]);
    let greedy: Vec<_> = (0..60)
        .map(|_| {
            let mut client = daemon.client();
            // A place is taken once the service says something.
            let (headers, data) = (usher_testkit::http2::kind::HEADERS, usher_testkit::http2::kind::DATA);
            let _ = client.frame(headers, usher_testkit::http2::flag::END_HEADERS, 1, &watch);
            let end = usher_testkit::http2::flag::END_STREAM;
            let _ = client.frame(data, end, 1, &usher_testkit::http2::message(&[]));
            client
        })
        .collect();
    for _ in 0..5 {
        let answer = daemon.world.usherd.usher(&["token", "frontdoor", "--timeout", "5s"]);
        assert_eq!(answer.code(), Some(0), "{}", answer.stderr);
    }
    drop(greedy);
    daemon.is_unharmed("a process that took all places");
}

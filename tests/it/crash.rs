//! Killed at any moment, by SIGKILL, as by a power cut or the kernel's out-of-memory killer: the next start
//! works, and serves.
//!
//! All of it in small here; in full in [`long::crash`](crate::long).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

pub(crate) mod autostart;

use std::{
    collections::BTreeSet, fs, os::unix::process::ExitStatusExt as _, process::ExitStatus, thread,
    time::Duration,
};

use nix::{
    libc::SIGKILL,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::task::JoinSet;
use usher_proto::{
    client::Connection,
    v1::{ForgetRequest, GetTokenRequest, TokenSource},
};
use usher_testkit::{ca::Ca, idp::FakeIdp, sandbox::Sandbox, usherd::Usherd};

use crate::support::{frontdoor, random::Random, sandbox, status};

/// System calls that change what the next start finds, or tell somebody of the start.
const LEAVES_A_TRACE: [&str; 18] = [
    "bind",
    "chmod",
    "connect",
    "fchmod",
    "fchmodat",
    "flock",
    "fsync",
    "ftruncate",
    "link",
    "listen",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat2",
    "sendmsg",
    "sendto",
    "unlink",
    "unlinkat",
];
/// The latest moment of a start that is aimed at. It takes some milliseconds.
const START: Duration = Duration::from_millis(20);
/// How long a daemon is under load before it is killed, at most.
const LOAD: Duration = Duration::from_millis(40);

/// A home in which daemons come and go.
pub(crate) struct Place {
    sandbox: Sandbox,
    idp: FakeIdp,
    _ca: Ca,
    runtime: tokio::runtime::Runtime,
    /// Tokens are kept over a restart.
    keeps: bool,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with("", false)
    }

    /// One in which tokens are kept over a restart.
    pub(crate) fn with_store() -> Self {
        Self::with("max_token_requests = \"10000/1h\"\n[store]\nkey = { file = \"store.key\" }\n", true)
    }

    fn with(extra: &str, keeps: bool) -> Self {
        let (ca, sandbox) = (Ca::new(), sandbox());
        let idp = FakeIdp::start(&ca);
        sandbox.watch(&idp);
        sandbox.config(&frontdoor(&sandbox, &ca, &idp, extra));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { sandbox, idp, _ca: ca, runtime, keeps }
    }

    /// The store holds what it held before or what it was to hold: nothing is damaged, and nothing in its way.
    fn check_store(&self, after: &str) {
        let store = &status(&self.sandbox, &[])["store"];
        assert_eq!(store["degraded"], Value::Null, "after {after}");
        let names = fs::read_dir(self.sandbox.dir().join("state/usher/store")).unwrap();
        let names: Vec<_> = names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.contains("corrupt")), "after {after}: {names:?}");
    }

    /// A start that is as usual, and a token from it. What is left of the one before is for it to mend.
    fn starts(&self, after: &str) -> Usherd {
        let usherd = self.sandbox.launch().log_level("info").start();
        let usherd = usherd.unwrap_or_else(|failure| panic!("after {after}: {failure}"));
        let before = self.idp.token_requests();
        let answer = self.runtime.block_on(async {
            let answer = get(&usherd.connect().await).await;
            // The connection's own task hears that it is no longer needed, and ends it.
            tokio::task::yield_now().await;
            answer
        });
        let answer = answer.unwrap_or_else(|error| panic!("after {after}: {error}"));
        let fetched = self.idp.token_requests() - before;
        if self.keeps && answer == TokenSource::Cache {
            assert_eq!(fetched, 0, "after {after}");
        } else {
            assert_eq!((answer, fetched), (TokenSource::Fetched, 1), "after {after}");
        }
        if self.keeps {
            self.check_store(after);
        }
        usherd
    }

    /// The system calls of a daemon from its start over a call to an orderly end, by name.
    pub(crate) fn system_calls(&self) -> BTreeSet<String> {
        let trace = self.sandbox.dir().join("trace");
        assert!(self.lives(&["-o", trace.to_str().unwrap()]).success());
        let trace = fs::read_to_string(trace).unwrap();
        // `PID name(arguments) = result`
        let calls = trace.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('));
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        calls.map(|(name, _)| name).filter(is_name).map(str::to_owned).collect()
    }

    /// Kills a daemon as it enters this system call for the `number`th time. Whether it came so far.
    fn killed_at(&self, call: &str, number: usize) -> bool {
        let inject = format!("inject={call}:signal=KILL:when={number}");
        let status = self.lives(&["-o", "/dev/null", "-e", &inject]);
        assert!(status.signal() == Some(SIGKILL) || status.success(), "{inject}: {status}");
        status.signal().is_some()
    }

    /// The life of a daemon under strace: a start, a call, an orderly end.
    fn lives(&self, strace: &[&str]) -> ExitStatus {
        let strace = [&["strace", "-D", "-f", "-qq"], strace].concat();
        match self.sandbox.launch().log_level("info").by(&strace).start() {
            Err(failure) => failure.status.expect("it ends"),
            Ok(usherd) => {
                let _ = self.runtime.block_on(async {
                    let uid = nix::unistd::geteuid().as_raw();
                    let connection = Connection::open(&self.sandbox.socket(), uid).await.map_err(drop)?;
                    get(&connection).await.map_err(drop)
                });
                usherd.stop().status
            }
        }
    }

    /// Kills a daemon at the first of these system calls, the next one at the second, until one is through
    /// with its life before that. How often one was killed.
    pub(crate) fn kill_at_each(&self, call: &str) -> usize {
        let mut number = 0;
        loop {
            number += 1;
            if !self.killed_at(call, number) {
                return number - 1;
            }
            let next = self.starts(&format!("a kill at number {number} of {call}"));
            // In turn there is a socket that nobody listens on, and none.
            if number % 2 == 0 { next.kill() } else { drop(next) }
        }
    }

    /// Kills a daemon at some moment of its start, `rounds` times.
    pub(crate) fn kill_while_it_starts(&self, random: &mut Random, rounds: usize) -> usize {
        let mut killed = 0;
        for _ in 0..rounds {
            let after = random.span(START);
            let started = self.sandbox.launch().log_level("info").killed_after(after).start();
            match started {
                Err(failure) => {
                    assert_eq!(failure.status.and_then(|status| status.signal()), Some(SIGKILL), "{failure}");
                    killed += 1;
                }
                // It is killed when its time is over.
                Ok(usherd) => _ = usherd.wait_exit(usher_testkit::PATIENCE),
            }
            drop(self.starts(&format!("a kill {after:?} after its start")));
        }
        killed
    }

    /// Kills a daemon that is busy, `rounds` times. How many calls it had answered.
    pub(crate) fn kill_under_load(&self, random: &mut Random, rounds: usize) -> usize {
        self.kill_while(random, rounds, async || {
            let mut callers = JoinSet::new();
            for _ in 0..8 {
                callers.spawn(call_until_it_ends(self.sandbox.clone()));
            }
            callers.join_all().await.into_iter().sum::<usize>()
        })
    }

    /// Kills a daemon that writes what it is to keep over and over, `rounds` times. How many tokens it had fetched.
    pub(crate) fn kill_while_it_writes(&self, random: &mut Random, rounds: usize) -> usize {
        self.kill_while(random, rounds, async || forget_and_fetch_until_it_ends(&self.sandbox).await)
    }

    fn kill_while(&self, random: &mut Random, rounds: usize, load: impl AsyncFn() -> usize) -> usize {
        let mut answered = 0;
        for _ in 0..rounds {
            let after = random.span(LOAD);
            let usherd = self.starts("a kill under load");
            let pid = Pid::from_raw(usherd.pid().cast_signed());
            let assassin = thread::spawn(move || {
                // The moment is by chance; nothing is waited for.
                thread::sleep(after);
                kill(pid, Signal::SIGKILL).unwrap();
            });
            answered += self.runtime.block_on(load());
            assassin.join().unwrap();
            assert_eq!(usherd.wait_exit(usher_testkit::PATIENCE).signal(), Some(SIGKILL));
        }
        drop(self.starts("the last kill under load"));
        answered
    }
}

/// How many tokens it fetched.
async fn forget_and_fetch_until_it_ends(sandbox: &Sandbox) -> usize {
    let uid = nix::unistd::geteuid().as_raw();
    let Ok(connection) = Connection::open(&sandbox.socket(), uid).await else { return 0 };
    let mut fetched = 0;
    loop {
        let forget = ForgetRequest { profile: "frontdoor".to_owned(), ..Default::default() };
        if connection.admin().forget(forget).await.is_err() || get(&connection).await.is_err() {
            return fetched;
        }
        fetched += 1;
    }
}

async fn get(connection: &Connection) -> Result<TokenSource, tonic::Status> {
    let request = GetTokenRequest { profile: "frontdoor".to_owned(), ..Default::default() };
    Ok(connection.tokens().get_token(request).await?.into_inner().source())
}

/// Calls on one connection after another. How many calls were answered.
async fn call_until_it_ends(sandbox: Sandbox) -> usize {
    let uid = nix::unistd::geteuid().as_raw();
    let mut answered = 0;
    while let Ok(connection) = Connection::open(&sandbox.socket(), uid).await {
        for _ in 0..10 {
            if get(&connection).await.is_err() {
                return answered;
            }
            answered += 1;
        }
    }
    answered
}

#[test]
fn killed_at_any_step_that_leaves_a_trace_it_starts_again() {
    let place = Place::new();
    let calls = place.system_calls();
    let killed: usize = calls
        .iter()
        .filter(|call| LEAVES_A_TRACE.contains(&call.as_str()))
        .map(|call| place.kill_at_each(call))
        .sum();
    assert!(killed >= 7, "only {killed} of all that it does leave a trace: {calls:?}");
}

#[test]
fn killed_at_some_moments_of_its_start_it_starts_again() {
    let killed = Place::new().kill_while_it_starts(&mut Random::new(), 8);
    assert!(killed > 0, "no kill came before it was ready");
}

#[test]
fn killed_while_it_writes_the_store_it_starts_again() {
    let (place, mut random) = (Place::with_store(), Random::new());
    // On a busy machine each of a few may come before the first token.
    assert!((0..20).any(|_| place.kill_while_it_writes(&mut random, 5) > 0));
}

#[test]
fn killed_under_load_it_starts_again() {
    let (place, mut random) = (Place::new(), Random::new());
    assert!((0..20).any(|_| place.kill_under_load(&mut random, 5) > 0));
}

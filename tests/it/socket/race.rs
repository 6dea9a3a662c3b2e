//! Two daemons, and somebody who swaps what they look at: at the same moment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is the failure of the test, and figures are worth reading"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{
        fs::{MetadataExt as _, symlink},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tokio::task::JoinSet;
use usher_daemon::os::listener::Listener;
use usher_proto::v1::{GetTokenRequest, TokenSource};
use usher_testkit::{sandbox::Sandbox, usherd::Usherd};

use crate::{
    keys::ask,
    support::{World, facts, health::Baseline, is_root, users::NOBODY},
};

#[test]
fn a_second_daemon_takes_no_call_from_the_first_one_under_load() {
    let world = World::new("");
    let usherd = &world.usherd;
    facts(usherd, &["frontdoor"]);
    let (baseline, inode) = (Baseline::of(usherd), fs::metadata(usherd.socket()).unwrap().ino());
    let over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut answered = 0;
                while !over.load(Ordering::Relaxed) {
                    // New connections: these are what a second daemon could take away.
                    let mut calls = JoinSet::new();
                    for _ in 0..20 {
                        let connection = usherd.connect().await;
                        let request =
                            GetTokenRequest { profile: "frontdoor".to_owned(), ..Default::default() };
                        calls.spawn(ask(connection, request));
                    }
                    for answer in calls.join_all().await {
                        assert_eq!(answer.expect("no call fails").source(), TokenSource::Cache);
                        answered += 1;
                    }
                }
                answered
            })
        });
        for _ in 0..20 {
            let said = usherd.start_second().expect_code(75).stderr;
            assert!(
                said.contains(&format!("another usherd (pid {}) already serves", usherd.pid())),
                "{said}"
            );
        }
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    assert!(answered >= 20, "only {answered} calls");
    assert_eq!(world.idp.token_requests(), 1);
    assert_eq!(fs::metadata(usherd.socket()).unwrap().ino(), inode, "the socket was replaced");
    baseline.holds(usherd, "frontdoor");
}

/// Starts `count` daemons in the same moment, of which one serves: told by their pids.
pub(crate) fn one_of(sandbox: &Sandbox, count: usize) -> Usherd {
    let starts: Vec<_> = thread::scope(|scope| {
        let start = || sandbox.launch().log_level("info").start();
        let starting: Vec<_> = (0..count).map(|_| scope.spawn(start)).collect();
        starting.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let (mut serving, ended): (Vec<_>, Vec<_>) = starts.into_iter().partition(Result::is_ok);
    assert_eq!((serving.len(), ended.len()), (1, count - 1), "{ended:?}");
    for failure in ended.into_iter().filter_map(Result::err) {
        assert_eq!(failure.status.and_then(|status| status.code()), Some(75), "{failure}");
    }
    serving.remove(0).unwrap()
}

/// Not a test of its own: this binary as somebody who swaps directories and links, started by [`Racer`].
#[test]
fn stand_in() {
    let Some(dir) = std::env::var_os("RACER_DIR").map(PathBuf::from) else { return };
    let outside = std::env::var_os("RACER_OUTSIDE").map(PathBuf::from).unwrap();
    let (place, trap) = (dir.join("usher"), dir.join("trap"));
    eprintln!("racing");
    if std::env::var_os("RACER_SWAPS").is_some() {
        symlink(&outside, &trap).unwrap();
        loop {
            let _ = renameat2(AT_FDCWD, &place, AT_FDCWD, &trap, RenameFlags::RENAME_EXCHANGE);
        }
    }
    loop {
        let _ = symlink(&outside, &place);
        let _ = fs::remove_file(&place);
        let _ = fs::create_dir(&place);
        let _ = fs::remove_dir(&place);
    }
}

/// Somebody else at work on the path of the socket.
struct Racer(Child);

impl Racer {
    fn start(dir: &Path, outside: &Path, uid: Option<u32>) -> Self {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "socket::race::stand_in", "--nocapture"]);
        command.env("RACER_DIR", dir).env("RACER_OUTSIDE", outside).current_dir("/");
        match uid {
            Some(uid) => _ = command.uid(uid).gid(uid),
            None => _ = command.env("RACER_SWAPS", "1"),
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "racing");
        Self(child)
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It is no race without as many sockets.
const BOUND: usize = 20;

/// Binds at least so many times while a racer swaps, who leads to a directory of this mode: until it came to
/// some sockets, and to errors, too.
fn bind_in_a_race(sandbox: &Sandbox, dir: &Path, outside_mode: u32, racer: Option<u32>, rounds: usize) {
    let outside = sandbox.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    sandbox.chmod(&outside, outside_mode);
    let _racer = Racer::start(dir, &outside, racer);
    let path = dir.join("usher/usher.sock");
    let (mut round, mut bound) = (0, 0);
    while round < rounds || bound < BOUND || bound == round {
        round += 1;
        assert!(round < 100 * rounds, "it came to a socket {bound} times");
        let listener = Listener::bind(&path);
        let strays: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(strays.is_empty(), "round {round}: {strays:?}: {:?}", listener.err());
        bound += usize::from(listener.is_ok());
        drop(listener);
        if racer.is_some() {
            // Once it is there and ours, nobody else can take it away: again from the beginning.
            let _ = fs::remove_dir_all(dir.join("usher"));
        }
    }
    println!("bound {bound} times of {round}");
}

/// Has another user swap the directory on the way while a daemon would bind there, so many times.
pub(crate) fn race_another_user(rounds: usize) {
    if !is_root("a race with another user") {
        return;
    }
    let sandbox = super::bare();
    // As /tmp is: anybody may make something there.
    let shared = sandbox.dir().join("shared");
    fs::create_dir(&shared).unwrap();
    sandbox.chmod(&shared, 0o1777);
    sandbox.chmod(sandbox.dir(), 0o711);
    bind_in_a_race(&sandbox, &shared, 0o700, Some(NOBODY), rounds);
}

#[test]
fn another_user_who_swaps_the_directory_leads_no_socket_astray() {
    race_another_user(300);
}

/// Has somebody swap the directory, who may do that, while a daemon would bind there, so many times.
pub(crate) fn race_ourselves(rounds: usize) {
    let sandbox = super::bare();
    let run = sandbox.dir().join("run");
    fs::create_dir(run.join("usher")).unwrap();
    sandbox.chmod(&run.join("usher"), 0o700);
    // What it leads to is ours as well, and would be refused if it were looked at.
    bind_in_a_race(&sandbox, &run, 0o755, None, rounds);
}

#[test]
fn whoever_swaps_the_directory_leads_no_socket_to_one_that_was_not_checked() {
    race_ourselves(1000);
}

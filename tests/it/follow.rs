//! Tokens that are kept up to date: in files, beside commands, and over gRPC.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]
#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::{
    fs,
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, poll},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        signal::Signal,
    },
};
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{WatchTokenRequest, WatchTokenResponse, watch_token_response::Event},
};
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Reply},
};

use crate::support::{World, frontdoor};

mod trouble;

/// A daemon whose tokens live for so many seconds.
fn short_lived(seconds: u64) -> World {
    short_lived_with(seconds, "")
}

/// The profile has `extra` lines.
fn short_lived_with(seconds: u64, extra: &str) -> World {
    World::with(FakeIdp::builder().expires_in(seconds), |sandbox, ca, idp| frontdoor(sandbox, ca, idp, extra))
}

/// A file, and what happens in its directory.
struct Watched {
    path: PathBuf,
    changes: Inotify,
}

impl Watched {
    fn new(world: &World, name: &str) -> Self {
        let path = world.usherd.file(&format!("tokens/{name}"), "");
        fs::remove_file(&path).unwrap();
        let changes = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let interesting = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        changes.add_watch(path.parent().unwrap(), interesting).unwrap();
        Self { path, changes }
    }

    /// The next contents that are others than `before`.
    fn after(&self, before: &str) -> String {
        let begun = Instant::now();
        loop {
            let now = fs::read_to_string(&self.path).unwrap_or_default();
            if !now.is_empty() && now != before {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing new in {}", self.path.display());
            poll(&mut [PollFd::new(self.changes.as_fd(), PollFlags::POLLIN)], 1000_u16).unwrap();
            let _ = self.changes.read_events();
        }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_token_goes_into_a_file_for_its_owner_alone_or_for_whom_the_mode_says() {
    let world = World::new("");
    let file = Watched::new(&world, "token");
    let output = world.usherd.usher(&["token", "frontdoor", "--output", file.text()]).expect_ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(&file.path).unwrap(), format!("{}\n", world.idp.issued()[0]));
    assert_eq!(mode(&file.path), 0o600);
    let inode = fs::metadata(&file.path).unwrap().ino();
    let args = ["token", "frontdoor", "--output", file.text(), "--mode", "0640", "--json"];
    let _ = world.usherd.usher(&args).expect_ok();
    let facts: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file.path).unwrap()).unwrap();
    assert_eq!(facts["access_token"], world.idp.issued()[0]);
    assert_eq!(mode(&file.path), 0o640);
    assert_ne!(fs::metadata(&file.path).unwrap().ino(), inode, "it was written in place");
    assert_eq!(fs::read_dir(file.path.parent().unwrap()).unwrap().count(), 1, "something was left beside it");
}

#[test]
fn what_cannot_be_written_is_told_and_leaves_the_file_as_it_is() {
    let world = World::new("");
    let nowhere = world.usherd.dir().join("nowhere/token");
    let output = world.usherd.usher(&["token", "frontdoor", "--output", nowhere.to_str().unwrap()]);
    let said = output.expect_code(74).stderr;
    assert!(said.contains("cannot write") && said.contains("nowhere/token"), "{said}");
    for mode in ["0646", "0755", "rw", "0200"] {
        let said = world.usherd.usher(&["token", "frontdoor", "--output", "x", "--mode", mode]);
        assert!(said.expect_code(64).stderr.contains("0640"), "{mode}");
    }
    let _ = world.usherd.usher(&["token", "frontdoor", "--follow"]).expect_code(64);
}

#[test]
fn a_followed_file_holds_the_next_token_before_the_one_in_it_expires() {
    let lifetime = Duration::from_secs(4);
    let world = short_lived(lifetime.as_secs());
    let file = Watched::new(&world, "token");
    let follower = world.usherd.spawn_usher(&["token", "frontdoor", "--output", file.text(), "--follow"]);
    let mut before = file.after("");
    let mut since = Instant::now();
    for number in 1..=3 {
        assert_eq!(before.trim_end(), world.idp.issued()[number - 1]);
        let next = file.after(&before);
        assert!(since.elapsed() < lifetime, "token {number} had expired in the file");
        (before, since) = (next, Instant::now());
    }
    assert!(follower.is_running());
    follower.signal(Signal::SIGTERM);
    assert_eq!(follower.wait().stderr, "");
    assert!(world.idp.token_requests() <= 5, "{}", world.idp.token_requests());
}

#[test]
fn a_followed_file_is_kept_up_though_each_request_uses_the_budget_up() {
    let world = short_lived_with(4, "max_token_requests = \"1/1s\"");
    let file = Watched::new(&world, "token");
    let follower = world.usherd.spawn_usher(&["token", "frontdoor", "--output", file.text(), "--follow"]);
    let first = file.after("");
    let second = file.after(&first);
    assert_eq!(file.after(&second).trim_end(), world.idp.issued()[2]);
    follower.signal(Signal::SIGTERM);
    assert_eq!(follower.wait().stderr, "");
}

#[test]
fn a_follower_outlives_the_daemon_and_says_what_it_waits_for() {
    let world = World::new("");
    let file = Watched::new(&world, "token");
    let follower = world.usherd.spawn_usher(&["token", "frontdoor", "--output", file.text(), "--follow"]);
    let first = file.after("");
    let sandbox = world.usherd.sandbox().clone();
    world.usherd.kill();
    // Once more in silence: a connection may end for less than that.
    follower.wait_for_stderr("looking for usherd again");
    let usherd = sandbox.start();
    let second = file.after(&first);
    assert_eq!(second.trim_end(), world.idp.issued()[1]);
    // A profile that is gone is the end of it.
    usherd.config("");
    let _ = usherd.usher(&["reload"]).expect_ok();
    let said = follower.wait().expect_code(78).stderr;
    assert!(said.contains("looking for usherd again"), "{said}");
    assert!(said.contains("there is no profile \"frontdoor\""), "{said}");
    assert_eq!(fs::read_to_string(&file.path).unwrap(), second, "what is valid stays");
}

#[test]
fn a_command_finds_a_valid_token_in_its_file_for_as_long_as_it_runs() {
    let world = short_lived(4);
    let file = Watched::new(&world, "token");
    // Nothing in the environment; the command is the one that waits for the next token.
    let script = "env | grep -i usher_token; first=$(cat \"$0\"); \
                  while [ \"$(cat \"$0\")\" = \"$first\" ]; do sleep 0.1; done; exit 3";
    let args =
        ["run", "-p", "frontdoor", "--refresh-file", file.text(), "--", "sh", "-c", script, file.text()];
    let output = world.usherd.usher(&args).expect_code(3);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    assert_eq!(world.idp.token_requests(), 2);
    assert!(!file.path.exists(), "it outlived the command");
}

#[test]
fn a_signal_is_the_commands_and_the_file_goes_with_it() {
    let world = World::new("");
    let file = Watched::new(&world, "token");
    let ready = Watched::new(&world, "ready");
    let script =
        "trap 'exit 5' TERM; echo ready > \"$0.new\"; mv \"$0.new\" \"$0\"; while :; do sleep 0.1; done";
    let command = ["sh", "-c", script, ready.text()];
    let args = [&["run", "-p", "frontdoor", "--refresh-file", file.text(), "--"][..], &command].concat();
    let running = world.usherd.spawn_usher(&args);
    ready.after("");
    running.signal(Signal::SIGTERM);
    let _ = running.wait().expect_code(5);
    assert!(!file.path.exists());
    let missing = ["run", "-p", "frontdoor", "--refresh-file", file.text(), "--", "/no/such/program"];
    let said = world.usherd.usher(&missing).expect_code(127).stderr;
    assert!(said.contains("cannot run /no/such/program"), "{said}");
    assert!(!file.path.exists());
}

// --- gRPC ------------------------------------------------------------------------------------------

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn of(profile: &str) -> WatchTokenRequest {
    WatchTokenRequest { profile: profile.to_owned(), ..Default::default() }
}

/// The token of an event that has to be there.
async fn token(events: &mut tonic::Streaming<WatchTokenResponse>) -> String {
    match tokio::time::timeout(PATIENCE, events.message()).await.expect("an event").unwrap().unwrap().event {
        Some(Event::Token(token)) => token.access_token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_watch_is_told_tokens_troubles_and_the_end() {
    let world = short_lived(4);
    block_on(async {
        let connection = world.usherd.connect().await;
        let mut events = connection.tokens().watch_token(of("frontdoor")).await.unwrap().into_inner();
        assert_eq!(token(&mut events).await, world.idp.issued()[0]);
        assert_eq!(token(&mut events).await, world.idp.issued()[1]);
        world.idp.push(Reply::status(503));
        let event = tokio::time::timeout(PATIENCE, events.message()).await.unwrap().unwrap().unwrap().event;
        let Some(Event::Trouble(trouble)) = event else { panic!("{event:?}") };
        assert_eq!(trouble.reason(), ErrorReason::IdpUnavailable);
        assert!(trouble.retry_at.is_some() && trouble.message.contains("503"), "{trouble:?}");
        assert_eq!(token(&mut events).await, world.idp.issued()[2]);
        // A watch does not hold up the end.
        world.usherd.signal(Signal::SIGTERM);
        let end = loop {
            match tokio::time::timeout(PATIENCE, events.message()).await.unwrap() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an end without a reason"),
                Err(status) => break status,
            }
        };
        assert_eq!(end.code(), tonic::Code::Unavailable, "{end}");
    });
    assert_eq!(world.usherd.wait_exit(Duration::from_secs(4)).code(), Some(0));
}

#[test]
fn a_watch_that_begins_during_a_back_off_is_told_the_token_after_it() {
    let world = World::new("");
    world.idp.push(Reply::status(503).header("Retry-After", "2"));
    let _ = world.usherd.usher(&["token", "frontdoor"]).expect_code(69);
    block_on(async {
        let connection = world.usherd.connect().await;
        let mut events = connection.tokens().watch_token(of("frontdoor")).await.unwrap().into_inner();
        let event = tokio::time::timeout(PATIENCE, events.message()).await.unwrap().unwrap().unwrap().event;
        assert!(matches!(event, Some(Event::Trouble(_))), "{event:?}");
        assert_eq!(token(&mut events).await, world.idp.issued()[0]);
    });
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn a_watch_of_nothing_is_refused_and_so_is_one_too_many() {
    let world = World::new("");
    block_on(async {
        let connection = world.usherd.connect().await;
        let refused = connection.tokens().watch_token(of("nobody")).await.unwrap_err();
        assert_eq!(Failure::from(&refused).reason, ErrorReason::ProfileUnknown);
        let mut open = Vec::new();
        for _ in 0..64 {
            open.push(connection.tokens().watch_token(of("frontdoor")).await.unwrap().into_inner());
        }
        for events in &mut open {
            token(events).await;
        }
        let refused = connection.tokens().watch_token(of("frontdoor")).await.unwrap_err();
        assert_eq!(Failure::from(&refused).reason, ErrorReason::RateLimited);
        // One that ends makes room, and calls have room all the time.
        drop(open.pop());
        let begun = Instant::now();
        while connection.tokens().watch_token(of("frontdoor")).await.is_err() {
            assert!(begun.elapsed() < PATIENCE);
        }
    });
    assert_eq!(world.idp.token_requests(), 1);
}

//! `usher status --watch`, on a terminal and off it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]
#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use usher_testkit::{PATIENCE, sandbox::Sandbox};

use crate::support::{World, facts};

const ROWS: u16 = 24;
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// What every frame begins with.
const HOME: &str = "\x1b[H";

/// `usher status ARGS`, not yet started.
fn usher(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = Command::new(sandbox.usher_path());
    command.arg("status").args(args).env_clear().envs(sandbox.env_of_usher()).stdin(Stdio::null());
    command
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// `usher status ARGS` on a terminal of its own.
struct Terminal {
    child: Child,
    written: Receiver<Vec<u8>>,
    /// All that was written so far.
    all: String,
    /// How much of it has been looked at.
    seen: usize,
    sandbox: Sandbox,
}

impl Terminal {
    fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let child = usher(sandbox, args)
            .env("TERM", "xterm")
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave)
            .spawn()
            .unwrap();
        let (sender, written) = channel();
        let mut master = File::from(pty.master);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            // EIO: the last who had the terminal open has gone.
            while let Ok(read @ 1..) = master.read(&mut chunk) {
                if sender.send(chunk[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, written, all: String::new(), seen: 0, sandbox: sandbox.clone() }
    }

    /// The next whole frame that is as it should be; each is looked at once.
    fn frame(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            while let Some(end) = self.all[self.seen..].find("\x1b[J").map(|end| self.seen + end) {
                let frame = self.all[self.seen..end].rsplit(HOME).next().unwrap().to_owned();
                self.seen = end + 1;
                if wanted(&frame) {
                    return frame;
                }
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let more = self.written.recv_timeout(left);
            let more = more.unwrap_or_else(|_| panic!("no such frame in {:?}", self.all));
            self.all.push_str(&String::from_utf8_lossy(&more));
        }
    }

    /// Stops it as Ctrl-Z does, and answers how it left the terminal.
    fn stop(&mut self) -> String {
        signal(&self.child, Signal::SIGTSTP);
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
        while !self.all[self.seen..].ends_with(LEAVE) {
            let more = self.written.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|_| panic!("it is still on its screen: {:?}", self.all));
            self.all.push_str(&String::from_utf8_lossy(&more));
        }
        self.seen = self.all.len();
        self.all.clone()
    }

    /// Ends it by a signal; its exit code, and all that it wrote.
    fn end(mut self, by: Signal) -> (Option<i32>, String) {
        signal(&self.child, by);
        while let Ok(more) = self.written.recv_timeout(PATIENCE) {
            self.all.push_str(&String::from_utf8_lossy(&more));
        }
        self.sandbox.leaks().note("a terminal", &self.all);
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.all))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_redraws_in_place_and_gives_the_terminal_back() {
    let world = World::new("");
    for (by, code) in [(Signal::SIGINT, 0), (Signal::SIGTERM, 143)] {
        let _ = world.usherd.usher(&["forget", "frontdoor"]).expect_ok();
        let mut terminal = Terminal::start(&world.usherd, &["--watch", "100ms"]);
        let first = terminal.frame(|frame| frame.contains("frontdoor"));
        assert!(first.starts_with("every 100ms, Ctrl-C ends it"), "{first:?}");
        assert!(first.contains("none") && !first.contains("fresh"), "{first:?}");
        facts(&world.usherd, &["frontdoor"]);
        let _ = terminal.frame(|frame| frame.contains("fresh"));
        let (ended, all) = terminal.end(by);
        assert_eq!(ended, Some(code), "{all:?}");
        assert!(all.starts_with(ENTER) && all.ends_with(LEAVE), "{all:?}");
        assert_eq!((all.matches(ENTER).count(), all.matches(LEAVE).count()), (1, 1));
        for frame in all.split(HOME).skip(1) {
            assert!(frame.matches('\n').count() < usize::from(ROWS), "it scrolls: {frame:?}");
        }
    }
}

#[test]
fn a_watch_that_is_stopped_gives_the_terminal_back_until_it_goes_on() {
    let world = World::new("");
    let mut terminal = Terminal::start(&world.usherd, &["--watch", "100ms"]);
    let _ = terminal.frame(|frame| frame.contains("frontdoor"));
    assert_eq!(terminal.stop().matches(ENTER).count(), 1);
    signal(&terminal.child, Signal::SIGCONT);
    let _ = terminal.frame(|frame| frame.contains("frontdoor"));
    let (ended, all) = terminal.end(Signal::SIGINT);
    assert_eq!((ended, all.matches(ENTER).count(), all.matches(LEAVE).count()), (Some(0), 2, 2), "{all:?}");
}

#[test]
fn more_than_the_window_holds_is_cut_and_counted() {
    let world = World::with(usher_testkit::idp::FakeIdp::builder(), |sandbox, ca, idp| {
        (0..40).map(|number| crate::support::named(&format!("p{number}"), sandbox, ca, idp, "")).collect()
    });
    let mut terminal = Terminal::start(&world.usherd, &["--watch"]);
    let frame = terminal.frame(|frame| frame.contains("p0"));
    assert_eq!(frame.matches('\n').count() + 1, usize::from(ROWS), "{frame:?}");
    assert!(frame.lines().last().unwrap().contains("more lines: a taller window shows them"), "{frame:?}");
    assert_eq!(terminal.end(Signal::SIGINT).0, Some(0));
}

#[test]
fn a_watch_outlives_the_daemon_says_why_and_starts_none() {
    let world = World::new("");
    let sandbox = world.usherd.sandbox().clone();
    facts(&sandbox, &["frontdoor"]);
    let mut terminal = Terminal::start(&sandbox, &["--watch", "100ms"]);
    let _ = terminal.frame(|frame| frame.contains("fresh"));
    let _ = world.usherd.stop();
    let gone = terminal.frame(|frame| frame.contains("usherd is not running"));
    assert!(gone.contains("looked for again; what it said last"), "{gone:?}");
    assert!(gone.contains("fresh"), "what was known is still there: {gone:?}");
    // Several looks later nobody has started one.
    for _ in 0..5 {
        let _ = terminal.frame(|frame| frame.contains("usherd is not running"));
    }
    assert!(!sandbox.socket().exists());
    let usherd = sandbox.start();
    let pid = format!("pid {}", usherd.pid());
    let back = terminal.frame(|frame| frame.contains(&pid));
    assert!(!back.contains("looked for again") && back.contains("none"), "{back:?}");
    assert_eq!(terminal.end(Signal::SIGINT).0, Some(0));
}

#[test]
fn off_a_terminal_there_is_a_line_of_json_each_time_and_nothing_else() {
    let world = World::new("");
    let told = world.usherd.usher(&["status", "--watch"]).expect_code(64);
    assert!(told.stdout.is_empty() && told.stderr.contains("usher status --watch --json"), "{}", told.stderr);

    let sandbox = world.usherd.sandbox().clone();
    let mut child = usher(&sandbox, &["--watch", "100ms", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value {
        let line = lines.next().unwrap().unwrap();
        assert!(!line.contains('\x1b'), "{line}");
        serde_json::from_str(&line).unwrap()
    };
    for _ in 0..3 {
        assert_eq!(next()["profiles"][0]["name"], "frontdoor");
    }
    let before = world.usherd.pid();
    let _ = world.usherd.stop();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let warning: serde_json::Value = serde_json::from_str(&errors.next().unwrap().unwrap()).unwrap();
    assert!(warning["warning"].as_str().unwrap().contains("looking for usherd again"), "{warning}");
    let usherd = sandbox.start();
    let begun = Instant::now();
    while next()["pid"] == before {
        assert!(begun.elapsed() < PATIENCE + Duration::from_secs(1));
    }
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    drop(usherd);
}

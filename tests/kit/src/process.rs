//! A child process watched by threads: its output in memory, its exit a state to wait for.

use std::{
    io::{Read, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{self, Signal},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use crate::{PATIENCE, watched::Watched};

/// How long the pipes of a process that is gone may stay open in the hands of its children.
const PIPES_CLOSE: Duration = Duration::from_secs(5);

/// What a finished process left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to stdout.
    pub stdout: String,
    /// All it wrote to stderr.
    pub stderr: String,
}

impl Output {
    /// The exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Itself if it exited 0; panics with its stderr if not.
    #[must_use]
    pub fn expect_ok(self) -> Self {
        assert!(self.status.success(), "{}\n{}", self.status, self.stderr);
        self
    }

    /// Itself if it exited with `code`; panics with its stderr if not.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}\n{}", self.status, self.stderr);
        self
    }
}

/// What the child reads.
#[derive(Debug)]
pub(crate) enum Input {
    Nothing,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, and no end as long as the process is held.
    KeepOpen(Vec<u8>),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    exit: Option<ExitStatus>,
    open_pipes: usize,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// systemd's `READY=1` has come.
    pub(crate) ready: bool,
}

impl State {
    pub(crate) fn exit(&self) -> Option<ExitStatus> {
        self.exit
    }
}

/// A child process. Killed when it is dropped before it has ended.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    state: Arc<Watched<State>>,
    _stdin: Option<ChildStdin>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command, input: Input) -> std::io::Result<Self> {
        let stdin = if matches!(input, Input::Nothing) { Stdio::null() } else { Stdio::piped() };
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let state = Arc::new(Watched::new(State { open_pipes: 2, ..State::default() }));
        collect(child.stdout.take().expect("piped"), &state, |state| &mut state.stdout);
        collect(child.stderr.take().expect("piped"), &state, |state| &mut state.stderr);
        let stdin = child.stdin.take().and_then(|stdin| feed(stdin, input));
        watch_exit(child, pid, &state);
        Ok(Self { pid, state, _stdin: stdin })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn state(&self) -> &Arc<Watched<State>> {
        &self.state
    }

    /// Sends a signal; does nothing if the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        // Under the lock nobody reaps the child, so its pid cannot be somebody else's.
        self.state.read(|state| {
            if state.exit.is_none() {
                signal::kill(self.pid, signal).expect("signal a child");
            }
        });
    }

    /// Kills it after that time, unless it has ended by then.
    pub(crate) fn kill_after(&self, span: Duration) {
        let (pid, state) = (self.pid, Arc::clone(&self.state));
        thread::spawn(move || {
            // A moment, not a wait for anything.
            thread::sleep(span);
            // Under the lock, as in `signal`.
            state.read(|state| {
                if state.exit.is_none() {
                    signal::kill(pid, Signal::SIGKILL).expect("kill a child");
                }
            });
        });
    }

    pub(crate) fn wait_exit(&self, timeout: Duration) -> Option<ExitStatus> {
        self.state.wait(timeout, State::exit)
    }

    /// Waits for the end and takes what was written. `None` when it does not end.
    pub(crate) fn output(&self, timeout: Duration) -> Option<Output> {
        let status = self.wait_exit(timeout)?;
        self.state.wait(PIPES_CLOSE, |state| (state.open_pipes == 0).then_some(()));
        Some(self.state.read(|state| Output {
            status,
            stdout: text(&state.stdout),
            stderr: text(&state.stderr),
        }))
    }

    /// The command line and environment of the process and its children, where `/proc` shows them.
    pub(crate) fn snapshot(&self) -> Vec<(String, String)> {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid));
        let children = children.unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        let mut seen = Vec::new();
        for pid in std::iter::once(self.pid.as_raw()).chain(pids) {
            for file in ["cmdline", "environ"] {
                if let Ok(bytes) = std::fs::read(format!("/proc/{pid}/{file}")) {
                    seen.push((file.to_owned(), text(&bytes)));
                }
            }
        }
        seen
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.state.read(|state| state.exit.is_none()) {
            self.signal(Signal::SIGKILL);
            self.wait_exit(PATIENCE);
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn collect(
    mut pipe: impl Read + Send + 'static,
    state: &Arc<Watched<State>>,
    buffer: fn(&mut State) -> &mut Vec<u8>,
) {
    let state = Arc::clone(state);
    thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            state.update(|state| buffer(state).extend_from_slice(&chunk[..read]));
        }
        state.update(|state| state.open_pipes -= 1);
    });
}

fn feed(mut stdin: ChildStdin, input: Input) -> Option<ChildStdin> {
    match input {
        Input::Nothing => None,
        Input::Bytes(bytes) => {
            // A child that does not read is no error here.
            thread::spawn(move || stdin.write_all(&bytes));
            None
        }
        Input::KeepOpen(bytes) => {
            stdin.write_all(&bytes).expect("write to a child");
            Some(stdin)
        }
    }
}

fn watch_exit(mut child: Child, pid: Pid, state: &Arc<Watched<State>>) {
    let state = Arc::clone(state);
    thread::spawn(move || {
        // Waits without reaping, and reaps under the lock: see `signal`.
        while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        state.update(|state| {
            state.exit = Some(child.wait().unwrap_or_else(|_| ExitStatus::from_raw(-1)));
        });
    });
}

//! A running daemon in a sandbox: from systemd's readiness signal to its exit.

use std::{
    fmt, fs,
    ops::Deref,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use usher_proto::client::Connection;

use crate::{
    PATIENCE,
    process::{Output, Process, State, text},
    sandbox::Sandbox,
    watched::Watched,
};

pub use self::launch::Launch;

mod launch;
#[cfg(test)]
mod tests;

/// How long the daemon may take to finish what is in flight.
const STOP: Duration = Duration::from_secs(20);

/// Tells the thread that reads notifications to end.
const END: &[u8] = b"X-END=1";

/// A daemon that is ready. Stopped with SIGTERM when it is dropped, which fails the test if it does not obey.
///
/// It is also its sandbox: `usherd.usher(&["token", "frontdoor"])`.
#[derive(Debug)]
pub struct Usherd {
    process: Process,
    /// Itself, where the process is another program that waits for it.
    child: Option<Pid>,
    notify: Notify,
    sandbox: Sandbox,
}

/// A daemon that ended, or said nothing, before it was ready.
#[derive(Debug, Clone)]
pub struct StartFailure {
    /// How it ended; `None` if it did not.
    pub status: Option<ExitStatus>,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "usherd ended before it was ready: {status}\n{}", self.stderr),
            None => write!(f, "usherd was not ready within {PATIENCE:?}\n{}", self.stderr),
        }
    }
}

impl std::error::Error for StartFailure {}

impl Usherd {
    /// The sandbox it runs in, to use after it has stopped.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.unwrap_or_else(|| self.process.pid()).as_raw().unsigned_abs()
    }

    /// Its end; none while it runs.
    pub fn exit(&self) -> Option<ExitStatus> {
        self.process.state().read(State::exit)
    }

    /// Sends it a signal; does nothing if it has ended.
    pub fn signal(&self, signal: Signal) {
        match self.child {
            // Gone or not: it is reaped by a parent that ends with it.
            Some(child) if self.exit().is_none() => drop(signal::kill(child, signal)),
            Some(_) => {}
            None => self.process.signal(signal),
        }
    }

    /// Waits for its end; panics when it does not come.
    pub fn wait_exit(&self, timeout: Duration) -> ExitStatus {
        self.process.wait_exit(timeout).unwrap_or_else(|| panic!("usherd did not end within {timeout:?}"))
    }

    /// Stops it as systemd does, and tells how it ended and what it said.
    pub fn stop(self) -> Output {
        self.take_snapshot();
        self.signal(Signal::SIGTERM);
        self.process.output(STOP).unwrap_or_else(|| panic!("usherd did not end within {STOP:?} of SIGTERM"))
    }

    /// Kills it, as a power cut would.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.wait_exit(PATIENCE);
    }

    /// Its log until now.
    pub fn stderr_so_far(&self) -> String {
        self.process.state().read(|state| text(&state.stderr))
    }

    /// Waits until its log holds `needle`; panics with the log's end when it never does.
    pub fn wait_for_log(&self, needle: &str, timeout: Duration) {
        let mut from = 0;
        let found = self.process.state().wait(timeout, |state| {
            let seen = &state.stderr[from..];
            let found = seen.windows(needle.len()).any(|window| window == needle.as_bytes());
            from = state.stderr.len().saturating_sub(needle.len());
            found.then_some(())
        });
        if found.is_none() {
            let log = self.stderr_so_far();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            panic!("usherd's log has no {needle:?} after {timeout:?}; it ends:\n{}", tail.join("\n"));
        }
    }

    /// Starts another daemon in the same sandbox, which has to end by itself.
    pub fn start_second(&self) -> Output {
        self.sandbox.usherd(&["--log-level", "trace"])
    }

    /// A gRPC connection to it. Within a tokio runtime.
    pub async fn connect(&self) -> Connection {
        let uid = nix::unistd::geteuid().as_raw();
        Connection::open(&self.sandbox.socket(), uid).await.expect("connect to usherd")
    }

    fn take_snapshot(&self) {
        for (file, contents) in self.process.snapshot() {
            self.sandbox
                .leaks()
                .note(&format!("usherd's /proc {file}"), self.sandbox.without_declared(&contents));
        }
    }
}

impl Deref for Usherd {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for Usherd {
    fn drop(&mut self) {
        let mut obeyed = true;
        if self.process.state().read(|state| state.exit().is_none()) {
            self.take_snapshot();
            self.signal(Signal::SIGTERM);
            obeyed = self.process.wait_exit(STOP).is_some();
        }
        if !obeyed {
            self.signal(Signal::SIGKILL);
        }
        if let Some(output) = self.process.output(PATIENCE) {
            self.sandbox.leaks().note("usherd stdout", output.stdout);
            self.sandbox.leaks().note("usherd stderr", output.stderr);
        }
        self.notify.end();
        assert!(obeyed || thread::panicking(), "usherd did not end within {STOP:?} of SIGTERM");
    }
}

/// systemd's side of `sd_notify(3)`.
#[derive(Debug)]
struct Notify {
    address: PathBuf,
}

impl Notify {
    fn listen(socket: UnixDatagram, address: PathBuf, state: &Arc<Watched<State>>) -> Self {
        let state = Arc::clone(state);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Descriptors that come along (BARRIER=1) are closed by the kernel: nobody asked for them.
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = &buffer[..length];
                if message == END {
                    break;
                }
                if message.split(|&byte| byte == b'\n').any(|line| line == b"READY=1") {
                    state.update(|state| state.ready = true);
                }
            }
        });
        Self { address }
    }

    fn end(&self) {
        let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(END, &self.address));
        let _ = self.address.parent().map(fs::remove_dir_all::<&Path>);
    }
}

//! How a daemon is started, from its arguments to its readiness signal.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, lchown},
        net::UnixDatagram,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::Pid;

use super::{Notify, StartFailure, Usherd};
use crate::{
    PATIENCE,
    process::{Input, Process},
    sandbox::Sandbox,
    vitals,
};

/// A daemon about to be started: `sandbox.launch().log_level("info").start()`.
#[derive(Debug)]
#[must_use]
pub struct Launch {
    sandbox: Sandbox,
    wrapper: Vec<String>,
    args: Vec<String>,
    log_level: String,
    uid: Option<u32>,
    killed_after: Option<Duration>,
}

impl Sandbox {
    /// Starts usherd and waits until it is ready; panics with its stderr if it ends instead.
    pub fn start(&self) -> Usherd {
        self.try_start(&[]).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Starts usherd with more arguments (`--log-format json`) and waits until it is ready.
    pub fn try_start(&self, args: &[&str]) -> Result<Usherd, StartFailure> {
        self.launch().args(args).start()
    }

    /// Starts usherd by another program ([`Launch::by`]) and waits until it is ready.
    pub fn start_under(&self, wrapper: &[&str]) -> Usherd {
        self.launch().by(wrapper).start().unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Another way to start usherd than [`Sandbox::start`].
    pub fn launch(&self) -> Launch {
        let log_level = "trace".to_owned();
        let (wrapper, args) = (Vec::new(), Vec::new());
        Launch { sandbox: self.clone(), wrapper, args, log_level, uid: None, killed_after: None }
    }
}

impl Launch {
    /// More arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Another log level than `trace`.
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Started by a program that executes the rest of its arguments, in its own place (`strace -D`, `prlimit`) or as
    /// its child (`strace -f`).
    pub fn by(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Killed by SIGKILL so soon after its start, ready or not.
    pub fn killed_after(mut self, span: Duration) -> Self {
        self.killed_after = Some(span);
        self
    }

    /// As another user, who gets the sandbox with all that is in it. For root alone.
    pub fn as_user(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Result<Usherd, StartFailure> {
        let Self { sandbox, wrapper, args, log_level, uid, killed_after } = self;
        let program = if uid.is_some() { copy(&sandbox) } else { sandbox.usherd_path().to_owned() };
        let mut command = sandbox.usherd_command_by(&wrapper, &program);
        // A sandbox may have had a daemon before.
        let place = tempfile::Builder::new().prefix("n").tempdir_in(sandbox.dir()).expect("a directory");
        let address = place.keep().join("notify");
        let socket = UnixDatagram::bind(&address).expect("bind the notification socket");
        command.args(["--log-level", &log_level]).args(args).env("NOTIFY_SOCKET", &address);
        if let Some(uid) = uid {
            give(sandbox.dir(), uid);
            command.uid(uid).gid(uid);
        }
        let process = Process::spawn(command, Input::Nothing).expect("start usherd");
        if let Some(span) = killed_after {
            process.kill_after(span);
        }
        let notify = Notify::listen(socket, address, process.state());
        let mut usherd = Usherd { process, child: None, notify, sandbox };
        usherd.take_snapshot();
        let ended = usherd.process.state().wait(PATIENCE, |state| match (state.ready, state.exit()) {
            (_, Some(status)) => Some(Some(status)),
            (true, None) => Some(None),
            (false, None) => None,
        });
        match ended {
            Some(None) => {
                let children = vitals::children(usherd.pid());
                usherd.child = children.first().filter(|_| !wrapper.is_empty()).copied().map(Pid::from_raw);
                usherd.take_snapshot();
                Ok(usherd)
            }
            Some(Some(status)) => {
                let stderr = usherd.process.output(PATIENCE).map(|output| output.stderr).unwrap_or_default();
                Err(StartFailure { status: Some(status), stderr })
            }
            None => {
                let stderr = usherd.stderr_so_far();
                usherd.kill();
                Err(StartFailure { status: None, stderr })
            }
        }
    }
}

/// The program where any user can run it.
fn copy(sandbox: &Sandbox) -> PathBuf {
    let program = sandbox.dir().join("usherd");
    if !program.exists() {
        fs::copy(sandbox.usherd_path(), &program).expect("copy usherd");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    program
}

fn give(path: &Path, uid: u32) {
    lchown(path, Some(uid), Some(uid)).expect("chown");
    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        for entry in fs::read_dir(path).expect("a directory").flatten() {
            give(&entry.path(), uid);
        }
    }
}

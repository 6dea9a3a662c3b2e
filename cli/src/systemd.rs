//! The user's systemd: whether there is one, and its `systemctl`.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::caller::Caller;

/// `systemctl` by its own path, never by PATH.
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// A user's systemd that runs.
pub(crate) struct UserManager {
    systemctl: &'static str,
    runtime: PathBuf,
}

impl UserManager {
    /// The caller's, by `XDG_RUNTIME_DIR`, else by `/run/user/UID`: a cron job has no such variable.
    pub(crate) fn find(caller: &Caller<'_>) -> Option<Self> {
        let runtime = match caller.var("XDG_RUNTIME_DIR").map(PathBuf::from) {
            Some(named) => named,
            None => default_runtime()?,
        };
        let systemctl = SYSTEMCTL.into_iter().find(|path| Path::new(path).exists())?;
        // Where it listens for systemctl.
        let runs = runtime.is_absolute() && runtime.join("systemd/private").exists();
        runs.then_some(Self { systemctl, runtime })
    }

    /// Where usherd's units have their socket: `%t/usher/usher.sock`.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime.join("usher/usher.sock")
    }

    /// The exit code of a service that has failed; none if it has not.
    pub(crate) fn failure(&self, service: &str) -> Option<i32> {
        let shown = self
            .systemctl()
            .args(["--property", "ActiveState,ExecMainStatus", "show", service])
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let shown = String::from_utf8(shown.stdout).ok()?;
        let value = |name| shown.lines().find_map(|line| line.strip_prefix(name));
        (value("ActiveState=") == Some("failed")).then(|| value("ExecMainStatus=")?.parse().ok())?
    }

    /// `systemctl --user`, to be given more, with nothing of the caller's environment but the way to systemd.
    pub(crate) fn systemctl(&self) -> Command {
        let mut command = Command::new(self.systemctl);
        command
            .args(["--user", "--quiet", "--no-ask-password", "--no-pager"])
            .env_clear()
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .stdin(Stdio::null());
        command
    }
}

fn default_runtime() -> Option<PathBuf> {
    let uid = nix::unistd::geteuid().as_raw();
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    let ours = runtime.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == uid);
    ours.then_some(runtime)
}

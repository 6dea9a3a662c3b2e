//! The user's systemd: whether there is one, and its `systemctl`.

use std::{
    collections::HashMap,
    fmt,
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

    /// What it knows about a unit, which need not exist; none if it does not answer.
    pub(crate) fn show(&self, unit: &str) -> Option<Shown> {
        let shown = self
            .systemctl()
            .args(["--property", "LoadState,ActiveState,Result,ExecMainCode,ExecMainStatus", "show", unit])
            .stderr(Stdio::null())
            .output()
            .ok()?;
        shown.status.success().then(|| Shown::parse(&String::from_utf8_lossy(&shown.stdout)))
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

/// Properties of a unit, as `systemctl show` prints them.
#[derive(Debug)]
pub(crate) struct Shown(HashMap<String, String>);

impl Shown {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Self(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Empty if systemd says nothing about it.
    pub(crate) fn get(&self, property: &str) -> &str {
        self.0.get(property).map_or("", String::as_str)
    }

    /// How it failed, if it has failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        (self.get("ActiveState") == "failed").then(|| Failure {
            result: self.get("Result").to_owned(),
            // CLD_EXITED of wait(2).
            exited: self.get("ExecMainCode") == "1",
            status: self.get("ExecMainStatus").parse().unwrap_or_default(),
        })
    }
}

/// How a unit failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// systemd's word for it.
    result: String,
    /// Its process has exited, and was not killed.
    exited: bool,
    /// The exit code, or the signal.
    status: i32,
}

impl Failure {
    /// The exit code of a process that was not content.
    pub(crate) fn code(&self) -> Option<i32> {
        (self.exited && self.status != 0).then_some(self.status)
    }
}

/// As the rest of a sentence.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, exited, status } = self;
        match self.code() {
            // systemd.exec(5), "Process exit codes": systemd's own, from before usherd's first step.
            Some(203) => f.write_str("it cannot be executed (203/EXEC): is the program of the unit there?")?,
            Some(243) => f.write_str(
                "its credentials cannot be handed over (243/CREDENTIALS): is each file of LoadCredential= there?",
            )?,
            Some(code) => write!(f, "it ends with exit code {code}")?,
            None if !exited && *status != 0 => write!(f, "it is killed by signal {status}")?,
            None if result == "start-limit-hit" => f.write_str("it was started too often in a short time")?,
            None => return write!(f, "{result}"),
        }
        // What follows from the code needs no other word.
        if ["exit-code", "signal"].contains(&&**result) { Ok(()) } else { write!(f, " ({result})") }
    }
}

fn default_runtime() -> Option<PathBuf> {
    let uid = nix::unistd::geteuid().as_raw();
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    let ours = runtime.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == uid);
    ours.then_some(runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_the_words_of_systemd() {
        let told = |result: &str, code: i32, status: i32| {
            let shown = format!(
                "ActiveState=failed\nResult={result}\nExecMainCode={code}\nExecMainStatus={status}\n"
            );
            Shown::parse(&shown).failure().unwrap().to_string()
        };
        assert_eq!(told("exit-code", 1, 78), "it ends with exit code 78");
        assert_eq!(told("start-limit-hit", 1, 78), "it ends with exit code 78 (start-limit-hit)");
        assert_eq!(
            told("start-limit-hit", 1, 0),
            "it was started too often in a short time (start-limit-hit)"
        );
        assert!(told("exit-code", 1, 203).contains("203/EXEC"));
        assert_eq!(told("signal", 2, 9), "it is killed by signal 9");
        assert_eq!(told("watchdog", 3, 6), "it is killed by signal 6 (watchdog)");
        assert_eq!(told("service-start-limit-hit", 0, 0), "service-start-limit-hit");
        assert!(Shown::parse("ActiveState=inactive\nExecMainStatus=78\n").failure().is_none());
    }
}

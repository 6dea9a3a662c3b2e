//! What the user's systemd is asked about usherd's units, and told to do with them.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use crate::{
    caller::Caller,
    error::Error,
    systemd::{Shown, UserManager},
};

/// What is asked for.
const PROPERTIES: &str = "LoadState,ActiveState,UnitFileState,FragmentPath,MainPID,ActiveEnterTimestamp,Result,\
                          ExecMainCode,ExecMainStatus,ExecMainStartTimestamp";

/// The caller's, or why there is none and what to do instead.
pub(super) fn find(caller: &Caller<'_>) -> Result<UserManager, Error> {
    UserManager::find(caller).ok_or_else(|| Error::Service {
        message:
            "no systemd runs for this user: there is none in containers, and under `su` or `sudo`, where \
                  nobody has logged in"
                .to_owned(),
        hint: Some(
            "do without: `usher token` starts usherd by itself; or log in as this user, or have root say \
             `loginctl enable-linger USER`"
                .to_owned(),
        ),
    })
}

/// What systemd knows about a unit.
#[derive(Debug)]
pub(super) struct State(Shown);

impl State {
    /// Runs, or listens.
    pub(super) fn is_active(&self) -> bool {
        ["active", "activating", "reloading"].contains(&self.active())
    }

    /// `active`, `inactive`, `failed` and so on.
    pub(super) fn active(&self) -> &str {
        self.get("ActiveState")
    }

    /// Starts with the session.
    pub(super) fn is_enabled(&self) -> bool {
        self.get("UnitFileState") == "enabled"
    }

    /// The file that systemd has read.
    pub(super) fn file(&self) -> &str {
        self.get("FragmentPath")
    }

    /// The process, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid != 0)
    }

    /// Since when it is active, in epoch seconds.
    pub(super) fn since(&self) -> Option<i64> {
        self.get("ActiveEnterTimestamp").strip_prefix('@')?.parse().ok().filter(|_| self.is_active())
    }

    /// When its process was started, in epoch seconds.
    pub(super) fn started(&self) -> Option<i64> {
        self.get("ExecMainStartTimestamp").strip_prefix('@')?.parse().ok()
    }

    /// How it failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.0.failure().map(|failure| failure.to_string())
    }

    fn get(&self, property: &str) -> &str {
        self.0.get(property)
    }
}

impl UserManager {
    /// Asks about a unit, which need not exist.
    pub(super) fn state(&self, unit: &str) -> Result<State, Error> {
        // @ and epoch seconds: whatever language and time zone the user's systemd has.
        let output = self.call(&["--timestamp=unix", "--property", PROPERTIES, "show", unit])?;
        Ok(State(Shown::parse(&output)))
    }

    /// `systemctl --user ARGS`; an error says what it said.
    pub(super) fn call(&self, args: &[&str]) -> Result<String, Error> {
        let Output { status, stdout, stderr } = self
            .systemctl()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .map_err(|source| Error::System { what: "cannot run systemctl", source })?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&stderr).trim().to_owned();
        let said = if said.is_empty() { format!("it failed ({status})") } else { said };
        Err(Error::Service {
            message: format!("`systemctl --user {}`: {said}", args.join(" ")),
            hint: Some("`systemctl --user status usherd.socket usherd.service` says more".to_owned()),
        })
    }
}

/// Whether the user's systemd runs without a session, too: logind keeps a file for each user for whom it does
/// (loginctl(1), `enable-linger`). Unknown where users have no names.
pub(super) fn lingers() -> Option<(String, bool)> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??;
    let flag = Path::new("/var/lib/systemd/linger").join(&user.name);
    Some((user.name, flag.exists()))
}

/// What it means that the user's systemd ends with the last session.
pub(super) fn without_linger(user: &str) -> String {
    format!(
        "linger is off: usherd ends when {user} logs out, and cron jobs then start an usherd of their own; \
         `loginctl enable-linger` keeps this one running"
    )
}

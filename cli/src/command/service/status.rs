//! `usher service status`: what is installed, what runs, and for how long.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

use super::{
    manager::{self, State, lingers, without_linger},
    units::{Found, SERVICE, SOCKET, units},
};
use crate::{
    args::ServiceStatus,
    caller::{Caller, printable},
    command::answer_json,
    error::Error,
    exit,
    time::{distance, now},
};

pub(super) fn run(args: &ServiceStatus, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.json);
    let facts = Facts::ask(caller)?;
    if args.json {
        answer_json(&facts, caller)?;
    } else {
        caller.answer(&printable(&human(&facts, now())))?;
    }
    Ok(exit::OK)
}

#[derive(Serialize)]
struct Facts {
    installed: bool,
    enabled: bool,
    active: bool,
    socket: String,
    usherd: Option<String>,
    pid: Option<u32>,
    units: Vec<UnitFacts>,
    user: Option<String>,
    linger: Option<bool>,
}

#[derive(Serialize)]
struct UnitFacts {
    name: &'static str,
    /// What systemd reads; null if there is no such unit.
    path: Option<String>,
    /// It is a file of `usher service install`.
    ours: bool,
    /// The file was removed, and systemd has not noticed.
    gone: bool,
    enabled: bool,
    /// systemd's word.
    state: String,
    since: Option<i64>,
    failure: Option<String>,
}

impl Facts {
    fn ask(caller: &Caller<'_>) -> Result<Self, Error> {
        let manager = manager::find(caller)?;
        let (mut facts, mut usherd, mut pid) = (Vec::new(), None, None);
        for unit in units(caller)? {
            let (state, found) = (manager.state(unit.name)?, unit.found()?);
            if unit.name == SERVICE {
                pid = state.pid();
                usherd = exec_start(state.file());
            }
            facts.push(UnitFacts::of(unit.name, &state, matches!(found, Found::Ours(_))));
        }
        let socket = facts.iter().find(|unit| unit.name == SOCKET);
        let linger = lingers();
        Ok(Self {
            installed: facts.iter().all(|unit| unit.path.is_some()),
            enabled: socket.is_some_and(|unit| unit.enabled),
            active: socket.is_some_and(|unit| unit.state == "active"),
            socket: manager.socket().display().to_string(),
            usherd,
            pid,
            units: facts,
            linger: linger.as_ref().map(|(_, on)| *on),
            user: linger.map(|(user, _)| user),
        })
    }
}

impl UnitFacts {
    fn of(name: &'static str, state: &State, ours: bool) -> Self {
        Self {
            name,
            path: Some(state.file().to_owned()).filter(|path| !path.is_empty()),
            ours,
            gone: !state.file().is_empty() && !Path::new(state.file()).exists(),
            enabled: state.is_enabled(),
            state: state.active().to_owned(),
            since: state.since(),
            failure: state.failure(),
        }
    }
}

/// The program that a unit file starts.
fn exec_start(file: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="))?;
    Some(line.split_whitespace().next()?.replace("%%", "%"))
}

fn human(facts: &Facts, now: i64) -> String {
    let mut text = String::new();
    for unit in &facts.units {
        let Some(path) = &unit.path else {
            let _ = writeln!(text, "{}: not installed", unit.name);
            continue;
        };
        let _ = write!(text, "{}: {}", unit.name, unit.state);
        if let Some(since) = unit.since {
            let _ = write!(text, ", started {}", distance(since, now));
        }
        if unit.name == SOCKET {
            text.push_str(if unit.enabled { ", enabled" } else { ", not enabled" });
        }
        let whose = match (unit.gone, unit.ours) {
            (true, _) => {
                ", which is gone: `usher service install` writes it anew, `uninstall` takes back the rest"
            }
            (false, true) => "",
            (false, false) => " (not of `usher service install`)",
        };
        let _ = writeln!(text, ", {path}{whose}");
        if let Some(failure) = &unit.failure {
            let _ = writeln!(text, "  it failed: {failure}; `journalctl --user -u {}` says why", unit.name);
        }
    }
    if !facts.installed {
        text.push_str("`usher service install` has systemd start usherd with the first call\n");
        return text;
    }
    if let Some(usherd) = &facts.usherd {
        let _ = write!(text, "usherd: {usherd}");
        let _ = match facts.pid {
            Some(pid) => writeln!(text, ", pid {pid}"),
            None if facts.active => writeln!(text, ", starts with the next call on {}", facts.socket),
            None => writeln!(text, ", not running"),
        };
    }
    match (facts.linger, &facts.user) {
        (Some(true), _) => text.push_str("linger is on: usherd also runs while nobody is logged in\n"),
        (Some(false), Some(user)) => {
            let _ = writeln!(text, "{}", without_linger(user));
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &'static str, state: &str) -> UnitFacts {
        UnitFacts {
            name,
            path: Some(format!("/u/{name}")),
            ours: true,
            gone: false,
            enabled: name == SOCKET,
            state: state.to_owned(),
            since: (state == "active").then_some(1000),
            failure: (state == "failed").then(|| "exit-code, exit code 78".to_owned()),
        }
    }

    fn facts(service: &str) -> Facts {
        Facts {
            installed: true,
            enabled: true,
            active: true,
            socket: "/run/user/1/usher/usher.sock".to_owned(),
            usherd: Some("/opt/usherd".to_owned()),
            pid: (service == "active").then_some(7),
            units: vec![unit(SOCKET, "active"), unit(SERVICE, service)],
            user: Some("alice".to_owned()),
            linger: Some(false),
        }
    }

    #[test]
    fn people_read_what_runs_and_until_when() {
        let text = human(&facts("inactive"), 1060);
        assert!(text.starts_with("usherd.socket: active, started 1m ago (1000), enabled, "), "{text}");
        assert!(text.contains("/u/usherd.socket\nusherd.service: inactive, /u/usherd.service\n"), "{text}");
        assert!(text.contains("/opt/usherd, starts with the next call on /run/user/1/"), "{text}");
        assert!(text.contains("linger is off") && text.contains("loginctl enable-linger"), "{text}");
        assert!(human(&facts("active"), 1060).contains("/opt/usherd, pid 7\n"));
        assert!(
            human(&facts("failed"), 1060).contains("exit code 78; `journalctl --user -u usherd.service`")
        );
        let mut removed = facts("active");
        removed.units[1].gone = true;
        assert!(human(&removed, 1060).contains("/u/usherd.service, which is gone: `usher service install`"));
        let mut none = facts("inactive");
        (none.installed, none.units[0].path) = (false, None);
        assert!(human(&none, 1060).contains("usherd.socket: not installed\n"));
    }
}

//! `usher service install`: both units, enabled and listening.

use std::{ffi::OsString, path::Path, time::Duration};

use usher_proto::client::ConnectError;

use super::{
    manager::{self, lingers, without_linger},
    units::{Found, SERVICE, SOCKET, Unit, units},
};
use crate::{call::with_daemon, caller::Caller, error::Error, exit, start, systemd::UserManager};

/// How long an usherd that has the socket may take to finish its calls.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(caller: &mut Caller<'_>) -> Result<u8, Error> {
    let manager = manager::find(caller)?;
    let usherd = start::usherd()?;
    let units = units(caller)?;
    // All is looked at before anything is changed.
    let mut wanted = Vec::new();
    for unit in &units {
        let (text, found) = (unit.text(&usherd)?, unit.found()?);
        if found == Found::Foreign {
            return Err(unit.foreign());
        }
        wanted.push((unit, found != Found::Ours(text.clone()), text));
    }
    let changed = wanted.iter().any(|(_, changed, _)| *changed);
    for (unit, changed, text) in wanted {
        if changed {
            unit.write(&text)?;
        }
        let how = if changed { "wrote" } else { "up to date:" };
        caller.answer(&format!("{how} {}\n", unit.path.display()))?;
    }
    manager.call(&["daemon-reload"])?;
    for unit in &units {
        check_place(&manager, unit)?;
    }
    make_way(&manager, caller)?;
    manager.call(&["enable", "--now", SOCKET])?;
    caller.answer(&format!(
        "enabled {SOCKET}: systemd listens on {} and starts {} with the first call\n",
        manager.socket().display(),
        usherd.display()
    ))?;
    if changed && manager.state(SERVICE)?.is_active() {
        manager.call(&["try-restart", SERVICE])?;
        caller.answer(&format!("restarted {SERVICE}, whose unit has changed\n"))?;
    }
    tell_of_surroundings(&manager, caller)?;
    Ok(exit::OK)
}

/// systemd has to have read this very file, and no other of the same name.
fn check_place(manager: &UserManager, unit: &Unit) -> Result<(), Error> {
    let state = manager.state(unit.name)?;
    if Path::new(state.file()) == unit.path {
        return Ok(());
    }
    let instead =
        if state.file().is_empty() { "reads none".to_owned() } else { format!("reads {}", state.file()) };
    Err(Error::Service {
        message: format!("{} is written, but the user's systemd {instead}", unit.path.display()),
        hint: Some("it has another XDG_CONFIG_HOME than this shell: unset it, and try again".to_owned()),
    })
}

/// Ends an usherd that has the socket and is not the socket unit's.
fn make_way(manager: &UserManager, caller: &mut Caller<'_>) -> Result<(), Error> {
    if manager.state(SOCKET)?.is_active() {
        return Ok(());
    }
    if manager.state(SERVICE)?.is_active() {
        manager.call(&["stop", SERVICE])?;
        return caller.answer(&format!("stopped {SERVICE}, which had a socket of its own\n"));
    }
    let socket = manager.socket();
    let ended = {
        // Whatever the caller's variables say: this is the socket that systemd will have.
        let env = |name: &str| match name {
            "USHER_SOCKET" => Some(OsString::from(&socket)),
            "USHER_SERVER_UID" => None,
            other => caller.var(other),
        };
        let (mut out, mut err) = (std::io::sink(), std::io::sink());
        with_daemon(&mut Caller::new(&mut out, &mut err, &env), PATIENCE, async |daemon| daemon.stop().await)
    };
    let pid = match ended {
        Ok(answer) => answer.pid,
        Err(Error::Connect(ConnectError::NotRunning { .. })) => return Ok(()),
        Err(error) => return Err(error),
    };
    if !start::wait_for_end(&socket, pid, PATIENCE) {
        return Err(Error::NotEnded { pid, patience: PATIENCE });
    }
    caller.answer(&format!("stopped the usherd (pid {pid}) that had the socket\n"))
}

fn tell_of_surroundings(manager: &UserManager, caller: &mut Caller<'_>) -> Result<(), Error> {
    if let Some(elsewhere) = caller.var("USHER_SOCKET").filter(|path| Path::new(path) != manager.socket()) {
        caller.warn(&format!(
            "USHER_SOCKET is {}: usher looks there, and not at systemd's",
            elsewhere.display()
        ));
    }
    match lingers() {
        Some((user, false)) => caller.answer(&format!("{}\n", without_linger(&user))),
        _ => Ok(()),
    }
}

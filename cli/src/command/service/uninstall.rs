//! `usher service uninstall`: takes back what `install` did, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    manager,
    units::{Found, Unit, units},
};
use crate::{caller::Caller, error::Error, exit, systemd::UserManager};

pub(super) fn run(caller: &mut Caller<'_>) -> Result<u8, Error> {
    let manager = manager::find(caller)?;
    let (mut ours, mut left_over) = (Vec::new(), false);
    for unit in units(caller)? {
        match unit.found()? {
            Found::Ours(_) => ours.push(unit),
            Found::Foreign => caller.warn(&unit.foreign().to_string()),
            Found::Nothing => left_over |= clear(&manager, &unit, caller)?,
        }
    }
    if left_over {
        manager.call(&["daemon-reload"])?;
    }
    if ours.is_empty() && left_over {
        return Ok(exit::OK);
    }
    if ours.is_empty() {
        caller.answer("nothing of `usher service install` is there\n")?;
        return Ok(exit::OK);
    }
    // The socket comes first: no call starts the service again.
    for unit in &ours {
        manager.call(&["disable", "--now", unit.name])?;
        caller.answer(&format!("stopped and disabled {}\n", unit.name))?;
    }
    for unit in &ours {
        unit.remove()?;
        caller.answer(&format!("removed {}\n", unit.path.display()))?;
    }
    manager.call(&["daemon-reload"])?;
    for unit in ours {
        // Where it had failed, systemd would remember it without its file.
        let _ = manager.call(&["reset-failed", unit.name]);
        let mut drop_ins = unit.path.into_os_string();
        drop_ins.push(".d");
        let drop_ins = PathBuf::from(drop_ins);
        if drop_ins.exists() {
            caller.answer(&format!("left your drop-ins in {}\n", drop_ins.display()))?;
        }
    }
    Ok(exit::OK)
}

/// Takes back what is left of a unit whose file somebody has removed: what runs, and the link that enabled it.
/// Whether there was something.
fn clear(manager: &UserManager, unit: &Unit, caller: &mut Caller<'_>) -> Result<bool, Error> {
    let mut found = false;
    let state = manager.state(unit.name)?;
    // One of another place, such as /etc/systemd/user, is not ours.
    if state.is_active() && (state.file().is_empty() || Path::new(state.file()) == unit.path) {
        manager.call(&["stop", unit.name])?;
        caller.answer(&format!("stopped {}, whose file is gone\n", unit.name))?;
        found = true;
    }
    for link in unit.links() {
        if link.is_symlink() && !link.exists() {
            fs::remove_file(&link).map_err(|error| {
                Error::Configuration(format!("cannot remove {}: {error}", link.display()))
            })?;
            caller.answer(&format!("removed {}, which leads nowhere\n", link.display()))?;
            found = true;
        }
    }
    Ok(found)
}

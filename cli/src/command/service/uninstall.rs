//! `usher service uninstall`: takes back what `install` did, and nothing else.

use std::path::PathBuf;

use super::{
    manager,
    units::{Found, units},
};
use crate::{caller::Caller, error::Error, exit};

pub(super) fn run(caller: &mut Caller<'_>) -> Result<u8, Error> {
    let manager = manager::find(caller)?;
    let mut ours = Vec::new();
    for unit in units(caller)? {
        match unit.found()? {
            Found::Ours(_) => ours.push(unit),
            Found::Foreign => caller.warn(&unit.foreign().to_string()),
            Found::Nothing => {}
        }
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

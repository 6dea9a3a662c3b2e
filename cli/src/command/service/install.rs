//! `usher service install`: both units, enabled and listening.

use std::{ffi::OsString, fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use usher_proto::client::ConnectError;

use super::{
    manager::{self, State, lingers, without_linger},
    units::{Found, SERVICE, SOCKET, Unit, units},
};
use crate::{call::with_daemon, caller::Caller, error::Error, exit, start, systemd::UserManager};

/// How long an usherd that has the socket may take to finish its calls.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(caller: &mut Caller<'_>) -> Result<u8, Error> {
    let manager = manager::find(caller)?;
    let usherd = start::usherd()?;
    let units = units(caller)?;
    // All is looked at before anything is changed: that the place is the caller's, that systemd answers.
    for unit in &units {
        unit.check_owner()?;
    }
    manager.call(&["show", "--property=Version"])?;
    let mut wanted = Vec::new();
    for unit in &units {
        let (text, found) = (unit.text(&usherd)?, unit.found()?);
        if found == Found::Foreign {
            return Err(unit.foreign());
        }
        wanted.push(Wanted { unit, text, found });
    }
    let changed = wanted.iter().any(Wanted::differs);
    if let Err(error) = put(&manager, &wanted) {
        for wanted in &wanted {
            wanted.take_back();
        }
        let _ = manager.call(&["daemon-reload"]);
        return Err(error);
    }
    for wanted in &wanted {
        let how = if wanted.differs() { "wrote" } else { "up to date:" };
        caller.answer(&format!("{how} {}\n", wanted.unit.path.display()))?;
    }
    make_way(&manager, caller)?;
    manager.call(&["enable", "--now", SOCKET])?;
    // systemd believes that it listens, but somebody has removed the socket. (Connecting would start usherd.)
    if !manager.socket().exists() {
        let _ = manager.call(&["stop", SOCKET, SERVICE]);
        manager.call(&["start", SOCKET])?;
        caller.answer(&format!("opened {} anew, which had been removed\n", manager.socket().display()))?;
    }
    caller.answer(&format!(
        "enabled {SOCKET}: systemd listens on {} and starts {} with the first call\n",
        manager.socket().display(),
        usherd.display()
    ))?;
    let service = manager.state(SERVICE)?;
    let what = if changed {
        Some("unit has changed")
    } else if is_newer(&usherd, &service) {
        Some("program has changed since it was started")
    } else {
        None
    };
    if let Some(what) = what.filter(|_| service.is_active()) {
        manager.call(&["try-restart", SERVICE])?;
        caller.answer(&format!("restarted {SERVICE}, whose {what}\n"))?;
    }
    tell_of_surroundings(&manager, caller)?;
    Ok(exit::OK)
}

/// A unit as it is to be, and as it was.
struct Wanted<'a> {
    unit: &'a Unit,
    text: String,
    found: Found,
}

impl Wanted<'_> {
    fn differs(&self) -> bool {
        !matches!(&self.found, Found::Ours(text) if *text == self.text)
    }

    /// As it was before, as far as that can be done.
    fn take_back(&self) {
        let _ = match &self.found {
            Found::Ours(before) if self.differs() => self.unit.write(before),
            Found::Nothing => self.unit.remove(),
            _ => Ok(()),
        };
    }
}

/// Writes what differs, and has systemd read it.
fn put(manager: &UserManager, wanted: &[Wanted<'_>]) -> Result<(), Error> {
    for wanted in wanted.iter().filter(|wanted| wanted.differs()) {
        wanted.unit.write(&wanted.text)?;
    }
    manager.call(&["daemon-reload"])?;
    wanted.iter().try_for_each(|wanted| check_place(manager, wanted.unit))
}

/// Whether the program was put in its place after the service was started, by its inode's time, which no tool
/// carries over from where the program comes from. The second of the start is taken for one.
fn is_newer(usherd: &Path, service: &State) -> bool {
    let changed = fs::metadata(usherd).map(|meta| meta.ctime());
    changed.is_ok_and(|changed| service.started().is_some_and(|started| changed >= started))
}

/// systemd has to have read this very file, and no other of the same name.
fn check_place(manager: &UserManager, unit: &Unit) -> Result<(), Error> {
    let state = manager.state(unit.name)?;
    let real = |path: &Path| fs::canonicalize(path).ok();
    if real(Path::new(state.file())).is_some_and(|read| Some(read) == real(&unit.path)) {
        return Ok(());
    }
    let instead =
        if state.file().is_empty() { "reads none".to_owned() } else { format!("reads {}", state.file()) };
    Err(Error::Service {
        message: format!("{} is not where the user's systemd looks: it {instead}", unit.path.display()),
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

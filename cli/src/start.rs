//! Starts usherd where none is running: by the user's systemd if it knows usherd, else the one beside this
//! program. It gets nothing of the job that called but what the session is made of.

use std::{
    ffi::OsString,
    fs::{DirBuilder, File},
    io::{self, Read as _},
    os::{
        fd::AsFd as _,
        unix::{
            fs::{DirBuilderExt as _, OpenOptionsExt as _},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    fcntl::{Flock, FlockArg, OFlag},
    poll::{PollFd, PollFlags, poll},
};

use crate::{caller::Caller, error::Error};

/// What of the caller's environment usherd gets: where things are, and what password managers need. Never
/// anything of the job that happens to be the first.
const PASSED_ON: [&str; 17] = [
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "SSL_CERT_FILE",
    "USHER_SOCKET",
];

/// How long usherd may take until it answers, in milliseconds.
const PATIENCE_MS: u16 = 10_000;

/// Whether the caller wants usherd to be started; `USHER_AUTOSTART=0` says no, and so does naming another
/// user's daemon.
pub(crate) fn is_wanted(caller: &Caller<'_>) -> bool {
    caller.var("USHER_AUTOSTART").is_none_or(|value| value != "0") && caller.var("USHER_SERVER_UID").is_none()
}

/// Has an usherd listen on `socket`. Of many callers at once, one starts it and the others wait.
pub(crate) fn start(caller: &Caller<'_>, socket: &Path) -> Result<(), Error> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    let failed = |source| Error::System { what: "cannot start usherd", source };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let _turn = turn(directory).map_err(failed)?;
    if UnixStream::connect(socket).is_ok() || (by_systemd(caller) && UnixStream::connect(socket).is_ok()) {
        return Ok(());
    }
    by_hand(caller, socket)
}

/// Waits until nobody else is starting usherd.
fn turn(directory: &Path) -> io::Result<Flock<File>> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(directory.join("start.lock"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Asks the user's systemd, if there is one and its usherd would listen where we look.
fn by_systemd(caller: &Caller<'_>) -> bool {
    let Some(runtime) = caller.var("XDG_RUNTIME_DIR") else { return false };
    if caller.var("USHER_SOCKET").is_some() || !Path::new(&runtime).join("systemd/private").exists() {
        return false;
    }
    // By its own path, never by PATH.
    let Some(systemctl) =
        ["/usr/bin/systemctl", "/bin/systemctl"].into_iter().find(|path| Path::new(path).exists())
    else {
        return false;
    };
    Command::new(systemctl)
        .args(["--user", "--quiet", "--no-ask-password", "start", "usherd.service"])
        .env_clear()
        .envs(environment(caller))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Executes the usherd beside this program and waits until it says that it answers.
fn by_hand(caller: &Caller<'_>, socket: &Path) -> Result<(), Error> {
    let mut child = Command::new(usherd()?)
        .arg("--background")
        .env_clear()
        .envs(environment(caller))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::System { what: "cannot start usherd", source })?;
    let told = child.stdout.take().map(listen).unwrap_or_default();
    // Another one, started by hand in this very moment, is as good.
    if told.ends_with("ready\n") || UnixStream::connect(socket).is_ok() {
        return Ok(());
    }
    // It has hung up, and so it ends; one that only hangs is not waited for.
    let ended = if told.is_empty() { child.try_wait().ok().flatten() } else { child.wait().ok() };
    let code = ended.and_then(|status| status.code());
    let why = if told.is_empty() { "it does not say why; see its log, usherd.log".to_owned() } else { told };
    Err(Error::NotStarted { why, code })
}

/// What usherd says until it hangs up: "ready", or why it is not.
fn listen(mut stdout: std::process::ChildStdout) -> String {
    let mut told = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PATIENCE_MS) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match stdout.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => told.extend_from_slice(&buffer[..length]),
        }
    }
    String::from_utf8_lossy(&told).into_owned()
}

/// The usherd beside this program, never one that PATH happens to name.
pub(crate) fn usherd() -> Result<PathBuf, Error> {
    let own =
        std::env::current_exe().map_err(|source| Error::System { what: "cannot find usherd", source })?;
    let usherd = own.with_file_name("usherd");
    if usherd.is_file() {
        return Ok(usherd);
    }
    let why = format!("there is no usherd beside {}; install both together", own.display());
    Err(Error::NotStarted { why, code: None })
}

fn environment(caller: &Caller<'_>) -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(|name| Some((name, caller.var(name)?)))
}

//! Starts usherd where none is running: by the user's systemd if it knows usherd, else the one beside this
//! program. It gets nothing of the job that called but what the session is made of.

use std::{
    ffi::OsString,
    fs::{DirBuilder, File},
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::{
            fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    poll::{PollFd, PollFlags, poll},
};

use usher_proto::client::SYSTEM_SOCKET;

use crate::{caller::Caller, error::Error, exit, time::Deadline};

mod ending;
mod service;

pub(crate) use ending::wait_for_end;
pub(crate) use service::explain;

/// What of the caller's environment usherd gets: where things are, and what password managers need. Never
/// anything of the job that happens to be the first.
const PASSED_ON: [&str; 16] = [
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
    "USHER_SOCKET",
];

/// How soon it is looked again whether somebody else is done.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long it is waited at most from one own attempt to the next.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whether the caller wants usherd to be started; `USHER_AUTOSTART=0` says no (so do `no`, `false` and
/// `off`), and so does naming another user's daemon, or the system's.
pub(crate) fn is_wanted(caller: &Caller<'_>) -> bool {
    let off =
        |value: &OsString| ["0", "no", "false", "off"].iter().any(|word| value.eq_ignore_ascii_case(word));
    !caller.var("USHER_AUTOSTART").is_some_and(|value| off(&value))
        && caller.var("USHER_SERVER_UID").is_none()
        && caller.var("USHER_SOCKET").is_none_or(|socket| socket != SYSTEM_SOCKET)
}

/// Has an usherd listen on `socket` within `patience`. Of many callers at once, one starts it and the others
/// wait.
pub(crate) fn start(caller: &Caller<'_>, socket: &Path, patience: Duration) -> Result<(), Error> {
    let deadline = Deadline::after(patience);
    let directory = socket.parent().unwrap_or(Path::new("/"));
    make(directory)?;
    let lock = directory.join("start.lock");
    let mut pause = LOOK_AGAIN;
    loop {
        if UnixStream::connect(socket).is_ok() {
            return Ok(());
        }
        // Whoever has the lock is starting it.
        let turn = lock_now(&lock).map_err(|source| Error::System { what: "cannot start usherd", source })?;
        let wait = if turn.is_some() {
            if UnixStream::connect(socket).is_ok() || attempt(caller, socket, &deadline)? == Start::Done {
                return Ok(());
            }
            // Another one is ending, or just beginning. If it stays so, no more than a few attempts are made of it.
            let wait = pause;
            pause = LONGEST_PAUSE.min(pause * 2);
            wait
        } else {
            LOOK_AGAIN
        };
        drop(turn);
        if deadline.left().is_zero() {
            return Err(Error::Deadline(patience));
        }
        std::thread::sleep(wait.min(deadline.left()));
    }
}

/// Starts it once: by systemd where that knows usherd, else by hand.
fn attempt(caller: &Caller<'_>, socket: &Path, deadline: &Deadline) -> Result<Start, Error> {
    match service::start(caller, socket, deadline)? {
        Some(start) => Ok(start),
        None => by_hand(caller, socket, deadline),
    }
}

/// Makes the socket's directory, where it is ours to make: another user's place stays as it is.
fn make(directory: &Path) -> Result<(), Error> {
    let failed = |why: String| Error::NotStarted { why, code: None };
    let there = directory.ancestors().find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
    if let Some((path, meta)) = there
        && meta.uid() != nix::unistd::geteuid().as_raw()
    {
        return Err(failed(format!(
            "{} belongs to uid {}, not to you; set XDG_RUNTIME_DIR or USHER_SOCKET to a place of yours",
            path.display(),
            meta.uid()
        )));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        failed(format!(
            "cannot make {} for its socket ({error}); set USHER_SOCKET to another place",
            directory.display()
        ))
    })
}

/// The lock, if nobody has it.
fn lock_now(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// How a child ended; none if it did not in time, and was killed.
fn end_within(child: &mut Child, deadline: &Deadline) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if !deadline.left().is_zero() => std::thread::sleep(LOOK_AGAIN),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// What came of a start.
#[derive(PartialEq, Eq)]
enum Start {
    /// It answers.
    Done,
    /// The socket is another one's, which does not answer: not yet, or no more.
    Busy,
}

/// Executes the usherd beside this program and waits until it says that it answers.
fn by_hand(caller: &Caller<'_>, socket: &Path, deadline: &Deadline) -> Result<Start, Error> {
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
    let told = child.stdout.take().map(|stdout| listen(stdout, deadline)).unwrap_or_default();
    if told.ends_with("ready\n") || UnixStream::connect(socket).is_ok() {
        return Ok(Start::Done);
    }
    // It has hung up, and so it ends, or it hangs.
    let code = end_within(&mut child, deadline).and_then(|status| status.code());
    if code == Some(i32::from(exit::TEMPORARY)) {
        return Ok(Start::Busy);
    }
    let why = if told.is_empty() { "it does not say why; see its log, usherd.log".to_owned() } else { told };
    Err(Error::NotStarted { why, code })
}

/// What usherd says until it hangs up, or time is up.
fn listen(mut stdout: impl Read + AsFd, deadline: &Deadline) -> String {
    let mut told = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        let left = u16::try_from(deadline.left().as_millis()).unwrap_or(u16::MAX);
        match poll(&mut ready, left) {
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

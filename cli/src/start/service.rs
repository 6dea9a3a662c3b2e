//! A start by the user's systemd, and what systemd knows about one that failed.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tonic::Code;
use usher_proto::client::SYSTEM_SOCKET;

use super::{LOOK_AGAIN, Start, end_within, environment, listen, usherd};
use crate::{
    caller::Caller,
    error::{Error, broke_off},
    exit,
    systemd::{Failure, UserManager},
    time::Deadline,
};

const SOCKET: &str = "usherd.socket";
const SERVICE: &str = "usherd.service";

/// How long a failed start may take to be seen as one, and to be explained.
const TO_EXPLAIN: Duration = Duration::from_secs(2);

/// Asks the user's systemd, if there is one, it has an usherd, and that would listen where we look. None: it has
/// not, and usherd is started without it. Where it has, nobody else starts one: it would lack what the unit gives.
///
/// The service brings the socket unit along, where there is one, and says whether usherd can be started at all.
pub(super) fn start(caller: &Caller<'_>, socket: &Path, deadline: &Deadline) -> Result<Option<Start>, Error> {
    let Some(manager) = manager_of(caller, socket) else { return Ok(None) };
    if manager.show(SERVICE).is_none_or(|unit| unit.get("LoadState") != "loaded") {
        return Ok(None);
    }
    let done = |args: &[&str]| {
        let child = manager.systemctl().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.ok().and_then(|mut child| end_within(&mut child, deadline)).map(|status| status.success())
    };
    // systemd believes that it listens, and nobody does: the socket was removed. It makes another only after a stop.
    if manager.show(SOCKET).is_some_and(|unit| unit.get("ActiveState") == "active") {
        let _ = done(&["stop", SOCKET, SERVICE]);
    }
    // What made it fail may be mended by now, and starts that failed count no more.
    let _ = done(&["reset-failed", SOCKET, SERVICE]);
    if done(&["start", SERVICE]) != Some(false) {
        // Not seen to fail: it answers, or time is up.
        return Ok(Some(if UnixStream::connect(socket).is_ok() { Start::Done } else { Start::Busy }));
    }
    match failure(&manager, deadline) {
        // Another usherd has the socket's lock.
        Some(failure) if failure.code() == Some(i32::from(exit::TEMPORARY)) => Ok(Some(Start::Busy)),
        Some(failure) => Err(not_started(&failure, caller, deadline)),
        None => Err(Error::NotStarted {
            why: format!("systemd does not start it; `systemctl --user status {SOCKET} {SERVICE}` says why"),
            code: None,
        }),
    }
}

/// Where systemd listens and the usherd that it starts fails, the caller sees a connection that breaks off. This
/// says what is behind that.
pub(crate) fn explain(error: Error, caller: &Caller<'_>, socket: &Path) -> Error {
    // Whether the connection breaks off before or after the request is a matter of moments.
    let code = match &error {
        Error::Foreign { code, .. } => *code,
        Error::Connect(error) if broke_off(error) => Code::Unavailable,
        _ => return error,
    };
    if socket == Path::new(SYSTEM_SOCKET) && matches!(code, Code::Unavailable | Code::Unknown) {
        let message = format!(
            "{error}; this is also how usherd turns away users whom allowed_users in its configuration does not list"
        );
        return Error::Foreign { code, message };
    }
    let deadline = Deadline::after(TO_EXPLAIN);
    let failed = manager_of(caller, socket).and_then(|manager| failure(&manager, &deadline));
    match failed {
        Some(failure) => not_started(&failure, caller, &deadline),
        None => error,
    }
}

/// The user's systemd, if its usherd would listen on `socket`.
fn manager_of(caller: &Caller<'_>, socket: &Path) -> Option<UserManager> {
    UserManager::find(caller).filter(|manager| manager.socket() == socket)
}

/// How the service failed, if it did. An usherd that cannot start hangs up on its callers before it ends: until
/// systemd has seen that it has ended, it is waited for.
fn failure(manager: &UserManager, deadline: &Deadline) -> Option<Failure> {
    loop {
        let unit = manager.show(SERVICE)?;
        match unit.get("ActiveState") {
            "activating" | "deactivating" if !deadline.left().is_zero() => {
                std::thread::sleep(LOOK_AGAIN.min(deadline.left()));
            }
            _ => return unit.failure(),
        }
    }
}

/// What there is to say about it: usherd's own words, where they can be had, else where they are.
fn not_started(failure: &Failure, caller: &Caller<'_>, deadline: &Deadline) -> Error {
    let code = failure.code();
    let checked = (code == Some(78)).then(|| check(caller, deadline)).flatten();
    let why = match checked {
        Some(said) => format!("systemd: {failure}; `usherd --check-config` says: {said}"),
        None => format!("systemd: {failure}; `journalctl --user -u usherd` says why"),
    };
    Error::NotStarted { why, code }
}

/// What usherd has against the configuration, if it has something.
fn check(caller: &Caller<'_>, deadline: &Deadline) -> Option<String> {
    let mut child = Command::new(usherd().ok()?)
        .arg("--check-config")
        .env_clear()
        .envs(environment(caller))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let said = child.stderr.take().map(|stderr| listen(stderr, deadline)).unwrap_or_default();
    let code = end_within(&mut child, deadline)?.code();
    // Without the time and the level of the log line.
    let said = said.split_once("usher_daemon::start: ").map_or(&*said, |(_, why)| why).trim();
    (code == Some(78) && !said.is_empty()).then(|| said.to_owned())
}

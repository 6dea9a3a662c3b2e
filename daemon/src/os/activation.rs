//! A socket that the service manager made and hands over: socket activation (`sd_listen_fds(3)`).
//!
//! The library for this ignores values that are wrong, and would have the daemon listen somewhere else, or
//! read a descriptor that is none. Here they are errors.

use std::{
    env,
    ffi::OsString,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    sys::socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt},
};

use super::listener::HandedOver;

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// What the socket has to be called: `FileDescriptorName=` in the socket unit.
const NAME: &str = "usher";

/// The variables of the protocol.
const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What was handed over is not what usherd can serve.
#[derive(Debug, thiserror::Error)]
#[error("socket activation: {what}; {advice}")]
pub struct ActivationError {
    what: String,
    advice: &'static str,
}

impl ActivationError {
    /// What was handed over is wrong: the unit is.
    fn unit(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            advice: "the socket unit needs one ListenStream=/PATH and FileDescriptorName=usher (systemd.socket(5))",
        }
    }

    /// It is not for us, or not from a service manager.
    fn environment(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            advice: "outside of systemd, unset LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES",
        }
    }
}

/// Takes the socket that was handed over, if one was, and the variables that say so.
///
/// # Safety
///
/// No other thread may run, as the environment is changed (environ(7)), and nothing may have been opened yet:
/// a descriptor that is not handed over has to be a closed one.
#[expect(unsafe_code, reason = "the environment is changed, and a number becomes a descriptor")]
pub unsafe fn take() -> Result<Option<HandedOver>, ActivationError> {
    let values = VARIABLES.map(env::var_os);
    // SAFETY: by this function's contract.
    unsafe { forget() };
    if values.iter().all(Option::is_none) {
        return Ok(None);
    }
    check(&values, std::process::id())?;
    // SAFETY: if nobody has it open, fcntl(2) says so, and it is borrowed for no longer than that.
    let handed = fcntl(unsafe { BorrowedFd::borrow_raw(FIRST) }, FcntlArg::F_GETFD);
    if let Err(errno) = handed {
        return Err(ActivationError::environment(format!(
            "descriptor {FIRST} is not open ({})",
            errno.desc()
        )));
    }
    // SAFETY: it is open, and nobody else's: it came with the process, and the variables that name it are gone.
    let descriptor = unsafe { OwnedFd::from_raw_fd(FIRST) };
    let path = path_of(&descriptor)?;
    Ok(Some(HandedOver { socket: UnixListener::from(descriptor), path }))
}

/// Takes away the variables, which are meant for somebody else.
///
/// # Safety
///
/// No other thread may run, as the environment is changed (environ(7)).
#[expect(unsafe_code, reason = "the environment is changed")]
pub unsafe fn forget() {
    for name in VARIABLES {
        // SAFETY: single-threaded, by this function's contract.
        unsafe { env::remove_var(name) };
    }
}

/// Checks `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` for process `pid`.
fn check(values: &[Option<OsString>; 3], pid: u32) -> Result<(), ActivationError> {
    let [for_whom, count, names] =
        values.each_ref().map(|value| value.as_deref().map(|text| text.to_string_lossy()));
    let (Some(for_whom), Some(count)) = (for_whom, count) else {
        return Err(ActivationError::environment("of LISTEN_PID and LISTEN_FDS only one is set"));
    };
    if for_whom.parse() != Ok(pid) {
        return Err(ActivationError::environment(format!(
            "LISTEN_PID is {for_whom:?}, but this is process {pid}"
        )));
    }
    match count.parse::<u32>() {
        Ok(1) => {}
        Ok(count) => {
            return Err(ActivationError::unit(format!("LISTEN_FDS is {count}, but usherd serves 1 socket")));
        }
        Err(_) => {
            return Err(ActivationError::environment(format!("LISTEN_FDS is {count:?}, which is no number")));
        }
    }
    match names.as_deref() {
        None | Some(NAME) => Ok(()),
        Some(names) => {
            Err(ActivationError::unit(format!("LISTEN_FDNAMES is {names:?}, but has to be {NAME:?}")))
        }
    }
}

/// The path of a Unix stream socket that listens.
fn path_of(descriptor: &OwnedFd) -> Result<PathBuf, ActivationError> {
    let wrong = |what: &str| ActivationError::unit(format!("descriptor {FIRST} is {what}"));
    match getsockopt(descriptor, sockopt::SockType) {
        Ok(SockType::Stream) => {}
        Ok(_) => return Err(wrong("no stream socket")),
        Err(Errno::ENOTSOCK) => return Err(wrong("no socket")),
        Err(errno) => return Err(wrong(errno.desc())),
    }
    let address = getsockname::<UnixAddr>(descriptor.as_raw_fd()).map_err(|_| wrong("no Unix socket"))?;
    if !getsockopt(descriptor, sockopt::AcceptConn).is_ok_and(|listens| listens) {
        return Err(wrong("a socket that does not listen"));
    }
    let path = address.path().filter(|path| path.is_absolute()).map(Path::to_owned);
    path.ok_or_else(|| wrong("a socket without a path, to which any user could connect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pid: Option<&str>, fds: Option<&str>, names: Option<&str>) -> Result<(), String> {
        check(&[pid, fds, names].map(|value| value.map(OsString::from)), 42)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_socket_for_this_process_is_taken() {
        assert_eq!(said(Some("42"), Some("1"), Some("usher")), Ok(()));
        assert_eq!(said(Some("42"), Some("1"), None), Ok(()));
    }

    #[test]
    fn wrong_values_are_told() {
        for (values, words) in [
            ((Some("41"), Some("1"), None), "LISTEN_PID is \"41\", but this is process 42"),
            ((Some("x"), Some("1"), None), "LISTEN_PID is \"x\""),
            ((None, Some("1"), None), "only one is set"),
            ((Some("42"), None, None), "only one is set"),
            ((Some("42"), Some("0"), None), "LISTEN_FDS is 0"),
            ((Some("42"), Some("2"), Some("usher:other")), "LISTEN_FDS is 2"),
            ((Some("42"), Some("x"), None), "LISTEN_FDS is \"x\", which is no number"),
            ((Some("42"), Some("1"), Some("connection")), "LISTEN_FDNAMES is \"connection\""),
        ] {
            let (pid, fds, names) = values;
            let said = said(pid, fds, names).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}

//! What is the socket's in its directory: the lock beside it, and a stale one that is taken away.

use std::{
    fs, io,
    os::{fd::AsRawFd as _, unix::fs::FileTypeExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
};

use super::ListenError;
use crate::os::private::{Directory, Lock, LockError};

/// The lock of `socket`, which lies beside it.
pub(super) fn lock(directory: &Directory, socket: &Path) -> Result<Lock, ListenError> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    directory.lock(path.file_name().unwrap_or_default()).map_err(|error| match error {
        LockError::Held(pid) => ListenError::Occupied { path: socket.to_owned(), pid },
        LockError::Io(source) => ListenError::Io { action: "lock", path, source },
    })
}

/// A path to the socket, by way of the directory that was checked.
pub(super) fn within(directory: &Directory, socket: &Path) -> PathBuf {
    directory.at(socket.file_name().unwrap_or_default())
}

/// Under the lock: takes away a socket that nobody listens on any more, and nothing else.
pub(super) fn remove_stale(directory: &Directory, path: &Path) -> Result<(), ListenError> {
    let io = |action| move |source| ListenError::Io { action, path: path.to_owned(), source };
    let within = within(directory, path);
    match fs::symlink_metadata(&within) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io("look at")(source)),
        Ok(meta) if !meta.file_type().is_socket() => Err(ListenError::NotASocket { path: path.to_owned() }),
        Ok(_) => match probe(&within) {
            Err(Errno::ECONNREFUSED) => fs::remove_file(&within).map_err(io("remove the stale socket")),
            // EAGAIN: somebody listens, and has more callers waiting than fit.
            Ok(()) | Err(Errno::EAGAIN) => Err(ListenError::Occupied { path: path.to_owned(), pid: None }),
            Err(errno) => Err(io("probe")(errno.into())),
        },
    }
}

/// Whether somebody listens. Does not wait for them to take the connection.
fn probe(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
}

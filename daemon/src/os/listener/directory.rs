//! The socket's directory, held open: what was checked is what is used, even if the path to it leads
//! somewhere else meanwhile.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
    unistd::geteuid,
};

use super::{super::trusted, ListenError, inode};

/// A directory for its owner alone, who we are.
#[derive(Debug)]
pub(super) struct Directory(File);

impl Directory {
    /// Makes it with mode 0700 if it is not there, and checks it.
    pub(super) fn make(path: &Path) -> Result<Self, ListenError> {
        // Nothing is made by way of what is not to be trusted: a link of somebody else's, say.
        if let Some(there) = path.ancestors().find(|there| there.symlink_metadata().is_ok()) {
            trusted::walk(there)?;
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| ListenError::Io { action: "make", path: path.to_owned(), source })?;
        Self::existing(path)
    }

    /// Checks it.
    pub(super) fn existing(path: &Path) -> Result<Self, ListenError> {
        let io = |action| move |source| ListenError::Io { action, path: path.to_owned(), source };
        let us = geteuid().as_raw();
        let check = |meta: &Metadata| {
            if !meta.is_dir() || meta.uid() != us {
                Err(ListenError::ForeignDirectory { path: path.to_owned(), us })
            } else if meta.mode() & 0o077 != 0 {
                Err(ListenError::OpenDirectory { path: path.to_owned(), mode: meta.mode() & 0o7777 })
            } else {
                Ok(())
            }
        };
        check(&fs::symlink_metadata(path).map_err(io("look at"))?)?;
        let real = trusted::walk(path)?;
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let directory = File::options().read(true).custom_flags(flags).open(&real).map_err(io("open"))?;
        let meta = directory.metadata().map_err(io("look at"))?;
        check(&meta)?;
        // The way to it was checked before it was opened: it must be what the way leads to.
        let found = inode(&real).map_err(io("look at"))?;
        if found != (meta.dev(), meta.ino()) {
            return Err(io("open")(io::Error::other("it was replaced while it was opened")));
        }
        Ok(Self(directory))
    }

    /// A path to what has the last name of `path`, within this very directory (proc(5), `/proc/PID/fd`).
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        let within = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        path.file_name().map_or_else(|| within.clone(), |name| within.join(name))
    }

    /// The lock of `socket`, which lies beside it.
    pub(super) fn lock(&self, socket: &Path) -> Result<Flock<File>, ListenError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |source| ListenError::Io { action: "lock", path: path.clone(), source };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.at(&path))
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // For people and for the message of a second daemon; nothing depends on it.
                let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
                written.map_err(failed)?;
                Ok(lock)
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let _ = file.take(16).read_to_string(&mut text);
                Err(ListenError::Occupied { path: socket.to_owned(), pid: text.trim().parse().ok() })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// Under the lock: takes away a socket that nobody listens on any more, and nothing else.
    pub(super) fn remove_stale(&self, path: &Path) -> Result<(), ListenError> {
        let io = |action| move |source| ListenError::Io { action, path: path.to_owned(), source };
        let within = self.at(path);
        match fs::symlink_metadata(&within) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(io("look at")(source)),
            Ok(meta) if !meta.file_type().is_socket() => {
                Err(ListenError::NotASocket { path: path.to_owned() })
            }
            Ok(_) => match probe(&within) {
                Err(Errno::ECONNREFUSED) => fs::remove_file(&within).map_err(io("remove the stale socket")),
                // EAGAIN: somebody listens, and has more callers waiting than fit.
                Ok(()) | Err(Errno::EAGAIN) => {
                    Err(ListenError::Occupied { path: path.to_owned(), pid: None })
                }
                Err(errno) => Err(io("probe")(errno.into())),
            },
        }
    }
}

/// Whether somebody listens. Does not wait for them to take the connection.
fn probe(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
}

//! The socket: made in a directory of ours, under a lock, never in the place of a living one; or handed over
//! by the service manager ([`super::activation`]).
//!
//! - [`directory`]: what is the socket's in its directory

mod directory;

use std::{
    fs::{self, Permissions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};

use super::private::{Directory, DirectoryError, Inode, Lock, inode};

/// How long an usherd that has lost its path may still serve the calls that it has: a little longer than its
/// `shutdown_timeout` is by default.
const MAKES_WAY: Duration = Duration::from_secs(6);
/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The socket's directory, or one on the way to it, is not as it has to be.
    #[error("the socket's directory: {0}")]
    Directory(DirectoryError),
    /// Another usherd has the lock or answers on the socket.
    #[error("another usherd{} already serves {}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    Occupied {
        /// The socket.
        path: PathBuf,
        /// The other daemon, if it told.
        pid: Option<u32>,
    },
    /// The service manager's socket is not where callers look.
    #[error(
        "nobody can find the socket that systemd handed over: there is nothing at {}; \
         `systemctl --user restart usherd.socket` makes it again (without --user for the machine's)",
        path.display()
    )]
    Orphaned {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket lies there. It is left as it is.
    #[error("{} is not a socket; it is left as it is: move it away, or set USHER_SOCKET", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
}

/// A listening socket and the place where callers find it.
#[derive(Debug)]
pub struct Listener {
    /// Listens, non-blocking. Once it is dropped, callers are told at once that nobody is there.
    pub socket: UnixListener,
    /// Where.
    pub place: Place,
}

/// A socket's path, and whose it is.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    owner: Owner,
    /// Held for as long as we serve: whoever has it may replace a stale socket, and nobody else.
    _lock: Option<Lock>,
}

/// Who made the socket, and takes it away.
#[derive(Debug)]
enum Owner {
    /// We: this inode in this directory.
    Us(Directory, Inode),
    /// The service manager, which listens on it when we are gone.
    ServiceManager(Inode),
}

/// A socket that the service manager made.
#[derive(Debug)]
pub struct HandedOver {
    pub(super) socket: UnixListener,
    pub(super) path: PathBuf,
}

impl HandedOver {
    /// Hangs up on those who wait in the queue, as they would wait for nothing: each of them would have the service
    /// manager start us again.
    pub fn turn_away(self) {
        if self.socket.set_nonblocking(true).is_ok() {
            std::iter::from_fn(|| self.socket.accept().ok()).for_each(drop);
        }
    }
}

impl From<DirectoryError> for ListenError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Io { action, path, source } => Self::Io { action, path, source },
            error => Self::Directory(error),
        }
    }
}

impl Listener {
    /// Binds `path`, in a directory that is made with mode 0700 if it is not there.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let io = |action| move |source| ListenError::Io { action, path: path.to_owned(), source };
        let directory = Directory::make(path.parent().unwrap_or(Path::new("/")))?;
        let lock = directory::lock(&directory, path)?;
        directory::remove_stale(&directory, path)?;
        // By way of the directory that was checked, whatever its path leads to by now.
        let within = directory::within(&directory, path);
        let socket = UnixListener::bind(&within).map_err(io("bind"))?;
        // The umask has made it 0600 at birth; this says so where somebody changed the umask.
        fs::set_permissions(&within, Permissions::from_mode(0o600)).map_err(io("chmod"))?;
        socket.set_nonblocking(true).map_err(io("set up"))?;
        let inode = inode(&within).map_err(io("look at"))?;
        Ok(Self {
            socket,
            place: Place { path: path.to_owned(), owner: Owner::Us(directory, inode), _lock: Some(lock) },
        })
    }

    /// Takes over a socket that listens at `path` already. Waits a while for an usherd that had the path before
    /// to finish its calls.
    pub fn handed_over(handed: HandedOver) -> Result<Self, ListenError> {
        let HandedOver { socket, path } = handed;
        let found = inode(&path).map_err(|_| ListenError::Orphaned { path: path.clone() })?;
        let io = |source| ListenError::Io { action: "set up", path: path.clone(), source };
        socket.set_nonblocking(true).map_err(io)?;
        // Where the directory is not ours, nobody else of ours can serve there either.
        let directory = Directory::existing(path.parent().unwrap_or(Path::new("/"))).ok();
        let mut looks =
            (0..MAKES_WAY.as_millis() / LOOK_EVERY.as_millis()).map(|_| std::thread::sleep(LOOK_EVERY));
        let lock = loop {
            match directory.as_ref().map(|directory| directory::lock(directory, &path)) {
                Some(Err(ListenError::Occupied { .. })) if looks.next().is_some() => {}
                Some(lock) => break Some(lock?),
                None => break None,
            }
        };
        Ok(Self { socket, place: Place { path, owner: Owner::ServiceManager(found), _lock: lock } })
    }
}

impl Place {
    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to our socket.
    pub fn is_ours(&self) -> bool {
        let (Owner::Us(_, ours) | Owner::ServiceManager(ours)) = &self.owner;
        inode(&self.path).is_ok_and(|found| found == *ours)
    }

    /// Has nobody else come in, and answers those who are in the queue: no caller is lost. Where the service
    /// manager listens, too, they are its own, and wait for the next usherd.
    pub fn close(&self, socket: &UnixListener) -> Vec<UnixStream> {
        let Owner::Us(..) = self.owner else { return Vec::new() };
        self.take_away();
        // From here on connect(2) is refused, while accept(2) still answers what is queued, and then fails.
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Read);
        std::iter::from_fn(|| socket.accept().ok()).map(|(stream, _)| stream).collect()
    }

    /// Removes the socket, if it is the one that we made.
    fn take_away(&self) {
        if let Owner::Us(directory, ours) = &self.owner {
            let within = directory::within(directory, &self.path);
            if inode(&within).is_ok_and(|found| found == *ours) {
                // A failure leaves a stale socket, which the next start replaces.
                let _ = fs::remove_file(within);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Still under the lock.
        self.take_away();
    }
}

#[cfg(test)]
mod tests;

//! The socket: made in a directory of ours, under a lock, never in the place of a living one.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
        net::UnixListener,
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

use super::trusted::{self, TrustError};

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
    /// A directory on the way is not safe.
    #[error("the socket's directory is not safe: {0}")]
    Untrusted(#[from] TrustError),
    /// The socket's own directory lets others in.
    #[error("{} has mode {mode:04o}: the socket's directory must be for its owner alone: chmod 700 {0}", path.display())]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The socket's own directory is somebody else's, a link, or no directory.
    #[error("{} must be a directory that belongs to uid {us}, and no symbolic link", path.display())]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// Who we are.
        us: u32,
    },
    /// Another usherd has the lock or answers on the socket.
    #[error("another usherd{} already serves {}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    Occupied {
        /// The socket.
        path: PathBuf,
        /// The other daemon, if it told.
        pid: Option<u32>,
    },
    /// Something that is no socket lies there. It is left as it is.
    #[error("{} is not a socket; it is left as it is: move it away, or set USHER_SOCKET", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
}

/// A listening socket at a path that is ours.
#[derive(Debug)]
pub struct Listener {
    /// Listens, non-blocking. Once it is dropped, callers are told at once that nobody is there.
    pub socket: UnixListener,
    /// Where.
    pub place: Place,
}

/// A socket's path and the lock that makes it ours. Dropping it takes the path away, under the lock.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Listener {
    /// Binds `path`, in a directory that is made with mode 0700 if it is not there.
    ///
    /// The lock file beside the socket is held for as long as the listener lives: whoever has it may
    /// replace a stale socket, and nobody else.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| ListenError::Io { action, path, source }
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        make_directory(directory)?;
        let lock = lock(path)?;
        remove_stale(path)?;
        let socket = UnixListener::bind(path).map_err(io("bind", path))?;
        // The umask has made it 0600 at birth; this says so where somebody changed the umask.
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(io("chmod", path))?;
        socket.set_nonblocking(true).map_err(io("set up", path))?;
        Ok(Self { socket, place: Place { path: path.to_owned(), _lock: lock } })
    }
}

impl Place {
    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Still under the lock: what lies there is ours. A failure leaves a stale socket, which the
        // next start replaces.
        let _ = fs::remove_file(&self.path);
    }
}

fn make_directory(directory: &Path) -> Result<(), ListenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| ListenError::Io { action: "make", path: directory.to_owned(), source })?;
    let meta = fs::symlink_metadata(directory).map_err(|source| ListenError::Io {
        action: "look at",
        path: directory.to_owned(),
        source,
    })?;
    let us = geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != us {
        return Err(ListenError::ForeignDirectory { path: directory.to_owned(), us });
    }
    if meta.mode() & 0o077 != 0 {
        return Err(ListenError::OpenDirectory { path: directory.to_owned(), mode: meta.mode() & 0o7777 });
    }
    trusted::walk(directory)?;
    Ok(())
}

fn lock(socket: &Path) -> Result<Flock<File>, ListenError> {
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
        .open(&path)
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
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let io = |action| move |source| ListenError::Io { action, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io("look at")(source)),
        Ok(meta) if !meta.file_type().is_socket() => Err(ListenError::NotASocket { path: path.to_owned() }),
        Ok(_) => match probe(path) {
            Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(io("remove the stale socket")),
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

#[cfg(test)]
mod tests {
    use std::os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixStream,
    };

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn directory_and_socket_are_for_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usher/usher.sock");
        let listener = Listener::bind(&path).unwrap();
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_socket_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usher/usher.sock");
        let first = Listener::bind(&path).unwrap();
        let error = Listener::bind(&path).unwrap_err();
        let us = std::process::id();
        assert!(matches!(error, ListenError::Occupied { pid: Some(pid), .. } if pid == us), "{error}");
        assert!(UnixStream::connect(&path).is_ok(), "the first one still listens");
        drop(first);
        // Alive, but without our lock: somebody else's.
        let _other = UnixListener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(ListenError::Occupied { pid: None, .. })));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usher/usher.sock");
        drop(Listener::bind(&path).unwrap());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the path behind");
        drop(Listener::bind(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path), Err(ListenError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        symlink("/nowhere", &path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(ListenError::NotASocket { .. })));
    }

    #[test]
    fn an_unsafe_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Listener::bind(&open.join("usher.sock")).unwrap_err().to_string();
        assert!(error.contains("open has mode 0755") && error.contains("chmod 700"), "{error}");
        let real = dir.path().join("real");
        DirBuilder::new().mode(0o700).create(&real).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        let error = Listener::bind(&dir.path().join("link/usher.sock")).unwrap_err();
        assert!(matches!(error, ListenError::ForeignDirectory { .. }), "{error}");
    }
}

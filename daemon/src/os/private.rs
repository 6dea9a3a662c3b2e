//! A directory of ours, held open: what was checked is what is used, even if the path to it leads somewhere
//! else meanwhile.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    unistd::geteuid,
};

use super::trusted::{self, TrustError};

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
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
    #[error("it is not safe: {0}")]
    Untrusted(#[from] TrustError),
    /// It lets others in.
    #[error("{} has mode {mode:04o}: it must be for its owner alone: chmod 700 {0}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is somebody else's, a link, or no directory.
    #[error("{} must be a directory that belongs to uid {us}, and no symbolic link", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Who we are.
        us: u32,
    },
}

/// A directory for its owner alone, who we are.
#[derive(Debug)]
pub struct Directory(File);

/// Held for as long as nobody else may do the same.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held")] Flock<File>);

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it: this one, if it told.
    Held(Option<u32>),
    /// The operating system refused.
    Io(io::Error),
}

/// What a path leads to: its device and its number there.
pub type Inode = (u64, u64);

/// What is there, without following a last symbolic link.
pub fn inode(path: &Path) -> io::Result<Inode> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Makes a file that is not there, for us alone: whole and on disk, or not at all.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let real = trusted::walk(path).map_err(io::Error::other)?;
    let directory = real.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(&real).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

impl Directory {
    /// Makes it with mode 0700 if it is not there, and checks it.
    pub fn make(path: &Path) -> Result<Self, DirectoryError> {
        // Nothing is made by way of what is not to be trusted: a link of somebody else's, say.
        if let Some(there) = path.ancestors().find(|there| there.symlink_metadata().is_ok()) {
            trusted::walk(there)?;
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| DirectoryError::Io { action: "make", path: path.to_owned(), source })?;
        Self::existing(path)
    }

    /// Checks it.
    pub fn existing(path: &Path) -> Result<Self, DirectoryError> {
        let io = |action| move |source| DirectoryError::Io { action, path: path.to_owned(), source };
        let us = geteuid().as_raw();
        let check = |meta: &Metadata| {
            if !meta.is_dir() || meta.uid() != us {
                Err(DirectoryError::Foreign { path: path.to_owned(), us })
            } else if meta.mode() & 0o077 != 0 {
                Err(DirectoryError::Open { path: path.to_owned(), mode: meta.mode() & 0o7777 })
            } else {
                Ok(())
            }
        };
        check(&fs::symlink_metadata(path).map_err(io("look at"))?)?;
        let real = trusted::walk(path)?;
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
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

    /// A path to what has this name within this very directory (proc(5), `/proc/PID/fd`).
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// A path to this very directory.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Has what was renamed and removed in it last (fsync(2)).
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Opens the file of this name in it for reading, as a regular file of ours that nobody else can reach, by
    /// whatever name. A symbolic link is not followed, and a FIFO not waited for.
    pub fn open(&self, name: &str) -> io::Result<File> {
        let flags = trusted::NO_FOLLOW | trusted::NO_WAIT;
        let file = File::options().read(true).custom_flags(flags).open(self.at(name))?;
        let meta = file.metadata()?;
        let ours = meta.is_file()
            && meta.uid() == geteuid().as_raw()
            && meta.mode() & 0o7077 == 0
            && meta.nlink() == 1;
        if ours { Ok(file) } else { Err(io::Error::other("it is no regular file that is ours alone")) }
    }

    /// Takes the lock of this name in it. Does not wait for it.
    pub fn lock(&self, name: impl AsRef<Path>) -> Result<Lock, LockError> {
        let path = self.at(name);
        let mut options = File::options();
        options.read(true).custom_flags(trusted::NO_FOLLOW);
        let file = options.clone().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match file {
            // One that is there already serves as well.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => options.open(&path),
            file => file,
        };
        match Flock::lock(file.map_err(LockError::Io)?, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // For people and for the message of a second daemon; nothing depends on it, not on a full disk, either.
                let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
                Ok(Lock(lock))
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let _ = file.take(16).read_to_string(&mut text);
                Err(LockError::Held(text.trim().parse().ok()))
            }
            Err((_, errno)) => Err(LockError::Io(errno.into())),
        }
    }
}

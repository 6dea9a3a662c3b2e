//! The store's directory: for us alone, locked, its files replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::libc;
use tempfile::NamedTempFile;

use super::private::{Directory, DirectoryError, Lock, LockError};

/// What new files are called until they have their name.
pub const NEW: &str = ".new-";

/// Whoever holds the lock of this name is the only one in the directory.
const LOCK: &str = "lock";

/// The directory, and nobody else in it.
#[derive(Debug)]
pub struct DiskDirectory {
    directory: Directory,
    _lock: Lock,
}

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It is not as it has to be.
    #[error("the store's directory: {0}")]
    Directory(#[from] DirectoryError),
    /// Another usherd, on another socket, has it.
    #[error("another usherd{} uses the store in {}: give one of them a directory of its own ([store], directory)", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Its pid, if it told.
        pid: Option<u32>,
    },
    /// The operating system refused.
    #[error("it cannot be locked: {0}")]
    Lock(#[source] io::Error),
}

impl DiskDirectory {
    /// Makes it if it is not there.
    pub fn make(path: &Path) -> Result<Self, DiskError> {
        let directory = Directory::make(path)?;
        let lock = directory.lock(LOCK).map_err(|error| match error {
            LockError::Held(pid) => DiskError::Held { path: path.to_owned(), pid },
            LockError::Io(error) => DiskError::Lock(error),
        })?;
        Ok(Self { directory, _lock: lock })
    }

    /// The names of the files in it, without the lock, but no more than `max`, and whether these are all.
    pub fn names(&self, max: usize) -> io::Result<(Vec<String>, bool)> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory.path())? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if names.len() == max {
                return Ok((names, false));
            }
            if name != LOCK {
                names.push(name);
            }
        }
        Ok((names, true))
    }

    /// What is in a file of ours alone.
    pub fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.directory.open(name)?.take(max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(io::Error::other("it is too large"));
        }
        Ok(bytes)
    }

    /// A new file, complete and on disk.
    pub fn create(&self, bytes: &[u8]) -> io::Result<NamedTempFile> {
        // Opened and written by ourselves: its own errors have a path in them, which is another one each time.
        let open = |path: &Path| File::options().write(true).create_new(true).mode(0o600).open(path);
        let mut new = tempfile::Builder::new().prefix(NEW).make_in(self.directory.path(), open)?;
        new.as_file_mut().write_all(bytes)?;
        new.as_file().sync_all()?;
        Ok(new)
    }

    /// Gives it its name.
    pub fn persist(&self, new: NamedTempFile, name: &str) -> io::Result<()> {
        new.persist(self.directory.at(name)).map(drop).map_err(|error| error.error)
    }

    /// Gives a file another name.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.at(from), self.directory.at(to))
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.directory.at(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Has all names last.
    pub fn sync(&self) -> io::Result<()> {
        self.directory.sync()
    }
}

/// Whether the error says that the file itself is not what it has to be, and not that it cannot be read now.
pub fn is_foreign(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code.is_none() || matches!(code, Some(libc::ELOOP | libc::EACCES | libc::ENXIO | libc::EISDIR))
}

//! What the store asks of a file system: small files in one directory, replaced as a whole.

use std::io;

use tempfile::NamedTempFile;

use crate::os::store::DiskDirectory;

/// A directory. What is done in it lasts for sure once [`Disk::sync`] has answered, and what is in a file once
/// [`Disk::create`] has; until then a power cut may undo each step, in any order.
pub(super) trait Disk {
    /// A new file, complete and on disk, which has no name in the directory yet that counts.
    type New;

    /// The names of all files, but no more than `max`, and whether these are all.
    fn names(&self, max: usize) -> io::Result<(Vec<String>, bool)>;

    /// What is in the file of this name. It has to be a file of ours alone.
    fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>>;

    /// A new file with this in it. Dropped, it is gone.
    fn create(&self, bytes: &[u8]) -> io::Result<Self::New>;

    /// Gives the new file its name, in the place of the one that has it.
    fn persist(&self, new: Self::New, name: &str) -> io::Result<()>;

    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Has all names last.
    fn sync(&self) -> io::Result<()>;
}

impl Disk for DiskDirectory {
    type New = NamedTempFile;

    fn names(&self, max: usize) -> io::Result<(Vec<String>, bool)> {
        self.names(max)
    }

    fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        self.read(name, max)
    }

    fn create(&self, bytes: &[u8]) -> io::Result<NamedTempFile> {
        self.create(bytes)
    }

    fn persist(&self, new: NamedTempFile, name: &str) -> io::Result<()> {
        self.persist(new, name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync()
    }
}

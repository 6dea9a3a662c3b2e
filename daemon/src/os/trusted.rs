//! Files that may tell usherd what to do, or hold a secret: nobody else may have had a hand in them.
//!
//! Every directory on the way, and the file itself, must belong to us or to root and be writable by
//! nobody else. Then nobody else can swap anything between the check and the use, either.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use nix::{libc, unistd::geteuid};

/// How many symbolic links one path may lead over (as the kernel's, `path_resolution(7)`).
const MAX_LINKS: u32 = 40;

/// For [`std::os::unix::fs::OpenOptionsExt::custom_flags`]: a symbolic link is not followed (open(2)).
pub const NO_FOLLOW: i32 = libc::O_NOFOLLOW;

/// The same: opening a FIFO does not wait for its other end.
pub const NO_WAIT: i32 = libc::O_NONBLOCK;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Anybody: it holds no secret.
    Anyone,
    /// Its owner, and its group: where systemd grants the access by an ACL, that is how it looks.
    OwnerAndGroup,
    /// Its owner alone: no permission bit for group and others.
    OwnerOnly,
}

impl Readers {
    /// The permission bits that let others read.
    fn forbidden(self) -> u32 {
        match self {
            Self::Anyone => 0,
            Self::OwnerAndGroup => 0o037,
            Self::OwnerOnly => 0o077,
        }
    }
}

/// Why a file is not trusted, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's.
    #[error("{} belongs to uid {owner}: it must belong to uid {us} or to root", path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Others can write it.
    #[error("{} has mode {mode:04o}, so that others can write it: chmod go-w {0}", path.display())]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others can read a secret.
    #[error("{} has mode {mode:04o}, so that others can read the secret: chmod 600 {0}", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A FIFO, a device, a directory, ...
    #[error("{} is {kind}: it must be a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// More than anybody needs.
    #[error("{} has more than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// Links in a circle.
    #[error("{}: too many symbolic links", path.display())]
    TooManyLinks {
        /// The path.
        path: PathBuf,
    },
}

impl TrustError {
    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a file that passes the checks of this module.
pub fn read(path: &Path, readers: Readers, max: u64) -> Result<Vec<u8>, TrustError> {
    let failed = |source| TrustError::Io { path: path.to_owned(), source };
    let real = walk(path)?;
    // O_NONBLOCK: opening a FIFO must not wait for its writer. Regular files pay no heed to it.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(&real)
        // Where a link leads to what is not there, it is told what that is.
        .map_err(|source| TrustError::Io { path: real.clone(), source })?;
    let meta = file.metadata().map_err(failed)?;
    check_file(path, &meta, readers)?;
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(max)).unwrap_or_default() + 1);
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(TrustError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// Checks that the program at `path` is there and that nobody else can change it.
pub fn program(path: &Path) -> Result<(), TrustError> {
    let real = walk(path)?;
    let meta = fs::metadata(&real).map_err(|source| TrustError::Io { path: path.to_owned(), source })?;
    check_file(path, &meta, Readers::Anyone)
}

fn check_file(path: &Path, meta: &Metadata, readers: Readers) -> Result<(), TrustError> {
    let path = path.to_owned();
    let kind = meta.file_type();
    if !kind.is_file() {
        let kind = if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a FIFO"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        return Err(TrustError::NotAFile { path, kind });
    }
    check_owner(&path, meta)?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 != 0 {
        Err(TrustError::Writable { path, mode })
    } else if mode & readers.forbidden() != 0 {
        Err(TrustError::Readable { path, mode })
    } else {
        Ok(())
    }
}

fn check_owner(path: &Path, meta: &Metadata) -> Result<(), TrustError> {
    let us = geteuid().as_raw();
    if meta.uid() == us || meta.uid() == 0 {
        Ok(())
    } else {
        Err(TrustError::Owner { path: path.to_owned(), owner: meta.uid(), us })
    }
}

/// A directory in which nobody else can put something else in the place of our file. In one with the
/// sticky bit, such as /tmp, they cannot either (inode(7)).
fn check_directory(path: &Path, meta: &Metadata) -> Result<(), TrustError> {
    check_owner(path, meta)?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(TrustError::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Checks every directory on the way to `path`, symbolic links included, and answers the path without
/// any. The last component need not exist.
pub fn walk(path: &Path) -> Result<PathBuf, TrustError> {
    let absolute =
        std::path::absolute(path).map_err(|source| TrustError::Io { path: path.to_owned(), source })?;
    let mut todo: Vec<PathBuf> = components(&absolute);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(next) = todo.pop() {
        if next == OsStr::new("..") {
            real.pop();
            continue;
        }
        let failed = |source| TrustError::Io { path: real.join(&next), source };
        let directory = fs::symlink_metadata(&real).map_err(failed)?;
        check_directory(&real, &directory)?;
        let here = real.join(&next);
        match fs::symlink_metadata(&here) {
            Ok(meta) if meta.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(TrustError::TooManyLinks { path: path.to_owned() });
                }
                // In a sticky directory anybody can make a link: it has to be ours.
                check_owner(&here, &meta)?;
                let target = fs::read_link(&here).map_err(failed)?;
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                todo.extend(components(&target));
            }
            Ok(_) => real = here,
            Err(error) if error.kind() == io::ErrorKind::NotFound && todo.is_empty() => real = here,
            Err(source) => return Err(TrustError::Io { path: here, source }),
        }
    }
    Ok(real)
}

/// The components of a path below its root, the last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| PathBuf::from(part.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn file(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "content").unwrap();
        chmod(&path, mode);
        path
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(path: &Path) -> String {
        read(path, Readers::OwnerOnly, 100).unwrap_err().to_string()
    }

    #[test]
    fn a_private_file_is_read_also_over_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "secret", 0o600);
        symlink("secret", dir.path().join("link")).unwrap();
        symlink(dir.path(), dir.path().join("dir")).unwrap();
        for way in ["secret", "link", "dir/link", "dir/../secret"] {
            let way = if way == "dir/../secret" { path.clone() } else { dir.path().join(way) };
            assert_eq!(read(&way, Readers::OwnerOnly, 100).unwrap(), b"content", "{way:?}");
        }
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let readable = file(dir.path(), "readable", 0o644);
        assert!(refusal(&readable).contains("mode 0644"), "{}", refusal(&readable));
        assert!(refusal(&readable).contains("chmod 600"), "{}", refusal(&readable));
        assert!(read(&readable, Readers::Anyone, 100).is_ok());
        let writable = file(dir.path(), "writable", 0o620);
        assert!(refusal(&writable).contains("others can write it"), "{}", refusal(&writable));
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        let inside = file(&open, "secret", 0o600);
        chmod(&open, 0o777);
        assert!(refusal(&inside).contains("open has mode 0777"), "{}", refusal(&inside));
        chmod(&open, 0o1777);
        assert!(read(&inside, Readers::OwnerOnly, 100).is_ok());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(refusal(&fifo).contains("is a FIFO"), "{}", refusal(&fifo));
        assert!(refusal(dir.path()).contains("is a directory"), "{}", refusal(dir.path()));
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(refusal(&dir.path().join("loop")).contains("too many symbolic links"));
        let absent = read(&dir.path().join("absent"), Readers::OwnerOnly, 100).unwrap_err();
        assert!(absent.is_not_found(), "{absent}");
    }

    #[test]
    fn a_file_has_a_size_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "secret", 0o600);
        assert!(read(&path, Readers::OwnerOnly, 7).is_ok());
        assert!(matches!(read(&path, Readers::OwnerOnly, 6), Err(TrustError::TooLarge { .. })));
    }
}

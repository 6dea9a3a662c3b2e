//! One file that is changed as a whole or not at all, and only if it is still as it was read.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access, geteuid};

use super::named;
use crate::error::Error;

/// For those that were not there.
const MODE: u32 = 0o600;

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// By which name it was asked for.
    pub(super) path: PathBuf,
    /// What that leads to, if it is a symbolic link.
    target: PathBuf,
    /// None: it was not there.
    pub(super) text: Option<String>,
}

impl File {
    pub(super) fn read(path: PathBuf) -> Result<Self, Error> {
        if let Err(error) = fs::symlink_metadata(&path) {
            return match error.kind() {
                io::ErrorKind::NotFound => Ok(Self { target: path.clone(), path, text: None }),
                _ => Err(cannot("read", &path, &error)),
            };
        }
        let target = fs::canonicalize(&path).map_err(|error| match fs::read_link(&path) {
            Ok(to) if error.kind() == io::ErrorKind::NotFound => {
                cannot("read", &path, &format!("it is a link to {}, and nothing is there", named(&to)))
            }
            _ => cannot("read", &path, &error),
        })?;
        if !target.is_file() {
            return Err(cannot("change", &path, &"it is no regular file"));
        }
        let text = fs::read(&target).map_err(|error| cannot("read", &path, &error))?;
        let text = String::from_utf8(text)
            .map_err(|error| cannot("change", &path, &format!("it is not UTF-8: {}", error.utf8_error())))?;
        Ok(Self { path, target, text: Some(text) })
    }

    /// Whether it could be replaced, as far as that can be told beforehand.
    pub(super) fn check(&self) -> Result<(), Error> {
        check_directory(&self.target).map_err(|error| cannot("write", &self.path, &error))
    }

    /// Puts `after` in its place; none takes it away. Its owner and mode stay, a link to it does too.
    pub(super) fn replace(&self, after: Option<&str>) -> Result<(), Error> {
        self.try_replace(after).map_err(|error| cannot("write", &self.path, &error))
    }

    fn try_replace(&self, after: Option<&str>) -> io::Result<()> {
        let (directory, name) = (parent(&self.target), self.target.file_name().unwrap_or_default());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut lock = name.to_owned();
        lock.push(".lock");
        // git's own way, which keeps git and others like us out meanwhile.
        let made = tempfile::Builder::new().prefix(&lock).suffix("").rand_bytes(0).tempfile_in(directory);
        let mut new = made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => io::Error::other(format!(
                "somebody else is writing it: {} is there; remove that if nobody is",
                named(&directory.join(&lock))
            )),
            _ => error,
        })?;
        if Self::read(self.path.clone()).map_err(io::Error::other)? != *self {
            return Err(io::Error::other("somebody else has changed it just now; try again"));
        }
        let Some(after) = after else { return fs::remove_file(&self.target) };
        if let Some(before) = self.text.is_some().then(|| fs::metadata(&self.target)).transpose()? {
            let made = new.as_file().metadata()?;
            if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
                fchown(new.as_file(), Some(before.uid()), Some(before.gid()))?;
            }
            new.as_file().set_permissions(before.permissions())?;
        } else {
            new.as_file().set_permissions(fs::Permissions::from_mode(MODE))?;
        }
        new.write_all(after.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(&self.target)?;
        fs::File::open(directory)?.sync_all()
    }
}

/// The directories that have to be made for `path`, the outermost first.
pub(super) fn missing_directories(path: &Path) -> Vec<PathBuf> {
    let missing = path.ancestors().skip(1).take_while(|dir| fs::symlink_metadata(dir).is_err());
    let mut missing: Vec<_> = missing.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Takes away the directories that were made, the innermost first, where nothing is in them.
pub(super) fn remove_directories(made: &[PathBuf]) {
    for directory in made.iter().rev() {
        let _ = fs::remove_dir(directory);
    }
}

/// Whether `path` could be made. It has to be the caller's own place: with `sudo -E` it is in somebody else's
/// home, where root's files would be in the way.
pub(super) fn check_directory(path: &Path) -> io::Result<()> {
    let there = path.ancestors().skip(1).find(|dir| fs::symlink_metadata(dir).is_ok());
    let there = there.unwrap_or(Path::new("/"));
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", named(there)));
    let meta = fs::metadata(there).map_err(told)?;
    if !meta.is_dir() {
        return Err(told(io::ErrorKind::NotADirectory.into()));
    }
    access(there, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| told(errno.into()))?;
    if geteuid().is_root() && meta.uid() != 0 {
        return Err(io::Error::other(format!(
            "{} belongs to uid {}, and you are root: say this as that user, without sudo, or set HOME",
            named(there),
            meta.uid()
        )));
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn cannot(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Configuration(format!("cannot {what} {}: {error}", named(path)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn said<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "a").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        File::read(link.clone()).unwrap().replace(Some("b")).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "b");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_one_is_private_and_goes_with_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        let made = missing_directories(&path);
        assert_eq!(made, [dir.path().join("a"), dir.path().join("a/b")]);
        File::read(path.clone()).unwrap().replace(Some("x")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        remove_directories(&made);
        assert!(path.exists(), "there is something in them");
        File::read(path).unwrap().replace(None).unwrap();
        remove_directories(&made);
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn what_somebody_else_writes_at_the_same_time_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        fs::write(&path, "a").unwrap();
        let file = File::read(path.clone()).unwrap();
        fs::write(dir.path().join("c.lock"), "").unwrap();
        assert!(said(file.replace(Some("b"))).contains("c.lock is there"));
        fs::remove_file(dir.path().join("c.lock")).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(said(file.replace(Some("b"))).contains("just now"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_text_in_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(said(File::read(dir.path().to_owned())).contains("no regular file"));
        let path = dir.path().join("c");
        symlink("nowhere", &path).unwrap();
        assert!(said(File::read(path.clone())).contains("it is a link to nowhere, and nothing is there"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"\xff").unwrap();
        assert!(said(File::read(path.clone())).contains("not UTF-8"));
        assert!(said(File::read(path.join("below"))).contains("cannot read"));
        let below = path.join("a/b");
        let nowhere = File { path: below.clone(), target: below, text: None };
        assert!(said(nowhere.check()).contains("ot a directory"), "{}", said(nowhere.check()));
    }
}

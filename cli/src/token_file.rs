//! A file that always holds a token: replaced as a whole, never empty, never half written.

use std::{
    fmt::Display,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::error::Error;

/// For its owner alone.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// Where a token is kept for programs that read it from a file.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    mode: u32,
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf, mode: u32) -> Self {
        Self { path, mode }
    }

    /// Puts `contents` in the place of what was there. Whoever has the file open reads on in the old one; a
    /// symbolic link is replaced, not followed.
    pub(crate) fn write(&self, contents: &str) -> Result<(), Error> {
        self.replace(contents).map_err(|source| self.failed("write", source))
    }

    /// Takes the file away, if it is still there.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| self.failed("remove", source)),
        }
    }

    /// Where it is, for people.
    pub(crate) fn name(&self) -> impl Display {
        self.path.display()
    }

    fn replace(&self, contents: &str) -> io::Result<()> {
        let path = std::path::absolute(&self.path)?;
        may_be_replaced(&path)?;
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        // Made with mode 0600; given away only when the token is in it. Opened here: tempfile's own errors have
        // a name in them that nobody knows.
        let open = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
        let mut new = tempfile::Builder::new().prefix(".usher-").make_in(directory, open)?;
        new.as_file_mut().write_all(contents.as_bytes())?;
        new.as_file().set_permissions(Permissions::from_mode(self.mode))?;
        new.as_file().sync_all()?;
        new.persist(&path)?;
        Ok(())
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::TokenFile { what, path: self.path.display().to_string(), source }
    }
}

/// A pipe or a device is no place for a file: whoever uses it would lose it.
fn may_be_replaced(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory, not a file"))
        }
        Ok(found) if !found.is_file() && !found.is_symlink() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file, and would be replaced by one",
        )),
        _ => Ok(()),
    }
}

/// Reads `0640`: octal, as chmod(1) takes it.
pub(crate) fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & 0o400 == 0 => {
            Err("you could not read it yourself; write one such as 0640".to_owned())
        }
        Ok(mode) if mode & !0o666 != 0 => Err("a token is no program; write one such as 0640".to_owned()),
        Ok(mode) if mode & 0o022 != 0 => {
            Err("others could put a token of theirs in it; write one such as 0640".to_owned())
        }
        Ok(mode) => Ok(mode),
        Err(_) => Err("is no mode; write one such as 0640".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_mode_is_octal_and_lets_nobody_else_write() {
        for (text, mode) in [("0600", Some(0o600)), ("640", Some(0o640)), ("0444", Some(0o444))] {
            assert_eq!(parse_mode(text).ok(), mode, "{text}");
        }
        for text in ["", "0200", "0660", "0646", "0700", "04600", "rw", "0680", "-1"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("token"), dir.path().join("target"));
        fs::write(&target, "theirs").unwrap();
        symlink(&target, &path).unwrap();
        let file = TokenFile::new(path.clone(), 0o640);
        file.write("one\n").unwrap();
        let open = fs::File::open(&path).unwrap();
        file.write("two\n").unwrap();
        assert_eq!(io::read_to_string(open).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        file.remove().unwrap();
        assert!(!path.exists());
        // Somebody else was faster.
        file.remove().unwrap();
    }

    #[test]
    fn what_is_no_file_is_not_replaced_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, said) in [(pipe.clone(), "no regular file"), (dir.path().into(), "is a directory")] {
            let error = TokenFile::new(path, OWNER_ONLY).write("x").unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint().unwrap().contains("file"), "{error}");
        }
        assert!(fs::read_dir(dir.path()).unwrap().count() == 1 && !pipe.is_file());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = TokenFile::new("/nowhere/at/all".into(), OWNER_ONLY).write("x").unwrap_err();
        assert!(error.to_string().contains("cannot write /nowhere/at/all: "), "{error}");
        // Nobody knows the name under which it is written at first.
        assert!(!error.to_string().contains(".usher-"), "{error}");
    }
}

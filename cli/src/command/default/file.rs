//! Replaces a file's contents as a whole, or not at all.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, fchown},
    path::Path,
};

use crate::error::Error;

/// Writes what `edit` makes of the file's text, with the owner and the mode of before. A symbolic link stays
/// one: its target is replaced.
pub(super) fn rewrite(path: &Path, edit: impl FnOnce(&str) -> Result<String, String>) -> Result<(), Error> {
    let cannot = |what: &str, error: &dyn std::fmt::Display| {
        Error::Configuration(format!("cannot {what} {}: {error}", path.display()))
    };
    let target = fs::canonicalize(path).map_err(|error| cannot("read", &error))?;
    let before = fs::read_to_string(&target).map_err(|error| cannot("read", &error))?;
    let after = edit(&before).map_err(|error| cannot("change", &error))?;
    replace(&target, after.as_bytes()).map_err(|error| cannot("write", &error))
}

fn replace(target: &Path, contents: &[u8]) -> io::Result<()> {
    let directory = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let before = fs::metadata(target)?;
    let mut new = tempfile::Builder::new().prefix(".usher-").tempfile_in(directory)?;
    let made = new.as_file().metadata()?;
    if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
        fchown(new.as_file(), Some(before.uid()), Some(before.gid()))?;
    }
    new.as_file().set_permissions(before.permissions())?;
    new.write_all(contents)?;
    new.as_file().sync_all()?;
    new.persist(target)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "a").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        rewrite(&link, |text| Ok(format!("{text}b"))).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "ab");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(dir.path()), ["link", "real"]);
    }

    #[test]
    fn what_cannot_be_edited_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let said = |result: Result<(), Error>| result.unwrap_err().to_string();
        assert!(said(rewrite(&path, |_| Ok(String::new()))).contains("cannot read"));
        fs::write(&path, "a").unwrap();
        assert!(said(rewrite(&path, |_| Err("no".to_owned()))).contains("cannot change"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a");
        fs::write(&path, b"\xff").unwrap();
        assert!(said(rewrite(&path, |_| Ok(String::new()))).contains("cannot read"));
        assert_eq!((fs::read(&path).unwrap(), names(dir.path()).len()), (b"\xff".to_vec(), 1));
    }
}

//! The links by whose names tools call usher: where they go, and which of them are ours.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access, geteuid};

use super::{
    named,
    record::{Link, Records},
};
use crate::{
    args::Tool,
    caller::Caller,
    error::Error,
    helper::{docker, git},
};

/// What lies where a link belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lies {
    Nothing,
    /// A link that leads there.
    Link(PathBuf),
    /// No link.
    Other,
}

/// Whose it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A link to this usher.
    Ours,
    /// A link that install made, or one to another usher, or to one that has gone.
    Other(PathBuf),
    /// What somebody else has put there.
    Foreign,
}

/// The name by which the tool calls usher.
pub(super) fn name(tool: Tool) -> &'static str {
    match tool {
        Tool::Git => git::ARGV0,
        Tool::Docker => docker::ARGV0,
    }
}

/// This program, by its real path.
pub(super) fn usher() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().and_then(fs::canonicalize);
    own.map_err(|source| Error::System { what: "cannot find this usher (was it replaced just now?)", source })
}

/// Where the link for `tool` goes.
pub(super) fn path(
    tool: Tool,
    bin_dir: Option<&Path>,
    records: &Records,
    usher: &Path,
    caller: &Caller<'_>,
) -> Result<PathBuf, Error> {
    let before = records.installs.iter().find(|install| install.tool == tool).map(|install| &install.link);
    let directory = match (bin_dir, before) {
        (Some(directory), _) => std::path::absolute(directory).map_err(|error| {
            Error::usage(format!("--bin-dir {}: {error}", named(directory)), "name a directory")
        })?,
        // It stays where it is.
        (None, Some(before)) => return Ok(before.clone()),
        (None, None) => match usher.parent().filter(|beside| is_ours(beside) && is_in_path(beside, caller)) {
            Some(beside) => beside.to_owned(),
            None => home_bin(caller)?,
        },
    };
    Ok(directory.join(name(tool)))
}

fn home_bin(caller: &Caller<'_>) -> Result<PathBuf, Error> {
    let home = caller.var("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.map(|home| home.join(".local/bin")).ok_or_else(|| {
        Error::Environment("no place for a link to usher: set HOME, or name one by --bin-dir".to_owned())
    })
}

/// Whether the caller may and should put something there.
fn is_ours(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|meta| meta.uid() == geteuid().as_raw())
        && access(directory, AccessFlags::W_OK).is_ok()
}

/// Whether programs in it are found by their names.
pub(super) fn is_in_path(directory: &Path, caller: &Caller<'_>) -> bool {
    let path = caller.var("PATH").unwrap_or_default();
    let same = |one: &Path| one == directory || fs::canonicalize(one).is_ok_and(|one| one == directory);
    std::env::split_paths(&path).any(|one| same(&one))
}

/// What lies at `path`.
pub(super) fn lies(path: &Path) -> Result<Lies, Error> {
    match fs::read_link(path) {
        Ok(target) => Ok(Lies::Link(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lies::Nothing),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Lies::Other),
        Err(error) => Err(Error::Configuration(format!("cannot read {}: {error}", named(path)))),
    }
}

/// Whose it is: an usher's file may have any name, so that a link that was `made` is known by where it leads.
pub(super) fn found(path: &Path, usher: &Path, made: Option<&Link>) -> Result<Found, Error> {
    let target = match lies(path)? {
        Lies::Nothing => return Ok(Found::Nothing),
        Lies::Other => return Ok(Found::Foreign),
        Lies::Link(target) => target,
    };
    if fs::canonicalize(path).is_ok_and(|real| real == usher) {
        return Ok(Found::Ours);
    }
    let is_usher = target.file_name() == Some(OsStr::new("usher"));
    let is_ours = made.is_some_and(|link| link.target == target);
    Ok(if is_usher || is_ours { Found::Other(target) } else { Found::Foreign })
}

/// Why nothing is done.
pub(super) fn foreign(path: &Path) -> Error {
    Error::Configuration(format!(
        "{} is there, is no link to usher and is left as it is: move it away, or name another directory by \
         --bin-dir",
        named(path)
    ))
}

/// Has `path` lead to `target`, in place of whatever link is there.
pub(super) fn make(path: &Path, target: &Path) -> Result<(), Error> {
    let made = || {
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        let new =
            tempfile::Builder::new().prefix(".usher-").make_in(directory, |new| symlink(target, new))?;
        new.persist(path).map_err(io::Error::from)
    };
    made().map_err(|error| Error::Configuration(format!("cannot make the link {}: {error}", named(path))))
}

/// Takes the link away.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path)
        .map_err(|error| Error::Configuration(format!("cannot remove {}: {error}", named(path))))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn with<T>(env: &[(&str, &Path)], work: impl FnOnce(&Caller<'_>) -> T) -> T {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let find = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value.as_os_str()))
        };
        work(&Caller::new(&mut out, &mut err, &find))
    }

    #[test]
    fn the_link_goes_beside_usher_where_that_is_in_path_and_home_else() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let usher = dir.join("usher");
        let path = |env: &[(&str, &Path)], bin: Option<&Path>| {
            with(env, |caller| path(Tool::Git, bin, &Records::default(), &usher, caller))
        };
        let home = Path::new("/home/a");
        assert_eq!(path(&[("PATH", &dir)], None).unwrap(), dir.join("git-credential-usher"));
        let at_home = path(&[("PATH", Path::new("/usr/bin")), ("HOME", home)], None).unwrap();
        assert_eq!(at_home, home.join(".local/bin/git-credential-usher"));
        let there = path(&[("PATH", &dir)], Some(Path::new("/opt/x"))).unwrap();
        assert_eq!(there, Path::new("/opt/x/git-credential-usher"));
        assert!(path(&[], None).unwrap_err().to_string().contains("--bin-dir"));
        // Somebody else's, or one that nobody may write to.
        if geteuid().is_root() {
            std::os::unix::fs::chown(&dir, Some(4242), None).unwrap();
        } else {
            fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
        }
        let at_home = path(&[("PATH", &dir), ("HOME", home)], None).unwrap();
        assert_eq!(at_home, home.join(".local/bin/git-credential-usher"));
    }

    #[test]
    fn only_links_to_an_usher_are_ours() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let (usher, link) = (dir.join("usher"), dir.join("a/link"));
        fs::write(&usher, "").unwrap();
        assert_eq!(found(&link, &usher, None).unwrap(), Found::Nothing);
        make(&link, &usher).unwrap();
        assert_eq!(found(&link, &usher, None).unwrap(), Found::Ours);
        make(&link, Path::new("../usher")).unwrap();
        assert_eq!(found(&link, &usher, None).unwrap(), Found::Ours);
        make(&link, Path::new("/gone/usher")).unwrap();
        assert_eq!(found(&link, &usher, None).unwrap(), Found::Other("/gone/usher".into()));
        make(&link, Path::new("/bin/true")).unwrap();
        assert_eq!(found(&link, &usher, None).unwrap(), Found::Foreign);
        let made = Link { path: link.clone(), target: "/opt/usher-1.2".into(), was: None };
        assert_eq!(found(&link, &usher, Some(&made)).unwrap(), Found::Foreign);
        make(&link, &made.target).unwrap();
        assert_eq!(found(&link, &usher, Some(&made)).unwrap(), Found::Other(made.target));
        remove(&link).unwrap();
        fs::write(&link, "").unwrap();
        assert_eq!(found(&link, &usher, None).unwrap(), Found::Foreign);
        assert!(make(&usher.join("below"), &usher).unwrap_err().to_string().contains("cannot make the link"));
    }
}

//! The one rule for where the socket lies, shared by daemon and clients.

use std::{
    ffi::OsString,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// The longest path a Unix socket can have, in bytes (`sun_path` less its NUL, unix(7)).
pub const MAX_LEN: usize = 107;

/// Why no socket path can be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PathError {
    /// A path that is not absolute depends on who reads it.
    #[error("{variable} is {}, which is not an absolute path; set it to one", path.display())]
    NotAbsolute {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// Longer than [`MAX_LEN`].
    #[error(
        "the socket's path is {len} bytes long and Linux allows {MAX_LEN}; \
         set USHER_SOCKET to a shorter one: {}",
        path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// Nothing in the environment says where.
    #[error("no place for the socket: set USHER_SOCKET, XDG_RUNTIME_DIR or HOME")]
    Nowhere,
}

/// The socket's path: `$USHER_SOCKET`; else `$XDG_RUNTIME_DIR/usher/usher.sock`; else
/// `/run/user/EUID/usher/usher.sock` if that runtime directory is ours; else
/// `$XDG_STATE_HOME/usher/run/usher.sock`, where the state home is `$HOME/.local/state` unless set
/// (XDG Base Directory Specification 0.8). Never below /tmp.
///
/// `env` looks a variable up; an empty one counts as unset.
pub fn path(env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, PathError> {
    let euid = nix::unistd::geteuid().as_raw();
    resolve(env, Path::new(&format!("/run/user/{euid}")), euid)
}

fn resolve(env: impl Fn(&str) -> Option<OsString>, run_user: &Path, euid: u32) -> Result<PathBuf, PathError> {
    let var = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = var("USHER_SOCKET") {
        return if path.is_absolute() {
            fits(path)
        } else {
            Err(PathError::NotAbsolute { variable: "USHER_SOCKET", path })
        };
    }
    // The specification: a relative path in these variables is to be ignored.
    if let Some(dir) = var("XDG_RUNTIME_DIR").filter(|dir| dir.is_absolute()) {
        return fits(dir.join("usher/usher.sock"));
    }
    if run_user.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == euid) {
        return fits(run_user.join("usher/usher.sock"));
    }
    let state = var("XDG_STATE_HOME")
        .filter(|dir| dir.is_absolute())
        .or_else(|| var("HOME").filter(|dir| dir.is_absolute()).map(|home| home.join(".local/state")));
    fits(state.ok_or(PathError::Nowhere)?.join("usher/run/usher.sock"))
}

fn fits(path: PathBuf) -> Result<PathBuf, PathError> {
    let len = path.as_os_str().as_bytes().len();
    if len > MAX_LEN { Err(PathError::TooLong { path, len }) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(vars: &[(&str, &str)]) -> Result<PathBuf, PathError> {
        let dir = tempfile::tempdir().unwrap();
        let find = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        resolve(find, &dir.path().join("absent"), nix::unistd::geteuid().as_raw())
    }

    #[test]
    fn the_order_of_places() {
        let all = [
            ("USHER_SOCKET", "/s/u.sock"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_STATE_HOME", "/st"),
            ("HOME", "/h"),
        ];
        let cases = [
            (&all[..], "/s/u.sock"),
            (&all[1..], "/r/usher/usher.sock"),
            (&all[2..], "/st/usher/run/usher.sock"),
            (&all[3..], "/h/.local/state/usher/run/usher.sock"),
            (&[("XDG_RUNTIME_DIR", "rel"), ("HOME", "/h")], "/h/.local/state/usher/run/usher.sock"),
            (&[("USHER_SOCKET", ""), ("XDG_RUNTIME_DIR", "/r")], "/r/usher/usher.sock"),
        ];
        for (vars, expected) in cases {
            assert_eq!(at(vars), Ok(PathBuf::from(expected)), "{vars:?}");
        }
        assert_eq!(at(&[]), Err(PathError::Nowhere));
    }

    #[test]
    fn a_runtime_directory_counts_only_if_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let none = |_: &str| None;
        let euid = nix::unistd::geteuid().as_raw();
        assert_eq!(resolve(none, dir.path(), euid), Ok(dir.path().join("usher/usher.sock")));
        assert_eq!(resolve(none, dir.path(), euid + 1), Err(PathError::Nowhere));
    }

    #[test]
    fn relative_and_overlong_paths_are_refused() {
        assert!(matches!(at(&[("USHER_SOCKET", "u.sock")]), Err(PathError::NotAbsolute { .. })));
        let just = format!("/{}", "x".repeat(106));
        assert_eq!(at(&[("USHER_SOCKET", &just)]), Ok(PathBuf::from(&just)));
        let long = format!("/{}", "x".repeat(107));
        let error = at(&[("USHER_SOCKET", &long)]).unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("USHER_SOCKET"), "{error}");
    }
}

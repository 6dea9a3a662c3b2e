//! The real git, run so that it reads nothing but what it is given, and so that nothing of that is left behind.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use tempfile::TempDir;

use crate::{caller::Caller, error::Error};

/// Where git is, and where a copy of a configuration may lie for a moment.
pub(super) struct Runner {
    path: Option<OsString>,
    /// The user's own, in memory, if there is one.
    directory: PathBuf,
}

/// A private directory that goes even if the user ends usher meanwhile.
pub(super) struct Private {
    directory: TempDir,
    _held: Held,
}

impl Private {
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Runner {
    pub(super) fn new(caller: &Caller<'_>) -> Self {
        let runtime = caller.var("XDG_RUNTIME_DIR").map(PathBuf::from);
        let usable =
            |dir: &PathBuf| dir.is_absolute() && dir.is_dir() && nix::unistd::access(dir, WRITE).is_ok();
        let directory = runtime.filter(usable).unwrap_or_else(std::env::temp_dir);
        Self { path: caller.var("PATH"), directory }
    }

    pub(super) fn private(&self) -> Result<Private, Error> {
        let held = Held::new();
        let private = fs::Permissions::from_mode(0o700);
        let made = tempfile::Builder::new().prefix("usher-").permissions(private).tempdir_in(&self.directory);
        Ok(Private { directory: made.map_err(cannot_copy)?, _held: held })
    }

    /// A file without a name that git can read.
    pub(super) fn unnamed(&self, text: &str) -> Result<File, Error> {
        let filled = || {
            let mut file = tempfile::tempfile_in(&self.directory)?;
            file.write_all(text.as_bytes())?;
            file.rewind()?;
            Ok(file)
        };
        filled().map_err(cannot_copy)
    }

    /// git in `home`, where nothing else is read, whatever is wrong with the rest.
    pub(super) fn git(&self, home: &Path) -> Command {
        let mut command = Command::new("git");
        command.env_clear().env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
        // Not even if there is a repository above.
        command.env("GIT_CEILING_DIRECTORIES", home.parent().unwrap_or(Path::new("/")));
        command.envs(self.path.iter().map(|path| ("PATH", path))).current_dir(home);
        command
    }
}

const WRITE: nix::unistd::AccessFlags = nix::unistd::AccessFlags::W_OK.union(nix::unistd::AccessFlags::X_OK);

pub(super) fn output(command: &mut Command) -> Result<Output, Error> {
    command.output().map_err(|error| {
        Error::Configuration(format!("cannot run git: {error}; is it installed, and its directory in PATH?"))
    })
}

pub(super) fn cannot_copy(source: io::Error) -> Error {
    Error::System { what: "cannot copy git's configuration", source }
}

/// Ctrl-C and its like wait for the end of this.
struct Held(Option<SigSet>);

impl Held {
    fn new() -> Self {
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
        let (held, mut before) = (all.into_iter().collect::<SigSet>(), SigSet::empty());
        let done = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before));
        Self(done.is_ok().then_some(before))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
        }
    }
}

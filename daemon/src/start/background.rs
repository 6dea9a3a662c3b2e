//! An usherd that `usher` started: it outlives whoever called, takes nothing of theirs along, and tells
//! them over its stdout how the start went.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::os::{detach, trusted};

/// The log is begun anew when it has grown to this, in bytes; the one before is kept beside it.
const LOG_MAX: u64 = 1024 * 1024;

/// The other end of stdout, where somebody waits.
pub(super) struct Starter(File);

impl Starter {
    /// There is an answer now.
    pub(super) fn ready(mut self) {
        // Whoever has gone meanwhile does not need to be told.
        let _ = self.0.write_all(b"ready\n");
    }

    /// There will be none, and this is why.
    pub(super) fn failed(mut self, why: &str) {
        let _ = self.0.write_all(why.as_bytes());
    }
}

/// Leaves session, directory, descriptors and streams of whoever started this process.
pub(super) fn leave() -> io::Result<Starter> {
    let mut starter = Starter(detach::take_stdout()?);
    // Without a place for the log there is none: a home may be read-only.
    let log = open_log().or_else(|_| File::options().write(true).open("/dev/null"));
    if let Err(error) = log.and_then(|log| detach::leave(&log)) {
        let _ = writeln!(starter.0, "cannot go into the background: {error}");
        return Err(error);
    }
    Ok(starter)
}

/// Where the log of such a daemon is: `$XDG_STATE_HOME/usher/usherd.log`.
fn log_path() -> Option<PathBuf> {
    Some(super::state_home()?.join("usher/usherd.log"))
}

fn open_log() -> io::Result<File> {
    let path =
        log_path().ok_or_else(|| io::Error::other("no place for the log: set HOME or XDG_STATE_HOME"))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = trusted::walk(&path).map_err(io::Error::other)?;
    if fs::symlink_metadata(&path).is_ok_and(|meta| meta.len() > LOG_MAX) {
        fs::rename(&path, path.with_extension("log.old"))?;
    }
    let options = trusted::NO_FOLLOW | trusted::NO_WAIT;
    let log = File::options().append(true).create(true).mode(0o600).custom_flags(options).open(path)?;
    if log.metadata()?.is_file() { Ok(log) } else { Err(io::Error::other("the log is no file")) }
}

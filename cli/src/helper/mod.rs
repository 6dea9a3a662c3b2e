//! The protocols by which other programs ask for credentials: what they say is read, usherd is asked, and its answer
//! is written as they read it. What may go where is for usherd alone to decide.
//!
//! One module a protocol, and one row in [`HELPERS`]. Its page in docs/ has the same name. `install` has the tools call
//! them.

use std::{ffi::OsString, fmt, path::Path, time::Duration};

use crate::{caller::Caller, error::Error};

pub mod docker;
pub mod git;
pub(crate) mod install;
pub mod kubectl;

/// How long usherd may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The exit code of a failure where the protocol has one for all.
const FAILED: u8 = 1;

/// A protocol.
pub struct Helper {
    /// Behind `usher helper`.
    pub name: &'static str,
    /// What usher has to be called as, so that the program finds it: a symbolic link's name.
    pub argv0: &'static str,
    /// What it takes, for help, completions and manual pages.
    pub command: fn() -> clap::Command,
    /// Answers. The arguments are those behind its name; the exit code is as the protocol has it.
    pub run: fn(&[OsString], &mut Caller<'_>) -> Result<u8, Error>,
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helper").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All of them.
pub const HELPERS: &[Helper] = &[
    Helper { name: "git", argv0: git::ARGV0, command: git::command, run: git::run },
    Helper { name: "docker", argv0: docker::ARGV0, command: docker::command, run: docker::run },
    Helper {
        name: "kubectl",
        argv0: "kubectl-credential-usher",
        command: kubectl::command,
        run: kubectl::run,
    },
];

/// The protocol of that name.
pub(crate) fn named(name: &str) -> Option<&'static Helper> {
    HELPERS.iter().find(|helper| helper.name == name)
}

/// The protocol that a command line, with the program's name first, is of, and what stands behind it: by the
/// program's name, or `helper` and the protocol's.
pub(crate) fn called(args: &[OsString]) -> Option<(&'static Helper, &[OsString])> {
    let (program, rest) = args.split_first()?;
    let program = Path::new(program).file_name()?;
    if let Some(helper) = HELPERS.iter().find(|helper| program == helper.argv0) {
        return Some((helper, rest));
    }
    match rest {
        [verb, name, rest @ ..] if verb == "helper" => Some((named(name.to_str()?)?, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

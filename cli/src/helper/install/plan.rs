//! What is going to be changed: shown first, then done step by step.

use std::path::{Path, PathBuf};

use super::{
    file::{self, File, check_directory},
    links,
};
use crate::{
    args::Consent,
    caller::{Caller, printable},
    error::Error,
    exit,
};

/// One thing that is changed.
#[derive(Debug)]
pub(super) enum Step {
    /// A file gets another text; none takes it away, and the directories that were made for it.
    Write { file: File, after: Option<String>, told: Vec<String>, directories: Vec<PathBuf> },
    /// A link is made, or leads elsewhere.
    Link { path: PathBuf, target: PathBuf, told: String },
    /// A link goes, and the directories that were made for it.
    Unlink { path: PathBuf, directories: Vec<PathBuf> },
}

/// All steps, in their order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What else is to be said.
    pub(super) notes: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// What to do when it ended half-way.
    pub(super) hint: String,
}

impl Plan {
    /// Shows it, asks, does it.
    pub(super) fn carry_out(
        self,
        nothing: &str,
        consent: Consent,
        caller: &mut Caller<'_>,
    ) -> Result<u8, Error> {
        self.steps.iter().try_for_each(Step::check)?;
        if self.steps.is_empty() {
            self.tell(caller);
            caller.answer(&format!("{nothing}\n"))?;
            return Ok(exit::OK);
        }
        caller.tell("This is to be changed:\n");
        for line in self.steps.iter().flat_map(Step::lines) {
            caller.tell(&format!("  {}\n", printable(&line)));
        }
        self.tell(caller);
        if consent.dry_run {
            return Ok(exit::OK);
        }
        if !consent.yes {
            agree(caller)?;
        }
        let done = self.run()?;
        for said in done {
            caller.answer(&format!("{said}\n"))?;
        }
        Ok(exit::OK)
    }

    fn tell(&self, caller: &mut Caller<'_>) {
        for note in &self.notes {
            caller.note(note);
        }
        for warning in &self.warnings {
            caller.warn(warning);
        }
    }

    fn run(self) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        for step in self.steps {
            match step.run() {
                Ok(said) => done.push(said),
                Err(error) if done.is_empty() => return Err(error),
                Err(source) => {
                    return Err(Error::HalfDone { source: Box::new(source), done, hint: self.hint });
                }
            }
        }
        Ok(done)
    }
}

/// Asks; whatever is not a yes is a no.
fn agree(caller: &Caller<'_>) -> Result<(), Error> {
    match caller.ask("Go on? [y/N] ") {
        None => Err(Error::usage(
            "nothing was changed: there is no terminal to ask on",
            "--yes does it without asking, --dry-run only shows it",
        )),
        Some(answer) if ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)) => Ok(()),
        Some(_) => Err(Error::Usage { message: "nothing was changed".to_owned(), hint: None }),
    }
}

impl Step {
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Write { file, .. } => file.check(),
            Self::Link { path, .. } | Self::Unlink { path, .. } => check_directory(path)
                .map_err(|error| Error::Configuration(format!("cannot change {}: {error}", path.display()))),
        }
    }

    fn lines(&self) -> Vec<String> {
        let at = |path: &Path, told: &str| format!("{}: {told}", path.display());
        match self {
            Self::Write { file, after, told, .. } => {
                let mut lines: Vec<_> = told.iter().map(|told| at(&file.path, told)).collect();
                if file.text.is_none() {
                    lines.insert(0, at(&file.path, "a new file"));
                } else if after.is_none() {
                    lines.push(at(&file.path, "is removed, as nothing else is in it"));
                }
                lines
            }
            Self::Link { path, target, told } => {
                vec![at(path, &format!("a link to {}{told}", target.display()))]
            }
            Self::Unlink { path, .. } => vec![at(path, "is removed")],
        }
    }

    fn run(self) -> Result<String, Error> {
        match self {
            Self::Write { file, after, directories, .. } => {
                file.replace(after.as_deref())?;
                if after.is_none() {
                    file::remove_directories(&directories);
                }
                let what = if after.is_some() { "wrote" } else { "removed" };
                Ok(format!("{what} {}", file.path.display()))
            }
            Self::Link { path, target, .. } => {
                links::make(&path, &target)?;
                Ok(format!("linked {} to {}", path.display(), target.display()))
            }
            Self::Unlink { path, directories } => {
                links::remove(&path)?;
                file::remove_directories(&directories);
                Ok(format!("removed {}", path.display()))
            }
        }
    }
}

//! What is going to be changed: shown first, then done step by step.

use std::path::{Path, PathBuf};

use super::{
    file::{self, File, check_directory},
    links::{self, Lies},
    named, one_line,
};
use crate::{args::Consent, caller::Caller, error::Error, exit};

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

/// What a plan rests on, changed by it or not.
#[derive(Debug)]
pub(super) enum Seen {
    File(File),
    Link(PathBuf, Lies),
}

/// All steps, in their order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seen: Vec<Seen>,
    pub(super) steps: Vec<Step>,
    /// What else is to be said.
    pub(super) notes: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// What to do when it ended half-way.
    pub(super) hint: String,
}

impl Plan {
    pub(super) fn new(hint: String) -> Self {
        Self { seen: Vec::new(), steps: Vec::new(), notes: Vec::new(), warnings: Vec::new(), hint }
    }

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
            caller.answer(&format!("{}\n", one_line(nothing)))?;
            return Ok(exit::OK);
        }
        caller.tell("This is to be changed:\n");
        for line in self.steps.iter().flat_map(Step::lines) {
            caller.tell(&format!("  {}\n", one_line(&line)));
        }
        self.tell(caller);
        if consent.dry_run {
            return Ok(exit::OK);
        }
        if !consent.yes {
            agree(caller)?;
        }
        // That may have taken a while.
        self.seen.iter().try_for_each(Seen::check)?;
        let done = self.run()?;
        for said in done {
            caller.answer(&format!("{said}\n"))?;
        }
        Ok(exit::OK)
    }

    fn tell(&self, caller: &mut Caller<'_>) {
        for note in &self.notes {
            caller.note(&one_line(note));
        }
        for warning in &self.warnings {
            caller.warn(&one_line(warning));
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

impl Seen {
    /// Whether it still is as it was.
    fn check(&self) -> Result<(), Error> {
        let (path, is_same) = match self {
            Self::File(file) => (&file.path, File::read(file.path.clone())? == *file),
            Self::Link(path, before) => (path, links::lies(path)? == *before),
        };
        is_same.then_some(()).ok_or_else(|| {
            Error::Configuration(format!(
                "{} was changed by somebody else meanwhile: say it again, to see what is to be changed now",
                named(path)
            ))
        })
    }
}

impl Step {
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Write { file, .. } => file.check(),
            Self::Link { path, .. } | Self::Unlink { path, .. } => check_directory(path)
                .map_err(|error| Error::Configuration(format!("cannot change {}: {error}", named(path)))),
        }
    }

    fn lines(&self) -> Vec<String> {
        let at = |path: &Path, told: &str| format!("{}: {told}", named(path));
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
                vec![at(path, &format!("a link to {}{told}", named(target)))]
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
                Ok(format!("{what} {}", named(&file.path)))
            }
            Self::Link { path, target, .. } => {
                links::make(&path, &target)?;
                Ok(format!("linked {} to {}", named(&path), named(&target)))
            }
            Self::Unlink { path, directories } => {
                links::remove(&path)?;
                file::remove_directories(&directories);
                Ok(format!("removed {}", named(&path)))
            }
        }
    }
}

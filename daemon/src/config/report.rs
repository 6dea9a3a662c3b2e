//! Everything that is wrong with a configuration file, in one report.

use std::{fmt, path::PathBuf};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line it is on, from 1. None for what is missing.
    pub line: Option<usize>,
    /// The key in full: `profile.frontdoor.scopes`. Empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to write instead. Never quotes a value that might be a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why a configuration file is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Its mistakes, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Report {
    /// A report about the file as a whole.
    pub fn of_file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        let problem = Problem { line: None, key: String::new(), message: message.into() };
        Self { path: path.into(), problems: vec![problem] }
    }
}

/// More problems than anybody reads: the rest is not looked for.
pub(super) const MAX_PROBLEMS: usize = 100;

/// As many problems as [`Report::summary`] names.
const SUMMARY: usize = 15;

impl Report {
    /// The first few problems, where there is no room for all.
    pub fn summary(&self) -> String {
        let problems = self.problems.iter().take(SUMMARY).cloned().collect();
        let first = Self { path: self.path.clone(), problems }.to_string();
        match self.problems.len().saturating_sub(SUMMARY) {
            0 => first,
            more => format!("{first}\n  and {more} more: `usherd --check-config` shows them"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "{}: {problem}", self.path.display()),
            problems => {
                let more = if problems.len() >= MAX_PROBLEMS { " or more" } else { "" };
                write!(f, "{} has {} problems{more}:", self.path.display(), problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Report {}

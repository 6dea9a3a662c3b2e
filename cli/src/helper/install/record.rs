//! What `install` did, so that `uninstall` can take it back: `$XDG_STATE_HOME/usher/helpers.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{file::File, splice::Splice};
use crate::{args::Tool, caller::Caller, error::Error};

const VERSION: u32 = 1;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Records {
    version: u32,
    pub(super) installs: Vec<Install>,
    pub(super) links: Vec<Link>,
}

/// One tool, for one profile or for all, in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Install {
    pub(super) tool: Tool,
    pub(super) profile: Option<String>,
    pub(super) file: PathBuf,
    /// The file was not there before.
    pub(super) created: bool,
    /// Nor were these, which it lies in.
    pub(super) directories: Vec<PathBuf>,
    /// The link by which the tool calls usher.
    pub(super) link: PathBuf,
    pub(super) entries: Vec<Entry>,
}

/// One value in the tool's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: Vec<String>,
    pub(super) value: String,
    /// What it replaced.
    pub(super) was: Option<String>,
    /// The edits that brought it there.
    pub(super) splices: Vec<Splice>,
}

/// A link that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    /// Where it led before.
    pub(super) was: Option<PathBuf>,
    pub(super) directories: Vec<PathBuf>,
}

/// The records, and the file that they are in.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) file: File,
    pub(super) records: Records,
}

impl Book {
    pub(super) fn open(caller: &Caller<'_>) -> Result<Self, Error> {
        let absolute = |name| caller.var(name).map(PathBuf::from).filter(|dir: &PathBuf| dir.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let state = state.ok_or_else(|| {
            Error::Environment(
                "no place to note what is changed: set HOME or XDG_STATE_HOME, and try again".to_owned(),
            )
        })?;
        let file = File::read(state.join("usher/helpers.json"))?;
        let records = match &file.text {
            Some(text) => parse(text, &file.path)?,
            None => Records::default(),
        };
        Ok(Self { file, records })
    }
}

impl Records {
    /// Their text; none where there is nothing to note.
    pub(super) fn text(&self, path: &Path) -> Result<Option<String>, Error> {
        if self.installs.is_empty() && self.links.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_string_pretty(&Self { version: VERSION, ..self.clone() });
        let text =
            text.map_err(|error| Error::Configuration(format!("cannot write {}: {error}", path.display())))?;
        Ok(Some(text + "\n"))
    }
}

fn parse(text: &str, path: &Path) -> Result<Records, Error> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let broken = |error: &dyn std::fmt::Display| {
        Error::Configuration(format!(
            "{}: {error}; it holds what `uninstall` takes back: restore it, or move it away and look after the \
             tools' files yourself",
            path.display()
        ))
    };
    let Versioned { version } = serde_json::from_str(text).map_err(|error| broken(&error))?;
    if version > VERSION {
        return Err(Error::Configuration(format!(
            "{} was written by a newer usher (its version is {version}, this usher's {VERSION}): use that one",
            path.display()
        )));
    }
    serde_json::from_str(text).map_err(|error| broken(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let entry = Entry {
            key: vec!["credHelpers".to_owned(), "r.example.com".to_owned()],
            value: "usher".to_owned(),
            was: Some("pass".to_owned()),
            splices: vec![Splice::between("a", "ab")],
        };
        let install = Install {
            tool: Tool::Docker,
            profile: Some("p".to_owned()),
            file: "/f".into(),
            created: true,
            directories: vec!["/d".into()],
            link: "/l".into(),
            entries: vec![entry],
        };
        let link = Link { path: "/l".into(), was: None, directories: Vec::new() };
        let records = Records { version: VERSION, installs: vec![install], links: vec![link] };
        let text = records.text(Path::new("/h")).unwrap().unwrap();
        assert_eq!(parse(&text, Path::new("/h")).unwrap(), records);
        assert_eq!(Records::default().text(Path::new("/h")).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let told = |text| parse(text, Path::new("/h")).unwrap_err().to_string();
        assert!(told("{\n").contains("/h: EOF while parsing an object at line 2"), "{}", told("{\n"));
        assert!(told("{\"version\":2,\"new\":1}").contains("newer usher"));
        assert!(told("{\"version\":1}").contains("installs"));
    }
}

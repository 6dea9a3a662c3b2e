//! What `install` did, so that `uninstall` can take it back: `$XDG_STATE_HOME/usher/helpers.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    file::{File, missing_directories},
    named,
    settle::Settled,
    splice::Splice,
};
use crate::{args::Tool, caller::Caller, error::Error};

const VERSION: u32 = 2;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Records {
    version: u32,
    /// Where two want something else of the same place the later one has it.
    pub(super) installs: Vec<Install>,
    pub(super) files: Vec<Edited>,
    pub(super) links: Vec<Link>,
    /// Those that were made for files and links.
    pub(super) directories: Vec<PathBuf>,
}

/// One tool, for one profile or for all, in one file: what it needs, whoever brought it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Install {
    pub(super) tool: Tool,
    pub(super) profile: Option<String>,
    pub(super) file: PathBuf,
    /// The link by which the tool calls usher.
    pub(super) link: PathBuf,
    pub(super) wants: Vec<Want>,
}

/// A value that is to be in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Want {
    pub(super) key: Vec<String>,
    pub(super) value: String,
}

/// What was done to one file, for all installs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edited {
    pub(super) path: PathBuf,
    /// The file was not there before.
    pub(super) created: bool,
    /// In the order in which they were made.
    pub(super) entries: Vec<Entry>,
    /// Those of before the last change. The file is written after this is noted: if that failed, they are there still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier: Vec<Entry>,
}

/// One value that was put into a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) want: Want,
    /// What was there before any install.
    pub(super) was: Option<String>,
    /// The edits that brought it there.
    pub(super) splices: Vec<Splice>,
}

/// A link that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    /// Where it leads as long as it is ours.
    pub(super) target: PathBuf,
    /// Where it led before.
    pub(super) was: Option<PathBuf>,
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

impl Want {
    /// Whether only one of the two can be had. An empty helper, which has git forget those before it, goes along with
    /// the one behind it.
    pub(super) fn is_place_of(&self, other: &Self) -> bool {
        self.key == other.key && self.value.is_empty() == other.value.is_empty()
    }
}

impl Edited {
    /// Notes what has come of it. As long as nothing is changed the entries of before may be those that are there.
    pub(super) fn settle(&mut self, settled: Settled, is_changed: bool) {
        if is_changed || self.entries != settled.entries {
            self.earlier = if is_changed { settled.before } else { Vec::new() };
            self.entries = settled.entries;
        }
    }
}

impl Records {
    /// What all installs together want of a file.
    pub(super) fn wanted(&self, file: &Path) -> Vec<Want> {
        let mut all: Vec<Want> = Vec::new();
        for want in self.installs.iter().filter(|install| install.file == file).flat_map(|i| &i.wants) {
            match all.iter_mut().find(|other| other.is_place_of(want)) {
                Some(other) => other.clone_from(want),
                None => all.push(want.clone()),
            }
        }
        all
    }

    /// Takes out what was done to the file, to be put back when it is up to date.
    pub(super) fn take_file(&mut self, path: &Path) -> Option<Edited> {
        let at = self.files.iter().position(|edited| edited.path == path)?;
        Some(self.files.remove(at))
    }

    /// Keeps it, unless nobody can need it any more.
    pub(super) fn keep_file(&mut self, edited: Edited) {
        if !edited.entries.is_empty() || self.installs.iter().any(|install| install.file == edited.path) {
            self.files.push(edited);
        }
    }

    /// Notes which directories will be made for `path`.
    pub(super) fn make_way(&mut self, path: &Path) {
        let missing = missing_directories(path).into_iter();
        let new: Vec<_> = missing.filter(|directory| !self.directories.contains(directory)).collect();
        self.directories.extend(new);
    }

    /// Those that `path` lies in, the outermost first: with the last of what is in them they go.
    pub(super) fn way_to(&self, path: &Path) -> Vec<PathBuf> {
        let mut way: Vec<_> = self.directories.iter().filter(|dir| path.starts_with(dir)).cloned().collect();
        way.sort();
        way
    }

    /// Forgets those in which there is nothing of ours any more.
    pub(super) fn forget_ways(&mut self) {
        let files = self.files.iter().map(|edited| &edited.path);
        let ours: Vec<_> = files.chain(self.links.iter().map(|link| &link.path)).collect();
        self.directories.retain(|dir| ours.iter().any(|path| path.starts_with(dir)));
    }

    /// Their text; none where there is nothing to note.
    pub(super) fn text(&self, path: &Path) -> Result<Option<String>, Error> {
        if self.installs.is_empty() && self.files.is_empty() && self.links.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_string_pretty(&Self { version: VERSION, ..self.clone() });
        let text =
            text.map_err(|error| Error::Configuration(format!("cannot write {}: {error}", named(path))))?;
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
            named(path)
        ))
    };
    let Versioned { version } = serde_json::from_str(text).map_err(|error| broken(&error))?;
    if version > VERSION {
        return Err(Error::Configuration(format!(
            "{} was written by a newer usher (its version is {version}, this usher's {VERSION}): use that one",
            named(path)
        )));
    }
    if version < VERSION {
        return Err(Error::Configuration(format!(
            "{} was written by an older usher (its version is {version}, this usher's {VERSION}): have that one \
             `uninstall` what it says, or move it away and look after the tools' files yourself",
            named(path)
        )));
    }
    serde_json::from_str(text).map_err(|error| broken(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(key: &str, value: &str) -> Want {
        Want { key: vec![key.to_owned()], value: value.to_owned() }
    }

    fn install(file: &str, wants: Vec<Want>) -> Install {
        Install {
            tool: Tool::Docker,
            profile: Some("p".to_owned()),
            file: file.into(),
            link: "/l".into(),
            wants,
        }
    }

    #[test]
    fn of_two_installs_the_later_one_has_what_it_wants() {
        let records = Records {
            installs: vec![
                install("/f", vec![want("a", ""), want("a", "1"), want("b", "2")]),
                install("/other", vec![want("a", "4")]),
                install("/f", vec![want("c", "5"), want("a", "3")]),
            ],
            ..Records::default()
        };
        let expected = [want("a", ""), want("a", "3"), want("b", "2"), want("c", "5")];
        assert_eq!(records.wanted(Path::new("/f")), expected);
    }

    #[test]
    fn a_directory_is_known_as_long_as_there_is_something_of_ours_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, one) = (dir.path().join("a/bin"), dir.path().join("a/bin/one"));
        let other = Link { path: bin.join("other"), target: "/u".into(), was: None };
        let mut records = Records { links: vec![other], ..Records::default() };
        records.make_way(&one);
        records.make_way(&one);
        assert_eq!(records.directories, [dir.path().join("a"), bin.clone()]);
        assert_eq!(records.way_to(&one), records.directories);
        assert!(records.way_to(&dir.path().join("b")).is_empty());
        records.forget_ways();
        assert_eq!(records.directories.len(), 2);
        records.links.clear();
        records.forget_ways();
        assert!(records.directories.is_empty());
    }

    #[test]
    fn what_is_noted_is_read_again() {
        let want = want("credHelpers", "usher");
        let entry = Entry {
            want: want.clone(),
            was: Some("pass".to_owned()),
            splices: vec![Splice::between("a", "ab")],
        };
        let file =
            Edited { path: "/f".into(), created: true, entries: vec![entry.clone()], earlier: vec![entry] };
        let link = Link { path: "/l".into(), target: "/usher-1.2".into(), was: None };
        let records = Records {
            version: VERSION,
            installs: vec![install("/f", vec![want])],
            files: vec![file],
            links: vec![link],
            directories: vec!["/d".into()],
        };
        let text = records.text(Path::new("/h")).unwrap().unwrap();
        assert_eq!(parse(&text, Path::new("/h")).unwrap(), records);
        assert_eq!(Records::default().text(Path::new("/h")).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let told = |text| parse(text, Path::new("/h")).unwrap_err().to_string();
        assert!(told("{\n").contains("/h: EOF while parsing an object at line 2"), "{}", told("{\n"));
        assert!(told("{\"version\":3,\"new\":1}").contains("newer usher"));
        assert!(told("{\"version\":1,\"installs\":[]}").contains("/h was written by an older usher"));
        assert!(told("{\"version\":2}").contains("installs"));
    }
}

//! git's global configuration, which git itself reads and edits, in a copy: so that all is known before anything
//! is changed, and all is changed at once.
//!
//! - `run`: git, and what it works on
//! - `asked`: which helpers it asks, in which order

mod asked;
mod run;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use self::{asked::Around, run::Runner};
use super::{
    format::{Change, Format},
    named,
    places::Place,
    record::{Entry, Want},
};
use crate::{args::InstallGit, caller::Caller, error::Error};

/// The key of the helpers for every host.
const HELPER: &str = "credential.helper";

/// The last word of the other key that is written.
const WITH_PATH: &str = "useHttpPath";

/// The file that `git config --global` writes, by the rule of git-config(1).
pub(super) fn file(caller: &Caller<'_>) -> Result<PathBuf, Error> {
    let path = |name| caller.var(name).map(PathBuf::from);
    if let Some(path) = named_file(caller)? {
        return Ok(path);
    }
    let home = path("HOME").filter(|home| home.is_absolute()).ok_or_else(|| {
        Error::Environment("no place for git's configuration: set HOME or GIT_CONFIG_GLOBAL".to_owned())
    })?;
    let usual = home.join(".gitconfig");
    Ok(xdg_file(caller).filter(|xdg| !usual.exists() && xdg.exists()).unwrap_or(usual))
}

/// The other one that git reads, before that of the home.
fn xdg_file(caller: &Caller<'_>) -> Option<PathBuf> {
    let path = |name| caller.var(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let directory = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")))?;
    std::path::absolute(directory.join("git/config")).ok()
}

/// The one that the caller names in place of the usual ones. What is noted of it has to lead there from everywhere.
fn named_file(caller: &Caller<'_>) -> Result<Option<PathBuf>, Error> {
    let absolute = caller.var("GIT_CONFIG_GLOBAL").map(std::path::absolute).transpose();
    absolute.map_err(|source| Error::System { what: "cannot tell the current directory", source })
}

/// git, and what it reads.
pub(super) struct Git {
    runner: Runner,
    /// The file that is told of in errors.
    file: PathBuf,
    around: Around,
    /// The text that was listed last, with what was in it: many questions are about the same.
    last: RefCell<Option<(String, List)>>,
}

/// All keys with their values; one that has none is a line without `=`.
type List = Vec<(String, Option<String>)>;

/// What `git config --null --list` tells.
fn read_list(told: &[u8]) -> List {
    let read = |fact: &str| match fact.split_once('\n') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (fact.to_owned(), None),
    };
    String::from_utf8_lossy(told).split_terminator('\0').map(read).collect()
}

impl Git {
    /// For a text by itself, `name` in errors.
    pub(super) fn alone(name: &Path, caller: &Caller<'_>) -> Self {
        let (runner, file) = (Runner::new(caller), name.to_owned());
        Self { runner, file, around: Around::nothing(), last: RefCell::default() }
    }

    /// For a file beside all others that git reads.
    pub(super) fn new(file: &Path, caller: &Caller<'_>) -> Result<Self, Error> {
        let git = Self::alone(file, caller);
        Ok(Self { around: Around::read(&git, caller)?, ..git })
    }

    /// What git answers about `text`; whatever exit code is not among `fine` is an error.
    fn read(&self, text: &str, args: &[&str], fine: &[i32]) -> Result<Vec<u8>, Error> {
        let mut command = self.runner.git(Path::new("/"));
        command.args(["config", "--no-includes", "--file", "-"]).args(args).stdin(self.runner.unnamed(text)?);
        let output = run::output(&mut command)?;
        self.check_output(&output, fine, "standard input")?;
        Ok(output.stdout)
    }

    /// `text` as git has changed it. That needs a copy, which is gone right afterwards.
    fn edit(&self, text: &str, args: &[&str]) -> Result<String, Error> {
        let private = self.runner.private()?;
        let copy = private.path().join("config");
        fs::write(&copy, text).map_err(run::cannot_copy)?;
        let mut command = self.runner.git(private.path());
        let output = run::output(command.args(["config", "--file"]).arg(&copy).args(args))?;
        self.check_output(&output, &[0], &format!("file {}", copy.display()))?;
        fs::read_to_string(&copy).map_err(run::cannot_copy)
    }

    fn check_output(&self, output: &Output, fine: &[i32], input: &str) -> Result<(), Error> {
        if output.status.code().is_some_and(|code| fine.contains(&code)) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.replace(input, &format!("file {}", named(&self.file)));
        let (path, said) = (named(&self.file), said.trim().trim_start_matches("fatal: "));
        Err(Error::Configuration(format!("git cannot work with {path}: {said} ({})", output.status)))
    }

    fn list(&self, text: &str) -> Result<List, Error> {
        if let Some((last, listed)) = &*self.last.borrow()
            && last == text
        {
            return Ok(listed.clone());
        }
        let listed = read_list(&self.read(text, &["--null", "--list"], &[0])?);
        self.last.replace(Some((text.to_owned(), listed.clone())));
        Ok(listed)
    }

    fn with_path(&self, text: &str, want: &Want) -> Result<Option<Change>, Error> {
        // 1 says that there is none.
        let told = self.read(text, &["--bool", "--get", &want.key.concat()], &[0, 1])?;
        if String::from_utf8_lossy(&told).trim() == want.value {
            return Ok(None);
        }
        let key = listed(&want.key);
        let mut found = self.list(text)?.into_iter().filter(|(name, _)| *name == key);
        // git would make one of two: they stay, and the last one counts.
        let was = found.next().filter(|_| found.next().is_none()).and_then(|(_, value)| value);
        Ok(Some(Change { was, ..Change::new(want) }))
    }

    /// What is missing of a section in which nobody but usher is to be asked for `url`.
    fn in_section(&self, text: &str, want: &Want, url: &str) -> Result<Option<Change>, Error> {
        let (values, asked) = (self.values(text, &want.key)?, self.asked(text, url)?);
        // git cannot replace one of two that are alike: they stay.
        let once = |value: &&String| values.iter().filter(|other| other == value).count() == 1;
        let own = values.iter().rfind(|value| is_usher(value) && once(value) && asked.contains(value));
        if !want.value.is_empty() {
            let is_there = values.contains(&want.value) && asked.contains(&want.value);
            return Ok((!is_there).then(|| Change { was: own.cloned(), ..Change::new(want) }));
        }
        let is_alone = asked.iter().all(|value| is_usher(value) && values.contains(value));
        if is_alone && (own.is_some() || values.last().is_some_and(String::is_empty)) {
            return Ok(None);
        }
        let change = Change::new(want);
        // git applies all of it in its order: what is behind the section counts as well, as does a helper in it.
        let at_end = own.is_some() || !self.asked(&self.put(text, &change)?, url)?.is_empty();
        Ok(Some(Change { at_end, ..change }))
    }
}

impl Format for Git {
    fn check(&self, text: &str, wants: &[Want]) -> Result<(), Error> {
        let read = wants.iter().map(|want| listed(&want.key)).filter(|key| key.ends_with(".helper"));
        let read: Vec<_> = read.chain([HELPER.to_owned()]).collect();
        match self.list(text)?.into_iter().find(|(key, value)| value.is_none() && read.contains(key)) {
            None => Ok(()),
            Some((key, _)) => Err(Error::Configuration(format!(
                "{}: {key} has no value, a line `helper` without `=`, and git fails on that: give it one, or take \
                 the line out",
                named(&self.file)
            ))),
        }
    }

    fn values(&self, text: &str, key: &[String]) -> Result<Vec<String>, Error> {
        let key = listed(key);
        let all = self.list(text)?.into_iter().filter(|(name, _)| *name == key);
        Ok(all.filter_map(|(_, value)| value).collect())
    }

    fn missing(&self, text: &str, want: &Want) -> Result<Option<Change>, Error> {
        if want.key.concat().ends_with(WITH_PATH) {
            return self.with_path(text, want);
        }
        if let Some(url) = url_of(&want.key) {
            return self.in_section(text, want, &url);
        }
        let values = self.values(text, &want.key)?;
        let once = |value: &&String| values.iter().filter(|other| other == value).count() == 1;
        let own = values.iter().rfind(|value| is_usher(value) && once(value)).cloned();
        Ok((!values.contains(&want.value)).then(|| Change { was: own, ..Change::new(want) }))
    }

    fn put(&self, text: &str, change: &Change) -> Result<String, Error> {
        let (key, value) = (change.want.key.concat(), &change.want.value);
        match &change.was {
            None if change.at_end => {
                let section = self.edit("", &["--add", &key, value])?;
                let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                Ok(format!("{text}{gap}{section}"))
            }
            None => self.edit(text, &["--add", &key, value]),
            Some(was) => self.edit(text, &["--replace-all", &key, value, &exactly(was)]),
        }
    }

    fn take(&self, text: &str, entry: &Entry) -> Result<String, Error> {
        let (key, value) = (entry.want.key.concat(), &entry.want.value);
        if let Some(was) = &entry.was {
            return self.edit(text, &["--replace-all", &key, was, &exactly(value)]);
        }
        let mut values = self.values(text, &entry.want.key)?;
        if values.iter().filter(|found| *found == value).count() == 1 {
            return self.edit(text, &["--unset", &key, &exactly(value)]);
        }
        // All of them are put there again but for ours, and nobody can put a line without a value.
        self.check(text, std::slice::from_ref(&entry.want))?;
        // Somebody else's are alike: the last one is ours.
        if let Some(at) = values.iter().rposition(|found| found == value) {
            values.remove(at);
        }
        let text = self.edit(text, &["--unset-all", &key])?;
        values.iter().try_fold(text, |text, value| self.edit(&text, &["--add", &key, value]))
    }

    fn facts(&self, text: &str) -> Result<String, Error> {
        let mut facts = self.list(text)?;
        // Which of two keys is the first makes no difference to git; which of two values of one does.
        facts.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(format!("{facts:?}"))
    }

    fn is_empty(&self, text: &str) -> Result<bool, Error> {
        Ok(text.trim().is_empty())
    }

    /// A section of a longer path is to come after one of a shorter: that one has git forget those before it.
    fn rank(&self, want: &Want) -> usize {
        let path = |url: String| {
            url.split_once("://").map_or(0, |(_, rest)| rest.find('/').map_or(0, |at| rest.len() - at))
        };
        url_of(&want.key).map_or(0, |url| 1 + path(url))
    }

    fn warnings(&self, text: &str, wants: &[Want]) -> Result<Vec<String>, Error> {
        self.told_of_others(text, wants)
    }
}

/// What `credential.helper` is to be: `link`, with what git is to say to it.
pub(super) fn value(args: &InstallGit, link: &Path, profile: Option<&str>) -> Result<String, Error> {
    let mut words = vec![escaped(link)?];
    if let Some(profile) = profile {
        words.extend(["--profile".to_owned(), escaped(Path::new(profile))?]);
    }
    if let Some(timeout) = args.timeout {
        words.extend(["--timeout".to_owned(), timeout.max(Duration::from_secs(1)).as_secs().to_string()]);
    }
    words.extend(args.persist.then(|| "--persist".to_owned()));
    Ok(words.join(" "))
}

/// What nothing but `value` matches, for git. A line without a value would match any `--fixed-value`.
fn exactly(value: &str) -> String {
    let escape =
        |c: char| [Some('\\').filter(|_| r"\.[](){}*+?|^$".contains(c)), Some(c)].into_iter().flatten();
    format!("^{}$", value.chars().flat_map(escape).collect::<String>())
}

/// For the shell that git gives it to. git looks for the `/` at its beginning: quotes cannot be had.
pub(super) fn escaped(path: &Path) -> Result<String, Error> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control)).ok_or_else(|| {
        let path = path.display();
        Error::Configuration(format!("{path} cannot be named in git's configuration; use another --bin-dir"))
    })?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c) || !c.is_ascii();
    let escape = |c: char| [Some('\\').filter(|_| !plain(c)), Some(c)].into_iter().flatten();
    Ok(text.chars().flat_map(escape).collect())
}

/// Whether that is usher, with whatever options: as it is put here, as it is printed, or by its name alone.
fn is_usher(value: &str) -> bool {
    let words = shlex::split(value).unwrap_or_default();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        [program, "helper", "git", ..] if program.starts_with('!') => program.ends_with("/usher"),
        [program, ..] => program == "usher" || program.ends_with("/git-credential-usher"),
        [] => false,
    }
}

/// A key as git lists it: section and name in small letters.
fn listed(key: &[String]) -> String {
    let key = key.concat();
    match (key.split_once('.'), key.rsplit_once('.')) {
        (Some((section, _)), Some((rest, name))) => {
            format!("{}{}.{}", section.to_lowercase(), &rest[section.len()..], name.to_lowercase())
        }
        _ => key,
    }
}

/// The URL of a section's key.
fn url_of(key: &[String]) -> Option<String> {
    let key = key.concat();
    let (section, _) = key.rsplit_once('.')?;
    Some(section.strip_prefix("credential.")?.to_owned())
}

/// What is to be there so that git asks usher for `places`; for every host if there are none.
pub(super) fn wants(
    places: &[Place],
    value: impl Fn(Option<&Place>) -> Result<String, Error>,
) -> Result<Vec<Want>, Error> {
    if places.is_empty() {
        return Ok(vec![Want { key: vec![HELPER.to_owned()], value: value(None)? }]);
    }
    let mut wants = Vec::new();
    for place in places {
        let want = |name: &str, value: String| Want {
            key: vec![format!("credential.{}.{name}", place.url())],
            value,
        };
        wants.push(want("helper", String::new()));
        wants.push(want("helper", value(Some(place))?));
        wants.extend(place.has_path().then(|| want(WITH_PATH, "true".to_owned())));
    }
    Ok(wants)
}

#[cfg(test)]
mod tests;

//! git's global configuration, which git itself reads and edits, in a copy: so that all is known before anything
//! is changed, and all is changed at once.

use std::{
    cell::RefCell,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

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

/// What git itself needs of the caller's variables to find its configuration, but for the global one. Others would have it
/// read a repository's, or what a command line says.
const GIT_READS: [&str; 5] = ["PATH", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// The file that `git config --global` writes, by the rule of git-config(1).
pub(super) fn file(caller: &Caller<'_>) -> Result<PathBuf, Error> {
    let path = |name| caller.var(name).map(PathBuf::from);
    if let Some(path) = named_file(caller)? {
        return Ok(path);
    }
    let home = path("HOME").filter(|home| home.is_absolute()).ok_or_else(|| {
        Error::Environment("no place for git's configuration: set HOME or GIT_CONFIG_GLOBAL".to_owned())
    })?;
    let xdg = path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("git/config");
    let usual = home.join(".gitconfig");
    Ok(if !usual.exists() && xdg.exists() { xdg } else { usual })
}

/// The one that the caller names in place of the usual ones. What is noted of it has to lead there from everywhere.
fn named_file(caller: &Caller<'_>) -> Result<Option<PathBuf>, Error> {
    let absolute = caller.var("GIT_CONFIG_GLOBAL").map(std::path::absolute).transpose();
    absolute.map_err(|source| Error::System { what: "cannot tell the current directory", source })
}

/// git, and a place for copies of its configuration.
pub(super) struct Git {
    copies: TempDir,
    path: Option<std::ffi::OsString>,
    /// The file that is told of in errors.
    file: PathBuf,
    /// The text that was listed last, with what was in it: many questions are about the same.
    last: RefCell<Option<(String, List)>>,
}

/// All keys with their values; one that has none is a line without `=`.
type List = Vec<(String, Option<String>)>;

impl Git {
    pub(super) fn new(file: &Path, caller: &Caller<'_>) -> Result<Self, Error> {
        let private = fs::Permissions::from_mode(0o700);
        let copies = tempfile::Builder::new().prefix("usher-").permissions(private).tempdir();
        let copies = copies.map_err(|source| Error::System {
            what: "cannot make a directory for a copy of git's configuration",
            source,
        })?;
        Ok(Self { copies, path: caller.var("PATH"), file: file.to_owned(), last: RefCell::default() })
    }

    /// Has git work on a copy of `text`; its answer, its exit code, and the copy as it is then.
    fn run(&self, text: &str, args: &[&str]) -> Result<(Output, String), Error> {
        let copy = self.copies.path().join("config");
        let failed = |source| Error::System { what: "cannot copy git's configuration", source };
        fs::write(&copy, text).map_err(failed)?;
        let mut command = Command::new("git");
        command.args(["config", "--file"]).arg(&copy).args(args);
        // Nothing but the copy is to be read, whatever is wrong with the rest.
        command
            .env_clear()
            .env("HOME", self.copies.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C");
        command.envs(self.path.iter().map(|path| ("PATH", path))).current_dir(self.copies.path());
        let output = command.output().map_err(|error| no_git(&error))?;
        Ok((output, fs::read_to_string(&copy).map_err(failed)?))
    }

    /// The same; whatever exit code is not among `fine` is an error.
    fn call(&self, text: &str, args: &[&str], fine: &[i32]) -> Result<(String, String), Error> {
        let (output, after) = self.run(text, args)?;
        if output.status.code().is_some_and(|code| fine.contains(&code)) {
            return Ok((String::from_utf8_lossy(&output.stdout).into_owned(), after));
        }
        let copy = self.copies.path().join("config");
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.replace(&copy.display().to_string(), &named(&self.file));
        let (path, said) = (named(&self.file), said.trim().trim_start_matches("fatal: "));
        Err(Error::Configuration(format!("git cannot work with {path}: {said} ({})", output.status)))
    }

    fn edit(&self, text: &str, args: &[&str]) -> Result<String, Error> {
        Ok(self.call(text, args, &[0])?.1)
    }

    fn list(&self, text: &str) -> Result<List, Error> {
        if let Some((last, listed)) = &*self.last.borrow()
            && last == text
        {
            return Ok(listed.clone());
        }
        let (told, _) = self.call(text, &["--null", "--list"], &[0])?;
        let read = |fact: &str| match fact.split_once('\n') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (fact.to_owned(), None),
        };
        let listed: List = told.split_terminator('\0').map(read).collect();
        self.last.replace(Some((text.to_owned(), listed.clone())));
        Ok(listed)
    }

    fn with_path(&self, text: &str, want: &Want) -> Result<Option<Change>, Error> {
        // 1 says that there is none.
        let (told, _) = self.call(text, &["--bool", "--get", &want.key.concat()], &[0, 1])?;
        if told.trim() == want.value {
            return Ok(None);
        }
        let was = self.values(text, &want.key)?.pop();
        Ok(Some(Change { want: want.clone(), was }))
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
        let values = self.values(text, &want.key)?;
        // git cannot replace one of two that are alike: they stay.
        let once = |value: &&String| values.iter().filter(|other| other == value).count() == 1;
        let own = values.iter().rfind(|value| is_usher(value) && once(value));
        let is_there = if want.value.is_empty() {
            // Where there is an usher already it is asked as it was, after the same others.
            own.is_some() || values.last().is_some_and(String::is_empty)
        } else {
            values.contains(&want.value)
        };
        Ok((!is_there).then(|| Change { want: want.clone(), was: own.cloned() }))
    }

    fn put(&self, text: &str, change: &Change) -> Result<String, Error> {
        let (key, value) = (change.want.key.concat(), &change.want.value);
        match &change.was {
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

/// The helpers that git asks before those of its global configuration's end, as they may be shown: a shell
/// command can hold a secret.
pub(super) fn others(caller: &Caller<'_>) -> Result<Vec<String>, Error> {
    let mut command = Command::new("git");
    command.args(["config", "--null", "--get-all", HELPER]).env_clear().current_dir("/");
    command.envs(GIT_READS.into_iter().filter_map(|name| Some((name, caller.var(name)?))));
    command.envs(named_file(caller)?.map(|file| ("GIT_CONFIG_GLOBAL", file)));
    // Not even if there is a repository at the root.
    command.env("GIT_DIR", "/dev/null");
    let output = command.output().map_err(|error| no_git(&error))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let values: Vec<_> = told.split_terminator('\0').collect();
    let from = values.iter().rposition(|value| value.is_empty()).map_or(0, |reset| reset + 1);
    let shown = |value: &&str| match value.split_whitespace().next() {
        _ if is_usher(value) => None,
        Some(word) if !word.starts_with('!') => Some(format!("`{word}`")),
        _ => Some("a shell command".to_owned()),
    };
    Ok(values[from..].iter().filter_map(shown).collect())
}

fn no_git(error: &io::Error) -> Error {
    Error::Configuration(format!("cannot run git: {error}; is it installed, and its directory in PATH?"))
}

#[cfg(test)]
mod tests;

//! git's global configuration, which git itself reads and edits, in a copy: so that all is known before anything
//! is changed, and all is changed at once.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    format::{Change, Format},
    places::Place,
    record::Entry,
};
use crate::{args::InstallGit, caller::Caller, error::Error};

/// The key of the helpers for every host.
const HELPER: &str = "credential.helper";

/// What git itself needs of the caller's variables to find its configuration.
const GIT_READS: [&str; 6] =
    ["PATH", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// The file that `git config --global` writes, by the rule of git-config(1).
pub(super) fn file(caller: &Caller<'_>) -> Result<PathBuf, Error> {
    let path = |name| caller.var(name).map(PathBuf::from);
    if let Some(path) = path("GIT_CONFIG_GLOBAL") {
        // What is noted of it has to lead there from everywhere.
        return std::path::absolute(path)
            .map_err(|source| Error::System { what: "cannot tell the current directory", source });
    }
    let home = path("HOME").filter(|home| home.is_absolute()).ok_or_else(|| {
        Error::Environment("no place for git's configuration: set HOME or GIT_CONFIG_GLOBAL".to_owned())
    })?;
    let xdg = path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("git/config");
    let usual = home.join(".gitconfig");
    Ok(if !usual.exists() && xdg.exists() { xdg } else { usual })
}

/// git, and a place for copies of its configuration.
pub(super) struct Git {
    copies: TempDir,
    path: Option<std::ffi::OsString>,
    /// The file that is told of in errors.
    file: PathBuf,
}

impl Git {
    pub(super) fn new(file: &Path, caller: &Caller<'_>) -> Result<Self, Error> {
        let private = fs::Permissions::from_mode(0o700);
        let copies = tempfile::Builder::new().prefix("usher-").permissions(private).tempdir();
        let copies = copies.map_err(|source| Error::System {
            what: "cannot make a directory for a copy of git's configuration",
            source,
        })?;
        Ok(Self { copies, path: caller.var("PATH"), file: file.to_owned() })
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
        let said = said.replace(&copy.display().to_string(), &self.file.display().to_string());
        let (path, said) = (self.file.display(), said.trim().trim_start_matches("fatal: "));
        Err(Error::Configuration(format!("git cannot work with {path}: {said} ({})", output.status)))
    }

    fn edit(&self, text: &str, args: &[&str]) -> Result<String, Error> {
        Ok(self.call(text, args, &[0])?.1)
    }
}

impl Format for Git {
    fn values(&self, text: &str, key: &[String]) -> Result<Vec<String>, Error> {
        // 1 says that there is none.
        let (told, _) = self.call(text, &["--null", "--get-all", &key.concat()], &[0, 1])?;
        Ok(told.split_terminator('\0').map(str::to_owned).collect())
    }

    fn put(&self, text: &str, change: &Change) -> Result<String, Error> {
        let key = change.key.concat();
        match &change.was {
            None => self.edit(text, &["--add", &key, &change.value]),
            Some(was) => self.edit(text, &["--fixed-value", "--replace-all", &key, &change.value, was]),
        }
    }

    fn take(&self, text: &str, entry: &Entry) -> Result<String, Error> {
        let (key, value) = (entry.key.concat(), &entry.value);
        if let Some(was) = &entry.was {
            return self.edit(text, &["--fixed-value", "--replace-all", &key, was, value]);
        }
        let mut values = self.values(text, &entry.key)?;
        if values.iter().filter(|found| *found == value).count() == 1 {
            return self.edit(text, &["--fixed-value", "--unset", &key, value]);
        }
        // Somebody else's are alike: the last one is ours.
        if let Some(at) = values.iter().rposition(|found| found == value) {
            values.remove(at);
        }
        let text = self.edit(text, &["--unset-all", &key])?;
        values.iter().try_fold(text, |text, value| self.edit(&text, &["--add", &key, value]))
    }

    fn facts(&self, text: &str) -> Result<String, Error> {
        Ok(self.call(text, &["--null", "--list"], &[0])?.0)
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

/// The keys that are there for `places`; for every host if there are none.
pub(super) fn keys(places: &[Place]) -> Vec<Vec<String>> {
    if places.is_empty() {
        return vec![vec![HELPER.to_owned()]];
    }
    let of = |place: &Place| {
        let path = place.has_path().then(|| key(place, "useHttpPath"));
        [Some(key(place, "helper")), path].into_iter().flatten()
    };
    places.iter().flat_map(of).collect()
}

fn key(place: &Place, name: &str) -> Vec<String> {
    vec![format!("credential.{}.{name}", place.url())]
}

/// What is still to be done so that git asks usher.
pub(super) fn changes(
    git: &Git,
    text: &str,
    places: &[Place],
    value: impl Fn(Option<&Place>) -> Result<String, Error>,
) -> Result<Vec<Change>, Error> {
    if places.is_empty() {
        return helper(git, text, vec![HELPER.to_owned()], value(None)?, false);
    }
    let mut changes = Vec::new();
    for place in places {
        changes.extend(helper(git, text, key(place, "helper"), value(Some(place))?, true)?);
        if place.has_path() {
            changes.extend(with_path(git, text, key(place, "useHttpPath"))?);
        }
    }
    Ok(changes)
}

fn helper(git: &Git, text: &str, key: Vec<String>, value: String, alone: bool) -> Result<Vec<Change>, Error> {
    let values = git.values(text, &key)?;
    if values.contains(&value) {
        return Ok(Vec::new());
    }
    if let Some(was) = values.iter().rfind(|value| is_usher(value)) {
        return Ok(vec![Change { key, value, was: Some(was.clone()) }]);
    }
    let reset = alone && values.last().is_none_or(|last| !last.is_empty());
    let reset = reset.then(|| Change { key: key.clone(), value: String::new(), was: None });
    Ok(reset.into_iter().chain([Change { key, value, was: None }]).collect())
}

fn with_path(git: &Git, text: &str, key: Vec<String>) -> Result<Option<Change>, Error> {
    let (told, _) = git.call(text, &["--bool", "--get", &key.concat()], &[0, 1])?;
    if told.trim() == "true" {
        return Ok(None);
    }
    let was = git.values(text, &key)?.pop();
    Ok(Some(Change { key, value: "true".to_owned(), was }))
}

/// The helpers that git asks before those of its global configuration's end, as they may be shown: a shell
/// command can hold a secret.
pub(super) fn others(caller: &Caller<'_>) -> Result<Vec<String>, Error> {
    let mut command = Command::new("git");
    command.args(["config", "--null", "--get-all", HELPER]).env_clear().current_dir("/");
    command.envs(GIT_READS.into_iter().filter_map(|name| Some((name, caller.var(name)?))));
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

//! Which helpers git asks for a URL, in their order: git itself tells, by what it runs.

use std::{cell::RefCell, collections::BTreeMap, fs, path::Path};

use super::{Git, HELPER, List, is_usher, listed, read_list, run, url_of};
use crate::{
    caller::Caller,
    error::Error,
    helper::install::{named, record::Want},
};

/// Stands for every host of which nothing is said.
const ANY_HOST: &str = "https://usher.invalid";

/// What git reads besides the file that is changed.
pub(super) struct Around {
    /// All that comes before it.
    before: List,
    home: Option<std::ffi::OsString>,
    /// What was asked already.
    known: RefCell<BTreeMap<(String, String), Vec<usize>>>,
}

impl Around {
    /// Nothing besides.
    pub(super) fn nothing() -> Self {
        Self { before: List::new(), home: None, known: RefCell::default() }
    }

    pub(super) fn read(git: &Git, caller: &Caller<'_>) -> Result<Self, Error> {
        let private = git.runner.private()?;
        let mut command = git.runner.git(private.path());
        command.env_remove("GIT_CONFIG_NOSYSTEM");
        for name in ["GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"] {
            command.envs(caller.var(name).map(|value| (name, value)));
        }
        let system = run::output(command.args(["config", "--null", "--list"]))?;
        let mut before = read_list(&system.stdout);
        let home = caller.var("HOME");
        if let Some(xdg) = super::xdg_file(caller)
            .filter(|xdg| super::named_file(caller).is_ok_and(|named| named.is_none() && *xdg != git.file))
        {
            before.extend(included(git, home.as_deref(), &xdg)?);
        }
        Ok(Self { before, home, known: RefCell::default() })
    }
}

/// What is in a file that is included, and in those that it includes; nothing if it cannot be read.
fn included(git: &Git, home: Option<&std::ffi::OsStr>, path: &Path) -> Result<List, Error> {
    let mut command = git.runner.git(Path::new("/"));
    command.envs(home.map(|home| ("HOME", home)));
    let told = run::output(command.args(["config", "--null", "--includes", "--list", "--file"]).arg(path))?;
    Ok(if told.status.success() { read_list(&told.stdout) } else { List::new() })
}

impl Git {
    /// Every helper that git comes across, with its key, outside of any repository.
    fn helpers(&self, text: &str) -> Result<Vec<(String, String)>, Error> {
        let mut all = self.around.before.clone();
        for (key, value) in self.list(text)? {
            let path = value.as_ref().filter(|_| key == "include.path").cloned();
            all.push((key, value));
            if let Some(path) = path {
                let home = self.around.home.as_deref();
                let path = match (path.strip_prefix("~/"), home) {
                    (Some(rest), Some(home)) => Path::new(home).join(rest),
                    _ => self.file.parent().unwrap_or(Path::new("/")).join(path),
                };
                all.extend(included(self, home, &path)?);
            }
        }
        let is_helper =
            |key: &str| key == HELPER || key.starts_with("credential.") && key.ends_with(".helper");
        Ok(all
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .filter(|(key, _)| is_helper(key))
            .collect())
    }

    /// Those that it asks for `url` if none of them answers.
    pub(super) fn asked(&self, text: &str, url: &str) -> Result<Vec<String>, Error> {
        let helpers = self.helpers(text)?;
        if helpers.is_empty() {
            return Ok(Vec::new());
        }
        // In place of each one that tells that it was asked, and behind them one that answers.
        let sections = helpers.iter().enumerate().map(|(at, (key, value))| {
            let tells = if value.is_empty() { String::new() } else { format!("\"!echo {at} >&2;:\"") };
            format!("{}\thelper = {tells}\n", section(key))
        });
        let stand_in = sections.collect::<String>()
            + "[credential]\n\thelper = \"!echo username=u;echo password=p;:\"\n";
        let question = (url.to_owned(), stand_in);
        let known = self.around.known.borrow().get(&question).cloned();
        let order = match known {
            Some(order) => order,
            None => self.ask(&question.0, &question.1)?,
        };
        let asked = order.iter().filter_map(|&at| helpers.get(at)).map(|(_, value)| value.clone()).collect();
        self.around.known.borrow_mut().insert(question, order);
        Ok(asked)
    }

    fn ask(&self, url: &str, stand_in: &str) -> Result<Vec<usize>, Error> {
        let private = self.runner.private()?;
        fs::write(private.path().join(".gitconfig"), stand_in).map_err(run::cannot_copy)?;
        let mut command = self.runner.git(private.path());
        command.env("GIT_TERMINAL_PROMPT", "0").stdin(self.runner.unnamed(&format!("url={url}\n\n"))?);
        let output = run::output(command.args(["credential", "fill"]))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(said.lines().filter_map(|line| line.parse().ok()).collect());
        }
        Err(Error::Configuration(format!(
            "git does not tell which helpers it asks for {url}: {} ({})",
            said.trim(),
            output.status
        )))
    }

    /// What is to be known where git asks others than usher, or usher not at all.
    pub(super) fn told_of_others(&self, text: &str, wants: &[Want]) -> Result<Vec<String>, Error> {
        let helpers =
            wants.iter().filter(|want| !want.value.is_empty() && listed(&want.key).ends_with(".helper"));
        let mut told = Vec::new();
        for want in helpers {
            let url = url_of(&want.key);
            let asked = self.asked(text, url.as_deref().unwrap_or(ANY_HOST))?;
            told.extend(about(&asked, url.as_deref(), &named(&self.file)));
        }
        Ok(told)
    }
}

fn about(asked: &[String], url: Option<&str>, file: &str) -> Option<String> {
    let place = url.map(|url| format!(" for {url}")).unwrap_or_default();
    let Some(own) = asked.iter().position(|value| is_usher(value)) else {
        return Some(format!(
            "usher will not be asked{place}, because a line `helper =` behind it, in {file} or in what that includes, \
             has git forget the helpers before: take that out, or move the include before it"
        ));
    };
    let others = |of: &[String], where_: &str| {
        let shown: Vec<_> = of.iter().filter(|value| !is_usher(value)).map(|value| shown(value)).collect();
        (!shown.is_empty()).then(|| format!("{} {where_} usher", shown.join(" and ")))
    };
    let (before, after) = asked.split_at(own);
    let asks: Vec<_> = others(before, "before").into_iter().chain(others(after, "after")).collect();
    let instead = match url {
        Some(_) => "",
        None => {
            ", or say `usher helper install git P`: for the hosts of the profile P git asks usher alone then"
        }
    };
    (!asks.is_empty()).then(|| {
        format!(
            "git asks {}{place}, and has each of them store, too, what usher gives where that goes as a password; what \
             one before usher has, usher is not asked for: take it out{instead}",
            asks.join(", and ")
        )
    })
}

/// As it may be shown: a shell command can hold a secret.
fn shown(value: &str) -> String {
    match value.split_whitespace().next() {
        Some(word) if !word.starts_with('!') => format!("`{word}`"),
        _ => "a shell command".to_owned(),
    }
}

/// The line that begins a section with this key in it.
fn section(key: &str) -> String {
    match key.strip_prefix("credential.").and_then(|rest| rest.strip_suffix(".helper")) {
        Some(name) => format!("[credential \"{}\"]\n", name.replace('\\', "\\\\").replace('"', "\\\"")),
        None => "[credential]\n".to_owned(),
    }
}

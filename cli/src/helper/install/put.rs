//! `usher helper install`: a link, and the values in the tool's file that have it asked.

use std::path::{Path, PathBuf};

use super::{
    docker::{self, Docker},
    file::{File, missing_directories},
    format::{self, Change, Format, is_there},
    git::{self, Git},
    links::{self, Found},
    places::{self, Place},
    plan::{Plan, Step},
    record::{Book, Entry, Install, Link, Records},
    shown, words,
};
use crate::{
    args::{Consent, InstallTool, Tool},
    caller::Caller,
    error::Error,
};

pub(crate) fn run(tool: &InstallTool, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let wish = Wish::of(tool);
    let places = match wish.profile {
        Some(profile) => places::of(profile, caller)?,
        None => Vec::new(),
    };
    let usher = links::usher()?;
    let Book { file: book, mut records } = Book::open(caller)?;
    let noted = records.clone();
    let link = links::path(wish.tool, wish.bin_dir, &records, &usher, caller)?;
    let path = match wish.tool {
        Tool::Git => git::file(caller)?,
        Tool::Docker => docker::file(caller)?,
    };
    let linked = link_step(&link, &usher, &mut records)?;
    let written = write_step(tool, &wish, File::read(path)?, &link, &places, &mut records, caller)?;
    let unlinked = unused_links(&mut records, &usher)?;
    let mut steps = Vec::new();
    if records != noted {
        let after = records.text(&book.path)?;
        let told = vec!["what `uninstall` has to know".to_owned()];
        steps.push(Step::Write { file: book, after, told, directories: Vec::new() });
    }
    steps.extend(linked);
    steps.extend(written);
    steps.extend(unlinked);
    let said = words(wish.tool, wish.profile);
    let hint = format!(
        "correct that and say it again, which goes on from there; `usher helper uninstall {said}` takes it back"
    );
    let mut plan = Plan { steps, notes: Vec::new(), warnings: Vec::new(), hint };
    surroundings(&wish, &link, &mut plan, caller)?;
    plan.carry_out(&format!("nothing to do: {said} is set up already"), wish.consent, caller)
}

/// What was asked for, whatever the tool.
struct Wish<'a> {
    tool: Tool,
    profile: Option<&'a str>,
    bin_dir: Option<&'a Path>,
    consent: Consent,
}

impl<'a> Wish<'a> {
    fn of(tool: &'a InstallTool) -> Self {
        let (tool, profile, place, consent) = match tool {
            InstallTool::Git(args) => (Tool::Git, &args.profile, &args.place, args.consent),
            InstallTool::Docker(args) => (Tool::Docker, &args.profile, &args.place, args.consent),
        };
        Self { tool, profile: profile.as_deref(), bin_dir: place.bin_dir.as_deref(), consent }
    }

    fn is(&self, install: &Install, file: &Path) -> bool {
        install.tool == self.tool && install.profile.as_deref() == self.profile && install.file == file
    }
}

/// Makes the link, if it is not there.
fn link_step(path: &Path, usher: &Path, records: &mut Records) -> Result<Option<Step>, Error> {
    let (was, told) = match links::found(path, usher)? {
        Found::Foreign => return Err(links::foreign(path)),
        Found::Ours => return Ok(None),
        Found::Nothing => (None, String::new()),
        Found::Other(was) => {
            let told = format!(" (was {})", was.display());
            (Some(was), told)
        }
    };
    if !records.links.iter().any(|link| link.path == path) {
        let directories = missing_directories(path);
        records.links.push(Link { path: path.to_owned(), was, directories });
    }
    Ok(Some(Step::Link { path: path.to_owned(), target: usher.to_owned(), told }))
}

/// Takes out of the tool's file what does not belong there any more, and puts in what is missing.
fn write_step(
    tool: &InstallTool,
    wish: &Wish<'_>,
    file: File,
    link: &Path,
    places: &[Place],
    records: &mut Records,
    caller: &Caller<'_>,
) -> Result<Option<Step>, Error> {
    let path = file.path.clone();
    let before = file.text.clone().unwrap_or_default();
    let install = match records.installs.iter().position(|install| wish.is(install, &path)) {
        Some(at) => records.installs.remove(at),
        None => new(wish, &file, link),
    };
    let mut install = Install { link: link.to_owned(), ..install };
    let (text, told) = match tool {
        InstallTool::Git(args) => {
            let git = Git::new(&path, caller)?;
            let value = |place: Option<&Place>| {
                let by_name = place.is_some_and(|place| place.by_name || args.by_name);
                git::value(args, link, wish.profile.filter(|_| by_name))
            };
            let mut edit = Edit::begin(&git, &before, &git::keys(places), &mut install)?;
            let changes = git::changes(&git, &edit.text, places, value)?;
            edit.put(&changes, &mut install)?;
            (edit.text, edit.told)
        }
        InstallTool::Docker(_) => {
            let docker = Docker(&path);
            let mut edit = Edit::begin(&docker, &before, &docker::keys(places), &mut install)?;
            let changes = docker::changes(&docker, &edit.text, places)?;
            edit.put(&changes, &mut install)?;
            (edit.text, edit.told)
        }
    };
    // Its values may have been there before, and its link not.
    if !install.entries.is_empty() || records.links.iter().any(|made| made.path == link) {
        records.installs.push(install);
    }
    let changed = text != before;
    Ok(changed.then_some(Step::Write { file, after: Some(text), told, directories: Vec::new() }))
}

fn new(wish: &Wish<'_>, file: &File, link: &Path) -> Install {
    Install {
        tool: wish.tool,
        profile: wish.profile.map(str::to_owned),
        file: file.path.clone(),
        created: file.text.is_none(),
        directories: missing_directories(&file.path),
        link: link.to_owned(),
        entries: Vec::new(),
    }
}

/// The tool's text on its way.
struct Edit<'a> {
    format: &'a dyn Format,
    text: String,
    told: Vec<String>,
}

impl<'a> Edit<'a> {
    /// Forgets what somebody else has changed since, and takes back what belongs to none of `keys`.
    fn begin(
        format: &'a dyn Format,
        text: &str,
        keys: &[Vec<String>],
        install: &mut Install,
    ) -> Result<Self, Error> {
        let (mut kept, mut stale) = (Vec::new(), Vec::new());
        for entry in install.entries.drain(..) {
            match is_there(format, text, &entry)? {
                true if keys.contains(&entry.key) => kept.push(entry),
                true => stale.push(entry),
                false => {}
            }
        }
        install.entries = kept;
        let told = stale.iter().map(taken).collect();
        Ok(Self { format, text: format::take_back(format, text, &stale)?, told })
    }

    fn put(&mut self, changes: &[Change], install: &mut Install) -> Result<(), Error> {
        self.told.extend(changes.iter().map(described));
        self.text = format::put(self.format, &self.text, changes, install)?;
        Ok(())
    }
}

fn described(change: &Change) -> String {
    let Change { key, value, was } = change;
    match was {
        _ if value.is_empty() => format!("{} is emptied, so that no other helper is asked there", shown(key)),
        Some(was) => format!("{} = {value} (was {was})", shown(key)),
        None => format!("{} = {value} (new)", shown(key)),
    }
}

/// How it is told that an entry goes.
pub(super) fn taken(entry: &Entry) -> String {
    let key = shown(&entry.key);
    match (&entry.was, entry.value.as_str()) {
        (Some(was), value) => format!("{key} = {was} again (was {value})"),
        (None, "") => format!("{key} = (empty) is taken out"),
        (None, value) => format!("{key} = {value} is taken out"),
    }
}

/// Links that are ours, and that nothing calls any more.
pub(super) fn unused_links(records: &mut Records, usher: &Path) -> Result<Vec<Step>, Error> {
    let used: Vec<PathBuf> = records.installs.iter().map(|install| install.link.clone()).collect();
    let (kept, unused): (Vec<_>, Vec<_>) =
        records.links.drain(..).partition(|link| used.contains(&link.path));
    records.links = kept;
    let mut steps = Vec::new();
    for Link { path, was, directories } in unused {
        match (links::found(&path, usher)?, was) {
            (Found::Nothing | Found::Foreign, _) => {}
            (_, Some(target)) => {
                let told = ", as before".to_owned();
                steps.push(Step::Link { path, target, told });
            }
            (_, None) => steps.push(Step::Unlink { path, directories }),
        }
    }
    Ok(steps)
}

/// What the user has to know beside it.
fn surroundings(wish: &Wish<'_>, link: &Path, plan: &mut Plan, caller: &Caller<'_>) -> Result<(), Error> {
    let directory = link.parent().unwrap_or(Path::new("/"));
    match wish.tool {
        Tool::Git if wish.profile.is_none() => {
            let others = git::others(caller)?;
            if !others.is_empty() {
                plan.notes.push(format!("git asks {} before usher, as configured", others.join(" and ")));
            }
        }
        Tool::Git => {}
        Tool::Docker => {
            if !links::is_in_path(directory, caller) {
                plan.warnings.push(format!(
                    "{} is not in PATH, where docker looks for {}: add it, or use another --bin-dir",
                    directory.display(),
                    links::name(wish.tool)
                ));
            }
            let said = words(wish.tool, wish.profile);
            plan.notes.push(format!(
                "podman, skopeo and buildah read other files, too: `usher helper print {said}` has what belongs there"
            ));
        }
    }
    Ok(())
}

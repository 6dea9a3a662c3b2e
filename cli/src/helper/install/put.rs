//! `usher helper install`: a link, and the values in the tool's file that have it asked.

use std::path::{Path, PathBuf};

use super::{
    docker::{self, Docker},
    file::File,
    format::Format,
    git::{self, Git},
    links::{self, Found, Lies},
    named,
    places::{self, Place},
    plan::{Plan, Seen, Step},
    record::{Book, Edited, Entry, Install, Link, Records, Want},
    settle::{Wishes, settle},
    take::rough,
    words,
};
use crate::{
    args::{Consent, InstallTool, Tool},
    caller::Caller,
    error::Error,
};

pub(crate) fn run(tool: &InstallTool, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let wish = Wish::of(tool);
    let places = match wish.profile {
        Some(profile) => places::of(profile, wish.tool, caller)?,
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
    let said = words(wish.tool, wish.profile);
    let mut plan = Plan::new(format!(
        "correct that and say it again, which goes on from there; `usher helper uninstall {said}` takes it back"
    ));
    plan.seen.push(Seen::File(book.clone()));
    link_step(&link, &usher, &mut records, &mut plan)?;
    let install = Install {
        tool: wish.tool,
        profile: wish.profile.map(str::to_owned),
        file: path,
        wants: wants(tool, &wish, &link, &places)?,
        link: link.clone(),
    };
    write_step(&install, &mut records, &mut plan, caller)?;
    unused_links(&mut records, &mut plan)?;
    if records != noted {
        let after = records.text(&book.path)?;
        let told = vec!["what `uninstall` has to know".to_owned()];
        plan.steps.insert(0, Step::Write { file: book, after, told, directories: Vec::new() });
    }
    if wish.tool == Tool::Docker {
        surroundings(&wish, &link, &mut plan, caller);
    }
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
}

/// What is to be in the tool's file.
fn wants(tool: &InstallTool, wish: &Wish<'_>, link: &Path, places: &[Place]) -> Result<Vec<Want>, Error> {
    match tool {
        InstallTool::Docker(_) => Ok(docker::wants(places)),
        InstallTool::Git(args) => git::wants(places, |place| {
            let by_name = place.is_some_and(|place| place.by_name || args.by_name);
            git::value(args, link, wish.profile.filter(|_| by_name))
        }),
    }
}

/// Makes the link, if it is not there.
fn link_step(path: &Path, usher: &Path, records: &mut Records, plan: &mut Plan) -> Result<(), Error> {
    let noted = records.links.iter().position(|link| link.path == path);
    let found = links::found(path, usher, noted.map(|at| &records.links[at]))?;
    plan.seen.push(Seen::Link(path.to_owned(), links::lies(path)?));
    let (was, told) = match found {
        Found::Foreign => return Err(links::foreign(path)),
        Found::Ours => return Ok(()),
        Found::Nothing => (None, String::new()),
        Found::Other(was) => {
            let told = format!(" (was {})", named(&was));
            (Some(was), told)
        }
    };
    records.make_way(path);
    let mut made = Link { path: path.to_owned(), target: usher.to_owned(), was };
    if let Some(before) = noted.map(|at| records.links.remove(at)) {
        // What was there before usher is what is to be there after it.
        if made.was.as_ref() == Some(&before.target) {
            made.was = before.was;
        }
    }
    records.links.push(made);
    plan.steps.push(Step::Link { path: path.to_owned(), target: usher.to_owned(), told });
    Ok(())
}

/// Takes out of the tool's file what does not belong there any more, and puts in what is missing.
fn write_step(
    install: &Install,
    records: &mut Records,
    plan: &mut Plan,
    caller: &Caller<'_>,
) -> Result<(), Error> {
    let file = File::read(install.file.clone())?;
    plan.seen.push(Seen::File(file.clone()));
    let before = file.text.clone().unwrap_or_default();
    let format: Box<dyn Format> = match install.tool {
        Tool::Git => Box::new(Git::new(&install.file, caller)?),
        Tool::Docker => Box::new(Docker(&install.file)),
    };
    format.check(&before, &install.wants)?;
    records.make_way(&file.path);
    let mut edited = records.take_file(&file.path).unwrap_or_else(|| Edited {
        path: file.path.clone(),
        created: file.text.is_none(),
        entries: Vec::new(),
        earlier: Vec::new(),
    });
    let (at, so_far) = replace(install, records);
    let all = records.wanted(&file.path);
    let wishes = Wishes { so_far: &so_far, own: &install.wants, all: &all };
    let settled = settle(&*format, &before, &edited, wishes)?;
    plan.notes.extend(settled.is_rough.then(|| rough(&named(&file.path))));
    plan.warnings.extend(format.warnings(&settled.text, &install.wants)?);
    let (after, told) = (settled.text.clone(), settled.told.clone());
    edited.settle(settled, after != before);
    // All of it may have been there before, and the link too: then there is nothing to take back.
    let has = |entry: &Entry| install.wants.iter().any(|want| want.is_place_of(&entry.want));
    let is_needed =
        edited.entries.iter().any(has) || records.links.iter().any(|made| made.path == install.link);
    if !is_needed {
        records.installs.remove(at);
    }
    records.keep_file(edited);
    if after != before {
        plan.steps.push(Step::Write { file, after: Some(after), told, directories: Vec::new() });
    }
    Ok(())
}

/// Notes the install in place of what it was before; where that is, and what it wanted then. It is the last one, unless
/// it has all that it wants where it stands.
fn replace(install: &Install, records: &mut Records) -> (usize, Vec<Want>) {
    let is_same = |other: &Install| {
        (other.tool, &other.profile, &other.file) == (install.tool, &install.profile, &install.file)
    };
    let Some(at) = records.installs.iter().position(is_same) else {
        records.installs.push(install.clone());
        return (records.installs.len() - 1, Vec::new());
    };
    let before = std::mem::replace(&mut records.installs[at], install.clone());
    let all = records.wanted(&install.file);
    if install.wants.iter().all(|want| all.contains(want)) {
        return (at, before.wants);
    }
    let own = records.installs.remove(at);
    records.installs.push(own);
    (records.installs.len() - 1, before.wants)
}

/// Has links that are ours go, if nothing calls them any more.
pub(super) fn unused_links(records: &mut Records, plan: &mut Plan) -> Result<(), Error> {
    let used: Vec<PathBuf> = records.installs.iter().map(|install| install.link.clone()).collect();
    let (kept, unused): (Vec<_>, Vec<_>) =
        records.links.drain(..).partition(|link| used.contains(&link.path));
    records.links = kept;
    for Link { path, target, was } in unused {
        let lies = links::lies(&path)?;
        match (&lies, was) {
            (Lies::Nothing, _) => {}
            (Lies::Link(found), was) if *found == target => plan.steps.push(match was {
                Some(target) => Step::Link { path: path.clone(), target, told: ", as before".to_owned() },
                None => Step::Unlink { path: path.clone(), directories: records.way_to(&path) },
            }),
            _ => plan
                .notes
                .push(format!("{} is not what install made any more, and is left as it is", named(&path))),
        }
        plan.seen.push(Seen::Link(path, lies));
    }
    records.forget_ways();
    Ok(())
}

/// What the user of docker has to know beside it.
fn surroundings(wish: &Wish<'_>, link: &Path, plan: &mut Plan, caller: &Caller<'_>) {
    let directory = link.parent().unwrap_or(Path::new("/"));
    if !links::is_in_path(directory, caller) {
        plan.warnings.push(format!(
            "{} is not in PATH, where docker looks for {}: add it, or use another --bin-dir",
            named(directory),
            links::name(wish.tool)
        ));
    }
    let said = words(wish.tool, wish.profile);
    plan.notes.push(format!(
        "podman, skopeo and buildah read other files, too: `usher helper print {said}` has what belongs there"
    ));
}

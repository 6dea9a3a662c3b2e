//! `usher helper uninstall`: takes back what `install` did, and nothing else.

use super::{
    docker::Docker,
    file::File,
    format::{self, Format, is_there},
    git::Git,
    links,
    plan::{Plan, Step},
    put::{taken, unused_links},
    record::{Book, Install, Records},
    shown, words,
};
use crate::{
    args::{HelperUninstall, Tool},
    caller::Caller,
    error::Error,
};

pub(crate) fn run(args: &HelperUninstall, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let usher = links::usher()?;
    let Book { file: book, mut records } = Book::open(caller)?;
    let noted = records.clone();
    let is_meant = |install: &Install| install.tool == args.tool && install.profile == args.profile;
    let (meant, others): (Vec<_>, Vec<_>) = records.installs.drain(..).partition(is_meant);
    records.installs = others;
    let said = words(args.tool, args.profile.as_deref());
    let hint = format!("correct that, and say `usher helper uninstall {said}` again");
    let mut plan = Plan { steps: Vec::new(), notes: Vec::new(), warnings: Vec::new(), hint };
    if meant.is_empty() {
        plan.notes.extend(installed(&records));
    }
    for install in meant {
        take(install, &mut records, &mut plan, caller)?;
    }
    plan.steps.extend(unused_links(&mut records, &usher)?);
    if records != noted {
        let after = records.text(&book.path)?;
        let told = vec!["this is forgotten".to_owned()];
        plan.steps.push(Step::Write { file: book, after, told, directories: Vec::new() });
    }
    let nothing = format!("nothing of `usher helper install {said}` is there");
    plan.carry_out(&nothing, args.consent, caller)
}

/// What there is to uninstall in place of that.
fn installed(records: &Records) -> Option<String> {
    let installs = records.installs.iter();
    let words: Vec<_> = installs.map(|install| words(install.tool, install.profile.as_deref())).collect();
    (!words.is_empty()).then(|| format!("these are: {}", words.join(", ")))
}

fn take(install: Install, records: &mut Records, plan: &mut Plan, caller: &Caller<'_>) -> Result<(), Error> {
    let file = File::read(install.file.clone())?;
    let Some(before) = file.text.clone() else {
        plan.notes.push(format!("{} is not there any more", file.path.display()));
        return Ok(());
    };
    let format: Box<dyn Format> = match install.tool {
        Tool::Git => Box::new(Git::new(&install.file, caller)?),
        Tool::Docker => Box::new(Docker(&install.file)),
    };
    let mut told = Vec::new();
    for entry in &install.entries {
        if is_there(&*format, &before, entry)? {
            told.push(taken(entry));
        } else {
            let (path, key) = (file.path.display(), shown(&entry.key));
            plan.notes
                .push(format!("{path}: {key} is not what install wrote any more, and is left as it is"));
        }
    }
    let text = format::take_back(&*format, &before, &install.entries)?;
    let goes = install.created && format.is_empty(&text)?;
    if !goes && let Some(other) = records.installs.iter_mut().find(|other| other.file == install.file) {
        // Whoever goes last takes the file along.
        other.created |= install.created;
        other.directories.extend(install.directories.iter().cloned());
    }
    if text != before || goes {
        let after = (!goes).then_some(text);
        plan.steps.push(Step::Write { file, after, told, directories: install.directories });
    }
    Ok(())
}

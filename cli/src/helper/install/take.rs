//! `usher helper uninstall`: takes back what `install` did, and nothing else.

use super::{
    docker::Docker,
    file::File,
    format::Format,
    git::Git,
    named,
    plan::{Plan, Seen, Step},
    put::unused_links,
    record::{Book, Install, Records},
    settle::{Wishes, settle},
    shown, words,
};
use crate::{
    args::{HelperUninstall, Tool},
    caller::Caller,
    error::Error,
};

pub(crate) fn run(args: &HelperUninstall, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let Book { file: book, mut records } = Book::open(caller)?;
    let noted = records.clone();
    let is_meant = |install: &Install| install.tool == args.tool && install.profile == args.profile;
    let (meant, others): (Vec<_>, Vec<_>) = records.installs.drain(..).partition(is_meant);
    records.installs = others;
    let said = words(args.tool, args.profile.as_deref());
    let hint = format!("correct that, and say `usher helper uninstall {said}` again");
    let mut plan = Plan::new(hint);
    plan.seen.push(Seen::File(book.clone()));
    if meant.is_empty() {
        plan.notes.extend(installed(&records));
    }
    for install in meant {
        take(&install, &mut records, &mut plan, caller)?;
    }
    unused_links(&mut records, &mut plan)?;
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

fn take(install: &Install, records: &mut Records, plan: &mut Plan, caller: &Caller<'_>) -> Result<(), Error> {
    let file = File::read(install.file.clone())?;
    plan.seen.push(Seen::File(file.clone()));
    let Some(mut edited) = records.take_file(&install.file) else { return Ok(()) };
    let Some(before) = file.text.clone() else {
        plan.notes.push(format!("{} is not there any more", named(&file.path)));
        edited
            .entries
            .retain(|entry| records.wanted(&install.file).iter().any(|w| w.is_place_of(&entry.want)));
        records.keep_file(edited);
        return Ok(());
    };
    let format: Box<dyn Format> = match install.tool {
        Tool::Git => Box::new(Git::new(&install.file, caller)?),
        Tool::Docker => Box::new(Docker(&install.file)),
    };
    let all = records.wanted(&install.file);
    let wishes = Wishes { so_far: &install.wants, own: &[], all: &all };
    let settled = settle(&*format, &before, &edited, wishes)?;
    let path = named(&install.file);
    for lost in &settled.lost {
        let key = shown(&lost.want.key);
        plan.notes.push(format!("{path}: {key} is not what install wrote any more, and is left as it is"));
    }
    plan.notes.extend(settled.is_rough.then(|| rough(&path)));
    let (after, told) = (settled.text.clone(), settled.told.clone());
    // The file is written before that is noted.
    edited.settle(settled, false);
    let goes = edited.created && edited.entries.is_empty() && format.is_empty(&after)?;
    records.keep_file(edited);
    if after != before || goes {
        let after = (!goes).then_some(after);
        let directories = records.way_to(&file.path);
        plan.steps.push(Step::Write { file, after, told, directories });
    }
    Ok(())
}

/// What is said where the lines around the values may not be what they were.
pub(super) fn rough(path: &str) -> String {
    format!(
        "{path} was changed by somebody else since install: all values stay, but the order of lines and comments \
         beside what is taken out may differ from before"
    )
}

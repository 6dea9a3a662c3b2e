//! What is in a file for all installs together: what nobody wants any more goes, what is missing comes.
//!
//! Where every piece that was put into the file still stands in its place, all are taken out, the last one first. That
//! leaves the file as it was before the first install, but for what others have changed elsewhere in it. Then those that
//! somebody still wants are put there again. So it is to the byte what it would be if the rest had never been installed,
//! in whatever order installs come and go. Nothing of anybody else is kept for that: no copy of the file, which may hold
//! secrets, and no digest of it, which a change of any other line would make worthless.
//!
//! Where a piece has moved or is changed, each is taken out by itself: by what was inserted, if that is there once and
//! leaves the same values as the tool's own edit, else by that edit. That one keeps all values, not the lines around them.

use super::{
    format::{Change, Format},
    record::{Edited, Entry, Want},
    shown,
    splice::Splice,
};
use crate::error::Error;

/// Whose wishes change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes<'a> {
    /// What the install that comes or goes has wanted so far.
    pub(super) so_far: &'a [Want],
    /// What it wants from now on.
    pub(super) own: &'a [Want],
    /// What all of them together want from now on: of two in one place the later one.
    pub(super) all: &'a [Want],
}

/// What has come of it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) text: String,
    pub(super) entries: Vec<Entry>,
    /// Those that were there before.
    pub(super) before: Vec<Entry>,
    /// What is changed, as it is shown beforehand.
    pub(super) told: Vec<String>,
    /// What somebody else has changed, and is left.
    pub(super) lost: Vec<Entry>,
    /// The lines around the values may not be what they were.
    pub(super) is_rough: bool,
}

/// Brings `text`, in which there is what was done to it, up to date.
pub(super) fn settle(
    format: &dyn Format,
    text: &str,
    done: &Edited,
    wishes: Wishes<'_>,
) -> Result<Settled, Error> {
    let (mut before, mut lost) = (Vec::new(), Vec::new());
    for entry in there(format, text, done)? {
        let mut concerned = wishes.so_far.iter().chain(wishes.own).map(|want| &want.key);
        let is_lost = concerned.any(|key| *key == entry.want.key) && !format.has(text, &entry.want)?;
        if is_lost { &mut lost } else { &mut before }.push(entry);
    }
    let next = next(format, text, &before, wishes)?;
    let mut settled = Settled {
        text: text.to_owned(),
        entries: before.clone(),
        before: before.clone(),
        told: Vec::new(),
        lost,
        is_rough: false,
    };
    // It may be there, and yet without effect, by what others have written since.
    let mut works = true;
    for want in before.iter().map(|entry| &entry.want).filter(|want| wishes.own.contains(want)) {
        works &= format.missing(text, want)?.is_none();
    }
    if works && before.iter().map(|entry| &entry.want).eq(&next) {
        return Ok(settled);
    }
    if let Some(base) = rewound(format, text, &before)? {
        settled.text = base;
        settled.entries.clear();
    } else {
        let is_kept = |entry: &Entry| works && next.iter().any(|want| want.is_place_of(&entry.want));
        let (kept, unwanted): (Vec<_>, Vec<_>) = before.iter().cloned().partition(is_kept);
        let left = take_back(format, text, &unwanted)?;
        settled = Settled { text: left.text, entries: kept, is_rough: !left.is_to_the_byte, ..settled };
    }
    for want in &next {
        if let Some(change) = format.missing(&settled.text, want)? {
            settled.put(format, &change, done)?;
        }
    }
    settled.told = told(&before, &settled.entries);
    Ok(settled)
}

/// The entries that are in the text: where an edit did not come to pass, those of before it.
fn there(format: &dyn Format, text: &str, done: &Edited) -> Result<Vec<Entry>, Error> {
    for entries in [&done.entries, &done.earlier] {
        if !entries.is_empty() && rewound(format, text, entries)?.is_some() {
            return Ok(entries.clone());
        }
    }
    let mut found = Vec::new();
    for entry in &done.entries {
        let is_there = format.has(text, &entry.want)?;
        let earlier = done.earlier.iter().find(|earlier| earlier.want.is_place_of(&entry.want));
        found.push(match earlier {
            Some(earlier) if !is_there && format.has(text, &earlier.want)? => earlier.clone(),
            _ => entry.clone(),
        });
    }
    for earlier in &done.earlier {
        let is_new = !found.iter().any(|entry: &Entry| entry.want.is_place_of(&earlier.want));
        if is_new && format.has(text, &earlier.want)? {
            found.push(earlier.clone());
        }
    }
    Ok(found)
}

/// What is to be there in the end of what is there, and of what the install that comes still misses.
fn next(format: &dyn Format, text: &str, before: &[Entry], wishes: Wishes<'_>) -> Result<Vec<Want>, Error> {
    let still = |entry: &Entry| wishes.all.iter().rfind(|want| want.is_place_of(&entry.want)).cloned();
    let mut next: Vec<_> = before.iter().filter_map(still).collect();
    for want in wishes.own {
        if !next.iter().any(|other| other.is_place_of(want)) && format.missing(text, want)?.is_some() {
            next.push(want.clone());
        }
    }
    next.sort_by_key(|want| format.rank(want));
    Ok(next)
}

impl Settled {
    fn put(&mut self, format: &dyn Format, change: &Change, done: &Edited) -> Result<(), Error> {
        let after = format.put(&self.text, change)?;
        let splice = Splice::between(&self.text, &after);
        let Change { want, was, .. } = change.clone();
        // What was there before usher is what is to be there after it.
        match self.entries.iter_mut().find(|entry| entry.want.is_place_of(&want)) {
            Some(entry) if was.as_ref() == Some(&entry.want.value) => {
                entry.want = want;
                entry.splices.push(splice);
            }
            _ => {
                // What is noted as ours is nobody's of before.
                let is_ours = |was: &String| {
                    let mut noted = done.entries.iter().chain(&done.earlier).map(|entry| &entry.want);
                    noted.any(|other| other.key == want.key && other.value == *was)
                };
                let was = was.filter(|was| !is_ours(was));
                self.entries.push(Entry { want, was, splices: vec![splice] });
            }
        }
        self.text = after;
        Ok(())
    }
}

/// The text as it was before the first entry; none where one of them is not where it was put.
fn rewound(format: &dyn Format, text: &str, entries: &[Entry]) -> Result<Option<String>, Error> {
    for entry in entries {
        if !format.has(text, &entry.want)? {
            return Ok(None);
        }
    }
    let mut base = text.to_owned();
    for splice in entries.iter().rev().flat_map(|entry| entry.splices.iter().rev()) {
        let Some(before) = splice.undone_in_place(&base) else { return Ok(None) };
        base = before;
    }
    let by_value = by_value(format, text, entries)?;
    Ok(says_the_same(format, &base, &by_value).then_some(base))
}

fn by_value(format: &dyn Format, text: &str, entries: &[Entry]) -> Result<String, Error> {
    entries.iter().rev().try_fold(text.to_owned(), |text, entry| {
        if format.has(&text, &entry.want)? { format.take(&text, entry) } else { Ok(text) }
    })
}

fn says_the_same(format: &dyn Format, one: &str, other: &str) -> bool {
    format.facts(one).is_ok_and(|one| format.facts(other).is_ok_and(|other| one == other))
}

struct Left {
    text: String,
    is_to_the_byte: bool,
}

/// Takes back each of the entries by itself.
fn take_back(format: &dyn Format, text: &str, entries: &[Entry]) -> Result<Left, Error> {
    let by_value = by_value(format, text, entries)?;
    let mut splices = entries.iter().rev().flat_map(|entry| entry.splices.iter().rev());
    let to_the_byte = splices.try_fold(text.to_owned(), |text, splice| splice.undone(&text));
    Ok(match to_the_byte.filter(|text| says_the_same(format, text, &by_value)) {
        Some(text) => Left { text, is_to_the_byte: true },
        None => Left { text: by_value, is_to_the_byte: false },
    })
}

fn told(before: &[Entry], after: &[Entry]) -> Vec<String> {
    let same = |all: &[Entry], entry: &Entry| {
        let mut found = all.iter().filter(|other| other.want.is_place_of(&entry.want));
        found.next().cloned()
    };
    let gone = before.iter().filter(|entry| same(after, entry).is_none()).map(taken);
    let come = after.iter().filter_map(|entry| match same(before, entry) {
        None => Some(described(&entry.want, entry.was.as_deref())),
        Some(before) if before.want == entry.want => None,
        Some(before) => Some(described(&entry.want, Some(&before.want.value))),
    });
    gone.chain(come).collect()
}

fn described(Want { key, value }: &Want, was: Option<&str>) -> String {
    match was {
        _ if value.is_empty() => format!("{} is emptied, so that no other helper is asked there", shown(key)),
        Some(was) => format!("{} = {value} (was {was})", shown(key)),
        None => format!("{} = {value} (new)", shown(key)),
    }
}

/// How it is told that an entry goes.
fn taken(entry: &Entry) -> String {
    let key = shown(&entry.want.key);
    match (&entry.was, entry.want.value.as_str()) {
        (Some(was), value) => format!("{key} = {was} again (was {value})"),
        (None, "") => format!("{key} = (empty) is taken out"),
        (None, value) => format!("{key} = {value} is taken out"),
    }
}

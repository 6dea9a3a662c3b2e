//! A tool's file as a text with values in it: they are put there and taken back, whatever the tool.

use super::{
    record::{Entry, Install},
    splice::Splice,
};
use crate::error::Error;

/// One value that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Vec<String>,
    pub(super) value: String,
    /// The value that it takes the place of.
    pub(super) was: Option<String>,
}

/// How the file of one tool is read and edited. No text at all is an empty file.
pub(super) trait Format {
    /// All values of a key, in their order.
    fn values(&self, text: &str, key: &[String]) -> Result<Vec<String>, Error>;
    /// The text with the change made.
    fn put(&self, text: &str, change: &Change) -> Result<String, Error>;
    /// The text without the entry's value, or with the one of before.
    fn take(&self, text: &str, entry: &Entry) -> Result<String, Error>;
    /// What the tool reads in it, in whatever form: the same for texts that say the same.
    fn facts(&self, text: &str) -> Result<String, Error>;
    /// Whether there is nothing in it that anybody could miss.
    fn is_empty(&self, text: &str) -> Result<bool, Error>;
}

/// Makes the changes, and notes them.
pub(super) fn put(
    format: &dyn Format,
    text: &str,
    changes: &[Change],
    install: &mut Install,
) -> Result<String, Error> {
    let mut text = text.to_owned();
    for change in changes {
        let after = format.put(&text, change)?;
        let splice = Splice::between(&text, &after);
        let own = install.entries.iter_mut().find(|entry| {
            entry.key == change.key && change.was.as_ref().is_some_and(|was| *was == entry.value)
        });
        // What was there before usher is what is to be there after it.
        if let Some(entry) = own {
            entry.value.clone_from(&change.value);
            entry.splices.push(splice);
        } else {
            let Change { key, value, was } = change.clone();
            install.entries.push(Entry { key, value, was, splices: vec![splice] });
        }
        text = after;
    }
    Ok(text)
}

/// Takes back what of the entries is still there: to the byte if that says what it has to, else value by value.
pub(super) fn take_back(format: &dyn Format, text: &str, entries: &[Entry]) -> Result<String, Error> {
    let mut by_value = text.to_owned();
    let mut to_the_byte = Some(text.to_owned());
    for entry in entries.iter().rev() {
        if !is_there(format, &by_value, entry)? {
            continue;
        }
        by_value = format.take(&by_value, entry)?;
        for splice in entry.splices.iter().rev() {
            to_the_byte = to_the_byte.and_then(|text| splice.undone(&text));
        }
    }
    let Some(to_the_byte) = to_the_byte else { return Ok(by_value) };
    let same =
        format.facts(&to_the_byte).is_ok_and(|facts| format.facts(&by_value).is_ok_and(|f| f == facts));
    Ok(if same { to_the_byte } else { by_value })
}

/// Whether the value is still the one that was put there.
pub(super) fn is_there(format: &dyn Format, text: &str, entry: &Entry) -> Result<bool, Error> {
    Ok(format.values(text, &entry.key)?.contains(&entry.value))
}

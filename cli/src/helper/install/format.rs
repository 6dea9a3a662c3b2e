//! A tool's file as a text with values in it: they are put there and taken back, whatever the tool.

use super::record::{Entry, Want};
use crate::error::Error;

/// One value that is put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) want: Want,
    /// The value that it takes the place of.
    pub(super) was: Option<String>,
    /// It begins a section of its own, behind all others.
    pub(super) at_end: bool,
}

impl Change {
    /// One that takes nothing's place.
    pub(super) fn new(want: &Want) -> Self {
        Self { want: want.clone(), was: None, at_end: false }
    }
}

/// How the file of one tool is read and edited. No text at all is an empty file.
pub(super) trait Format {
    /// Whether the tool itself can read what stands there beside these.
    fn check(&self, text: &str, wants: &[Want]) -> Result<(), Error>;
    /// All values of a key, in their order.
    fn values(&self, text: &str, key: &[String]) -> Result<Vec<String>, Error>;
    /// What is still to be done so that it has what is wanted.
    fn missing(&self, text: &str, want: &Want) -> Result<Option<Change>, Error>;
    /// The text with the change made.
    fn put(&self, text: &str, change: &Change) -> Result<String, Error>;
    /// The text without the entry's value, or with the one of before.
    fn take(&self, text: &str, entry: &Entry) -> Result<String, Error>;
    /// What the tool reads in it, in whatever form: the same for texts that say the same.
    fn facts(&self, text: &str) -> Result<String, Error>;
    /// Whether there is nothing in it that anybody could miss.
    fn is_empty(&self, text: &str) -> Result<bool, Error>;

    /// Which come first where the order counts: those of the least.
    fn rank(&self, _: &Want) -> usize {
        0
    }

    /// What is to be known of the tool with this text, though all that is wanted is there.
    fn warnings(&self, _: &str, _: &[Want]) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Whether the value is still the one that was put there.
    fn has(&self, text: &str, want: &Want) -> Result<bool, Error> {
        Ok(self.values(text, &want.key)?.contains(&want.value))
    }
}

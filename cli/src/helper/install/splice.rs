//! One change of a text: what stands where in place of what, so that it can be taken back to the byte.

use serde::{Deserialize, Serialize};

/// A piece that was put in place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Splice {
    at: usize,
    removed: String,
    inserted: String,
}

impl Splice {
    /// What one edit has done: the smallest piece that differs.
    pub(super) fn between(before: &str, after: &str) -> Self {
        let same = |pairs: &mut dyn Iterator<Item = (char, char)>| -> usize {
            pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
        };
        let at = same(&mut before.chars().zip(after.chars()));
        let (removed, inserted) = (&before[at..], &after[at..]);
        let tail = same(&mut removed.chars().rev().zip(inserted.chars().rev()));
        let piece = |text: &str| text[..text.len() - tail].to_owned();
        Self { at, removed: piece(removed), inserted: piece(inserted) }
    }

    /// `text` as it was before; none where the piece is not in its place.
    pub(super) fn undone_in_place(&self, text: &str) -> Option<String> {
        let is_there = text.get(self.at..).is_some_and(|rest| rest.starts_with(&self.inserted));
        is_there.then(|| self.undone_at(self.at, text))
    }

    /// The same, wherever the piece is by now; none where it is not to be found, or more than once.
    pub(super) fn undone(&self, text: &str) -> Option<String> {
        self.undone_in_place(text).or_else(|| Some(self.undone_at(self.only_place(text)?, text)))
    }

    fn undone_at(&self, at: usize, text: &str) -> String {
        let mut before = text.to_owned();
        before.replace_range(at..at + self.inserted.len(), &self.removed);
        before
    }

    fn only_place(&self, text: &str) -> Option<usize> {
        let mut found = text.match_indices(&self.inserted).map(|(at, _)| at);
        found.next().filter(|_| found.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_can_be_taken_back() {
        for (before, after) in [
            ("", ""),
            ("", "x"),
            ("x", ""),
            ("aXb", "aYb"),
            ("aab", "aaab"),
            ("\u{e4}\u{f6}", "\u{e4}\u{fc}\u{f6}"),
            ("\u{e4}", "\u{e5}"),
            ("[a]\n\tx = 1", "[a]\n\tx = 1\n[b]\n\ty = 2\n"),
        ] {
            let splice = Splice::between(before, after);
            assert_eq!(splice.undone(after).as_deref(), Some(before), "{before:?} -> {after:?}");
        }
    }

    #[test]
    fn a_piece_is_found_where_it_has_moved_to_if_there_is_but_one() {
        let splice = Splice::between("a\nb\n", "a\nnew\nb\n");
        assert_eq!(splice.undone("before\na\nnew\nb\n").as_deref(), Some("before\na\nb\n"));
        assert_eq!(splice.undone_in_place("before\na\nnew\nb\n"), None);
        assert_eq!(splice.undone_in_place("A\nnew\nb\nc\n").as_deref(), Some("A\nb\nc\n"));
        assert_eq!(splice.undone("before\na\nnew\nnew\nb\n"), None);
        assert_eq!(splice.undone("a\nb\n"), None);
    }
}

//! The leak scanner: which strings are secret, what the programs under test said, and whether the two
//! ever meet. It names the place and the secret, never the secret's value.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{idp::FakeIdp, tokens::Issued};

mod forms;
#[cfg(test)]
mod tests;

/// Shorter secrets would be found by chance.
const MIN_LEN: usize = 8;

/// Collects secrets and texts. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct LeakScanner(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    secrets: Vec<Secret>,
    issued: Vec<Issued>,
    notes: Vec<Note>,
}

#[derive(Debug)]
struct Secret {
    name: String,
    value: String,
    /// May stand in what the user asked for: `usher token` prints a token.
    answerable: bool,
}

#[derive(Debug)]
struct Note {
    place: String,
    text: String,
    /// This is what the user asked for.
    answer: bool,
}

/// A secret where it must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: "usherd stderr".
    pub place: String,
    /// Which, by its name.
    pub secret: String,
}

impl LeakScanner {
    /// Nothing known, nothing seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// `value` may show nowhere.
    pub fn secret(&self, name: &str, value: &str) {
        self.register(name, value, false);
    }

    /// `value` may show in an answer and nowhere else: access tokens, and static API tokens.
    pub fn token(&self, name: &str, value: &str) {
        self.register(name, value, true);
    }

    /// The secrets of the IdP's clients, and all tokens that it issues, now and later.
    pub fn watch(&self, idp: &FakeIdp) {
        for (id, secret) in idp.clients() {
            self.secret(&format!("the secret of client {id}"), &secret);
        }
        self.lock().issued.push(idp.tokens());
    }

    /// `text` was said at `place`, and may hold no secret.
    pub fn note(&self, place: &str, text: impl AsRef<[u8]>) {
        self.keep(place, text.as_ref(), false);
    }

    /// `text` is what the user asked for: it may hold tokens.
    pub fn note_answer(&self, place: &str, text: impl AsRef<[u8]>) {
        self.keep(place, text.as_ref(), true);
    }

    /// Every secret that shows in a text.
    pub fn findings(&self) -> Vec<Finding> {
        let inner = self.lock();
        let issued = inner.issued.iter().flat_map(Issued::all).enumerate();
        let issued = issued.map(|(index, value)| (format!("access token #{}", index + 1), value, true));
        let known =
            inner.secrets.iter().map(|secret| (secret.name.clone(), secret.value.clone(), secret.answerable));
        let mut findings = Vec::new();
        for (name, value, answerable) in known.chain(issued).filter(|(_, value, _)| value.len() >= MIN_LEN) {
            let forms = forms::of(&value);
            let suspects = inner.notes.iter().filter(|note| !(note.answer && answerable));
            for note in suspects.filter(|note| forms.iter().any(|form| note.text.contains(form))) {
                let finding = Finding { place: note.place.clone(), secret: name.clone() };
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
        findings
    }

    /// Fails the test if a secret shows.
    pub fn assert_clean(&self) {
        let findings = self.findings();
        let list: Vec<String> =
            findings.iter().map(|Finding { place, secret }| format!("{place} shows {secret}")).collect();
        assert!(findings.is_empty(), "secrets leaked:\n  {}", list.join("\n  "));
    }

    fn register(&self, name: &str, value: &str, answerable: bool) {
        assert!(
            value.len() >= MIN_LEN,
            "{name} is too short to be told from chance: use {MIN_LEN} bytes or more"
        );
        self.lock().secrets.push(Secret { name: name.to_owned(), value: value.to_owned(), answerable });
    }

    fn keep(&self, place: &str, text: &[u8], answer: bool) {
        let text = String::from_utf8_lossy(text).into_owned();
        self.lock().notes.push(Note { place: place.to_owned(), text, answer });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

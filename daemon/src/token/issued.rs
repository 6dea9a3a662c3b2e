//! What credential helpers ask of the engine: whose a place is, and what has become of a token that they were given.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use url::Url;

use super::{entry::Rejected, error::TokenError, name::SecretTag, select::find_owner, service::Engine};
use crate::domain::{
    profile::{Grant, Profile},
    secret::SecretString,
};

/// Of as many tokens it is remembered that they were issued here: those of weeks, and a few kilobytes.
const MAX_REMEMBERED: usize = 4096;

/// The tokens that were issued last, those that have been forgotten or replaced since included. By tags, which stand for
/// them and tell nothing.
#[derive(Debug, Default)]
pub struct Recent {
    tags: Mutex<VecDeque<SecretTag>>,
}

impl Recent {
    /// This was issued.
    pub fn note(&self, tag: SecretTag) {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.back() == Some(&tag) || tags.contains(&tag) {
            return;
        }
        if tags.len() == MAX_REMEMBERED {
            tags.pop_front();
        }
        tags.push_back(tag);
    }

    fn has(&self, tag: SecretTag) -> bool {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).contains(&tag)
    }
}

/// Whose a place is.
#[derive(Debug)]
pub enum Ownership {
    /// This profile's, which answers there; and where its token goes.
    Owned(Arc<Profile>, Url),
    /// This profile's, and another one was asked for.
    OfAnother(Arc<Profile>),
    /// Nobody's.
    Unowned,
}

impl Engine {
    /// Whose one of these URLs is; with a `name`, no other profile answers than that one.
    pub fn ownership(&self, name: &str, urls: &[Url]) -> Result<Ownership, TokenError> {
        let directory = self.directory();
        if let Some((slot, url)) = find_owner(&directory, name, urls)? {
            return Ok(Ownership::Owned(Arc::clone(&slot.profile), url));
        }
        let other = if name.is_empty() { None } else { find_owner(&directory, "", urls)? };
        Ok(other.map_or(Ownership::Unowned, |(slot, _)| Ownership::OfAnother(Arc::clone(&slot.profile))))
    }

    /// Whether this is a token that was issued here, not too long ago.
    pub fn has_issued(&self, secret: &SecretString) -> bool {
        self.shared.issued.has(self.shared.namer.tag(secret))
    }

    /// Notes that this was issued here.
    pub(super) fn note_issued(&self, secret: &SecretString) {
        self.shared.issued.note(self.shared.namer.tag(secret));
    }

    /// An API has refused this token of the profile: it is dropped, and none that is newer.
    pub fn reject(&self, profile: &str, secret: &SecretString) -> Rejected {
        let (directory, now) = (self.directory(), self.now());
        let Some(slot) = directory.get(profile) else { return Rejected::default() };
        if matches!(slot.profile.grant, Grant::Static(_)) {
            // Nothing takes its place.
            return Rejected { dropped: false, held: Some(self.shared.namer.token(secret)) };
        }
        let rejected: Vec<_> = slot.entries().iter().map(|entry| entry.reject(now, secret)).collect();
        Rejected {
            dropped: rejected.iter().any(|one| one.dropped),
            held: rejected.into_iter().find_map(|one| one.held),
        }
    }
}

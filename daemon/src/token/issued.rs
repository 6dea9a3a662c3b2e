//! What credential helpers ask of the engine: whose a place is, and what has become of a token that they were given.

use std::sync::Arc;

use url::Url;

use super::{error::TokenError, select::find_owner, service::Engine};
use crate::domain::{profile::Profile, secret::SecretString};

impl Engine {
    /// The profile that owns one of these URLs, and that URL; with a `name`: that profile, if it covers one of them.
    pub fn owner(&self, name: &str, urls: &[Url]) -> Result<Option<(Arc<Profile>, Url)>, TokenError> {
        let owner = find_owner(&self.directory(), name, urls)?;
        Ok(owner.map(|(slot, url)| (Arc::clone(&slot.profile), url)))
    }

    /// Whether this is a token that some profile answers with, or did until just now.
    pub fn has_issued(&self, secret: &SecretString) -> bool {
        let id = self.shared.namer.token(secret);
        self.directory().iter().any(|slot| slot.entries().iter().any(|entry| entry.holds(&id.0)))
    }

    /// An API has refused this token of the profile: it is dropped, and none that is newer. Whether it was there.
    pub fn reject(&self, profile: &str, secret: &SecretString) -> bool {
        let directory = self.directory();
        let Some(slot) = directory.get(profile) else { return false };
        let (id, now) = (self.shared.namer.token(secret), self.now());
        let rejected: Vec<_> = slot.entries().iter().map(|entry| entry.reject(now, &id.0)).collect();
        rejected.contains(&true)
    }
}

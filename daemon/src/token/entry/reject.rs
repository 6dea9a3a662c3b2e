//! Tokens that come back as credentials: which one it is, and that an API has refused it.

use std::sync::Arc;

use super::Entry;
use crate::domain::{
    secret::{ExposeSecret as _, SecretString},
    time::Moment,
    token::Token,
};

impl Entry {
    /// Drops the token that the API rejected, if this is it; not if no other may be fetched now.
    pub fn reject(&self, now: Moment, secret: &SecretString) -> bool {
        let dropped = {
            let mut state = self.lock();
            // Not by a name of it: one that was kept over a restart has that of the daemon before.
            let is_it = |token: &&Arc<Token>| token.access_token.expose_secret() == secret.expose_secret();
            let id = state.token.as_ref().filter(is_it).map(|token| token.id.0.clone());
            id.is_some_and(|id| state.reject(now, &id).is_ok_and(|dropped| dropped))
        };
        if dropped {
            self.changed();
        }
        dropped
    }
}

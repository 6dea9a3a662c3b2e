//! Tokens that come back as credentials: which one it is, and that an API has refused it.

use std::sync::Arc;

use super::Entry;
use crate::domain::{
    secret::{ExposeSecret as _, SecretString},
    time::Moment,
    token::{Token, TokenId},
};

/// What has become of a token that an API refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// It was held, and is dropped.
    pub dropped: bool,
    /// Its name, if it is answered still: no other may be fetched now.
    pub held: Option<TokenId>,
}

impl Entry {
    /// Drops the token that the API rejected, if this is it; not if no other may be fetched now.
    pub fn reject(&self, now: Moment, secret: &SecretString) -> Rejected {
        let rejected = {
            let mut state = self.lock();
            // Not by a name of it: one that was kept over a restart has that of the daemon before.
            let is_it = |token: &&Arc<Token>| token.access_token.expose_secret() == secret.expose_secret();
            let Some(id) = state.token.as_ref().filter(is_it).map(|token| token.id.clone()) else {
                return Rejected::default();
            };
            let dropped = state.reject(now, &id.0).is_ok_and(|dropped| dropped);
            Rejected { dropped, held: Some(id).filter(|_| !dropped) }
        };
        if rejected.dropped {
            self.changed();
        }
        rejected
    }
}

//! What is kept of a key over a restart.

use std::{sync::Arc, time::Duration};

use super::{scope::ScopeSet, secret::SecretString, time::Moment, token::TokenId};

/// Whose keys: a profile, and the grant that its tokens come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The profile's name.
    pub profile: String,
    /// All of the grant that decides which token comes back
    /// ([`Grant::fingerprint`](super::profile::Grant::fingerprint)).
    pub grant: String,
}

/// Names a key for good: the same one in every process that has the same profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    /// Whose it is.
    pub owner: Arc<Owner>,
    /// The audience that is asked for.
    pub audience: Option<Arc<str>>,
    /// The scopes that are asked for.
    pub scopes: ScopeSet,
}

/// What is kept of a key. Times are told from [`Record::written`], so that they mean something on either clock.
#[derive(Debug)]
pub struct Record {
    /// Which one.
    pub key: KeyId,
    /// When this was so.
    pub written: Moment,
    /// Its token, if it has one that is valid.
    pub token: Option<KeptToken>,
    /// How long ago the token requests were sent that count in its budget, the oldest first.
    pub sent_ago: Vec<Duration>,
    /// The stretch of time in which they count.
    pub window: Duration,
    /// Tokens that have been dropped and wait to be revoked.
    pub unrevoked: Vec<Unrevoked>,
    /// What was kept before may have a token that must not come back. Not kept itself.
    pub has_dropped: bool,
}

impl Record {
    /// For a key that has nothing else.
    pub fn of_unrevoked(key: KeyId, written: Moment, unrevoked: Vec<Unrevoked>) -> Self {
        let (sent_ago, window) = (Vec::new(), Duration::ZERO);
        Self { key, written, token: None, sent_ago, window, unrevoked, has_dropped: true }
    }
}

/// A token that waits to be revoked.
#[derive(Debug)]
pub struct Unrevoked {
    /// The token itself.
    pub access_token: SecretString,
    /// Its name.
    pub id: TokenId,
    /// How long it is valid.
    pub left: Duration,
}

/// A token that is kept. Always a Bearer token.
#[derive(Debug)]
pub struct KeptToken {
    /// The token itself.
    pub access_token: SecretString,
    /// Its name, which callers may have been told.
    pub id: TokenId,
    /// What was granted.
    pub scopes: ScopeSet,
    /// How long it lasts.
    pub left: Duration,
    /// How soon a refresh is due to be tried.
    pub refresh_in: Duration,
    /// Its lifetime in whole.
    pub length: Duration,
}

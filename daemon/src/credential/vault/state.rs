//! What the vault knows: one credential of each name, the one that was stored last, and what an older one has left on
//! disk.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use super::{LULL, MAX_FLEETING, MAX_UNSEEN, VaultError};
use crate::domain::{
    credential::{Credential, CredentialKey, Query, Secret},
    secret::{ExposeSecret, SecretString},
    time::Moment,
};

#[derive(Default)]
pub(super) struct State {
    /// In the order in which they were stored.
    pub(super) entries: Vec<Entry>,
    /// What is in the safe is among them, or outdated.
    pub(super) is_loaded: bool,
    /// When the safe could not be read the last time, and why.
    pub(super) unread: Option<(Moment, VaultError)>,
    /// Why the safe could not be used the last time; none: it could.
    pub(super) trouble: Option<String>,
    /// What the safe has under these names is not to be there any more, and is never answered.
    outdated: BTreeMap<CredentialKey, Left>,
    hasher: RandomState,
}

pub(super) struct Entry {
    pub(super) key: CredentialKey,
    pub(super) credential: Arc<Credential>,
    pub(super) lasts: bool,
    pub(super) until: Option<Moment>,
}

/// What is known of what is not to be in the safe any more.
enum Left {
    /// Nobody has seen it: it may turn out to be the same as what has been stored since.
    Unseen(Traits),
    /// It may be what could not be written, as it seemed.
    Failed(Traits),
    /// It does not matter.
    Other,
}

/// What a credential is known again by when it is not in memory any more: its user, and keyed hashes.
struct Traits {
    username: String,
    secret: u64,
    refresh_token: Option<u64>,
}

impl Traits {
    fn is_meant(&self, key: &CredentialKey, query: &Query, secret: Option<u64>) -> bool {
        query.covers(key, &self.username) && secret.is_none_or(|secret| secret == self.secret)
    }

    /// Whether there is nothing new in another one, as [`Entry::covers`].
    fn covers(&self, other: &Self) -> bool {
        self.username == other.username
            && self.secret == other.secret
            && (other.refresh_token.is_none() || other.refresh_token == self.refresh_token)
    }
}

impl Entry {
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until.reached(now))
    }

    pub(super) fn is_meant(&self, query: &Query, secret: Option<&SecretString>) -> bool {
        query.matches(&self.key, &self.credential)
            && secret.is_none_or(|secret| self.credential.secret.is(secret))
    }

    /// Whether there is nothing new in another one.
    fn covers(&self, other: &Self, now: Moment) -> bool {
        let (own, new) = (&*self.credential, &*other.credential);
        let refresh_token = own.oauth_refresh_token.as_ref().map(ExposeSecret::expose_secret);
        let has_newer_refresh_token = new
            .oauth_refresh_token
            .as_ref()
            .is_some_and(|token| refresh_token != Some(token.expose_secret()));
        self.key == other.key
            && !self.is_over(now)
            && own.username == new.username
            && is_same(&own.secret, &new.secret)
            && !has_newer_refresh_token
    }

    /// Another one, in which there is nothing new, may be kept for longer: that counts, as long as usherd runs. On disk
    /// it stays as it was.
    fn prolong(&mut self, same: &Self) {
        let is_longer = |(own, other): (Moment, Moment)| own.reached(other);
        if !self.until.zip(same.until).is_some_and(is_longer) {
            return;
        }
        let own = &*self.credential;
        let secret = match &own.secret {
            Secret::Password(password) => Secret::Password(password.clone()),
            Secret::Header { authtype, credential } => {
                Secret::Header { authtype: authtype.clone(), credential: credential.clone() }
            }
        };
        self.until = same.until;
        self.credential = Arc::new(Credential {
            username: own.username.clone(),
            secret,
            expires_at: same.credential.expires_at,
            oauth_refresh_token: own.oauth_refresh_token.clone(),
            stored_at: own.stored_at,
        });
    }
}

fn is_same(one: &Secret, other: &Secret) -> bool {
    match (one, other) {
        (Secret::Password(_), Secret::Password(secret)) => one.is(secret),
        (Secret::Header { authtype: scheme, .. }, Secret::Header { authtype, credential }) => {
            scheme == authtype && one.is(credential)
        }
        _ => false,
    }
}

impl State {
    /// Nothing is known yet; `is_loaded`: nor is there anything to be read.
    pub(super) fn new(is_loaded: bool) -> Self {
        Self { is_loaded, ..Self::default() }
    }

    /// How the safe is known to fare: it has been read, or could not be read a moment ago.
    pub(super) fn known(&self, now: Moment) -> Option<Result<(), VaultError>> {
        if self.is_loaded {
            return Some(Ok(()));
        }
        let (at, error) = self.unread.as_ref()?;
        (now.boot.saturating_sub(at.boot) < LULL).then(|| Err(error.clone()))
    }

    /// As many are on disk under other names, or may be.
    pub(super) fn lasting_besides(&self, key: &CredentialKey) -> usize {
        let lasting = self.entries.iter().filter(|entry| entry.lasts).map(|entry| &entry.key);
        lasting.chain(self.outdated.keys()).filter(|other| *other != key).count()
    }

    /// Keeps one in memory, unless there is nothing new in it. Whether the safe is as it has to be then, as far as it is
    /// known.
    pub(super) fn keep(&mut self, entry: Entry, now: Moment) -> Result<bool, VaultError> {
        if !self.is_loaded && !self.has_room_for(&entry.key) {
            return Err(VaultError(format!(
                "{MAX_UNSEEN} credentials were stored while those on disk cannot be read: put that right (`usher status` \
                 says what it is)"
            )));
        }
        self.outdate(&entry, now);
        let is_clean = !self.is_loaded || !self.outdated.contains_key(&entry.key);
        match self.entries.iter().position(|other| other.lasts && other.key == entry.key) {
            // It is the same, and was stored last.
            Some(at) => {
                let mut same = self.entries.remove(at);
                same.prolong(&entry);
                self.entries.push(same);
            }
            None => self.push(entry),
        }
        Ok(is_clean)
    }

    /// What cannot be seen is remembered of so many names.
    fn has_room_for(&self, key: &CredentialKey) -> bool {
        self.outdated.len() < MAX_UNSEEN || self.outdated.contains_key(key)
    }

    /// Something else was stored under its name than what is there: that is not answered any more.
    pub(super) fn outdate(&mut self, newer: &Entry, now: Moment) {
        let older = self.entries.iter().position(|other| other.key == newer.key);
        let lasted = match older {
            Some(at) if self.entries[at].covers(newer, now) => false,
            Some(at) => self.entries.remove(at).lasts,
            None => false,
        };
        if lasted {
            self.outdated.insert(newer.key.clone(), Left::Other);
        } else if !self.is_loaded && self.has_room_for(&newer.key) {
            let stored = self.traits(&newer.credential);
            match self.outdated.get(&newer.key) {
                // It says all of it, and perhaps of a refresh token, too, that is newer than what is on disk.
                Some(Left::Unseen(before)) if before.covers(&stored) => {}
                _ => drop(self.outdated.insert(newer.key.clone(), Left::Unseen(stored))),
            }
        }
    }

    /// It was to be written, which failed: it may be in the safe nevertheless, and would be found there later.
    pub(super) fn failed(&mut self, newer: &Entry, now: Moment) {
        self.outdate(newer, now);
        if !self.entries.iter().any(|same| same.lasts && same.key == newer.key) {
            self.outdated.insert(newer.key.clone(), Left::Failed(self.traits(&newer.credential)));
        }
    }

    /// Puts one behind all others that is in the safe now.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.outdated.remove(&entry.key);
        self.push(entry);
    }

    /// Puts one behind all others, in the place of that of the same name. If there are too many in memory then, the first
    /// one goes.
    fn push(&mut self, entry: Entry) {
        self.entries.retain(|other| other.key != entry.key);
        self.entries.push(entry);
        let fleeting = self.entries.iter().filter(|entry| !entry.lasts).count();
        if fleeting > MAX_FLEETING
            && let Some(first) = self.entries.iter().position(|entry| !entry.lasts)
        {
            self.entries.remove(first);
        }
    }

    /// Takes over what was in the safe, in its order. What is in memory was stored later.
    pub(super) fn take_over(&mut self, loaded: Vec<Entry>, now: Moment) {
        let newer = std::mem::take(&mut self.outdated);
        let mut later = std::mem::take(&mut self.entries);
        for mut entry in loaded {
            let is_same = match newer.get(&entry.key) {
                None => {
                    self.entries.push(entry);
                    continue;
                }
                Some(Left::Unseen(stored)) => {
                    self.traits(&entry.credential).covers(stored) && !entry.is_over(now)
                }
                Some(Left::Failed(_) | Left::Other) => false,
            };
            match later.iter().position(|other| other.key == entry.key) {
                Some(at) if is_same => {
                    entry.prolong(&later[at]);
                    later[at] = entry;
                }
                None if is_same => self.entries.push(entry),
                _ => drop(self.outdated.insert(entry.key, Left::Other)),
            }
        }
        self.entries.append(&mut later);
        self.is_loaded = true;
        self.unread = None;
    }

    /// Forgets what is in memory alone and meant. How many there were.
    pub(super) fn erase(&mut self, query: &Query, secret: Option<&SecretString>) -> usize {
        let hash = secret.map(|secret| self.hash(secret));
        for (key, left) in &mut self.outdated {
            // If that is what is on disk, it is not to come back from there.
            if let Left::Unseen(stored) = left
                && stored.is_meant(key, query, hash)
            {
                *left = Left::Other;
            }
        }
        self.drain(|entry| !entry.lasts && entry.is_meant(query, secret)).len()
    }

    /// Forgets what is over. What was in the safe is to be taken out of it.
    pub(super) fn forget(&mut self, now: Moment) {
        for entry in self.drain(|entry| entry.is_over(now)) {
            if entry.lasts {
                self.outdated.insert(entry.key, Left::Other);
            }
        }
    }

    /// What an erasure takes out of the safe: what is meant, be it only perhaps there, and without a `secret` also what
    /// nobody is answered any more.
    pub(super) fn to_take_out(&self, query: &Query, secret: Option<&SecretString>) -> Vec<CredentialKey> {
        let meant = self.entries.iter().filter(|entry| entry.lasts && entry.is_meant(query, secret));
        let hash = secret.map(|secret| self.hash(secret));
        let is_left = |key: &CredentialKey, left: &Left| match left {
            Left::Failed(traits) if traits.is_meant(key, query, hash) => true,
            _ => {
                let user = query.username.as_ref().filter(|_| key.username.is_empty());
                secret.is_none() && query.covers(key, user.unwrap_or(&key.username))
            }
        };
        let left = self.outdated.iter().filter(|(key, left)| self.is_loaded && is_left(key, left));
        meant.map(|entry| &entry.key).chain(left.map(|(key, _)| key)).cloned().collect()
    }

    /// What is to be taken out of the safe, if it is known what is there.
    pub(super) fn to_settle(&self) -> Vec<CredentialKey> {
        if self.is_loaded { self.outdated.keys().cloned().collect() } else { Vec::new() }
    }

    /// These have been taken out.
    pub(super) fn settled(&mut self, keys: &[CredentialKey]) {
        for key in keys {
            self.outdated.remove(key);
        }
    }

    /// Takes these out.
    pub(super) fn drain(&mut self, is_out: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.entries.extract_if(.., |entry| is_out(entry)).collect()
    }

    fn traits(&self, credential: &Credential) -> Traits {
        let (Secret::Password(secret) | Secret::Header { credential: secret, .. }) = &credential.secret;
        Traits {
            username: credential.username.clone(),
            secret: self.hash(secret),
            refresh_token: credential.oauth_refresh_token.as_ref().map(|token| self.hash(token)),
        }
    }

    fn hash(&self, secret: &SecretString) -> u64 {
        self.hasher.hash_one(secret.expose_secret())
    }
}

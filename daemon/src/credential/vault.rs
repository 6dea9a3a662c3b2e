//! All stored credentials, in memory; those that are to last are on disk as well.
//!
//! Nobody's Get waits for a disk once the vault has been loaded. What is written is written one at a time, and before
//! the answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::ports::Safe;
use crate::{
    domain::{
        credential::{Credential, CredentialKey, Query, Stored},
        place::Site,
        secret::SecretString,
        time::Moment,
    },
    token::ports::{ArchiveState, Clock},
};

/// As many are kept in memory alone; the one that was stored first goes.
const MAX_FLEETING: usize = 1000;
/// As many are kept on disk; more are refused.
const MAX_LASTING: usize = 1000;
/// What is kept in memory alone is kept for no longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What has expired and cannot be removed from disk is tried again after this. It is not answered meanwhile.
const RETRY: Duration = Duration::from_secs(60);

/// Why a credential could not be kept, found or erased, for people: all of it is about the safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VaultError(pub String);

/// For how long a credential is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So long, in memory.
    For(Duration),
    /// On disk, until it is erased or expires.
    OnDisk,
}

/// One of them, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is for.
    pub site: Site,
    /// Its user.
    pub username: String,
    /// It is on disk.
    pub lasts: bool,
    /// When it is forgotten or expires.
    pub until: Option<Moment>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// In memory alone.
    pub fleeting: usize,
    /// On disk.
    pub lasting: usize,
}

/// The stored credentials.
pub struct Vault {
    clock: Arc<dyn Clock>,
    safe: Option<Arc<dyn Safe>>,
    state: Mutex<State>,
    /// Whoever has it is alone with the safe.
    turn: tokio::sync::Mutex<()>,
    /// Something may have to be forgotten sooner.
    more: Notify,
}

#[derive(Default)]
struct State {
    /// In the order in which they were stored.
    entries: Vec<Entry>,
    /// What is in the safe is among them.
    is_loaded: bool,
    /// Why the safe could not be used the last time; none: it could.
    trouble: Option<String>,
}

struct Entry {
    key: CredentialKey,
    credential: Arc<Credential>,
    lasts: bool,
    until: Option<Moment>,
}

impl Entry {
    fn is_over(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until.reached(now))
    }

    fn is_meant(&self, query: &Query, secret: Option<&SecretString>) -> bool {
        query.matches(&self.key, &self.credential)
            && secret.is_none_or(|secret| self.credential.secret.is(secret))
    }
}

impl Vault {
    /// An empty one. What is to last is kept in `safe`; none: it is refused.
    pub fn new(clock: Arc<dyn Clock>, safe: Option<Arc<dyn Safe>>) -> Self {
        Self {
            clock,
            safe,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            more: Notify::new(),
        }
    }

    /// The credential that is meant; of several the one for just this path, then the one that was stored last.
    /// `safely`: an error if what is on disk cannot be read.
    pub async fn get(
        self: &Arc<Self>,
        query: &Query,
        safely: bool,
    ) -> Result<Option<Arc<Credential>>, VaultError> {
        if safely {
            self.load().await?;
        }
        let now = self.clock.now();
        let state = self.lock();
        let meant = state
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_meant(query, None) && !entry.is_over(now));
        let best = meant.max_by_key(|(at, entry)| (entry.key.site.path == query.site.path, *at));
        Ok(best.map(|(_, entry)| Arc::clone(&entry.credential)))
    }

    /// Keeps a credential in the place of that of the same name.
    pub async fn store(self: &Arc<Self>, stored: Stored, keep: Keep) -> Result<(), VaultError> {
        let (key, credential) = stored;
        let now = self.clock.now();
        let valid = credential.expires_at.map(|end| end.saturating_sub(now.wall));
        let (lasts, left) = match keep {
            Keep::For(span) => (false, Some(span.min(MAX_TIMEOUT).min(valid.unwrap_or(MAX_TIMEOUT)))),
            Keep::OnDisk => (true, valid),
        };
        let entry = Entry { key, credential, lasts, until: left.map(|left| now + left) };
        if lasts {
            self.load().await?;
            return self.alone(|vault| async move { vault.put(entry).await }).await;
        }
        self.lock().insert(entry);
        self.more.notify_one();
        Ok(())
    }

    async fn put(&self, entry: Entry) -> Result<(), VaultError> {
        {
            let state = self.lock();
            let lasting = state.entries.iter().filter(|other| other.lasts && other.key != entry.key);
            if lasting.count() >= MAX_LASTING {
                return Err(VaultError(format!(
                    "{MAX_LASTING} credentials are stored already: erase some (log out of what is not used any more)"
                )));
            }
        }
        let put = self.safe()?.put((entry.key.clone(), Arc::clone(&entry.credential))).await;
        self.noted(put)?;
        self.lock().insert(entry);
        self.more.notify_one();
        Ok(())
    }

    /// Erases what is meant; with a `secret`, only if that is it. How many there were.
    pub async fn erase(
        self: &Arc<Self>,
        query: Query,
        secret: Option<SecretString>,
        safely: bool,
    ) -> Result<usize, VaultError> {
        if safely {
            self.load().await?;
        }
        self.take_out(move |entry| entry.is_meant(&query, secret.as_ref())).await
    }

    /// Takes these out, of the safe as well.
    async fn take_out(
        self: &Arc<Self>,
        is_out: impl Fn(&Entry) -> bool + Send + Sync + 'static,
    ) -> Result<usize, VaultError> {
        let fleeting = self.lock().drain(|entry| !entry.lasts && is_out(entry));
        if !self.lock().entries.iter().any(&is_out) {
            return Ok(fleeting);
        }
        let work = |vault: Arc<Self>| async move {
            let is_out = |entry: &Entry| entry.lasts && is_out(entry);
            let keys = vault
                .lock()
                .entries
                .iter()
                .filter(|entry| is_out(entry))
                .map(|entry| entry.key.clone())
                .collect();
            // From the disk first: what is still there has to be found again by the next try.
            let removed = vault.noted(vault.safe()?.remove(keys).await);
            removed.map_err(|VaultError(why)| {
                VaultError(format!("it cannot be erased, and is still there: {why}"))
            })?;
            Ok(vault.lock().drain(is_out))
        };
        Ok(fleeting + self.alone(work).await?)
    }

    /// Has `work` done by nobody else at the same time, and to its end: who asked for it may have gone meanwhile, and disk
    /// and memory would not be the same.
    async fn alone<T: Send + 'static, F: Future<Output = Result<T, VaultError>> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<T, VaultError> {
        let vault = Arc::clone(self);
        let done = tokio::spawn(async move {
            let _turn = vault.turn.lock().await;
            work(Arc::clone(&vault)).await
        });
        done.await.unwrap_or_else(|_| Err(VaultError("it was broken off by a fault of usherd".to_owned())))
    }

    /// All of a collection, by name.
    pub async fn list(self: &Arc<Self>, collection: &str, safely: bool) -> Result<Vec<Listed>, VaultError> {
        if safely {
            self.load().await?;
        }
        let now = self.clock.now();
        let state = self.lock();
        let of_it =
            state.entries.iter().filter(|entry| entry.key.collection == collection && !entry.is_over(now));
        let mut listed: Vec<_> = of_it
            .map(|entry| Listed {
                site: entry.key.site.clone(),
                username: entry.credential.username.clone(),
                lasts: entry.lasts,
                until: entry.until,
            })
            .collect();
        listed.sort_by(|one, other| (&one.site, &one.username).cmp(&(&other.site, &other.username)));
        Ok(listed)
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        let (now, state) = (self.clock.now(), self.lock());
        let count =
            |lasts| state.entries.iter().filter(|entry| entry.lasts == lasts && !entry.is_over(now)).count();
        Counts { fleeting: count(false), lasting: count(true) }
    }

    /// For how long there is something in memory that is nowhere else.
    pub fn lasts(&self) -> Duration {
        let (now, state) = (self.clock.now(), self.lock());
        let fleeting = state.entries.iter().filter(|entry| !entry.lasts);
        fleeting.filter_map(|entry| Some(entry.until?.after(now))).max().unwrap_or_default()
    }

    /// The safe, and why it could not be used the last time; none: there is none, or it has not been used.
    pub fn safe_state(&self) -> Option<ArchiveState> {
        let trouble = self.lock().trouble.clone();
        let is_used = trouble.is_some() || self.counts().lasting > 0;
        let safe = self.safe.as_ref().filter(|_| is_used)?;
        Some(ArchiveState { trouble, ..safe.state() })
    }

    fn safe(&self) -> Result<&Arc<dyn Safe>, VaultError> {
        self.safe.as_ref().ok_or_else(|| {
            VaultError(
                "there is no place on disk for credentials: set HOME, or write [store] and its directory into the \
                 configuration"
                    .to_owned(),
            )
        })
    }

    /// Remembers how the safe fares.
    fn noted<T>(&self, outcome: Result<T, String>) -> Result<T, VaultError> {
        self.lock().trouble = outcome.as_ref().err().cloned();
        outcome.map_err(VaultError)
    }

    /// Reads what is in the safe, unless that has been done.
    pub async fn load(self: &Arc<Self>) -> Result<(), VaultError> {
        if self.lock().is_loaded {
            return Ok(());
        }
        self.alone(|vault| async move { vault.read().await }).await
    }

    async fn read(&self) -> Result<(), VaultError> {
        if self.lock().is_loaded {
            return Ok(());
        }
        let mut loaded = self.noted(self.safe()?.load().await)?;
        if !loaded.is_empty() {
            info!(credentials = loaded.len(), "stored credentials were read");
        }
        loaded.sort_by_key(|(_, credential)| credential.stored_at);
        loaded.drain(..loaded.len().saturating_sub(MAX_LASTING));
        let now = self.clock.now();
        let entries = loaded.into_iter().map(|(key, credential)| {
            let until = credential.expires_at.map(|end| now + end.saturating_sub(now.wall));
            Entry { key, credential, lasts: true, until }
        });
        let mut state = self.lock();
        // What is in memory was stored later.
        let later = std::mem::replace(&mut state.entries, entries.collect());
        state.entries.extend(later);
        state.is_loaded = true;
        drop(state);
        self.more.notify_one();
        Ok(())
    }

    /// Reads what is in the safe, and forgets each credential as soon as its time is over.
    pub async fn keep_in_time(self: Arc<Self>) {
        if self.safe.is_some()
            && let Err(error) = self.load().await
        {
            warn!(%error, "stored credentials cannot be read");
        }
        loop {
            let now = self.clock.now();
            let next =
                self.lock().entries.iter().filter_map(|entry| entry.until).map(|end| end.after(now)).min();
            match next {
                Some(left) if left.is_zero() => {
                    if let Err(error) = self.take_out(move |entry| entry.is_over(now)).await {
                        warn!(%error, "a credential has expired");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                Some(left) => {
                    tokio::select! {
                        () = self.clock.sleep_until(now.boot.saturating_add(left)) => {}
                        () = self.clock.wall_is_set() => {}
                        () = self.more.notified() => {}
                    }
                }
                None => self.more.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts one behind all others, in the place of that of the same name that is kept in the same way. If there are too
    /// many in memory then, the first one goes.
    fn insert(&mut self, entry: Entry) {
        self.entries.retain(|other| other.key != entry.key || other.lasts != entry.lasts);
        self.entries.push(entry);
        let fleeting = self.entries.iter().filter(|entry| !entry.lasts).count();
        if fleeting > MAX_FLEETING
            && let Some(first) = self.entries.iter().position(|entry| !entry.lasts)
        {
            self.entries.remove(first);
        }
    }

    /// Takes these out. How many there were.
    fn drain(&mut self, is_out: impl Fn(&Entry) -> bool) -> usize {
        self.entries.extract_if(.., |entry| is_out(entry)).count()
    }
}

#[cfg(test)]
mod tests;

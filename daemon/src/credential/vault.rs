//! All stored credentials, in memory; those that are to last are on disk as well.
//!
//! - [`state`]: what is known, and what a newer one does to an older one
//!
//! Of a name what was stored last is all that is known. Nobody's Get waits for a disk once the vault has been loaded.
//! What is written is written one at a time, and before the answer.

mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use self::state::{Entry, State};
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
/// So many names can be stored in memory while it is not known what is on disk under them; more are refused.
const MAX_UNSEEN: usize = 1000;
/// As many are kept on disk; more are refused.
const MAX_LASTING: usize = 1000;
/// So much is to be written or erased at the same time; more is refused. What a disk that hangs has not done holds its
/// secrets until it is.
const MAX_WORKS: usize = 64;
/// What is kept in memory alone is kept for no longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What has expired or was replaced and cannot be removed from disk is tried again after this. It is not answered
/// meanwhile.
const RETRY: Duration = Duration::from_secs(60);

/// For so long a disk that could not be read is taken to be as it was, whoever asks: what keeps one waiting (a key's
/// command that fails after ten seconds) keeps nobody waiting in turn. It is short enough that nothing has to end it.
const LULL: Duration = Duration::from_secs(5);

/// Those who want nothing of the disk wait no longer for it to be read the first time.
const LOOK: Duration = Duration::from_secs(2);

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
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Of those who wait for their turn, and of who has it.
    places: Arc<Semaphore>,
    /// Something may have to be forgotten sooner.
    more: Notify,
}

impl Vault {
    /// An empty one. What is to last is kept in `safe`; none: it is refused.
    pub fn new(clock: Arc<dyn Clock>, safe: Option<Arc<dyn Safe>>) -> Self {
        let state = State::new(safe.is_none());
        Self {
            clock,
            safe,
            state: Mutex::new(state),
            turn: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_WORKS)),
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

    /// Keeps a credential in the place of that of the same name, wherever that is. If it fails the older one is not
    /// answered any more, unless it has the same secret.
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
            let place = self.place().inspect_err(|_| self.give_up(&entry))?;
            return self.alone(place, |vault| async move { vault.put(entry).await }).await;
        }
        self.look().await;
        let is_clean = self.lock().keep(entry, now)?;
        self.more.notify_one();
        if is_clean {
            return Ok(());
        }
        self.settle_alone().await.map_err(|VaultError(why)| {
            VaultError(format!(
                "it is kept in memory, but an older one cannot be erased from disk, and would be answered again after a \
                 restart of usherd: {why}"
            ))
        })
    }

    async fn put(&self, entry: Entry) -> Result<(), VaultError> {
        let room = self.room_for(&entry.key).await;
        let put = match &room {
            Ok(safe) => self.noted(safe.put((entry.key.clone(), Arc::clone(&entry.credential))).await),
            Err(error) => Err(error.clone()),
        };
        {
            let (now, mut state) = (self.clock.now(), self.lock());
            match put {
                Ok(()) => state.insert(entry),
                Err(_) if room.is_ok() => state.failed(&entry, now),
                Err(_) => state.outdate(&entry, now),
            }
        }
        self.more.notify_one();
        put
    }

    /// This is not written.
    fn give_up(&self, entry: &Entry) {
        self.lock().outdate(entry, self.clock.now());
        self.more.notify_one();
    }

    /// The safe, if one of this name can be put into it.
    async fn room_for(&self, key: &CredentialKey) -> Result<&Arc<dyn Safe>, VaultError> {
        self.read().await?;
        if self.lock().lasting_besides(key) >= MAX_LASTING {
            return Err(VaultError(format!(
                "{MAX_LASTING} credentials are stored already: erase some (log out of what is not used any more)"
            )));
        }
        self.safe()
    }

    /// Takes out of the safe what is not to be in it any more.
    async fn settle(&self) -> Result<(), VaultError> {
        let keys = self.lock().to_settle();
        if keys.is_empty() {
            return Ok(());
        }
        self.noted(self.safe()?.remove(keys.clone()).await)?;
        self.lock().settled(&keys);
        Ok(())
    }

    async fn settle_alone(self: &Arc<Self>) -> Result<(), VaultError> {
        self.alone(self.place()?, |vault| async move { vault.settle().await }).await
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
        } else {
            self.look().await;
        }
        let (fleeting, is_done) = {
            let mut state = self.lock();
            let fleeting = state.erase(&query, secret.as_ref());
            (fleeting, state.to_take_out(&query, secret.as_ref()).is_empty())
        };
        if is_done {
            return Ok(fleeting);
        }
        let taken_out = match self.place() {
            Ok(place) => {
                let work = |vault: Arc<Self>| async move { vault.take_out(&query, secret.as_ref()).await };
                self.alone(place, work).await
            }
            Err(error) => Err(error),
        };
        let erased = taken_out.map_err(|VaultError(why)| {
            VaultError(format!("it cannot be erased, and is still there: {why}"))
        })?;
        Ok(fleeting + erased)
    }

    async fn take_out(&self, query: &Query, secret: Option<&SecretString>) -> Result<usize, VaultError> {
        let keys = self.lock().to_take_out(query, secret);
        if keys.is_empty() {
            return Ok(0);
        }
        // From the disk first: what is still there has to be found again by the next try.
        self.noted(self.safe()?.remove(keys.clone()).await)?;
        let mut state = self.lock();
        state.settled(&keys);
        Ok(state.drain(|entry| entry.lasts && entry.is_meant(query, secret)).len())
    }

    /// A place among those who wait for their turn.
    fn place(&self) -> Result<OwnedSemaphorePermit, VaultError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            VaultError(format!(
                "{MAX_WORKS} others wait for the store already, which is slow or hangs: put its disk or its key right, \
                 and try again"
            ))
        })
    }

    /// Has `work` done by nobody else at the same time, and to its end: who asked for it may have gone meanwhile, and disk
    /// and memory would not be the same.
    async fn alone<T: Send + 'static, F: Future<Output = Result<T, VaultError>> + Send + 'static>(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        work: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<T, VaultError> {
        let vault = Arc::clone(self);
        to_its_end(async move {
            let (_place, _turn) = (place, vault.turn.lock().await);
            work(Arc::clone(&vault)).await
        })
        .await
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

    /// Reads what is in the safe, unless that has been done. Of those who want it at the same time one does so.
    pub async fn load(self: &Arc<Self>) -> Result<(), VaultError> {
        self.safe()?;
        if let Some(known) = self.lock().known(self.clock.now()) {
            return known;
        }
        // Who goes before it is their turn leaves nothing behind.
        let (vault, turn) = (Arc::clone(self), Arc::clone(&self.turn).lock_owned().await);
        to_its_end(async move {
            let _turn = turn;
            vault.read().await
        })
        .await
    }

    /// Waits until it is known what is in the safe, or that it cannot be told; for a while, and for the first time alone.
    async fn look(self: &Arc<Self>) {
        let has_looked = {
            let state = self.lock();
            state.is_loaded || state.unread.is_some()
        };
        if !has_looked {
            // Why it cannot be read is for those who want to read it.
            let _ = tokio::time::timeout(LOOK, self.load()).await;
        }
    }

    async fn read(&self) -> Result<(), VaultError> {
        let safe = self.safe()?;
        if let Some(known) = self.lock().known(self.clock.now()) {
            return known;
        }
        let read = self.noted(safe.load().await);
        let now = self.clock.now();
        let mut loaded = read.inspect_err(|error| self.lock().unread = Some((now, error.clone())))?;
        if !loaded.is_empty() {
            info!(credentials = loaded.len(), "stored credentials were read");
        }
        loaded.sort_by_key(|(_, credential)| credential.stored_at);
        loaded.drain(..loaded.len().saturating_sub(MAX_LASTING));
        let entries = loaded.into_iter().map(|(key, credential)| {
            let until = credential.expires_at.map(|end| now + end.saturating_sub(now.wall));
            Entry { key, credential, lasts: true, until }
        });
        self.lock().take_over(entries.collect(), now);
        // What cannot be removed now is tried again.
        let _ = self.settle().await;
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
        let mut failed: Option<Moment> = None;
        loop {
            let now = self.clock.now();
            let (next, is_clean) = {
                let mut state = self.lock();
                state.forget(now);
                let ends = state.entries.iter().filter_map(|entry| entry.until);
                (ends.map(|end| end.after(now)).min(), state.to_settle().is_empty())
            };
            let pause = failed.map(|at| RETRY.saturating_sub(now.boot.saturating_sub(at.boot)));
            let pause = pause.filter(|pause| !is_clean && !pause.is_zero());
            if !is_clean && pause.is_none() {
                let settled = self.settle_alone().await;
                if let Err(error) = &settled {
                    warn!(%error, "what has expired or was replaced cannot be removed from disk");
                }
                failed = settled.is_err().then(|| self.clock.now());
                continue;
            }
            match next.into_iter().chain(pause).min() {
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

/// Whoever waits for it may go.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, VaultError>> + Send + 'static,
) -> Result<T, VaultError> {
    let broken = |_| Err(VaultError("it was broken off by a fault of usherd".to_owned()));
    tokio::spawn(work).await.unwrap_or_else(broken)
}

#[cfg(test)]
mod tests;

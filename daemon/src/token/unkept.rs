//! Which keys are not kept as they are: what an archive has to write next.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::domain::record::KeyId;

/// More are not noted: what is kept of them may be out of date until they change again. Far more than there are keys,
/// but for an archive that fails while profiles come and go.
const MAX: usize = 1_000_000;

/// Keys that have changed since they were last kept.
#[derive(Debug, Default)]
pub struct Unkept {
    /// Nothing is kept, and so nothing noted.
    off: bool,
    ids: Mutex<Ids>,
    more: Notify,
    was_kept: Notify,
    hurry: Notify,
    /// What was kept before has been looked for.
    looked: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Ids {
    waiting: HashSet<KeyId>,
    being_kept: HashSet<KeyId>,
    /// Since when.
    since: Option<Instant>,
}

impl Unkept {
    /// For an engine that keeps nothing.
    pub fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// This key is no longer as it was kept.
    pub fn note(&self, id: &KeyId) {
        if self.off {
            return;
        }
        let mut ids = self.lock();
        if ids.waiting.len() < MAX && ids.waiting.insert(id.clone()) {
            drop(ids);
            self.more.notify_one();
        }
    }

    /// Waits until there are some, and takes them all. [`Unkept::kept`] has to follow.
    pub async fn take(&self) -> Vec<KeyId> {
        loop {
            {
                let mut ids = self.lock();
                if !ids.waiting.is_empty() {
                    ids.being_kept = std::mem::take(&mut ids.waiting);
                    ids.since = Some(Instant::now());
                    return ids.being_kept.iter().cloned().collect();
                }
            }
            self.more.notified().await;
        }
    }

    /// What was taken is kept now, but for these.
    pub fn kept(&self, failed: Vec<KeyId>) {
        let mut ids = self.lock();
        ids.being_kept.clear();
        ids.since = None;
        ids.waiting.extend(failed);
        drop(ids);
        self.was_kept.notify_waiters();
    }

    /// How many are not kept as they are.
    pub fn count(&self) -> usize {
        let ids = self.lock();
        ids.waiting.len() + ids.being_kept.len()
    }

    /// For how long the archive has been writing what it writes now.
    pub fn takes(&self) -> Duration {
        self.lock().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whoever waits before they try again need not.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Ends when somebody is in a hurry.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// What was kept before has been looked for, in vain or not.
    pub fn looked(&self) {
        self.looked.send_replace(true);
    }

    /// Waits until what was kept before has been looked for.
    pub async fn has_looked(&self) {
        // The sender lives as long as this.
        let _ = self.looked.subscribe().wait_for(|looked| *looked).await;
    }

    /// Waits until all are kept, of those that `count`.
    pub async fn all_kept(&self, count: impl Fn(&KeyId) -> bool) {
        loop {
            let mut told = pin!(self.was_kept.notified());
            // What happens from here on is told.
            told.as_mut().enable();
            {
                let ids = self.lock();
                if !ids.waiting.iter().chain(&ids.being_kept).any(&count) {
                    return;
                }
            }
            told.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::domain::{record::Owner, scope::ScopeSet};

    fn id(profile: &str) -> KeyId {
        let owner = Owner { profile: profile.to_owned(), grant: String::new() };
        KeyId { owner: Arc::new(owner), audience: None, scopes: ScopeSet::default() }
    }

    #[tokio::test]
    async fn what_fails_or_changes_meanwhile_is_there_again() {
        let unkept = Unkept::default();
        assert!(unkept.all_kept(|_| true).now_or_never().is_some());
        unkept.note(&id("a"));
        unkept.note(&id("a"));
        unkept.note(&id("b"));
        assert_eq!(unkept.take().await.len(), 2);
        assert!(unkept.take().now_or_never().is_none());
        assert!(unkept.all_kept(|_| true).now_or_never().is_none(), "they are being kept");
        assert!(unkept.all_kept(|id| id.owner.profile == "c").now_or_never().is_some());
        unkept.note(&id("c"));
        unkept.kept(vec![id("b")]);
        let mut again: Vec<_> = unkept.take().await.into_iter().map(|id| id.owner.profile.clone()).collect();
        again.sort_unstable();
        assert_eq!(again, ["b", "c"]);
        unkept.kept(Vec::new());
        assert!(unkept.all_kept(|_| true).now_or_never().is_some());
    }

    #[tokio::test]
    async fn where_nothing_is_kept_nothing_is_noted() {
        let unkept = Unkept::off();
        unkept.note(&id("a"));
        assert!(unkept.take().now_or_never().is_none() && unkept.all_kept(|_| true).now_or_never().is_some());
    }
}

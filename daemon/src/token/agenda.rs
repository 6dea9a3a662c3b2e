//! When each key wants to be looked at: one heap, and so one timer, for any number of keys.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use super::entry::Entry;
use crate::domain::time::Moment;

/// Keys by the time at which they want to be looked at.
#[derive(Debug, Default)]
pub struct Agenda {
    items: Mutex<BinaryHeap<Reverse<Item>>>,
    sooner: Notify,
}

/// A key and its time. The key may be gone by then.
#[derive(Debug)]
pub struct Item {
    /// On the clock that goes on in suspend and that nobody can set.
    at: Duration,
    /// The key's profile.
    pub profile: String,
    /// The key.
    pub entry: Weak<Entry>,
    /// What it is looked at for.
    pub what: What,
}

/// What a key is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Its token may want a refresh.
    Refresh,
    /// Its token may have gone unused for too long.
    Unused,
}

impl Agenda {
    /// Has the key looked at for a refresh when `at` has come.
    pub fn note(&self, at: Moment, profile: &str, entry: &Arc<Entry>) {
        self.note_for(What::Refresh, at, profile, entry);
    }

    /// Has it looked, when `at` has come, whether the key is still used.
    pub fn note_unused(&self, at: Moment, profile: &str, entry: &Arc<Entry>) {
        self.note_for(What::Unused, at, profile, entry);
    }

    fn note_for(&self, what: What, at: Moment, profile: &str, entry: &Arc<Entry>) {
        let item = Item { at: at.boot, profile: profile.to_owned(), entry: Arc::downgrade(entry), what };
        let mut items = self.items();
        let is_first = items.peek().is_none_or(|Reverse(first)| item.at < first.at);
        items.push(Reverse(item));
        drop(items);
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// When the next one wants to be looked at, since boot.
    pub fn next(&self) -> Option<Duration> {
        self.items().peek().map(|Reverse(item)| item.at)
    }

    /// Ends when [`Agenda::next`] has come to be sooner.
    pub async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// Takes what has come by `now` off the agenda.
    pub fn take(&self, now: Moment) -> Vec<Item> {
        let mut items = self.items();
        let mut taken = Vec::new();
        while items.peek().is_some_and(|Reverse(item)| item.at <= now.boot) {
            taken.extend(items.pop().map(|Reverse(item)| item));
        }
        taken
    }

    fn items(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Item>>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

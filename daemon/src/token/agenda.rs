//! When each key wants to be looked at: one agenda, and so one timer, for any number of keys. Each key is on it once for
//! each thing that it is looked at for.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use super::entry::Entry;
use crate::domain::time::Moment;

/// Keys by the time at which they want to be looked at.
#[derive(Debug, Default)]
pub struct Agenda {
    looks: Mutex<Looks>,
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Looks {
    /// By when they come, on the clock that goes on in suspend and that nobody can set.
    coming: BTreeMap<(Duration, Look), Item>,
    /// When each one comes.
    times: HashMap<Look, Duration>,
}

/// Which key, by where it is in memory, and what for. No other key comes to be there while an [`Item`] is.
type Look = (usize, What);

/// A key and its time. The key may be gone by then.
#[derive(Debug)]
pub struct Item {
    /// By both clocks.
    at: Moment,
    /// The key's profile.
    pub profile: String,
    /// The key.
    pub entry: Weak<Entry>,
    /// What it is looked at for.
    pub what: What,
}

/// What a key is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Its token may want a refresh.
    Refresh,
    /// Its token may have gone unused for too long.
    Unused,
}

impl Agenda {
    /// Has the key looked at for a refresh when `at` has come, or sooner if that is noted already.
    pub fn note(&self, at: Moment, profile: &str, entry: &Arc<Entry>) {
        self.note_for(What::Refresh, at, profile, entry);
    }

    /// Has it looked, when `at` has come or sooner, whether the key is still used.
    pub fn note_unused(&self, at: Moment, profile: &str, entry: &Arc<Entry>) {
        self.note_for(What::Unused, at, profile, entry);
    }

    fn note_for(&self, what: What, at: Moment, profile: &str, entry: &Arc<Entry>) {
        let look = (Arc::as_ptr(entry).addr(), what);
        let mut looks = self.looks();
        if looks.times.get(&look).is_some_and(|noted| *noted <= at.boot) {
            return;
        }
        let is_first = looks.next().is_none_or(|next| at.boot < next);
        looks.put(
            at.boot,
            look,
            Item { at, profile: profile.to_owned(), entry: Arc::downgrade(entry), what },
        );
        drop(looks);
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// When the next one wants to be looked at, since boot.
    pub fn next(&self) -> Option<Duration> {
        self.looks().next()
    }

    /// Ends when [`Agenda::next`] has come to be sooner.
    pub async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// The wall clock may have been set: what it says is the time of some keys may come sooner now, or later.
    pub fn wall_was_set(&self, now: Moment) {
        let mut looks = self.looks();
        for ((_, look), item) in std::mem::take(&mut looks.coming) {
            looks.put(now.boot.saturating_add(item.at.after(now)), look, item);
        }
    }

    /// Takes what has come by `now` off the agenda.
    pub fn take(&self, now: Moment) -> Vec<Item> {
        let mut looks = self.looks();
        let mut taken = Vec::new();
        while looks.next().is_some_and(|at| at <= now.boot)
            && let Some(((_, look), item)) = looks.coming.pop_first()
        {
            looks.times.remove(&look);
            taken.push(item);
        }
        taken
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looks {
    fn next(&self) -> Option<Duration> {
        self.coming.first_key_value().map(|((at, _), _)| *at)
    }

    /// In the place of the one there is.
    fn put(&mut self, at: Duration, look: Look, item: Item) {
        if let Some(before) = self.times.insert(look, at) {
            self.coming.remove(&(before, look));
        }
        self.coming.insert((at, look), item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        record::{KeyId, Owner},
        scope::ScopeSet,
    };

    fn at(wall: u64, boot: u64) -> Moment {
        Moment { wall: Duration::from_secs(1_000_000 + wall), boot: Duration::from_secs(boot) }
    }

    fn key() -> Arc<Entry> {
        let owner = Arc::new(Owner { profile: "p".to_owned(), grant: String::new() });
        let id = KeyId { owner, audience: None, scopes: ScopeSet::default() };
        Arc::new(Entry::new(id, None, Arc::default(), Arc::default()))
    }

    fn next(agenda: &Agenda) -> Option<u64> {
        agenda.next().map(|at| at.as_secs())
    }

    #[test]
    fn a_key_is_looked_at_once_and_the_sooner_time_counts() {
        let (agenda, [a, b]) = (Agenda::default(), [key(), key()]);
        for (time, expected) in [(50, 50), (60, 50), (40, 40), (45, 40)] {
            agenda.note(at(time, time), "p", &a);
            assert_eq!(next(&agenda), Some(expected));
        }
        agenda.note_unused(at(45, 45), "p", &a);
        agenda.note(at(46, 46), "p", &b);
        assert_eq!(agenda.take(at(39, 39)).len(), 0);
        let whats = |now| agenda.take(at(now, now)).iter().map(|item| item.what).collect::<Vec<_>>();
        assert_eq!(whats(45), [What::Refresh, What::Unused]);
        assert_eq!((whats(45), whats(1_000)), (vec![], vec![What::Refresh]));
        assert_eq!(next(&agenda), None);
        agenda.note(at(70, 70), "p", &a);
        assert_eq!(next(&agenda), Some(70), "what has been taken off may be noted again");
    }

    #[test]
    fn a_wall_clock_that_is_set_brings_what_it_ends_forward_and_back_again() {
        let (agenda, [a, b]) = (Agenda::default(), [key(), key()]);
        agenda.note(at(50, 50), "p", &a);
        agenda.note(at(90, 90), "p", &b);
        // It says 40 where it was 10.
        agenda.wall_was_set(at(40, 10));
        assert_eq!(next(&agenda), Some(20));
        assert_eq!(agenda.take(at(50, 20)).len(), 1);
        assert_eq!(next(&agenda), Some(60));
        agenda.wall_was_set(at(0, 30));
        assert_eq!(next(&agenda), Some(90), "the other clock goes on");
    }
}

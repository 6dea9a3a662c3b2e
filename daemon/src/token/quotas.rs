//! What an IdP has said of its quotas, for as long as that holds: pure, as of the moment it is asked.

use std::time::Duration;

use crate::domain::{quota::Quota, time::Moment};

/// The most buckets that are kept for one client: the names are the IdP's.
const MAX_KEPT: usize = 16;
/// For how long a bucket counts of which nobody knows when it is full again.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
/// A bucket that is full again so soon is not worth a warning: there is nothing to be done meanwhile.
const SOON: Duration = Duration::from_secs(10);

/// All buckets of one client.
#[derive(Debug, Default)]
pub struct Quotas(Vec<Bucket>);

/// A bucket, and what became of it.
#[derive(Debug)]
struct Bucket {
    known: KnownQuota,
    /// What was learnt counts until this moment.
    until: Moment,
    /// It was low when it was last heard of, which has been told.
    told: bool,
}

/// A bucket that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownQuota {
    /// The bucket.
    pub quota: Quota,
    /// When the IdP said so.
    pub learnt: Moment,
}

impl Quotas {
    /// Takes what the IdP said at `now`. Answers the buckets that have come to be low since they were last heard
    /// of: each is told once, and again only after it was better.
    pub fn learn(&mut self, said: Vec<Quota>, now: Moment) -> Vec<Quota> {
        said.into_iter().filter(|quota| self.learn_one(quota, now)).collect()
    }

    fn learn_one(&mut self, quota: &Quota, now: Moment) -> bool {
        let before = self.0.iter().position(|bucket| bucket.known.quota.name == quota.name);
        let was_told = before.map(|index| self.0.remove(index)).is_some_and(|bucket| bucket.told);
        // The oldest make room.
        self.0.drain(..self.0.len().saturating_sub(MAX_KEPT - 1));
        let lasts = quota.resets_at.map_or(STALE_AFTER, |at| at.saturating_sub(now.wall));
        let is_worth_it = quota.is_low() && lasts > SOON;
        let known = KnownQuota { quota: quota.clone(), learnt: now };
        self.0.push(Bucket { known, until: now + lasts, told: quota.is_low() && (was_told || is_worth_it) });
        is_worth_it && !was_told
    }

    /// The buckets that count at `now`, by name. Of one that has been reset since, nothing is known.
    pub fn current(&self, now: Moment) -> Vec<KnownQuota> {
        let mut current: Vec<_> = self.at(now).map(|bucket| bucket.known.clone()).collect();
        current.sort_unstable_by(|one, other| one.quota.name.cmp(&other.quota.name));
        current
    }

    /// How long until all buckets that are empty are full again, of those that the IdP said when: zero if none is.
    pub fn wait(&self, now: Moment) -> Duration {
        let empty = self.at(now).filter(|bucket| {
            let Quota { remaining, resets_at, .. } = bucket.known.quota;
            remaining == 0 && resets_at.is_some()
        });
        empty.map(|bucket| bucket.until.after(now)).max().unwrap_or_default()
    }

    fn at(&self, now: Moment) -> impl Iterator<Item = &Bucket> {
        self.0.iter().filter(move |bucket| !bucket.until.reached(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { wall: Duration::from_secs(1_000_000 + seconds), boot: Duration::from_secs(500 + seconds) }
    }

    /// A bucket of ten that is full again at this second.
    fn bucket(name: &str, remaining: u64, resets_at: u64) -> Quota {
        Quota { name: name.to_owned(), limit: Some(10), remaining, resets_at: Some(at(resets_at).wall) }
    }

    fn names(quotas: &Quotas, now: Moment) -> Vec<(String, u64)> {
        quotas.current(now).into_iter().map(|known| (known.quota.name, known.quota.remaining)).collect()
    }

    #[test]
    fn a_bucket_counts_until_it_is_reset_by_either_clock() {
        let mut quotas = Quotas::default();
        quotas.learn(vec![bucket("b", 7, 100), bucket("a", 5, 50)], at(0));
        assert_eq!(names(&quotas, at(49)), [("a".to_owned(), 5), ("b".to_owned(), 7)]);
        assert_eq!(quotas.current(at(1))[0].learnt, at(0));
        assert_eq!(names(&quotas, at(50)), [("b".to_owned(), 7)]);
        let slept = Moment { wall: at(0).wall, boot: at(100).boot };
        assert_eq!(names(&quotas, slept), []);
        // The next answer replaces what was known of it, and of nothing else.
        quotas.learn(vec![bucket("a", 9, 150)], at(60));
        assert_eq!(names(&quotas, at(60)), [("a".to_owned(), 9), ("b".to_owned(), 7)]);
    }

    #[test]
    fn without_a_reset_it_counts_for_an_hour_and_holds_nobody_back() {
        let mut quotas = Quotas::default();
        quotas.learn(vec![Quota { resets_at: None, ..bucket("a", 0, 0) }], at(0));
        assert_eq!((names(&quotas, at(3599)).len(), names(&quotas, at(3600)).len()), (1, 0));
        assert_eq!(quotas.wait(at(1)), Duration::ZERO);
    }

    #[test]
    fn what_comes_to_be_low_is_told_once_and_again_after_it_was_better() {
        let mut quotas = Quotas::default();
        for (second, remaining, told) in
            [(0, 5, 0), (1, 2, 0), (2, 1, 1), (3, 0, 0), (4, 0, 0), (5, 9, 0), (6, 1, 1), (7, 1, 0)]
        {
            let low = quotas.learn(vec![bucket("a", remaining, second + 60)], at(second));
            assert_eq!(low.len(), told, "{remaining} left at {second}");
        }
        // That it was reset in between is no news of it.
        assert_eq!(quotas.learn(vec![bucket("a", 0, 400)], at(300)).len(), 0);
        assert_eq!(quotas.learn(vec![bucket("b", 1, 400)], at(300)).len(), 1, "another one");
    }

    #[test]
    fn what_is_full_again_in_a_moment_is_not_told() {
        let mut quotas = Quotas::default();
        assert_eq!(quotas.learn(vec![bucket("a", 0, 10)], at(0)).len(), 0);
        assert_eq!(quotas.learn(vec![bucket("a", 0, 100)], at(1)).len(), 1);
    }

    #[test]
    fn the_wait_is_for_the_last_of_the_empty_ones() {
        let mut quotas = Quotas::default();
        quotas.learn(vec![bucket("a", 0, 50), bucket("b", 0, 100), bucket("c", 1, 200)], at(0));
        for (second, wait) in [(0, 100), (60, 40), (100, 0)] {
            assert_eq!(quotas.wait(at(second)), Duration::from_secs(wait));
        }
    }

    #[test]
    fn memory_is_bounded_whatever_names_the_idp_thinks_of() {
        let mut quotas = Quotas::default();
        for number in 0..1000 {
            quotas.learn(vec![bucket(&format!("b{number}"), 5, 100)], at(0));
        }
        assert_eq!(quotas.0.len(), MAX_KEPT);
        assert!(names(&quotas, at(0)).iter().any(|(name, _)| name == "b999"));
    }
}

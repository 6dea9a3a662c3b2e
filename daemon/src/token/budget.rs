//! How many token requests a key may cost. Never exceeded, whatever callers do.

use std::{collections::VecDeque, time::Duration};

use crate::domain::{profile::RequestLimit, time::Moment};

/// Requests per window where the profile sets no limit. In normal life a key costs one or two requests
/// a lifetime; an outage of an hour costs about twenty with the back-off.
const DEFAULT_REQUESTS: u32 = 30;
/// The default window follows the lifetime between these two, so that neither tokens of a few seconds
/// nor an outage in a token's long life run into it.
const WINDOW_MIN: Duration = Duration::from_secs(60);
const WINDOW_MAX: Duration = Duration::from_secs(60 * 60);

/// Requests of before this boot have a time, too: the clock of the budget begins so long before. No window is longer.
const BEFORE_BOOT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The requests that count, by when they were sent.
#[derive(Debug)]
pub struct Budget {
    limit: RequestLimit,
    follows_lifetime: bool,
    /// On the clock that nobody can set, counted from [`BEFORE_BOOT`].
    sent: VecDeque<Duration>,
}

impl Budget {
    /// The profile's limit, or the default one.
    pub fn new(limit: Option<RequestLimit>) -> Self {
        Self {
            limit: limit.unwrap_or(RequestLimit { requests: DEFAULT_REQUESTS, window: WINDOW_MAX }),
            follows_lifetime: limit.is_none(),
            sent: VecDeque::new(),
        }
    }

    /// Takes the limit of a changed profile. What was sent still counts.
    pub fn set_limit(&mut self, limit: Option<RequestLimit>) {
        *self = Self { sent: std::mem::take(&mut self.sent), ..Self::new(limit) };
    }

    /// Learns how long the key's tokens live.
    pub fn learn_lifetime(&mut self, lifetime: Duration) {
        if self.follows_lifetime {
            self.limit.window = lifetime.clamp(WINDOW_MIN, WINDOW_MAX);
        }
    }

    /// How long ago the requests were sent that count, the oldest first.
    pub fn counting(&self, now: Moment) -> impl Iterator<Item = Duration> {
        let ages = self.sent.iter().map(move |sent| clock(now).saturating_sub(*sent));
        ages.filter(|age| *age < self.limit.window)
    }

    /// Takes over what was sent so long ago, before a restart, and the window as it was learnt; zero: it was not.
    /// What has been sent since counts as well.
    pub fn restore(&mut self, ages: &[Duration], window: Duration, now: Moment) {
        if self.follows_lifetime && !window.is_zero() {
            self.learn_lifetime(window);
        }
        let mut sent: Vec<_> = ages.iter().map(|age| clock(now).saturating_sub(*age)).collect();
        sent.extend(self.sent.drain(..));
        sent.sort_unstable();
        let surplus = sent.len().saturating_sub(self.limit.requests as usize);
        self.sent = sent.split_off(surplus).into();
    }

    /// How many requests may be sent now.
    pub fn left(&self, now: Moment) -> u32 {
        let counted = self.counting(now).count();
        self.limit.requests.saturating_sub(u32::try_from(counted).unwrap_or(u32::MAX))
    }

    /// How long until one may be sent: zero if one may now.
    pub fn wait(&self, now: Moment) -> Duration {
        let limit = self.limit.requests as usize;
        match self.sent.len().checked_sub(limit).and_then(|index| self.sent.get(index)) {
            Some(sent) => sent.saturating_add(self.limit.window).saturating_sub(clock(now)),
            None => Duration::ZERO,
        }
    }

    /// Counts a request that is about to be sent; if none may be, says how long not.
    pub fn spend(&mut self, now: Moment) -> Result<(), Duration> {
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.sent.push_back(clock(now));
        while self.sent.len() > self.limit.requests as usize {
            self.sent.pop_front();
        }
        Ok(())
    }

    /// The limit in force.
    pub fn limit(&self) -> RequestLimit {
        self.limit
    }

    /// Whether no request counts any more.
    pub fn is_untouched(&self, now: Moment) -> bool {
        self.left(now) == self.limit.requests
    }
}

fn clock(now: Moment) -> Duration {
    now.boot.saturating_add(BEFORE_BOOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { wall: Duration::ZERO, boot: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_limit_holds_in_every_window() {
        let mut budget = Budget::new(Some(RequestLimit { requests: 2, window: Duration::from_secs(100) }));
        assert_eq!(budget.left(at(0)), 2);
        assert_eq!(budget.spend(at(0)), Ok(()));
        assert_eq!(budget.spend(at(60)), Ok(()));
        assert_eq!(budget.left(at(60)), 0);
        assert_eq!(budget.spend(at(99)), Err(Duration::from_secs(1)));
        assert_eq!(budget.spend(at(100)), Ok(()));
        assert_eq!(budget.spend(at(100)), Err(Duration::from_secs(60)));
        assert_eq!((budget.left(at(159)), budget.left(at(160)), budget.left(at(200))), (0, 1, 2));
    }

    #[test]
    fn a_short_life_has_a_short_window() {
        let mut budget = Budget::new(None);
        assert_eq!(budget.limit(), RequestLimit { requests: 30, window: WINDOW_MAX });
        for (lifetime, window) in [(1, 60), (300, 300), (86_400, 3600)] {
            budget.learn_lifetime(Duration::from_secs(lifetime));
            assert_eq!(budget.limit().window, Duration::from_secs(window));
        }
        let mut set = Budget::new(Some(RequestLimit { requests: 5, window: Duration::from_secs(9) }));
        set.learn_lifetime(Duration::from_secs(300));
        assert_eq!(set.limit().window, Duration::from_secs(9), "what the profile says stands");
    }

    #[test]
    fn a_new_limit_forgives_nothing() {
        let mut budget = Budget::new(None);
        for second in 0..5 {
            assert_eq!(budget.spend(at(second)), Ok(()));
        }
        budget.set_limit(Some(RequestLimit { requests: 3, window: Duration::from_secs(100) }));
        assert_eq!((budget.left(at(5)), budget.wait(at(5))), (0, Duration::from_secs(97)));
        assert!(!budget.is_untouched(at(5)) && budget.is_untouched(at(104)));
    }

    #[test]
    fn what_was_sent_before_a_restart_counts_for_as_long_as_it_would_have() {
        let ages = |ages: &[u64]| ages.iter().map(|age| Duration::from_secs(*age)).collect::<Vec<_>>();
        let day = Duration::from_secs(86_400);
        // Long before this boot.
        let mut budget = Budget::new(Some(RequestLimit { requests: 2, window: day }));
        budget.restore(&ages(&[80_000, 7_000]), day, at(30));
        assert_eq!((budget.left(at(30)), budget.wait(at(30))), (0, Duration::from_secs(6_400)));
        assert_eq!(budget.counting(at(40)).map(|age| age.as_secs()).collect::<Vec<_>>(), [80_010, 7_010]);
        assert_eq!((budget.left(at(6_430)), budget.left(at(80_000))), (1, 2));
        // With what has been sent since, in the order of time, and no more than count.
        budget.restore(&ages(&[200_000, 90_000, 10]), day, at(6_430));
        assert_eq!((budget.left(at(6_430)), budget.sent.len()), (0, 2));
        let mut learnt = Budget::new(None);
        learnt.restore(&[], Duration::ZERO, at(0));
        assert_eq!(learnt.limit().window, WINDOW_MAX);
        learnt.restore(&[], Duration::from_secs(300), at(0));
        assert_eq!(learnt.limit().window, Duration::from_secs(300));
    }

    #[test]
    fn memory_is_bounded_by_the_limit() {
        let mut budget = Budget::new(Some(RequestLimit { requests: 3, window: Duration::from_secs(1) }));
        for second in 0..1000 {
            assert_eq!(budget.spend(at(second)), Ok(()));
        }
        assert_eq!(budget.sent.len(), 3);
    }
}

//! How a client stands with its IdP, for all keys of its profile together: a secret that was refused for
//! one set of scopes is not tried with each of the others, which could lock the account. And how far the
//! IdP's clock is from ours, and what is left of its quotas.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    name::SecretTag,
    ports::IssueError,
    quotas::{KnownQuota, Quotas},
};
use crate::domain::{quota::Quota, time::Moment};

/// Clocks that differ by more seconds are warned about: APIs then take tokens for expired or not yet valid.
const TOLERATED_OFFSET: u64 = 60;

/// What is known of client and IdP, whichever key is asked for.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    refused: Option<Refused>,
    clock_offset: Option<i64>,
    quotas: Quotas,
}

#[derive(Debug)]
struct Refused {
    secret: SecretTag,
    error: IssueError,
    until: Moment,
}

impl Standing {
    /// Why this secret is not to be tried at `now`, and for how long.
    pub fn refusal(&self, secret: SecretTag, now: Moment) -> Option<(IssueError, Duration)> {
        let known = self.lock();
        let refused = known.refused.as_ref().filter(|refused| refused.secret == secret)?;
        let wait = refused.until.after(now);
        (!wait.is_zero()).then(|| (refused.error.clone(), wait))
    }

    /// A request failed. If the IdP refused the client itself, no key tries this secret before `until`.
    pub fn failed(&self, secret: SecretTag, error: &IssueError, until: Moment) {
        if error.refuses_client() {
            let refused = Refused { secret, error: error.clone(), until };
            self.lock().refused = Some(refused);
        }
    }

    /// The client is accepted, or worth another try.
    pub fn clear(&self) {
        self.lock().refused = None;
    }

    /// Learns what the IdP's clock said at `now`. How many seconds it is ahead, if that is news and more
    /// than a token can be expected to bear.
    pub fn learn_time(&self, server_time: Duration, now: Moment) -> Option<i64> {
        let offset = seconds(server_time).saturating_sub(seconds(now.wall));
        let before = self.lock().clock_offset.replace(offset);
        let is_news = before.is_none_or(|before| before.abs_diff(offset) > TOLERATED_OFFSET);
        (is_news && offset.unsigned_abs() > TOLERATED_OFFSET).then_some(offset)
    }

    /// How many seconds the IdP's clock is ahead of ours, if it ever said.
    pub fn clock_offset(&self) -> Option<i64> {
        self.lock().clock_offset
    }

    /// Learns what the IdP said of its quotas at `now`. Answers what is worth a warning ([`Quotas::learn`]).
    pub fn learn_quotas(&self, said: Vec<Quota>, now: Moment) -> Vec<Quota> {
        self.lock().quotas.learn(said, now)
    }

    /// What is known of its quotas.
    pub fn quotas(&self, now: Moment) -> Vec<KnownQuota> {
        self.lock().quotas.current(now)
    }

    /// How long until no quota that is known is used up.
    pub fn quota_wait(&self, now: Moment) -> Duration {
        self.lock().quotas.wait(now)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_told_once() {
        let standing = Standing::default();
        let now = Moment { wall: Duration::from_secs(1_000_000), boot: Duration::from_secs(1) };
        let at = |offset: i64| Duration::from_secs(1_000_000_u64.saturating_add_signed(offset));
        for (offset, told) in
            [(0, None), (60, None), (-61, Some(-61)), (-62, None), (300, Some(300)), (0, None)]
        {
            assert_eq!(standing.learn_time(at(offset), now), told, "{offset}");
            assert_eq!(standing.clock_offset(), Some(offset));
        }
    }
}

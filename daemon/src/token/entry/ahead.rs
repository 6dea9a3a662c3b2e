//! What happens to a key without a caller, and who hears of it.

use std::time::Duration;

use tokio::sync::watch;

use super::{Entry, Refusal, Takeoff, state::State};
use crate::{
    domain::{
        profile::Profile,
        time::Moment,
        token::{Lifetime, TokenId},
    },
    token::{
        error::TokenError,
        freshness::{Freshness, freshness, is_used_lately, until_due},
        service::refused,
    },
};

/// A refresh that came to nothing without a request is tried again after this, or after half of what is left of
/// the token.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(1);

/// What to do for a key whose token may want a refresh.
#[derive(Debug)]
pub enum Ahead {
    /// Send this flight off.
    TakeOff(Takeoff),
    /// Look again after so long.
    Later(Duration),
    /// It has no token to refresh, a refresh is under way, or nobody has used it lately.
    Nothing,
}

/// A key as who watches it sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Glance {
    /// Its token, valid or not.
    pub token: Option<TokenId>,
    /// Until when no request is sent because the last one failed; none if it did not.
    pub trouble: Option<Moment>,
    /// How often its token has been dropped on purpose.
    pub dropped: u64,
}

impl Entry {
    /// Hears of all that happens to the key from now on. For as long as somebody does, it counts as used.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Whether somebody watches it.
    pub fn is_watched(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Decides whether a token is to be fetched without a caller.
    pub fn look_ahead(&self, now: Moment) -> Ahead {
        let mut state = self.lock();
        let lifetime = state.token.as_ref().and_then(|token| token.lifetime);
        let wanted = match lifetime.map(|lifetime| (freshness(now, &lifetime, Duration::ZERO), lifetime)) {
            // It was looked at for something that has passed.
            Some((Freshness::Fresh, lifetime)) => return Ahead::Later(lifetime.refresh_at.after(now)),
            Some((Freshness::Ageing | Freshness::Due, lifetime)) => {
                let used = |last_used| is_used_lately(last_used, &lifetime, now);
                self.is_watched() || state.last_used.is_some_and(used)
            }
            Some((Freshness::Expired, _)) | None => self.is_watched() && !state.retired,
        };
        if !wanted || state.flight.is_some() {
            return Ahead::Nothing;
        }
        let wait = self.held_back(&state, lifetime, now);
        if !wait.is_zero() {
            return Ahead::Later(wait);
        }
        let replaces = state.token.is_some();
        Ahead::TakeOff(state.take_off(replaces).1)
    }

    /// When to look whether a token wants to be fetched; none if there is none that is valid, and nobody
    /// watches.
    pub fn next_look(&self, now: Moment) -> Option<Moment> {
        let state = self.lock();
        let lifetime = state.token.as_ref().and_then(|token| token.lifetime);
        let lifetime = lifetime.filter(|lifetime| !lifetime.left(now).is_zero());
        if lifetime.is_none() && (!self.is_watched() || state.retired) {
            return None;
        }
        let due = lifetime.map(|lifetime| lifetime.refresh_at.after(now)).unwrap_or_default();
        let wait = due.max(self.held_back(&state, lifetime, now));
        if !wait.is_zero() {
            return Some(now + wait);
        }
        let left = lifetime.map_or(Duration::MAX, |lifetime| lifetime.left(now));
        Some(now + LOOK_AGAIN.min(left / 2).max(LOOK_AGAIN_MIN))
    }

    /// For how long nothing may be fetched without a caller.
    fn held_back(&self, state: &State, lifetime: Option<Lifetime>, now: Moment) -> Duration {
        // As long as there is a token, nobody waits for the next: the IdP's quota is left to those who will. Who
        // watches waits when a caller would.
        let watched = self.is_watched();
        let lasts = |lifetime: Lifetime| if watched { until_due(&lifetime, now) } else { lifetime.left(now) };
        let quota = self.standing.quota_wait(now).min(lifetime.map(lasts).unwrap_or_default());
        state.wait_ahead(now).max(quota)
    }

    /// What there is to see without asking for anything.
    pub fn glance(&self) -> Glance {
        let state = self.lock();
        Glance {
            token: state.token.as_ref().map(|token| token.id.clone()),
            trouble: state.trouble.as_ref().map(|trouble| trouble.until),
            dropped: state.generation,
        }
    }

    /// Why the last request failed, as a caller is told.
    pub fn trouble(&self, profile: &Profile, now: Moment) -> Option<TokenError> {
        let trouble = self.lock().trouble.clone()?;
        let wait = trouble.wait(now);
        Some(refused(profile, Refusal::Trouble(trouble.cause, wait)))
    }
}

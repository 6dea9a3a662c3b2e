//! Tokens that nobody asks for any more.

use std::{sync::Arc, time::Duration};

use super::{Entry, state::State};
use crate::domain::{time::Moment, token::Token};

/// While a fetch is under way, it is looked again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What to do about a key's token that may have gone unused for too long.
#[derive(Debug)]
pub enum Unused {
    /// It has, and is dropped.
    Dropped(Arc<Token>),
    /// Look again then.
    Later(Moment),
    /// There is none.
    Nothing,
}

impl Entry {
    /// When to look whether a token has gone unused for `span`. None: there is none.
    pub fn next_unused_look(&self, now: Moment, span: Duration) -> Option<Moment> {
        let state = self.lock();
        state.holds_a_valid_one(now).then(|| state.last_needed().unwrap_or(now) + span)
    }

    /// Drops the token if nobody has asked for it, or watched it, for `span`. By the clock that nobody can
    /// set: one that is set has used nothing.
    pub fn look_unused(&self, now: Moment, span: Duration) -> Unused {
        let mut state = self.lock();
        if span == Duration::MAX || !state.holds_a_valid_one(now) {
            return Unused::Nothing;
        }
        let until = if self.is_watched() { now } else { state.last_needed().unwrap_or(now) } + span;
        let later = if now.boot < until.boot {
            Some(until)
        } else {
            state.flight.is_some().then(|| now + LOOK_AGAIN)
        };
        if let Some(at) = later {
            return Unused::Later(at);
        }
        state.has_dropped = true;
        state.token.take().map_or(Unused::Nothing, Unused::Dropped)
    }

    /// Somebody has watched the key until now.
    pub fn unwatched(&self, now: Moment) {
        self.lock().last_watched = Some(now);
    }
}

impl State {
    fn holds_a_valid_one(&self, now: Moment) -> bool {
        let lifetime = self.token.as_ref().and_then(|token| token.lifetime);
        lifetime.is_some_and(|lifetime| !lifetime.left(now).is_zero())
    }

    /// When somebody last asked for its token, or watched it.
    fn last_needed(&self) -> Option<Moment> {
        self.last_used.into_iter().chain(self.last_watched).max_by_key(|moment| moment.boot)
    }
}

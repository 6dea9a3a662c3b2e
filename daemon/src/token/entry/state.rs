//! What is known under the lock of an entry, and what follows from it.

use std::{sync::Arc, time::Duration};

use tokio::task::AbortHandle;

use super::{Cause, Decision, Refusal, Takeoff, Trouble};
use crate::{
    domain::{
        time::Moment,
        token::{Lifetime, Token},
    },
    token::{
        backoff,
        budget::Budget,
        flight::{self, Flight},
    },
};

/// A rejection this long after the last one starts the count anew.
const REJECTIONS_FORGIVEN_AFTER: Duration = Duration::from_secs(10 * 60);
/// How often it is looked, while a token still serves, whether a refused secret has been replaced.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct State {
    pub(super) token: Option<Arc<Token>>,
    /// The one before, if the API rejected it for somebody and no other has come yet: see [`State::spare`].
    pub(super) rejected: Option<Arc<Token>>,
    pub(super) flight: Option<Flight>,
    /// The task of the flight.
    pub(super) fetch: Option<AbortHandle>,
    /// A token has been dropped on purpose: what was kept of it must not come back.
    pub(super) has_dropped: bool,
    /// The profile is gone, or asks for other tokens now.
    pub(super) retired: bool,
    /// A flight that began before this was raised must not fill the cache.
    pub(super) generation: u64,
    /// What comes of a flight from before this is to be revoked.
    pub(super) revoke_before: u64,
    pub(super) trouble: Option<Trouble>,
    pub(super) failures: Failures,
    pub(super) rejections: Rejections,
    pub(super) budget: Budget,
    pub(super) fetched: u64,
    pub(super) refreshed: u64,
    pub(super) failed: u64,
    pub(super) last_used: Option<Moment>,
    pub(super) last_look: Option<Moment>,
    /// When somebody last ended watching.
    pub(super) last_watched: Option<Moment>,
    pub(super) lifeless: Lifeless,
}

/// Failed requests in a row, of one class: a refusal after an outage is the first refusal.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Failures {
    in_row: u32,
    refused: bool,
}

/// Tokens in a row that may not be kept: nobody gets one that is fetched without a caller.
#[derive(Debug, Default)]
pub(super) struct Lifeless {
    in_row: u32,
    not_before: Option<Moment>,
}

#[derive(Debug, Default)]
pub(super) struct Rejections {
    in_row: u32,
    last: Option<Moment>,
    pub(super) not_before: Option<Moment>,
}

impl State {
    pub(super) fn take_off(&mut self, replaces: bool) -> (Flight, Takeoff) {
        let (pilot, flight) = flight::begin();
        self.flight = Some(flight.clone());
        (flight, Takeoff { pilot, generation: self.generation, replaces })
    }

    pub(super) fn end_flight(&mut self) {
        self.flight = None;
        // It keeps the memory of the task that has ended.
        self.fetch = None;
    }

    /// Whether the token that is held lasts more than twice as long as a new one. A new one that lasts
    /// about as long is the better one: many IdPs issue the same token again for what is left of its life.
    pub(super) fn holds_a_much_better_one(&self, new: Lifetime, now: Moment) -> bool {
        let held = self.token.as_ref().and_then(|token| token.lifetime);
        held.is_some_and(|held| held.left(now) / 2 > new.left(now))
    }

    /// The token that is held is refreshed, and promised to last, as if it were `new`: the IdP issues no longer
    /// lives any more, and each that is asked for meanwhile would be thrown away.
    pub(super) fn go_by(&mut self, new: Lifetime) {
        if let Some(held) = &mut self.token
            && let Some(lifetime) = held.lifetime
        {
            let lifetime = Lifetime { expires_at: lifetime.expires_at, ..new };
            *held = Arc::new(Token { lifetime: Some(lifetime), ..Token::clone(held) });
        }
    }

    /// Drops the token if it is the one that `id` names, since an API rejected it (empty: none did). Whether it was.
    pub(super) fn reject(&mut self, now: Moment, id: &str) -> Result<bool, Refusal> {
        if id.is_empty() || !self.token.as_ref().is_some_and(|token| token.is(id)) {
            return Ok(false);
        }
        // Others go on with the token until another may be fetched: one caller whose API refuses everything must not
        // take everybody's token away.
        if let Some(refusal) = self.rejection_refusal(now) {
            return Err(refusal);
        }
        self.rejected = self.token.take();
        self.has_dropped = true;
        self.rejections.note(now);
        Ok(true)
    }

    /// The token that somebody's API rejected, for others as long as no fetch succeeds: one script whose API refuses
    /// everything, while the IdP is down, must not take it away from all. Never for who names it in `rejected`.
    pub(super) fn spare(&mut self, now: Moment, rejected: &str) -> Option<Arc<Token>> {
        let is_over =
            |token: &mut Arc<Token>| token.lifetime.is_none_or(|lifetime| lifetime.left(now).is_zero());
        self.rejected.take_if(is_over);
        self.rejected.as_ref().filter(|token| !token.is(rejected)).map(Arc::clone)
    }

    /// For a caller whom the cache cannot serve, or not for long enough.
    pub(super) fn wait(&mut self, now: Moment, fallback: Option<Arc<Token>>, replaces: bool) -> Decision {
        if let Some(flight) = &self.flight {
            return Decision::Wait { flight: flight.clone(), takeoff: None, fallback };
        }
        match (self.refusal(now), fallback) {
            (Some(refusal), Some(token)) => self.answer_meanwhile(now, token, &refusal),
            // Reading a secret costs the IdP nothing: whoever has no token may have it tried at once.
            (Some(Refusal::Trouble(Cause::Secret(_), _)) | None, fallback) => {
                let (flight, takeoff) = self.take_off(replaces);
                Decision::Wait { flight, takeoff: Some(takeoff), fallback }
            }
            (Some(refusal), None) => Decision::Refuse(refusal),
        }
    }

    pub(super) fn may_look(&mut self, now: Moment) -> bool {
        let may = self.last_look.is_none_or(|look| (look + LOOK_EVERY).reached(now));
        if may {
            self.last_look = Some(now);
        }
        may
    }

    /// For a caller with a token that is still valid, while no request may be sent.
    pub(super) fn answer_meanwhile(&mut self, now: Moment, token: Arc<Token>, refusal: &Refusal) -> Decision {
        match refusal {
            Refusal::Trouble(Cause::Issue { error, secret }, _)
                if !error.kind.is_transient() && self.may_look(now) =>
            {
                Decision::AnswerAndLook(token, *secret)
            }
            _ => Decision::Answer(token),
        }
    }

    /// How long no request may be sent: the longer of all that holds it back.
    pub(super) fn wait_for_request(&self, now: Moment) -> Duration {
        let trouble = self.trouble.as_ref().map(|trouble| trouble.wait(now));
        trouble.unwrap_or_default().max(self.budget.wait(now))
    }

    /// How long nothing may be fetched without a caller.
    pub(super) fn wait_ahead(&self, now: Moment) -> Duration {
        let lifeless = self.lifeless.not_before.map(|not_before| not_before.after(now));
        self.wait_for_request(now).max(lifeless.unwrap_or_default())
    }

    /// Why the token that the API rejected may not be dropped at `now`.
    pub(super) fn rejection_refusal(&self, now: Moment) -> Option<Refusal> {
        let wait = self.rejections.not_before.map(|not_before| not_before.after(now));
        let wait = wait.filter(|wait| !wait.is_zero()).map(Refusal::Rejections);
        wait.or_else(|| self.refusal(now))
    }

    /// Why no request may be sent at `now`.
    pub(super) fn refusal(&self, now: Moment) -> Option<Refusal> {
        if let Some(trouble) = &self.trouble
            && !trouble.wait(now).is_zero()
        {
            return Some(Refusal::Trouble(trouble.cause.clone(), trouble.wait(now)));
        }
        let wait = self.budget.wait(now);
        (!wait.is_zero()).then(|| Refusal::Budget(self.budget.limit(), wait))
    }
}

impl Failures {
    /// Counts one more; answers how many there have been in a row.
    pub(super) fn count(&mut self, refused: bool) -> u32 {
        let before = if self.refused == refused { self.in_row } else { 0 };
        *self = Self { in_row: before.saturating_add(1), refused };
        self.in_row
    }
}

impl Lifeless {
    pub(super) fn note(&mut self, now: Moment) {
        self.in_row = self.in_row.saturating_add(1);
        self.not_before = Some(now + backoff::lifeless(self.in_row));
    }
}

impl Rejections {
    pub(super) fn note(&mut self, now: Moment) {
        let forgiven = self.last.is_none_or(|last| (last + REJECTIONS_FORGIVEN_AFTER).reached(now));
        self.in_row = if forgiven { 1 } else { self.in_row.saturating_add(1) };
        self.last = Some(now);
        self.not_before = Some(now + backoff::rejected(self.in_row));
    }
}

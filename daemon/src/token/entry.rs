//! One key of the cache: its token, its flight, its troubles, changed under one short lock.
//!
//! [`Entry::decide`] is the decision table; it does no I/O and asks no clock.

mod ahead;
mod keep;
mod reject;
mod state;
mod unused;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::AbortHandle};

use self::state::{Failures, Lifeless, Rejections, State};
pub use self::{
    ahead::{Ahead, Glance},
    reject::Rejected,
    unused::Unused,
};
use super::{
    backoff,
    budget::Budget,
    error::TokenError,
    flight::{Flight, Outcome, Pilot},
    freshness::{Freshness, freshness},
    name::SecretTag,
    ports::{IssueError, IssueErrorKind, SecretError},
    standing::Standing,
    unkept::Unkept,
};
use crate::domain::{
    profile::RequestLimit,
    record::KeyId,
    time::Moment,
    token::{Lifetime, Token},
};

/// A secret that could not be read is not tried again for a refresh before this has passed.
const SECRET_RETRY: Duration = Duration::from_secs(1);
/// What is asked of the IdP for one key, and what came of it.
#[derive(Debug)]
pub struct Entry {
    /// Which one it is: what to ask for, and for whom.
    pub id: KeyId,
    /// How the client stands, whichever key it asks for.
    pub standing: Arc<Standing>,
    unkept: Arc<Unkept>,
    served: AtomicU64,
    state: Mutex<State>,
    /// Told whenever something has happened to the key that who watches it wants to know.
    news: watch::Sender<()>,
}

/// Why the last fetch failed, and until when no other is sent.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What happened.
    pub cause: Cause,
    /// No request before.
    pub until: Moment,
}

impl Trouble {
    /// For how long no request is sent. By the clock that nobody can set: one that is set has mended nothing.
    pub fn wait(&self, now: Moment) -> Duration {
        self.until.boot.saturating_sub(now.boot)
    }
}

/// What kept a fetch from its token.
#[derive(Debug, Clone)]
pub enum Cause {
    /// The IdP.
    Issue {
        /// What it answered.
        error: IssueError,
        /// The secret that was used: with another one it is worth another try.
        secret: SecretTag,
    },
    /// The secret could not be read, nothing was sent.
    Secret(SecretError),
}

impl Cause {
    /// Whether a profile that is not as it was may fare better at once; `rerouted`: its IdP is reached another way.
    fn is_over(&self, rerouted: bool) -> bool {
        match self {
            Self::Issue { error, .. } if error.kind == IssueErrorKind::Unreachable => rerouted,
            Self::Issue { error, .. } => !error.kind.is_transient(),
            Self::Secret(_) => true,
        }
    }
}

/// What to do for one caller.
#[derive(Debug)]
pub enum Decision {
    /// Answer this.
    Answer(Arc<Token>),
    /// Answer this, and send that flight off.
    AnswerAndRefresh(Arc<Token>, Takeoff),
    /// Answer this, and look whether the secret that was refused has been replaced.
    AnswerAndLook(Arc<Token>, SecretTag),
    /// Wait for the flight, after sending it off if it is new; if it fails, the fallback still serves.
    Wait {
        /// What to wait for.
        flight: Flight,
        /// Present if this caller has to start it.
        takeoff: Option<Takeoff>,
        /// A token that is still valid.
        fallback: Option<Arc<Token>>,
    },
    /// There is no token, and no request may be sent yet.
    Refuse(Refusal),
}

/// Why no request may be sent, and for how long.
#[derive(Debug)]
pub enum Refusal {
    /// The last one failed.
    Trouble(Cause, Duration),
    /// The API rejected one token after another.
    Rejections(Duration),
    /// The budget is used up.
    Budget(RequestLimit, Duration),
}

impl Refusal {
    /// For how long.
    pub fn wait(&self) -> Duration {
        let (Self::Trouble(_, wait) | Self::Rejections(wait) | Self::Budget(_, wait)) = self;
        *wait
    }
}

/// The right, and the duty, to fetch.
#[derive(Debug)]
pub struct Takeoff {
    pilot: Pilot,
    generation: u64,
    replaces: bool,
}

impl Takeoff {
    /// Whether the key had a token before.
    pub fn replaces(&self) -> bool {
        self.replaces
    }
}

/// One entry as `status` shows it.
#[derive(Debug, Clone)]
pub struct EntryStatus {
    /// Its token, valid or not.
    pub token: Option<Arc<Token>>,
    /// The token's freshness for a caller without wishes.
    pub freshness: Option<Freshness>,
    /// The last failure, if no fetch has succeeded since.
    pub trouble: Option<Trouble>,
    /// Token requests that succeeded.
    pub fetched: u64,
    /// Those of them that replaced a token.
    pub refreshed: u64,
    /// Token requests that failed.
    pub failed: u64,
    /// Calls answered.
    pub served: u64,
    /// The last call.
    pub last_used: Option<Moment>,
    /// How many requests the budget allows.
    pub budget: RequestLimit,
    /// Requests that it still allows.
    pub budget_left: u32,
    /// No request is sent before this has passed, whatever holds it back.
    pub retry_in: Duration,
}

impl Entry {
    /// An empty entry.
    pub fn new(id: KeyId, limit: Option<RequestLimit>, standing: Arc<Standing>, unkept: Arc<Unkept>) -> Self {
        let state = State {
            token: None,
            rejected: None,
            flight: None,
            fetch: None,
            has_dropped: false,
            retired: false,
            generation: 0,
            revoke_before: 0,
            trouble: None,
            failures: Failures::default(),
            rejections: Rejections::default(),
            budget: Budget::new(limit),
            fetched: 0,
            refreshed: 0,
            failed: 0,
            last_used: None,
            last_look: None,
            last_watched: None,
            lifeless: Lifeless::default(),
        };
        Self {
            id,
            standing,
            unkept,
            served: AtomicU64::new(0),
            state: Mutex::new(state),
            news: watch::Sender::new(()),
        }
    }

    /// Decides for a caller who wants a token that lasts `min_ttl`, and who may know one, by its name,
    /// that the API rejected (empty: none).
    pub fn decide(&self, now: Moment, min_ttl: Duration, rejected: &str) -> Decision {
        let mut state = self.lock();
        state.last_used = Some(now);
        let replaces = state.token.is_some();
        match state.reject(now, rejected) {
            Ok(false) => {}
            Ok(true) => self.unkept.note(&self.id),
            Err(refusal) => return Decision::Refuse(refusal),
        }
        let held = state.token.as_ref().and_then(|token| Some((Arc::clone(token), token.lifetime?)));
        match held.map(|(token, lifetime)| (freshness(now, &lifetime, min_ttl), token)) {
            Some((Freshness::Fresh, token)) => Decision::Answer(token),
            Some((Freshness::Ageing, token)) => {
                if state.flight.is_some() {
                    return Decision::Answer(token);
                }
                match state.refusal(now) {
                    Some(refusal) => state.answer_meanwhile(now, token, &refusal),
                    // Nobody waits for it: the IdP's quota is left to those who will.
                    None if !self.standing.quota_wait(now).is_zero() => Decision::Answer(token),
                    None => Decision::AnswerAndRefresh(token, state.take_off(true).1),
                }
            }
            Some((Freshness::Due, token)) => state.wait(now, Some(token), replaces),
            Some((Freshness::Expired, _)) | None => {
                let spare = state.spare(now, rejected);
                state.wait(now, spare, replaces)
            }
        }
    }

    /// Counts a request that is about to be sent. Refused if the budget has none left.
    pub fn spend(&self, now: Moment) -> Result<(), Refusal> {
        let mut state = self.lock();
        let limit = state.budget.limit();
        state.budget.spend(now).map_err(|wait| Refusal::Budget(limit, wait))?;
        self.unkept.note(&self.id);
        Ok(())
    }

    /// Ends a flight with a token, which is kept if it has a lifetime. Answers everybody who waits; but a token that was
    /// to be revoked before it came is for nobody, and is what is returned.
    #[must_use]
    pub fn landed(&self, takeoff: Takeoff, token: Token, now: Moment) -> Option<Arc<Token>> {
        let token = Arc::new(token);
        let unwanted = {
            let mut state = self.lock();
            state.end_flight();
            state.rejected = None;
            state.trouble = None;
            state.failures = Failures::default();
            state.fetched += 1;
            state.refreshed += u64::from(takeoff.replaces);
            if token.lifetime.is_none() {
                state.lifeless.note(now);
            }
            if let Some(lifetime) = token.lifetime {
                state.lifeless = Lifeless::default();
                state.budget.learn_lifetime(lifetime.length);
                if state.generation != takeoff.generation {
                    // It was forgotten before it came.
                } else if state.holds_a_much_better_one(lifetime, now) {
                    state.go_by(lifetime);
                } else {
                    state.token = Some(Arc::clone(&token));
                }
            }
            takeoff.generation < state.revoke_before
        };
        let outcome = if unwanted { Err(TokenError::Overtaken) } else { Ok(Arc::clone(&token)) };
        takeoff.pilot.land(outcome);
        self.changed();
        unwanted.then_some(token)
    }

    /// Ends a flight whose request failed. A token that is held stays. Answers how long no other request
    /// is sent; `outcome` makes of that what is told to everybody who waits.
    pub fn failed(
        &self,
        takeoff: Takeoff,
        cause: Cause,
        now: Moment,
        jitter: f64,
        outcome: impl FnOnce(Duration) -> Outcome,
    ) {
        let wait = {
            let mut state = self.lock();
            state.end_flight();
            let wait = match &cause {
                Cause::Issue { error, .. } => {
                    state.failed += 1;
                    let in_row = state.failures.count(!error.kind.is_transient());
                    if error.kind.is_transient() {
                        backoff::transient(in_row, error.retry_after, jitter)
                    } else {
                        backoff::refused(in_row, error.retry_after)
                    }
                }
                Cause::Secret(_) => SECRET_RETRY,
            };
            state.trouble = Some(Trouble { cause, until: now + wait });
            wait
        };
        takeoff.pilot.land(outcome(wait));
        self.news.send_replace(());
    }

    /// Ends a flight that sent nothing.
    pub fn grounded(&self, takeoff: Takeoff, outcome: Outcome) {
        self.lock().end_flight();
        takeoff.pilot.land(outcome);
        self.news.send_replace(());
    }

    /// Ends a flight that sent nothing, as the IdP is known to be down, or to refuse the client: none is sent before
    /// `until`, either. It counts as no failure of this key's own.
    pub fn postponed(&self, takeoff: Takeoff, cause: Cause, until: Moment, outcome: Outcome) {
        {
            let mut state = self.lock();
            state.end_flight();
            state.trouble = Some(Trouble { cause, until });
        }
        takeoff.pilot.land(outcome);
        self.news.send_replace(());
    }

    /// A flight that ended without any of these, by a panic: the next caller starts another.
    pub fn lost(&self) {
        self.lock().end_flight();
        self.news.send_replace(());
    }

    /// The task of the flight that has just taken off, by which it can be broken off.
    pub fn fetching(&self, fetch: AbortHandle) {
        let mut state = self.lock();
        if state.retired {
            fetch.abort();
        } else if !fetch.is_finished() {
            state.fetch = Some(fetch);
        }
    }

    /// Drops the token, and the fetch that is under way, for good. Whoever waits looks again for what their
    /// request means now.
    pub fn retire(&self) {
        let mut state = self.lock();
        state.retired = true;
        state.generation += 1;
        (state.token, state.rejected) = (None, None);
        if let Some(fetch) = state.fetch.take() {
            fetch.abort();
        }
        self.changed();
    }

    /// Whether it has been retired.
    pub fn is_retired(&self) -> bool {
        self.lock().retired
    }

    /// Whether it may be looked, at some cost, whether a refused secret has been replaced.
    pub fn may_look(&self, now: Moment) -> bool {
        self.lock().may_look(now)
    }

    /// A refusal is worth another try. If that is refused, too, the wait goes on doubling.
    pub fn forgive_refusal(&self) {
        let mut state = self.lock();
        if state.trouble.as_ref().is_some_and(
            |trouble| matches!(&trouble.cause, Cause::Issue { error, .. } if !error.kind.is_transient()),
        ) {
            state.trouble = None;
        }
    }

    /// The profile has changed in what does not decide which token comes back.
    /// What the IdP asked for, and what it is spared, holds as before; `rerouted`: it is reached another way now.
    pub fn reconfigured(&self, limit: Option<RequestLimit>, rerouted: bool) {
        let mut state = self.lock();
        if state.trouble.as_ref().is_some_and(|trouble| trouble.cause.is_over(rerouted)) {
            state.trouble = None;
            state.failures = Failures::default();
        }
        state.budget.set_limit(limit);
    }

    /// The secret that was refused has been replaced: the next request may be sent.
    pub fn forgive(&self, refused: SecretTag) {
        let mut state = self.lock();
        let of_this_secret =
            |trouble: &Trouble| matches!(&trouble.cause, Cause::Issue { secret, .. } if *secret == refused);
        if state.trouble.as_ref().is_some_and(of_this_secret) {
            state.trouble = None;
            state.failures = Failures::default();
        }
    }

    /// Drops the token, also one that is on its way; `revoke`: that one is to be revoked when it comes. Budget and
    /// back-off stay. The one that there was.
    pub fn forget(&self, revoke: bool) -> Option<Arc<Token>> {
        let mut state = self.lock();
        state.generation += 1;
        state.has_dropped = true;
        if revoke {
            state.revoke_before = state.generation;
        }
        self.changed();
        let rejected = state.rejected.take();
        state.token.take().or(rejected)
    }

    /// Counts an answered call.
    pub fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// When it was last asked for; none if never.
    pub fn last_used(&self) -> Option<Moment> {
        self.lock().last_used
    }

    /// Whether nothing is lost with it but perhaps a token: nobody watches it, no fetch is under way, and no
    /// request counts.
    pub fn is_expendable(&self, now: Moment) -> bool {
        let state = self.lock();
        !self.is_watched() && state.flight.is_none() && state.budget.is_untouched(now)
    }

    /// How long its token can still be used; nothing if it has none.
    pub fn token_lasts(&self, now: Moment) -> Duration {
        let lifetime = self.lock().token.as_ref().and_then(|token| token.lifetime);
        lifetime.map_or(Duration::ZERO, |lifetime| lifetime.left(now))
    }

    /// Notes a call that needs no decision (a static profile's).
    pub fn touch(&self, now: Moment) {
        self.lock().last_used = Some(now);
    }

    /// What `status` shows.
    pub fn status(&self, now: Moment) -> EntryStatus {
        let state = self.lock();
        let lifetime: Option<Lifetime> = state.token.as_ref().and_then(|token| token.lifetime);
        EntryStatus {
            token: state.token.clone(),
            freshness: lifetime.map(|lifetime| freshness(now, &lifetime, Duration::ZERO)),
            trouble: state.trouble.clone(),
            fetched: state.fetched,
            refreshed: state.refreshed,
            failed: state.failed,
            served: self.served.load(Ordering::Relaxed),
            last_used: state.last_used,
            budget: state.budget.limit(),
            budget_left: state.budget.left(now),
            retry_in: state.wait_for_request(now),
        }
    }

    /// Its token is another one.
    fn changed(&self) {
        self.unkept.note(&self.id);
        self.news.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

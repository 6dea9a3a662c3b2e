//! One key of the cache: its token, its flight, its troubles, changed under one short lock.
//!
//! [`Entry::decide`] is the decision table; it does no I/O and asks no clock.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    backoff,
    budget::Budget,
    flight::{self, Flight, Outcome, Pilot},
    freshness::{Freshness, freshness},
    name::SecretTag,
    ports::{IssueError, SecretError},
};
use crate::domain::{
    profile::RequestLimit,
    scope::ScopeSet,
    time::Moment,
    token::{Lifetime, Token},
};

/// A rejection this long after the last one starts the count anew.
const REJECTIONS_FORGIVEN_AFTER: Duration = Duration::from_secs(10 * 60);
/// A secret that could not be read is not tried again for a refresh before this has passed.
const SECRET_RETRY: Duration = Duration::from_secs(1);

/// What is asked of the IdP for one key, and what came of it.
#[derive(Debug)]
pub struct Entry {
    /// The audience to ask for.
    pub audience: Option<Arc<str>>,
    /// The scopes to ask for.
    pub scopes: ScopeSet,
    served: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    token: Option<Arc<Token>>,
    flight: Option<Flight>,
    /// A flight that began before this was raised must not fill the cache.
    generation: u64,
    trouble: Option<Trouble>,
    failures_in_row: u32,
    rejections: Rejections,
    budget: Budget,
    fetched: u64,
    failed: u64,
    last_used: Option<Moment>,
}

#[derive(Debug, Default)]
struct Rejections {
    in_row: u32,
    last: Option<Moment>,
    not_before: Option<Moment>,
}

/// Why the last fetch failed, and until when no other is sent.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What happened.
    pub cause: Cause,
    /// No request before.
    pub until: Moment,
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

/// What to do for one caller.
#[derive(Debug)]
pub enum Decision {
    /// Answer this.
    Answer(Arc<Token>),
    /// Answer this, and send that flight off.
    AnswerAndRefresh(Arc<Token>, Takeoff),
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
    /// Token requests that failed.
    pub failed: u64,
    /// Calls answered.
    pub served: u64,
    /// The last call.
    pub last_used: Option<Moment>,
    /// Requests that the budget still allows.
    pub budget_left: u32,
    /// No request is sent before this has passed, whatever holds it back.
    pub retry_in: Duration,
}

impl Entry {
    /// An empty entry.
    pub fn new(audience: Option<Arc<str>>, scopes: ScopeSet, limit: Option<RequestLimit>) -> Self {
        let state = State {
            token: None,
            flight: None,
            generation: 0,
            trouble: None,
            failures_in_row: 0,
            rejections: Rejections::default(),
            budget: Budget::new(limit),
            fetched: 0,
            failed: 0,
            last_used: None,
        };
        Self { audience, scopes, served: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Decides for a caller who wants a token that lasts `min_ttl`, and who may know one, by its name,
    /// that the API rejected (empty: none).
    pub fn decide(&self, now: Moment, min_ttl: Duration, rejected: &str) -> Decision {
        let mut state = self.lock();
        state.last_used = Some(now);
        if !rejected.is_empty() && state.token.as_ref().is_some_and(|token| token.is(rejected)) {
            state.token = None;
            state.rejections.note(now);
        }
        let held = state.token.as_ref().and_then(|token| Some((Arc::clone(token), token.lifetime?)));
        match held.map(|(token, lifetime)| (freshness(now, &lifetime, min_ttl), token)) {
            Some((Freshness::Fresh, token)) => Decision::Answer(token),
            Some((Freshness::Ageing, token)) => {
                if state.flight.is_some() || state.refusal(now).is_some() {
                    return Decision::Answer(token);
                }
                let (_, takeoff) = state.take_off(true);
                Decision::AnswerAndRefresh(token, takeoff)
            }
            Some((Freshness::Due, token)) => state.wait(now, Some(token)),
            Some((Freshness::Expired, _)) | None => state.wait(now, None),
        }
    }

    /// Counts a request that is about to be sent. Refused if the budget has none left.
    pub fn spend(&self, now: Moment) -> Result<(), Refusal> {
        let mut state = self.lock();
        let limit = state.budget.limit();
        state.budget.spend(now).map_err(|wait| Refusal::Budget(limit, wait))
    }

    /// Ends a flight with a token, which is kept if it has a lifetime. Answers everybody who waits.
    pub fn landed(&self, takeoff: Takeoff, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        {
            let mut state = self.lock();
            state.flight = None;
            state.trouble = None;
            state.failures_in_row = 0;
            state.fetched += 1;
            if let Some(lifetime) = token.lifetime {
                state.budget.learn_lifetime(lifetime.length);
                if state.generation == takeoff.generation {
                    state.token = Some(Arc::clone(&token));
                }
            }
        }
        takeoff.pilot.land(Ok(Arc::clone(&token)));
        token
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
            state.flight = None;
            let wait = match &cause {
                Cause::Issue { error, .. } => {
                    state.failed += 1;
                    state.failures_in_row = state.failures_in_row.saturating_add(1);
                    if error.kind.is_transient() {
                        backoff::transient(state.failures_in_row, error.retry_after, jitter)
                    } else {
                        backoff::refused(state.failures_in_row)
                    }
                }
                Cause::Secret(_) => SECRET_RETRY,
            };
            state.trouble = Some(Trouble { cause, until: now + wait });
            wait
        };
        takeoff.pilot.land(outcome(wait));
    }

    /// Ends a flight that sent nothing.
    pub fn grounded(&self, takeoff: Takeoff, outcome: Outcome) {
        self.lock().flight = None;
        takeoff.pilot.land(outcome);
    }

    /// A flight that ended without any of these, by a panic: the next caller starts another.
    pub fn lost(&self) {
        self.lock().flight = None;
    }

    /// Something that made the last request fail has changed: the next may be sent.
    pub fn forgive(&self) {
        let mut state = self.lock();
        state.trouble = None;
        state.failures_in_row = 0;
    }

    /// Drops the token, also one that is on its way. Budget and back-off stay. Whether there was one.
    pub fn forget(&self) -> bool {
        let mut state = self.lock();
        state.generation += 1;
        state.token.take().is_some()
    }

    /// Counts an answered call.
    pub fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// When it was last asked for; none if never.
    pub fn last_used(&self) -> Option<Moment> {
        self.lock().last_used
    }

    /// Whether a fetch is under way.
    pub fn in_flight(&self) -> bool {
        self.lock().flight.is_some()
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
            failed: state.failed,
            served: self.served.load(Ordering::Relaxed),
            last_used: state.last_used,
            budget_left: state.budget.left(now),
            retry_in: state.wait_for_request(now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_off(&mut self, replaces: bool) -> (Flight, Takeoff) {
        let (pilot, flight) = flight::begin();
        self.flight = Some(flight.clone());
        (flight, Takeoff { pilot, generation: self.generation, replaces })
    }

    /// For a caller whom the cache cannot serve, or not for long enough.
    fn wait(&mut self, now: Moment, fallback: Option<Arc<Token>>) -> Decision {
        if let Some(flight) = &self.flight {
            return Decision::Wait { flight: flight.clone(), takeoff: None, fallback };
        }
        match (self.refusal(now), fallback) {
            (Some(_), Some(token)) => Decision::Answer(token),
            // Reading a secret costs the IdP nothing: whoever has no token may have it tried at once.
            (Some(Refusal::Trouble(Cause::Secret(_), _)) | None, fallback) => {
                let (flight, takeoff) = self.take_off(self.fetched > 0);
                Decision::Wait { flight, takeoff: Some(takeoff), fallback }
            }
            (Some(refusal), None) => Decision::Refuse(refusal),
        }
    }

    /// How long no request may be sent: the longest of all that holds it back.
    fn wait_for_request(&self, now: Moment) -> Duration {
        let held = [self.trouble.as_ref().map(|trouble| trouble.until), self.rejections.not_before];
        let held = held.into_iter().flatten().map(|until| until.after(now));
        held.fold(self.budget.wait(now), Duration::max)
    }

    /// Why no request may be sent at `now`.
    fn refusal(&self, now: Moment) -> Option<Refusal> {
        if let Some(trouble) = &self.trouble
            && !trouble.until.reached(now)
        {
            return Some(Refusal::Trouble(trouble.cause.clone(), trouble.until.after(now)));
        }
        if let Some(not_before) = self.rejections.not_before
            && !not_before.reached(now)
        {
            return Some(Refusal::Rejections(not_before.after(now)));
        }
        let wait = self.budget.wait(now);
        (!wait.is_zero()).then(|| Refusal::Budget(self.budget.limit(), wait))
    }
}

impl Rejections {
    fn note(&mut self, now: Moment) {
        let forgiven = self.last.is_none_or(|last| (last + REJECTIONS_FORGIVEN_AFTER).reached(now));
        self.in_row = if forgiven { 1 } else { self.in_row.saturating_add(1) };
        self.last = Some(now);
        self.not_before = Some(now + backoff::rejected(self.in_row));
    }
}

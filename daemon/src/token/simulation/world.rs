//! Time, IdP and secrets that do whatever can happen, and keep what they saw.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::random::Random;
use crate::{
    domain::{
        secret::{SecretRef, SecretString},
        time::Moment,
    },
    token::ports::{
        BoxFuture, Clock, ExpiresIn, IssueError, IssueErrorKind, IssueRequest, Issued, Issuer, Jitter, Reply,
        RevokeRequest, SecretError, Secrets,
    },
};

/// tokio's paused time, moved on by suspend, and a wall clock that anybody can set.
pub(super) struct SimClock {
    begun: Instant,
    shifts: Mutex<Shifts>,
    moved: Notify,
    set: Notify,
}

#[derive(Default, Clone, Copy)]
struct Shifts {
    /// In all.
    suspended: Duration,
    /// What somebody has set the wall clock on by, in seconds.
    offset: i64,
    /// When the machine was booted last, and how often before that.
    booted: Duration,
    boots: u64,
    /// Somebody has set the wall clock.
    was_set: bool,
}

const EPOCH: u64 = 1_800_000_000;

impl SimClock {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), shifts: Mutex::default(), moved: Notify::new(), set: Notify::new() }
    }

    pub(super) fn suspend(&self, span: Duration) {
        self.shifts.lock().unwrap().suspended += span;
        self.moved.notify_waiters();
    }

    pub(super) fn set_wall(&self, by_seconds: i64) {
        let mut shifts = self.shifts.lock().unwrap();
        shifts.offset += by_seconds;
        shifts.was_set = true;
        drop(shifts);
        self.moved.notify_waiters();
        self.set.notify_waiters();
    }

    /// The boot clock begins anew.
    pub(super) fn reboot(&self) {
        let now = self.since_ever();
        let mut shifts = self.shifts.lock().unwrap();
        (shifts.booted, shifts.boots) = (now, shifts.boots + 1);
    }

    /// How often the machine was booted before now.
    pub(super) fn boots(&self) -> u64 {
        self.shifts.lock().unwrap().boots
    }

    /// Whether somebody has set the wall clock.
    pub(super) fn was_set(&self) -> bool {
        self.shifts.lock().unwrap().was_set
    }

    /// The time that nobody can set, and that no reboot begins anew.
    pub(super) fn since_ever(&self) -> Duration {
        let suspended = self.shifts.lock().unwrap().suspended;
        Duration::from_secs(1_000) + self.begun.elapsed() + suspended
    }
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        let Shifts { offset, booted, .. } = *self.shifts.lock().unwrap();
        let ever = self.since_ever();
        let wall = Duration::from_secs(EPOCH.saturating_add_signed(offset)) + ever;
        Moment { wall, boot: ever.saturating_sub(booted) }
    }

    fn sleep_until(&self, boot: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let moved = self.moved.notified();
                let Some(left) = boot.checked_sub(self.now().boot).filter(|left| !left.is_zero()) else {
                    return;
                };
                tokio::select! {
                    () = sleep(left) => {}
                    () = moved => {}
                }
            }
        })
    }

    fn wall_is_set(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.set.notified())
    }
}

/// What the IdP does for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    Fine,
    /// Tokens that nobody may keep.
    Over,
    Unreachable,
    Busy,
    /// 429, with so many seconds of Retry-After.
    TooMany(u64),
    Refuses,
    /// Any of these, by chance.
    Mixed,
}

/// What a key is to the IdP: who asks, and for what.
pub(super) type Key = (String, String);

/// A request as the IdP saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// [`SimClock::since_ever`].
    pub(super) at: Duration,
    pub(super) failed: bool,
    /// In a way that a reload forgives.
    pub(super) refused: bool,
    /// Which daemon asked, and which of those before it told it what they had asked for.
    pub(super) life: Life,
}

/// A daemon between two restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Life {
    pub(super) number: u64,
    /// Raised by a restart at which something was lost that had not been kept.
    pub(super) era: u64,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) requests: HashMap<Key, Vec<Seen>>,
    in_flight: HashMap<(Key, Life), u32>,
    /// When each token ends in truth, and in which boot it was issued.
    pub(super) truth: HashMap<String, (Duration, u64)>,
    pub(super) at_once: u32,
    pub(super) wrong: Vec<String>,
    issued: u64,
}

/// The IdP.
pub(super) struct SimIdp {
    pub(super) clock: Arc<SimClock>,
    pub(super) random: Mutex<Random>,
    pub(super) weather: Mutex<Weather>,
    pub(super) lifetime: Mutex<Duration>,
    pub(super) latency: Mutex<Duration>,
    /// Who asks.
    pub(super) life: Mutex<Life>,
    log: Arc<Mutex<Log>>,
}

/// A request that the IdP works on.
struct InFlight {
    log: Arc<Mutex<Log>>,
    key: (Key, Life),
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut log = self.log.lock().unwrap();
        log.at_once -= 1;
        *log.in_flight.get_mut(&self.key).unwrap() -= 1;
    }
}

impl SimIdp {
    pub(super) fn new(clock: Arc<SimClock>, seed: u64) -> Self {
        Self {
            clock,
            random: Mutex::new(Random::new(seed)),
            weather: Mutex::new(Weather::Fine),
            lifetime: Mutex::new(Duration::from_secs(300)),
            latency: Mutex::new(Duration::from_millis(100)),
            life: Mutex::default(),
            log: Arc::default(),
        }
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    fn begin(&self, key: &Key) -> (InFlight, usize) {
        let life = *self.life.lock().unwrap();
        let mut log = self.log();
        log.at_once += 1;
        if log.at_once > 8 {
            let wrong = format!("{} requests at once", log.at_once);
            log.wrong.push(wrong);
        }
        let in_flight = log.in_flight.entry((key.clone(), life)).or_default();
        *in_flight += 1;
        if *in_flight > 1 {
            let wrong = format!("{in_flight} fetches at once for {key:?}");
            log.wrong.push(wrong);
        }
        let seen = log.requests.entry(key.clone()).or_default();
        seen.push(Seen { at: self.clock.since_ever(), failed: false, refused: false, life });
        let number = seen.len() - 1;
        (InFlight { log: Arc::clone(&self.log), key: (key.clone(), life) }, number)
    }

    fn weather(&self) -> Weather {
        match *self.weather.lock().unwrap() {
            Weather::Mixed => {
                let choices =
                    [Weather::Fine, Weather::Fine, Weather::Unreachable, Weather::Busy, Weather::TooMany(3)];
                self.random.lock().unwrap().of(&choices)
            }
            weather => weather,
        }
    }
}

impl Issuer for SimIdp {
    fn issue(&self, request: IssueRequest) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let key = (request.grant.client_id.clone(), request.scopes.to_string());
            let (_in_flight, number) = self.begin(&key);
            let latency = *self.latency.lock().unwrap();
            sleep(latency).await;
            let error = |kind, status| IssueError { http_status: status, ..IssueError::new(kind, "as told") };
            let answer = match self.weather() {
                Weather::Fine | Weather::Mixed => Ok(ExpiresIn::After(*self.lifetime.lock().unwrap())),
                Weather::Over => Ok(ExpiresIn::Over),
                Weather::Unreachable => Err(error(IssueErrorKind::Unreachable, None)),
                Weather::Busy => Err(error(IssueErrorKind::Unavailable, Some(503))),
                Weather::TooMany(seconds) => Err(IssueError {
                    retry_after: Some(Duration::from_secs(seconds)),
                    ..error(IssueErrorKind::Unavailable, Some(429))
                }),
                Weather::Refuses => Err(error(IssueErrorKind::Refused, Some(400))),
            };
            let mut log = self.log();
            let outcome = match answer {
                Ok(expires_in) => {
                    log.issued += 1;
                    let token = format!("token-{}", log.issued);
                    if let ExpiresIn::After(lifetime) = expires_in {
                        let end = self.clock.since_ever() + lifetime;
                        log.truth.insert(token.clone(), (end, self.clock.boots()));
                    }
                    let access_token = token.into();
                    Ok(Issued { access_token, expires_in, scopes: None, server_time: None })
                }
                Err(error) => {
                    let seen = &mut log.requests.get_mut(&key).unwrap()[number];
                    (seen.failed, seen.refused) = (true, error.kind == IssueErrorKind::Refused);
                    Err(error)
                }
            };
            outcome.into()
        })
    }

    fn revoke(&self, _: RevokeRequest) -> BoxFuture<'_, Result<(), IssueError>> {
        Box::pin(async { Err(IssueError::new(IssueErrorKind::Unsupported, "no schedule revokes")) })
    }
}

/// Secrets that are there, or not.
#[derive(Default)]
pub(super) struct SimSecrets(pub(super) Mutex<bool>);

impl Secrets for SimSecrets {
    fn resolve<'a>(&'a self, _: &'a SecretRef) -> BoxFuture<'a, Result<SecretString, SecretError>> {
        let missing = *self.0.lock().unwrap();
        Box::pin(async move { if missing { Err(SecretError("gone".into())) } else { Ok("secret".into()) } })
    }
}

/// Chance for the engine.
pub(super) struct SimJitter(pub(super) Mutex<Random>);

impl Jitter for SimJitter {
    fn unit(&self) -> f64 {
        self.0.lock().unwrap().unit()
    }
}

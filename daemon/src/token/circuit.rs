//! One circuit breaker for each way to an IdP: when it does not answer one client, it is not asked for the others, either.
//!
//! Each key backs off by itself, which is not enough: 500 keys of an IdP that is down would make 500 requests
//! at every turn. After a few failures in a row, of whatever keys, the circuit is open: nobody asks until the
//! back-off has passed, then one request is let through; who comes meanwhile waits for what becomes of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, futures::OwnedNotified};
use url::Url;

use super::{
    backoff,
    ports::{IssueError, IssueErrorKind},
};
use crate::domain::{profile::Network, time::Moment};

/// Failures in a row that open a circuit. One alone may be a lost packet.
const OPENS_AFTER: u32 = 3;

/// How long the one request that was let through may take: longer than any does, the issuer's metadata included.
const PROBE: Duration = Duration::from_secs(45);

/// Failures this long ago say nothing any more. It also keeps the circuits of IdPs that nobody asks any more from
/// staying for ever.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

/// How an IdP is reached: a proxy that is down, or a CA file that cannot be read, says nothing of it to others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Way {
    origin: String,
    network: Network,
}

impl Way {
    /// To the IdP of this endpoint, as `network` has it.
    pub fn new(endpoint: &Url, network: &Network) -> Self {
        Self { origin: endpoint.origin().ascii_serialization(), network: network.clone() }
    }
}

/// The circuits of all that have failed lately.
#[derive(Debug, Default)]
pub struct Circuits(Mutex<HashMap<Way, Circuit>>);

#[derive(Debug)]
struct Circuit {
    failures: u32,
    error: IssueError,
    /// When the next request may be let through, if it is open.
    until: Moment,
    last_failure: Moment,
    /// The one that has been let through.
    probe: Option<Probe>,
    /// How many have been let through.
    probes: u64,
    came_back: Arc<Notify>,
}

#[derive(Debug)]
struct Probe {
    number: u64,
    /// Until this moment the others wait for it.
    until: Moment,
}

/// Whether a request may be sent.
enum Permit {
    /// As the probe of this number, if the circuit is open.
    Granted(Option<u64>),
    Refused(IssueError, Duration),
    /// Another one has been let through.
    Wait(OwnedNotified),
}

impl Circuits {
    /// Whether the IdP may be asked. If not, why, and how soon it may be.
    pub async fn permit(
        &self,
        way: &Way,
        now: impl Fn() -> Moment,
    ) -> Result<Passage<'_>, (IssueError, Duration)> {
        loop {
            match self.decide(way, now()) {
                Permit::Granted(probe) => return Ok(Passage { circuits: self, way: way.clone(), probe }),
                Permit::Refused(error, wait) => return Err((error, wait)),
                Permit::Wait(back) => drop(tokio::time::timeout(PROBE, back).await),
            }
        }
    }

    fn decide(&self, way: &Way, now: Moment) -> Permit {
        let mut circuits = self.lock();
        let Some(circuit) = circuits.get_mut(way).filter(|circuit| circuit.is_open()) else {
            return Permit::Granted(None);
        };
        if circuit.probe.as_ref().is_some_and(|probe| !probe.until.reached(now)) {
            return Permit::Wait(Arc::clone(&circuit.came_back).notified_owned());
        }
        let wait = circuit.until.after(now);
        if !wait.is_zero() {
            return Permit::Refused(circuit.error.clone(), wait);
        }
        circuit.probes += 1;
        circuit.probe = Some(Probe { number: circuit.probes, until: now + PROBE });
        Permit::Granted(Some(circuit.probes))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Way, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Circuit {
    fn is_open(&self) -> bool {
        self.failures >= OPENS_AFTER
    }

    /// Whether `probe` is the one that the others wait for.
    fn waits_for(&self, probe: Option<u64>) -> bool {
        probe.is_some() && self.probe.as_ref().map(|probe| probe.number) == probe
    }

    fn is_forgotten(&self, now: Moment) -> bool {
        self.probe.is_none() && now.boot.saturating_sub(self.last_failure.boot) > FORGOTTEN_AFTER
    }
}

/// The right to ask the IdP once. Dropped, it leaves the way to the next one.
#[derive(Debug)]
pub struct Passage<'a> {
    circuits: &'a Circuits,
    way: Way,
    probe: Option<u64>,
}

impl Passage<'_> {
    /// The IdP answered: with a token, or with a refusal that concerns one client.
    pub fn answered(self) {
        if let Some(circuit) = self.circuits.lock().remove(&self.way) {
            circuit.came_back.notify_waiters();
        }
    }

    /// The request failed. Whether that was one too many, so that the circuit is open now.
    pub fn failed(self, error: &IssueError, now: Moment, jitter: f64) -> bool {
        if !is_down(error) {
            self.answered();
            return false;
        }
        let mut circuits = self.circuits.lock();
        circuits.retain(|_, circuit| !circuit.is_forgotten(now));
        let circuit = circuits.entry(self.way.clone()).or_insert_with(|| Circuit {
            failures: 0,
            error: error.clone(),
            until: now,
            last_failure: now,
            probe: None,
            probes: 0,
            came_back: Arc::default(),
        });
        // One that was sent before it opened tells nothing new: only the probe counts.
        if circuit.is_open() && !circuit.waits_for(self.probe) {
            return false;
        }
        circuit.failures = circuit.failures.saturating_add(1);
        circuit.error = error.clone();
        circuit.last_failure = now;
        circuit.probe = None;
        circuit.came_back.notify_waiters();
        if circuit.is_open() {
            let times = circuit.failures - OPENS_AFTER + 1;
            circuit.until = now + backoff::transient(times, error.retry_after, jitter);
        }
        circuit.failures == OPENS_AFTER
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if let Some(circuit) = self.circuits.lock().get_mut(&self.way)
            && circuit.waits_for(self.probe)
        {
            circuit.probe = None;
            circuit.came_back.notify_waiters();
        }
    }
}

/// Whether the error says that the IdP as a whole is not well. Too many requests of one client say nothing of
/// the others.
fn is_down(error: &IssueError) -> bool {
    match error.kind {
        IssueErrorKind::Unreachable => true,
        IssueErrorKind::Unavailable => error.http_status.is_some_and(|status| status >= 500),
        IssueErrorKind::Invalid | IssueErrorKind::Refused | IssueErrorKind::Unsupported => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        let span = Duration::from_secs(1_000 + seconds);
        Moment { wall: span, boot: span }
    }

    fn way(endpoint: &str) -> Way {
        Way::new(&endpoint.parse().unwrap(), &Network::default())
    }

    fn down() -> IssueError {
        IssueError::new(IssueErrorKind::Unreachable, "no answer")
    }

    /// For how many seconds no request is let through; a minute stands for "until another one is back".
    fn wait(circuits: &Circuits, way: &Way, now: Moment) -> Option<u64> {
        match circuits.decide(way, now) {
            Permit::Granted(_) => None,
            Permit::Refused(_, wait) => Some(wait.as_secs()),
            Permit::Wait(_) => Some(60),
        }
    }

    /// The passage of one that is let through.
    fn passage<'a>(circuits: &'a Circuits, way: &Way, now: Moment) -> Passage<'a> {
        let Permit::Granted(probe) = circuits.decide(way, now) else { panic!("it is not let through") };
        Passage { circuits, way: way.clone(), probe }
    }

    fn failed(circuits: &Circuits, way: &Way, error: &IssueError, now: Moment) -> bool {
        passage(circuits, way, now).failed(error, now, 0.0)
    }

    /// The circuit is open from second 0 to second 1.
    fn open(circuits: &Circuits, way: &Way) {
        for _ in 0..OPENS_AFTER {
            failed(circuits, way, &down(), at(0));
        }
    }

    #[test]
    fn after_some_failures_one_request_at_a_time_finds_out_for_all() {
        let (circuits, idp) = (Circuits::default(), way("https://a.example/token"));
        let other = way("https://b.example/token");
        for _ in 0..OPENS_AFTER - 1 {
            assert!(!failed(&circuits, &idp, &down(), at(0)));
            assert_eq!(wait(&circuits, &idp, at(0)), None);
        }
        assert!(failed(&circuits, &idp, &down(), at(0)), "it is told when it opens");
        assert_eq!((wait(&circuits, &idp, at(0)), wait(&circuits, &other, at(0))), (Some(1), None));
        // One goes through; the others wait for what becomes of it.
        let probe = passage(&circuits, &idp, at(1));
        assert_eq!(wait(&circuits, &idp, at(1)), Some(60));
        assert!(!probe.failed(&down(), at(2), 0.0), "it is open already");
        assert_eq!(wait(&circuits, &idp, at(2)), Some(2));
        passage(&circuits, &idp, at(4)).answered();
        assert_eq!(wait(&circuits, &idp, at(4)), None);
        assert!(!failed(&circuits, &idp, &down(), at(5)), "it counts anew");
    }

    #[test]
    fn who_goes_another_way_is_not_held_up() {
        let (circuits, direct) = (Circuits::default(), way("https://a.example/token"));
        let network = Network { ca_file: Some("/missing.pem".into()), ..Network::default() };
        let broken = Way::new(&"https://a.example/token".parse().unwrap(), &network);
        for _ in 0..OPENS_AFTER {
            failed(&circuits, &broken, &down(), at(0));
        }
        assert_eq!((wait(&circuits, &broken, at(0)), wait(&circuits, &direct, at(0))), (Some(1), None));
    }

    #[test]
    fn a_probe_that_never_comes_back_holds_nobody_up_for_good() {
        let (circuits, idp) = (Circuits::default(), way("https://a.example/token"));
        open(&circuits, &idp);
        let lost = passage(&circuits, &idp, at(1));
        assert_eq!(wait(&circuits, &idp, at(45)), Some(60));
        let next = passage(&circuits, &idp, at(46));
        // It comes back after all, and is not the one that they wait for.
        assert!(!lost.failed(&down(), at(47), 0.0));
        assert_eq!(wait(&circuits, &idp, at(47)), Some(60));
        next.failed(&down(), at(48), 0.0);
        assert_eq!(wait(&circuits, &idp, at(48)), Some(2));
    }

    #[test]
    fn a_probe_that_is_not_sent_leaves_the_way_to_the_next() {
        let (circuits, idp) = (Circuits::default(), way("https://a.example/token"));
        open(&circuits, &idp);
        let probe = passage(&circuits, &idp, at(1));
        assert_eq!(wait(&circuits, &idp, at(1)), Some(60));
        drop(probe);
        assert_eq!(wait(&circuits, &idp, at(1)), None);
    }

    #[test]
    fn one_burst_of_failures_counts_as_one_turn() {
        let (circuits, idp) = (Circuits::default(), way("https://a.example/token"));
        let burst: Vec<_> = (0..8).map(|_| passage(&circuits, &idp, at(0))).collect();
        let opened: Vec<_> = burst.into_iter().map(|passage| passage.failed(&down(), at(0), 0.0)).collect();
        assert_eq!(opened, [false, false, true, false, false, false, false, false]);
        assert_eq!(wait(&circuits, &idp, at(0)), Some(1));
    }

    #[test]
    fn who_was_sent_before_it_opened_does_not_end_the_probe() {
        let (circuits, idp) = (Circuits::default(), way("https://a.example/token"));
        let [fails, dropped] = [(); 2].map(|()| passage(&circuits, &idp, at(0)));
        open(&circuits, &idp);
        let probe = passage(&circuits, &idp, at(1));
        fails.failed(&down(), at(2), 0.0);
        assert_eq!(wait(&circuits, &idp, at(2)), Some(60), "the probe is still out");
        drop(dropped);
        assert_eq!(wait(&circuits, &idp, at(2)), Some(60), "it still is");
        probe.failed(&down(), at(3), 0.0);
        assert_eq!(wait(&circuits, &idp, at(3)), Some(2), "two in a row");
    }

    #[test]
    fn the_circuit_of_an_idp_that_nobody_asks_any_more_is_forgotten() {
        let circuits = Circuits::default();
        let [gone, lately, other] =
            ["https://gone.example", "https://lately.example", "https://other.example"].map(way);
        failed(&circuits, &gone, &down(), at(0));
        failed(&circuits, &lately, &down(), at(10));
        failed(&circuits, &other, &down(), at(3600));
        assert_eq!(circuits.lock().len(), 3);
        failed(&circuits, &other, &down(), at(3605));
        assert!(!circuits.lock().contains_key(&gone) && circuits.lock().contains_key(&lately));
    }

    #[test]
    fn what_the_idp_says_to_one_client_is_an_answer() {
        let idp = way("https://a.example/token");
        let status = |kind, status| IssueError { http_status: Some(status), ..IssueError::new(kind, "no") };
        for (error, opens) in [
            (status(IssueErrorKind::Unavailable, 503), true),
            (status(IssueErrorKind::Unavailable, 429), false),
            (status(IssueErrorKind::Unavailable, 400), false),
            (status(IssueErrorKind::Refused, 401), false),
            (status(IssueErrorKind::Invalid, 200), false),
            (down(), true),
        ] {
            let circuits = Circuits::default();
            let opened = (0..OPENS_AFTER).any(|_| failed(&circuits, &idp, &error, at(0)));
            assert_eq!(opened, opens, "{error:?}");
        }
        let circuits = Circuits::default();
        for error in [down(), down(), status(IssueErrorKind::Refused, 401), down(), down()] {
            assert!(!failed(&circuits, &idp, &error, at(0)), "not in a row");
        }
    }

    #[test]
    fn what_the_idp_asks_for_is_honoured() {
        let (circuits, idp) = (Circuits::default(), way("https://a.example/token"));
        let error = IssueError { retry_after: Some(Duration::from_secs(120)), ..down() };
        for _ in 0..OPENS_AFTER {
            failed(&circuits, &idp, &error, at(0));
        }
        assert_eq!((wait(&circuits, &idp, at(119)), wait(&circuits, &idp, at(120))), (Some(1), None));
    }
}

//! What came of every call, and which fault is to blame.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What a fault excuses, and for how long after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The daemon is killed: no connection, or one that breaks.
    Killed,
    /// The IdP does not answer as it should: no token, until the back-off is over.
    Idp,
    /// The configuration is broken: no reload.
    Config,
}

impl Fault {
    /// Which fault can be to blame for a call that ended like this.
    fn for_reason(reason: &str) -> Option<Self> {
        match reason {
            "NOT_RUNNING" | "CONNECTION" => Some(Self::Killed),
            "IDP_UNREACHABLE" | "IDP_UNAVAILABLE" | "IDP_ANSWER_INVALID" => Some(Self::Idp),
            "CONFIG_INVALID" => Some(Self::Config),
            _ => None,
        }
    }

    fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            // Its last failures may have come in a row: the next request is 4 s off.
            Self::Idp => 6,
            Self::Killed | Self::Config => 1,
        })
    }
}

/// Calls and faults so far.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    begun: Option<Instant>,
    calls: BTreeMap<&'static str, usize>,
    excused: BTreeMap<(&'static str, String), usize>,
    wronged: Vec<String>,
    micros: Vec<u32>,
    /// From and to.
    faults: Vec<(Fault, Instant, Option<Instant>)>,
}

impl Figures {
    /// A fault begins; it ends when what is answered goes.
    pub(super) fn fault(&self, fault: Fault) -> During<'_> {
        let mut inner = self.lock();
        inner.faults.push((fault, Instant::now(), None));
        During { figures: self, index: inner.faults.len() - 1 }
    }

    /// A call of this kind that began then has an end: None if it is a good one, else its reason.
    pub(super) fn call(&self, kind: &'static str, begun: Instant, failure: Option<(&str, String)>) {
        let mut inner = self.lock();
        inner.begun.get_or_insert(begun);
        *inner.calls.entry(kind).or_default() += 1;
        let Some((reason, message)) = failure else {
            let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
            inner.micros.push(micros);
            return;
        };
        let blamed = Fault::for_reason(reason).is_some_and(|blamed| {
            inner
                .faults
                .iter()
                .any(|(fault, _, to)| *fault == blamed && to.is_none_or(|to| to + fault.lasts() > begun))
        });
        if blamed {
            *inner.excused.entry((kind, reason.to_owned())).or_default() += 1;
        } else {
            inner.wronged.push(format!("{kind}: {reason}: {message}"));
        }
    }

    /// An answer that must never be given.
    pub(super) fn wrong(&self, what: String) {
        self.lock().wronged.push(what);
    }

    /// Fails the test if a call failed that no fault is to blame for, or was answered wrongly.
    pub(super) fn assert_nobody_wronged(&self) {
        let inner = self.lock();
        let first = &inner.wronged[..inner.wronged.len().min(10)];
        assert!(first.is_empty(), "{} calls were wronged; the first: {first:#?}", inner.wronged.len());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that goes on.
pub(super) struct During<'a> {
    figures: &'a Figures,
    index: usize,
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        self.figures.lock().faults[self.index].2 = Some(Instant::now());
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let seconds = inner.begun.map_or(1, |begun| begun.elapsed().as_secs().max(1));
        let total: usize = inner.calls.values().sum();
        writeln!(
            f,
            "{total} calls, {} a second: {:?}",
            total / usize::try_from(seconds).unwrap_or(1),
            inner.calls
        )?;
        let mut micros = inner.micros.clone();
        micros.sort_unstable();
        for (name, per_mille) in [("half", 500), ("99 %", 990), ("99.9 %", 999), ("all", 1000)] {
            let at = (micros.len() * per_mille / 1000).min(micros.len().saturating_sub(1));
            let micros = micros.get(at).copied().unwrap_or_default();
            writeln!(f, "{name} of the good ones within {:?}", Duration::from_micros(micros.into()))?;
        }
        writeln!(f, "failed, with a fault to blame: {:?}", inner.excused)?;
        write!(f, "failed without one, or answered wrongly: {}", inner.wronged.len())
    }
}

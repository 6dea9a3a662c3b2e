//! What is going on on a connection, as far as it decides when the connection has to go.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{sync::Notify, time::Instant};

use super::limits::{CALL, FIRST_REQUEST, IDLE, SETTLES};

/// What is going on on a connection.
#[derive(Debug)]
pub(super) struct Activity {
    open: AtomicUsize,
    called: AtomicBool,
    quiet_since: Mutex<Instant>,
    begun: Instant,
    leave: Notify,
    /// Looks so far.
    looks: AtomicUsize,
    /// What waits for the peer, by the look after which it began.
    waits: [AtomicUsize; LOOKS],
}

/// The looks that something may last, and the one at hand.
const LOOKS: usize = 4;

impl Default for Activity {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            open: AtomicUsize::new(0),
            called: AtomicBool::new(false),
            quiet_since: Mutex::new(now),
            begun: now,
            leave: Notify::new(),
            looks: AtomicUsize::new(0),
            waits: Default::default(),
        }
    }
}

impl Activity {
    /// Since when there has been no call; none while there is one.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        (self.open.load(Ordering::Acquire) == 0)
            .then(|| *self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Since when there has been a call all the time, if that is longer than any single one may take: a stream
    /// that lasts for ever keeps no place for ever.
    pub(super) fn busy_for_long(&self, now: Instant) -> Option<Instant> {
        // It was quiet for no longer than that before its call, or would have been ended.
        let since = *self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner);
        (self.open.load(Ordering::Acquire) > 0 && since + IDLE + CALL <= now).then_some(since)
    }

    /// Whether it has had the time to say what it came for.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.has_called() || self.begun + SETTLES <= now
    }

    /// Since when there has been the connection.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether it has been quiet for too long.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let patience = if self.has_called() { IDLE } else { FIRST_REQUEST };
        self.quiet_since().is_some_and(|since| since + patience <= now)
    }

    /// Whether there has been a call.
    pub(super) fn has_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    /// Has the connection end at once: others need its place.
    pub(super) fn leave(&self) {
        self.leave.notify_one();
    }

    /// Waits for [`Activity::leave`].
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// A call begins.
    pub(super) fn call(self: &Arc<Self>) -> Call {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.called.store(true, Ordering::Release);
        Call(Arc::clone(self))
    }

    /// Something begins that the peer has to bring to its end.
    pub(super) fn wait(self: &Arc<Self>) -> Wait {
        let slot = self.looks.load(Ordering::Relaxed) % LOOKS;
        self.waits[slot].fetch_add(1, Ordering::Relaxed);
        Wait { activity: Arc::clone(self), slot }
    }

    /// One more look: whether something has lasted for more than two of them. Its clock is how often this is
    /// called, so that no call pays for a look at a real one.
    pub(super) fn look(&self) -> bool {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // The slot of the look that comes next, which is that of three looks ago.
        self.waits[looks.wrapping_add(1) % LOOKS].load(Ordering::Relaxed) > 0
    }
}

/// A call that is going on.
#[derive(Debug)]
pub(super) struct Call(Arc<Activity>);

impl Call {
    /// The connection's.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Something that the peer has to bring to its end; its end is its drop.
#[derive(Debug)]
pub(super) struct Wait {
    activity: Arc<Activity>,
    slot: usize,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.activity.waits[self.slot].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_for_two_looks_is_fine_and_for_three_is_not() {
        let activity = Arc::new(Activity::default());
        for before in 0..9 {
            let wait = activity.wait();
            assert_eq!([activity.look(), activity.look(), activity.look()], [false, false, true], "{before}");
            drop(wait);
            let short = activity.wait();
            assert_eq!([activity.look(), activity.look()], [false, false]);
            drop(short);
            assert_eq!([activity.look(), activity.look()], [false, false]);
        }
    }
}

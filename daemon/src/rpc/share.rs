//! What one process may take of the daemon's one thread.
//!
//! All calls that have been read wait in one queue for their turn. If one process could put as many into it
//! as it likes, by many connections with many streams, everybody else's calls would wait behind all of
//! them. So of each process only so many are read ahead; the rest stays in its own sockets. On a quiet
//! machine that costs nothing: there is always a call of it to begin.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use super::limits::BACKLOG;

/// The calls of one process that have been read and not begun, and its connections that wait for that.
#[derive(Debug, Default)]
pub(super) struct Share {
    backlog: AtomicUsize,
    parked: Mutex<Parked>,
}

#[derive(Debug, Default)]
struct Parked {
    wakers: Vec<Waker>,
    /// How often all were woken.
    round: u64,
}

/// A connection's place among the parked: none until it first is.
#[derive(Debug, Default)]
pub(super) struct Turn(Option<u64>);

impl Share {
    /// A call has been read.
    pub(super) fn read(self: &Arc<Self>) -> Unbegun {
        self.backlog.fetch_add(1, Ordering::AcqRel);
        Unbegun(Arc::clone(self))
    }

    /// Whether a connection of this process may read. If not, it is woken when it may.
    pub(super) fn may_read(&self, turn: &mut Turn, waker: &Waker) -> bool {
        if self.backlog.load(Ordering::Acquire) < BACKLOG {
            return true;
        }
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection is polled for other reasons, too; it is always the same task.
        if turn.0 != Some(parked.round) {
            turn.0 = Some(parked.round);
            parked.wakers.push(waker.clone());
        }
        drop(parked);
        // Those that were there may all have begun in between, and nobody would wake it.
        self.backlog.load(Ordering::Acquire) < BACKLOG
    }

    fn wake(&self) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.round += 1;
        let wakers = mem::take(&mut parked.wakers);
        drop(parked);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A call that has been read and not begun.
#[derive(Debug)]
pub(super) struct Unbegun(Arc<Share>);

impl Drop for Unbegun {
    fn drop(&mut self) {
        // Once on the way down from where connections park.
        if self.0.backlog.fetch_sub(1, Ordering::AcqRel) == BACKLOG / 2 {
            self.0.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_connection_parks_once_and_is_woken_when_enough_calls_have_begun() {
        let share = Arc::new(Share::default());
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut turn = Turn::default();
        for round in 1..4 {
            let mut calls: Vec<_> = (0..BACKLOG).map(|_| share.read()).collect();
            assert!(!share.may_read(&mut turn, &waker));
            assert!(!share.may_read(&mut turn, &waker));
            calls.truncate(BACKLOG / 2);
            assert_eq!(count.0.load(Ordering::Relaxed), round - 1);
            assert!(share.may_read(&mut turn, &waker));
            calls.pop();
            assert_eq!(count.0.load(Ordering::Relaxed), round);
        }
    }
}

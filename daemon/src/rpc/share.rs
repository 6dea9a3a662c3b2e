//! What one process may take of the daemon's one thread.
//!
//! All calls that have been read wait in one queue for their turn. If one process could put as many into it
//! as it likes, by many connections with many streams, everybody else's calls would wait behind all of
//! them. So of each process only so many are read ahead; the rest stays in its own sockets. On a quiet
//! machine that costs nothing: there is always a call of it to begin.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};

use super::limits::BACKLOG;

/// The calls of one process that have been read and not begun, and its connections that wait for that.
#[derive(Debug, Default)]
pub(super) struct Share {
    backlog: AtomicUsize,
    parked: Mutex<VecDeque<(Waker, Turn)>>,
}

/// Whether a connection is among the parked.
#[derive(Debug, Default, Clone)]
pub(super) struct Turn(Arc<AtomicBool>);

impl Share {
    /// A call has been read.
    pub(super) fn read(self: &Arc<Self>) -> Unbegun {
        self.backlog.fetch_add(1, Ordering::AcqRel);
        Unbegun(Arc::clone(self))
    }

    /// Whether a connection of this process may read. If not, it is woken when it may.
    pub(super) fn may_read(&self, turn: &Turn, waker: &Waker) -> bool {
        if self.backlog.load(Ordering::Acquire) < BACKLOG {
            return true;
        }
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection is polled for other reasons, too; it is always the same task.
        if !turn.0.swap(true, Ordering::AcqRel) {
            parked.push_back((waker.clone(), turn.clone()));
        }
        drop(parked);
        // Those that were there may all have begun in between, and nobody would wake it.
        self.backlog.load(Ordering::Acquire) < BACKLOG
    }

    /// Wakes so many of those that have been parked for longest.
    fn wake(&self, count: usize) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(parked.len());
        let woken: Vec<_> = parked.drain(..count).collect();
        drop(parked);
        for (waker, turn) in woken {
            turn.0.store(false, Ordering::Release);
            waker.wake();
        }
    }
}

/// A call that has been read and not begun.
#[derive(Debug)]
pub(super) struct Unbegun(Arc<Share>);

impl Drop for Unbegun {
    fn drop(&mut self) {
        let before = self.0.backlog.fetch_sub(1, Ordering::AcqRel);
        // One at a time, since each brings more calls; all when there is no call left that could wake them:
        // the one that was woken may have had nothing to read.
        if before == 1 {
            self.0.wake(usize::MAX);
        } else if before <= BACKLOG / 2 {
            self.0.wake(1);
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
    fn connections_park_once_and_are_woken_one_by_one_and_all_at_the_end() {
        let share = Arc::new(Share::default());
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let turns: Vec<Turn> = (0..BACKLOG).map(|_| Turn::default()).collect();
        for round in 0..3 {
            let mut calls: Vec<_> = (0..BACKLOG).map(|_| share.read()).collect();
            for turn in turns.iter().chain(&turns) {
                assert!(!share.may_read(turn, &waker));
            }
            let so_far = || woken.0.load(Ordering::Relaxed) - round * BACKLOG;
            calls.truncate(BACKLOG / 2);
            assert_eq!(so_far(), 0);
            assert!(share.may_read(&turns[0], &waker));
            calls.pop();
            assert_eq!(so_far(), 1);
            calls.truncate(1);
            assert_eq!(so_far(), BACKLOG / 2 - 1);
            calls.clear();
            assert_eq!(so_far(), BACKLOG);
        }
    }
}

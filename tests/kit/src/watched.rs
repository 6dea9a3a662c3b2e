//! A value to wait on: a mutex and a condition variable that are always used together.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A value that threads change and other threads wait on.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// Watches `value`.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new() }
    }

    /// Changes the value and wakes everybody who waits.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Looks at the value as it is.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `ready` finds what it looks for; `None` when `timeout` passes first.
    pub fn wait<R>(&self, timeout: Duration, mut ready: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let mut found = None;
        let guard = self.lock();
        let _guard = self.changed.wait_timeout_while(guard, timeout, |value| {
            found = ready(value);
            found.is_none()
        });
        found
    }

    // A thread that panicked while it held the lock has failed the test already; the others may finish.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

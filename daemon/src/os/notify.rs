//! What the service manager is told (`sd_notify(3)`). Without one there is nobody to tell, which is no error.

use std::future;

use sd_notify::NotifyState;
use tokio::time::{self, MissedTickBehavior};

/// Callers get an answer from now on.
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// The daemon is about to end.
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Tells for ever that the thread which serves is not stuck, twice as often as the service manager wants to
/// hear it (`WatchdogSec=`, systemd.service(5)); else does nothing.
pub async fn keep_alive() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
        return future::pending().await;
    };
    let mut beat = time::interval(period / 2);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}

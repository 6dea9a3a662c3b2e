//! The signals that steer the daemon, and whatever else ends it.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::Configuration;
use crate::os::harden;

/// Between two reloads by SIGHUP: whatever sends a thousand of them in a second must not have the daemon do
/// nothing else.
const RELOAD_PAUSE: Duration = Duration::from_millis(100);

/// The signals that the daemon listens to.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they are caught.
    pub fn catch() -> std::io::Result<Self> {
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        harden::release_hangup()?;
        Ok(signals)
    }

    /// Reloads on SIGHUP, once for all that come during a reload or shortly after it. Ends with SIGTERM or SIGINT,
    /// with an order to stop, or when the socket is `lost`.
    pub async fn until_shutdown(mut self, configuration: &Configuration, lost: impl Future<Output = ()>) {
        let asked = Notify::new();
        let reloads = async {
            loop {
                asked.notified().await;
                let begun = Instant::now();
                // A broken configuration is in the log and in `usher status`.
                let _ = configuration.reload().await;
                // The next one stands for all that ask until then. However large the configuration is, calls
                // have as much of the time as reloads.
                sleep(RELOAD_PAUSE.max(begun.elapsed())).await;
            }
        };
        tokio::pin!(reloads, lost);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return info!("SIGTERM"),
                _ = self.interrupt.recv() => return info!("SIGINT"),
                () = configuration.stop.notified() => return info!("told to stop"),
                () = &mut lost => return warn!(
                    "the socket's path leads elsewhere now, so that nobody finds this daemon: ending; \
                     the next call starts another, if `systemctl --user restart usherd.socket` does not"
                ),
                _ = self.hangup.recv() => asked.notify_one(),
                () = &mut reloads => {}
            }
        }
    }
}

//! Taking callers in, also while the system has run out of something.

use std::{io, os::unix::net::UnixDatagram, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    time::{self, Instant},
};
use tracing::{info, warn};

use super::limits::{NOTICE, PAUSE_MAX, PAUSE_MIN};

/// The way in. All that it knows is in here, so that [`Door::next`] can be broken off at any time.
#[derive(Debug)]
pub(super) struct Door {
    /// A descriptor held back for when there are no others left: with it, one caller more is served.
    reserve: Option<UnixDatagram>,
    /// Whether the last try brought somebody in. Only then is a descriptor held back again, or it would be
    /// given up and taken again in a loop.
    works: bool,
    pause: Duration,
    /// Until when the listener is left alone.
    until: Option<Instant>,
    told: Option<Instant>,
    /// Failures since the log was told of one.
    kept_back: u64,
}

/// Somebody who came in.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stream: UnixStream,
    /// Only the reserve let them in: somebody else should go.
    pub(super) by_reserve: bool,
}

impl Door {
    pub(super) fn new() -> Self {
        let mut door =
            Self { reserve: None, works: true, pause: PAUSE_MIN, until: None, told: None, kept_back: 0 };
        door.hold_back();
        door
    }

    /// The next caller. Failures are told to the log, and lead to pauses: while the system has no
    /// descriptors, the listener stays ready, and to ask it again at once would only burn the processor.
    pub(super) async fn next(&mut self, listener: &UnixListener) -> Caller {
        loop {
            if let Some(until) = self.until {
                time::sleep_until(until).await;
                self.until = None;
            }
            self.hold_back();
            match listener.accept().await {
                Ok((stream, _)) => {
                    self.recovered();
                    self.hold_back();
                    return Caller { stream, by_reserve: self.reserve.is_none() };
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// A socket that nobody ever connects to: it needs no file.
    fn hold_back(&mut self) {
        if self.works && self.reserve.is_none() {
            self.reserve = UnixDatagram::unbound().ok();
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.works = false;
        // That caller has gone; the next one may be there.
        if error.kind() == io::ErrorKind::ConnectionAborted {
            self.until = Some(Instant::now() + PAUSE_MIN);
        } else if self.reserve.take().is_none() {
            self.until = Some(Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        let now = Instant::now();
        if self.told.is_some_and(|at| at + NOTICE > now) {
            self.kept_back += 1;
            return;
        }
        warn!(%error, kept_back = self.kept_back, "cannot take a connection in; trying again");
        (self.told, self.kept_back) = (Some(now), 0);
    }

    fn recovered(&mut self) {
        self.works = true;
        if self.pause > PAUSE_MIN {
            self.pause = PAUSE_MIN;
            info!(kept_back = self.kept_back, "connections are taken in again");
            self.kept_back = 0;
        }
    }
}

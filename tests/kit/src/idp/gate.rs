//! Withholds a reply until the test says so. The test learns that the request has arrived.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::watched::Watched;

/// The test's hand on a withheld reply. Dropping it lets the reply go, so that no failing test hangs.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    /// The server's own handles do not open the gate when they go.
    opens_on_drop: bool,
}

#[derive(Debug)]
struct Shared {
    arrived: Watched<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    pub(super) fn closed() -> Self {
        let shared = Shared { arrived: Watched::default(), open: watch::Sender::new(false) };
        Self { shared: Arc::new(shared), opens_on_drop: true }
    }

    pub(super) fn clone_for_server(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), opens_on_drop: false }
    }

    /// Waits until a request stands at the gate; panics when none comes.
    pub fn wait_arrived(&self, timeout: Duration) {
        self.wait_for(1, timeout);
    }

    /// Waits until `count` requests have come to the gate: a held default reply holds all of them.
    pub fn wait_for(&self, count: usize, timeout: Duration) {
        let arrived = self.shared.arrived.wait(timeout, |&arrived| (arrived >= count).then_some(()));
        assert!(arrived.is_some(), "{} of {count} requests came within {timeout:?}", self.arrived());
    }

    /// How many requests have come.
    pub fn arrived(&self) -> usize {
        self.shared.arrived.read(|&arrived| arrived)
    }

    /// Lets the reply go, to those who wait and to those who come later.
    pub fn release(&self) {
        self.shared.open.send_replace(true);
    }

    /// The server's side: says that a request is here, and waits for the release.
    pub(super) async fn pass(&self) {
        let mut open = self.shared.open.subscribe();
        self.shared.arrived.update(|arrived| *arrived += 1);
        // The sender lives in `shared`: this cannot fail.
        let _ = open.wait_for(|&open| open).await;
    }
}

impl Clone for Gate {
    /// Another handle that does not open the gate by going away.
    fn clone(&self) -> Self {
        self.clone_for_server()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.opens_on_drop {
            self.release();
        }
    }
}

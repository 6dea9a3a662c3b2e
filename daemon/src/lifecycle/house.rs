//! What the accept loop asks of the daemon's life.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    sync::Arc,
    time::Duration,
};

use super::Configuration;
use crate::{
    credential::vault::Vault,
    domain::settings::IdleExit,
    os::{listener::Place, memory, notify},
    rpc::serve::Terms,
};

/// The daemon's life and its place, as long as it serves.
pub struct House {
    /// What is in force.
    pub configuration: Arc<Configuration>,
    /// What helpers have stored.
    pub vault: Arc<Vault>,
    /// Where it is found.
    pub place: Place,
    /// When it ends by itself, unless the configuration says otherwise.
    pub idle_exit: IdleExit,
}

impl Terms for House {
    fn close(&self, listener: &UnixListener) -> Vec<UnixStream> {
        notify::stopping();
        self.place.close(listener)
    }

    fn drain(&self) -> Duration {
        self.configuration.state().settings.shutdown_timeout
    }

    fn idle_exit(&self) -> Option<Duration> {
        match self.configuration.state().settings.idle_exit.unwrap_or(self.idle_exit) {
            IdleExit::Never => None,
            IdleExit::After(span) => Some(span),
        }
    }

    async fn changed(&self) {
        self.configuration.changed.notified().await;
    }

    fn tokens_last(&self) -> Duration {
        self.configuration.engine.tokens_last().max(self.vault.lasts())
    }

    fn release_memory(&self) {
        memory::release();
    }
}

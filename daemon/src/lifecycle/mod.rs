//! The daemon's life: its configuration over time, what steers it, and when it ends.
//!
//! - [`load`]: the configuration's file
//! - [`signals`]: what makes it reload, and end
//! - [`house`]: what the accept loop asks of all this

mod house;
mod load;
mod signals;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{error, info, warn};

pub(crate) use self::load::default_network;
pub use self::{house::House, load::load, signals::Signals};
use crate::{
    access::Policy,
    config::Report,
    domain::{profile::Profiles, settings::Settings},
    os::memory,
    rpc::admin::{Control, Facts},
    token::{cache::Changes, ports::BoxFuture, service::Engine},
};

/// How long secrets may take before it is said that they do.
const SECRETS_PATIENCE: Duration = Duration::from_secs(10);

/// How long after a reload memory is given back.
const CALM: Duration = Duration::from_secs(1);

/// Where things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The configuration's file.
    pub config: PathBuf,
    /// What `~` in it stands for.
    pub home: Option<PathBuf>,
    /// The socket. Empty for a daemon that serves a single caller.
    pub socket: PathBuf,
}

/// The configuration in force and the file it comes from.
pub struct Configuration {
    engine: Engine,
    policy: Arc<Policy>,
    places: Places,
    started_at: Duration,
    state: Mutex<State>,
    /// One reload at a time, in order.
    turn: tokio::sync::Mutex<()>,
    stop: Notify,
    /// Other settings may be in force.
    changed: Notify,
}

struct State {
    settings: Settings,
    loaded_at: Duration,
    error: Option<String>,
    /// Nothing has been in force yet.
    is_first: bool,
}

impl Configuration {
    /// Puts the first configuration in force.
    pub fn begin(engine: Engine, policy: Arc<Policy>, places: Places, profiles: &Profiles) -> Self {
        let started_at = engine.now().wall;
        let (settings, error) = (Settings::default(), None);
        let state = State { settings, loaded_at: started_at, error, is_first: true };
        let (state, turn) = (Mutex::new(state), tokio::sync::Mutex::new(()));
        let (stop, changed) = (Notify::new(), Notify::new());
        let configuration = Self { engine, policy, places, started_at, state, turn, stop, changed };
        configuration.enforce(profiles);
        configuration
    }

    /// From now on this holds.
    fn enforce(&self, profiles: &Profiles) -> Changes {
        self.policy.allow(&profiles.settings.allowed_users);
        warn_of_users(&profiles.settings);
        let mut changes = self.engine.apply(profiles);
        let before = self.state().settings.clone();
        changes.settings = before != profiles.settings;
        if !self.state().is_first && before.store != profiles.settings.store {
            warn!("[store] is another one now: that takes effect when usherd is started again");
        }
        let (settings, loaded_at) = (profiles.settings.clone(), self.engine.now().wall);
        *self.state() = State { settings, loaded_at, error: None, is_first: false };
        self.changed.notify_waiters();
        tokio::spawn(warn_of_secrets(self.engine.clone()));
        changes
    }

    async fn reload(&self) -> Result<Changes, Report> {
        let _turn = self.turn.lock().await;
        let Places { config: path, home, .. } = self.places.clone();
        // In a thread of its own: a file system that hangs must not hold up everybody's tokens.
        let loading = tokio::task::spawn_blocking(move || load(&path, home.as_deref()));
        let loaded = loading
            .await
            .unwrap_or_else(|_| Err(Report::of_file(&self.places.config, "reading it was broken off")));
        match loaded {
            Ok(profiles) => {
                let changes = self.enforce(&profiles);
                tokio::spawn(release_memory());
                info!(
                    settings = changes.settings,
                    added = ?changes.added,
                    changed = ?changes.changed,
                    removed = ?changes.removed,
                    unchanged = changes.unchanged,
                    "configuration reloaded"
                );
                Ok(changes)
            }
            Err(report) => {
                error!(%report, "the configuration is not taken; the one before stays in force");
                self.state().error = Some(report.summary());
                Err(report)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for Configuration {
    fn reload(&self) -> BoxFuture<'_, Result<Changes, Report>> {
        Box::pin(self.reload())
    }

    fn stop(&self) {
        self.stop.notify_one();
    }

    fn facts(&self) -> Facts {
        let state = self.state();
        Facts {
            socket: self.places.socket.clone(),
            started_at: self.started_at,
            config_path: self.places.config.clone(),
            config_loaded_at: state.loaded_at,
            config_error: state.error.clone(),
        }
    }
}

/// Gives back what a large configuration took, once nobody refers to the one before any more.
async fn release_memory() {
    tokio::time::sleep(CALM).await;
    memory::release();
}

/// Whoever is not known is not let in.
pub(crate) fn warn_of_users(settings: &Settings) {
    for user in &settings.unknown_users {
        warn!(
            user,
            "allowed_users names a user whom this system does not know (now): nobody is let in for that"
        );
    }
}

/// A secret that cannot be read concerns its own profile only; it is said early all the same.
async fn warn_of_secrets(engine: Engine) {
    let profiles = engine.directory().iter().map(|slot| Arc::clone(&slot.profile)).collect::<Vec<_>>();
    for (profile, error) in engine.unreadable_secrets(profiles, SECRETS_PATIENCE).await {
        warn!(profile, %error, "secret unavailable");
    }
}

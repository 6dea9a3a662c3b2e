//! The daemon's life: its configuration over time, and the signals that steer it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tracing::{error, info, warn};

use crate::{
    config::{self, Context, Report},
    domain::profile::{Network, Profiles},
    os::trusted::{self, Readers},
    rpc::admin::{Control, Facts},
    token::{cache::Changes, ports::BoxFuture, service::Engine},
};

/// The largest configuration: ten thousand profiles fit.
const MAX_CONFIG: u64 = 10 * 1024 * 1024;

/// How long secrets may take before it is said that they do.
const SECRETS_PATIENCE: Duration = Duration::from_secs(10);

/// Reads the configuration at `path`, which must be ours or root's and writable by nobody else.
pub fn load(path: &Path, home: Option<&Path>) -> Result<Profiles, Report> {
    let bytes = trusted::read(path, Readers::Anyone, MAX_CONFIG).map_err(|error| {
        let hint = if error.is_not_found() {
            "; make it, beginning with [profile.NAME] and a preset: `usherd --help` has an example"
        } else {
            ""
        };
        Report::of_file(path, format!("the configuration cannot be read: {error}{hint}"))
    })?;
    let text = str::from_utf8(&bytes).map_err(|_| Report::of_file(path, "is not UTF-8 text"))?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    config::parse(
        text,
        path,
        &Context { directory, home: home.map(Path::to_owned), network: default_network() },
    )
}

/// What OpenSSL's programs take for the system's certificates is taken for them here, too.
pub(crate) fn default_network() -> Network {
    let ca_file = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_absolute());
    Network { ca_file, ..Network::default() }
}

/// The configuration in force and the file it comes from.
pub struct Configuration {
    engine: Engine,
    path: PathBuf,
    home: Option<PathBuf>,
    socket: PathBuf,
    started_at: Duration,
    state: Mutex<State>,
    /// One reload at a time, in order.
    turn: tokio::sync::Mutex<()>,
    stop: Notify,
}

struct State {
    loaded_at: Duration,
    error: Option<String>,
}

impl Configuration {
    /// Puts the first configuration in force.
    pub fn begin(
        engine: Engine,
        path: PathBuf,
        home: Option<PathBuf>,
        socket: PathBuf,
        profiles: &Profiles,
    ) -> Self {
        let started_at = engine.now().wall;
        let state = Mutex::new(State { loaded_at: started_at, error: None });
        engine.apply(profiles);
        tokio::spawn(warn_of_secrets(engine.clone()));
        Self {
            engine,
            path,
            home,
            socket,
            started_at,
            state,
            turn: tokio::sync::Mutex::new(()),
            stop: Notify::new(),
        }
    }

    async fn reload(&self) -> Result<Changes, Report> {
        let _turn = self.turn.lock().await;
        let (path, home) = (self.path.clone(), self.home.clone());
        // In a thread of its own: a file system that hangs must not hold up everybody's tokens.
        let loading = tokio::task::spawn_blocking(move || load(&path, home.as_deref()));
        let loaded =
            loading.await.unwrap_or_else(|_| Err(Report::of_file(&self.path, "reading it was broken off")));
        match loaded {
            Ok(profiles) => {
                let changes = self.engine.apply(&profiles);
                *self.state() = State { loaded_at: self.engine.now().wall, error: None };
                info!(
                    added = ?changes.added,
                    changed = ?changes.changed,
                    removed = ?changes.removed,
                    unchanged = changes.unchanged,
                    "configuration reloaded"
                );
                tokio::spawn(warn_of_secrets(self.engine.clone()));
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
            socket: self.socket.clone(),
            started_at: self.started_at,
            config_path: self.path.clone(),
            config_loaded_at: state.loaded_at,
            config_error: state.error.clone(),
        }
    }
}

/// A secret that cannot be read concerns its own profile only; it is said early all the same.
async fn warn_of_secrets(engine: Engine) {
    let profiles = engine.directory().iter().map(|slot| Arc::clone(&slot.profile)).collect::<Vec<_>>();
    for (profile, error) in engine.unreadable_secrets(profiles, SECRETS_PATIENCE).await {
        warn!(profile, %error, "secret unavailable");
    }
}

/// The signals that the daemon listens to.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they are caught.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads on SIGHUP, once for those that come while a reload is going on; ends with SIGTERM or SIGINT.
    pub async fn until_shutdown(mut self, configuration: &Configuration) {
        let asked = Notify::new();
        let reloads = async {
            loop {
                asked.notified().await;
                // A broken configuration is in the log and in `usher status`.
                let _ = configuration.reload().await;
            }
        };
        tokio::pin!(reloads);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return info!("SIGTERM"),
                _ = self.interrupt.recv() => return info!("SIGINT"),
                () = configuration.stop.notified() => return info!("told to stop"),
                _ = self.hangup.recv() => asked.notify_one(),
                () = &mut reloads => {}
            }
        }
    }
}

//! usherd: the daemon that owns the secrets and the token cache.
//!
//! - [`config`]: TOML into validated, typed profiles; presets
//! - [`domain`]: profile, scope, token, secret, time: plain data
//! - [`token`]: the engine: one cache, one fetch for any number of callers, and the rules for both
//! - [`idp`]: identity providers over HTTP
//! - [`secret`]: where secrets come from
//! - [`access`]: who is calling, and may they
//! - [`rpc`]: the contract as it is served on the socket
//! - [`os`]: listener, clocks, hardening, trusted files
//! - [`lifecycle`]: configuration over time, signals
//! - [`start`]: from the command line to a daemon that serves
//!
//! Who may know whom: `config`, `token` -> `domain`; `idp`, `secret`, `os` -> the ports that `token` declares,
//! which they implement, and `domain`; `idp` and `secret` read files by `os`; `rpc` -> `token`, `access`, and
//! what of `config` and `domain` it tells callers; `lifecycle` -> `config`, `os`, `token`, and `rpc`'s port. A test
//! fails on any other arrow. Here all are put together.

pub mod access;
pub mod config;
pub mod domain;
pub mod idp;
pub mod lifecycle;
pub mod os;
pub mod rpc;
pub mod secret;
pub mod start;
pub mod token;

use std::{collections::HashMap, io, os::unix::net::UnixStream, path::PathBuf, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use secrecy::SecretString;
use tokio::net::UnixListener;
use tracing::info;

use self::{
    access::Policy,
    domain::profile::Profiles,
    lifecycle::{Configuration, Signals},
    os::{clock::SystemClock, listener::Listener, random::SystemJitter},
    rpc::serve::Limits,
    token::{
        name::Namer,
        service::{Engine, Ports},
    },
};

/// How long calls in flight may take after the shutdown began.
const DRAIN: Duration = Duration::from_secs(5);

/// What [`run`] is given: all that was read and decided before anybody could call.
pub struct Parts {
    /// The configuration to begin with.
    pub profiles: Profiles,
    /// Where it comes from, for reloads.
    pub config_path: PathBuf,
    /// What `~` in it stands for.
    pub home: Option<PathBuf>,
    /// Secrets that were taken out of the environment.
    pub environment: HashMap<String, SecretString>,
    /// Whom to serve.
    pub policy: Policy,
    /// Connections at a time.
    pub max_connections: usize,
}

/// Why the daemon cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// No random numbers: no token could be named.
    #[error("the system has no random numbers")]
    Random,
    /// The contract cannot describe itself.
    #[error("cannot set up reflection: {0}")]
    Reflection(#[from] rpc::ReflectionError),
}

/// Whom to serve where.
pub enum Where {
    /// Whoever comes to the socket. What is given is called once they get an answer.
    Listener(Listener, Box<dyn FnOnce() + Send>),
    /// One caller, until it hangs up.
    Stream(UnixStream),
}

/// Serves until SIGTERM or SIGINT, until it is told to stop, or until its one caller hangs up. Ready is told
/// to the service manager (`sd_notify(3)`).
pub async fn run(parts: Parts, place: Where) -> Result<(), RunError> {
    let system = |action| move |source| RunError::System { action, source };
    let signals = Signals::catch().map_err(system("catch signals"))?;
    let clock = Arc::new(SystemClock);
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let engine_ports = Ports {
        clock: clock.clone(),
        issuer: Arc::new(idp::HttpIssuer::new(clock)),
        secrets: Arc::new(secret::Sources::new(parts.environment, credentials)),
        jitter: Arc::new(SystemJitter::new()),
    };
    let namer = Namer::new().map_err(|_| RunError::Random)?;
    let engine = Engine::new(engine_ports, namer);
    let socket = match &place {
        Where::Listener(listener, _) => listener.place.path().to_owned(),
        Where::Stream(_) => PathBuf::new(),
    };
    let Parts { config_path, home, profiles, .. } = parts;
    let configuration = Configuration::begin(engine.clone(), config_path, home, socket, &profiles);
    let configuration = Arc::new(configuration);
    let routes = rpc::routes(engine, Arc::clone(&configuration) as _).await?;
    let (listener, ready) = match place {
        Where::Listener(listener, ready) => (listener, ready),
        Where::Stream(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream).map_err(system("set up the socket"))?;
            rpc::serve::serve_one(stream, routes, parts.policy, signals.until_shutdown(&configuration)).await;
            return Ok(());
        }
    };
    let Listener { socket, place } = listener;
    let socket = UnixListener::from_std(socket).map_err(system("set up the socket"))?;

    info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %place.path().display(),
        profiles = profiles.by_name.len(),
        "ready"
    );
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    ready();
    let release_memory = os::memory::release;
    let limits = Limits { connections: parts.max_connections, drain: DRAIN, release_memory };
    let shutdown = async {
        signals.until_shutdown(&configuration).await;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    };
    rpc::serve::serve(socket, routes, parts.policy, limits, shutdown).await;
    drop(place);
    info!("stopped");
    Ok(())
}

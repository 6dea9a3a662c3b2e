//! usherd: the daemon that owns the secrets and the token cache.
//!
//! - [`config`]: TOML into validated, typed profiles; presets
//! - [`domain`]: profile, scope, token, secret, time: plain data
//! - [`token`]: the engine: one cache, one fetch for any number of callers, and the rules for both
//! - [`credential`]: what credential helpers store, for places that no profile owns
//! - [`idp`]: identity providers over HTTP
//! - [`secret`]: where secrets come from
//! - [`store`]: what is kept over a restart, encrypted
//! - [`access`]: who is calling, and may they
//! - [`rpc`]: the contract as it is served on the socket
//! - [`os`]: listener, clocks, hardening, trusted files
//! - [`lifecycle`]: configuration over time, signals
//! - [`start`]: from the command line to a daemon that serves
//!
//! Who may know whom: `config`, `token` -> `domain`; `credential` -> `domain`, `token`'s ports; `idp`, `secret`, `store`, `os` -> the ports that `token` declares,
//! which they implement, and `domain`; `idp`, `secret` and `store` come at files by `os`; `rpc` -> `token`, `access`, and
//! what of `config` and `domain` it tells callers; `lifecycle` -> `config`, `os`, `token`, and `rpc`'s port. A test
//! fails on any other arrow. Here all are put together.

pub mod access;
pub mod config;
pub mod credential;
pub mod domain;
pub mod idp;
pub mod lifecycle;
pub mod os;
pub mod rpc;
pub mod secret;
pub mod start;
pub mod store;
pub mod token;

use std::{
    collections::HashMap, future, io, os::unix::net::UnixStream, path::PathBuf, sync::Arc, time::Duration,
};

use secrecy::SecretString;
use tokio::net::UnixListener;
use tracing::{error, info, warn};

use self::{
    access::Policy,
    credential::{ports::Safe, vault::Vault},
    domain::{profile::Profiles, settings::IdleExit},
    lifecycle::{Configuration, House, Places, Signals},
    os::{clock::SystemClock, listener::Listener, random::SystemJitter},
    rpc::serve::Entrance,
    store::{Location, Store},
    token::{
        name::Namer,
        ports::Archive,
        service::{Engine, Ports},
    },
};

/// How long callers wait for what was kept before.
const RESTORE_PATIENCE: Duration = Duration::from_secs(2);

/// How long the end waits for what is still to be kept.
const KEEP_PATIENCE: Duration = Duration::from_secs(2);

/// How long work that a fault of ours has ended lies still: the fault may be there again.
const BEGIN_AGAIN_AFTER: Duration = Duration::from_secs(1);

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
    /// When to end for want of callers, unless the configuration says.
    pub idle_exit: IdleExit,
    /// What is kept on disk; none: nothing.
    pub storage: Option<Storage>,
}

/// What is kept on disk.
pub struct Storage {
    /// Where.
    pub location: Location,
    /// Tokens, over a restart, and not only credentials that are given to keep.
    pub keeps_tokens: bool,
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
    let secrets = Arc::new(secret::Sources::new(parts.environment, credentials));
    let keeps_tokens = parts.storage.as_ref().is_some_and(|storage| storage.keeps_tokens);
    let store = parts
        .storage
        .map(|storage| Arc::new(Store::new(storage.location, secrets.clone(), os::clock::boot_id())));
    let archive = store.clone().filter(|_| keeps_tokens);
    let vault = Arc::new(Vault::new(clock.clone(), store.map(|store| store as Arc<dyn Safe>)));
    let engine_ports = Ports {
        clock: clock.clone(),
        issuer: Arc::new(idp::HttpIssuer::new(clock)),
        secrets: secrets.clone(),
        jitter: Arc::new(SystemJitter::new()),
        archive: archive.map(|store| store as Arc<dyn Archive>),
    };
    let namer = Namer::new().map_err(|_| RunError::Random)?;
    let engine = Engine::new(engine_ports, namer);
    let socket = match &place {
        Where::Listener(listener, _) => listener.place.path().to_owned(),
        Where::Stream(_) => PathBuf::new(),
    };
    for_ever("refreshes ahead of expiry", &engine, Engine::refresh_ahead);
    for_ever("revocations", &engine, Engine::revoke_queued);
    for_ever("stored credentials", &vault, Vault::keep_in_time);
    let Parts { config_path, home, profiles, max_connections, idle_exit, .. } = parts;
    let policy = Arc::new(parts.policy);
    let places = Places { config: config_path, home, socket };
    let configuration = Configuration::begin(engine.clone(), Arc::clone(&policy), places, &profiles);
    let configuration = Arc::new(configuration);
    take_over(&engine).await;
    let control = Arc::clone(&configuration) as _;
    let routes = rpc::routes(engine.clone(), Arc::clone(&vault), Arc::clone(&policy), control).await?;
    let (listener, ready) = match place {
        Where::Listener(listener, ready) => (listener, ready),
        Where::Stream(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream).map_err(system("set up the socket"))?;
            let shutdown = signals.until_shutdown(&configuration, future::pending());
            rpc::serve::serve_one(stream, routes, &policy, shutdown).await;
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
    os::notify::ready();
    tokio::spawn(os::notify::keep_alive());
    ready();
    let house = House { configuration: Arc::clone(&configuration), vault, place, idle_exit };
    let shutdown = signals.until_shutdown(&configuration, os::watch::lost(&house.place));
    let entrance = Entrance { listener: socket, routes, policy, max_connections };
    rpc::serve::serve(entrance, &house, shutdown).await;
    // Before the socket is free for the next usherd: it is to find all.
    engine.keep_all(KEEP_PATIENCE).await;
    drop(house);
    engine.tell_unrevoked();
    info!("stopped");
    Ok(())
}

/// Takes over what was kept before. If that takes long, calls are answered meanwhile.
async fn take_over(engine: &Engine) {
    for_ever("the keeping of tokens over a restart", engine, Engine::keep);
    if engine.archive().is_some()
        && tokio::time::timeout(RESTORE_PATIENCE, engine.has_looked()).await.is_err()
    {
        warn!("what was kept before the restart takes long to read: tokens are fetched until it is there");
    }
}

/// Has `work` done for as long as the daemon runs: a fault of ours that ends it is logged, and it begins again.
fn for_ever<P, F>(what: &'static str, parts: &P, work: impl Fn(P) -> F + Send + 'static)
where
    P: Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let parts = parts.clone();
    tokio::spawn(async move {
        // It is cancelled only with all others, at the end.
        while let Err(fault) = tokio::spawn(work(parts.clone())).await
            && fault.is_panic()
        {
            error!(
                what,
                "ended by a fault of usherd, and begun again: please report what the log says before this"
            );
            tokio::time::sleep(BEGIN_AGAIN_AFTER).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_a_fault_of_ours_ends_begins_again() {
        let (begun, third) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for_ever("work", &(Arc::clone(&begun), Arc::clone(&third)), |(begun, third)| async move {
            assert!(begun.fetch_add(1, Ordering::SeqCst) >= 2, "a fault of ours");
            third.notify_one();
            future::pending::<()>().await;
        });
        let waited = tokio::time::Instant::now();
        third.notified().await;
        assert_eq!((begun.load(Ordering::SeqCst), waited.elapsed()), (3, 2 * BEGIN_AGAIN_AFTER));
    }
}

//! From the command line to a daemon that serves: arguments, hardening, configuration, logs, socket, run,
//! exit code. What is not in order here is nowhere.
//!
//! - [`args`]: what can be typed
//! - `background`: away from whoever started it
//! - `variables`: a profile out of the environment
//! - `logs`: where log lines go

pub mod args;
mod background;
mod logs;
mod variables;

use std::{
    collections::HashMap,
    fmt, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser as _;
use tokio::runtime::Builder;
use tracing::{error, info, warn};

use self::{args::Args, background::Starter};
use crate::{
    Parts, Storage, Where,
    access::Policy,
    domain::{
        profile::Profiles,
        secret::{SecretRef, SecretString},
        settings::{IdleExit, Settings, StoreSettings},
    },
    lifecycle,
    os::{
        self,
        listener::{HandedOver, ListenError, Listener},
    },
    secret::Sources,
    store::{self, Location},
    token::secrets::unreadable,
};

/// How long `--check-config` waits for secrets.
const SECRETS_PATIENCE: Duration = Duration::from_secs(10);

/// When a daemon that `usher` started ends by itself, unless the configuration says otherwise.
const AUTOSTARTED_IDLE_EXIT: IdleExit = IdleExit::After(Duration::from_secs(5 * 60));

/// Exit codes of sysexits.h.
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const OSERR: u8 = 71;
    pub(super) const TEMPFAIL: u8 = 75;
    pub(super) const CONFIG: u8 = 78;
}

/// All of it.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(message) => {
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Up to the log there is one thread, as taking secrets out of the environment needs.
    let begun = detach(&args).and_then(|origin| match begin(&args) {
        Ok(begun) => Ok((origin, begun)),
        Err(failure) => Err(origin.fail(failure)),
    });
    let _writes_what_waits = logs::begin(args.log_format, args.log_level);
    let ended = begun.and_then(|(origin, begun)| {
        if args.check_config {
            check(begun)
        } else if args.once {
            serve_stdin(begun)
        } else {
            serve(begun, origin)
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Why there is no daemon.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn system(error: impl fmt::Display) -> Self {
        Self { code: exit::OSERR, message: error.to_string() }
    }

    fn config(error: impl fmt::Display) -> Self {
        Self { code: exit::CONFIG, message: error.to_string() }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let code = match &error {
            ListenError::Occupied { .. } => exit::TEMPFAIL,
            ListenError::Io { .. } => exit::OSERR,
            _ => exit::CONFIG,
        };
        Self { code, message: error.to_string() }
    }
}

/// What whoever started this process left to it.
struct Origin {
    /// Waits to be told how the start went.
    starter: Option<Starter>,
    /// A socket, by socket activation.
    handed_over: Option<HandedOver>,
}

impl Origin {
    /// Tells whoever waits for the start that it failed, and nobody else waits.
    fn fail(self, failure: Failure) -> Failure {
        if let Some(starter) = self.starter {
            starter.failed(&failure.message);
        }
        if let Some(handed_over) = self.handed_over {
            handed_over.turn_away();
        }
        failure
    }
}

/// Before anything is opened that could land on a descriptor of others, and before anybody knows our pid.
fn detach(args: &Args) -> Result<Origin, Failure> {
    let harden = || {
        os::harden::fill_standard_descriptors()?;
        os::harden::hold_hangup()?;
        os::harden::survive_file_size_limit()?;
        os::harden::process()
    };
    harden().map_err(|error| Failure::system(format!("cannot harden the process: {error}")))?;
    if args.background {
        let starter = os::detach::close_inherited().and_then(|()| background::leave());
        let starter =
            starter.map_err(|error| Failure::system(format!("cannot go into the background: {error}")))?;
        return Ok(Origin { starter: Some(starter), handed_over: None });
    }
    // SAFETY: no thread has been started yet, and nothing opened but standard descriptors.
    #[expect(unsafe_code, reason = "the environment is changed")]
    let handed_over = unsafe {
        if args.once || args.check_config {
            // They may be meant for a service of which this is a job.
            os::activation::forget();
            Ok(None)
        } else {
            os::activation::take()
        }
    };
    Ok(Origin { starter: None, handed_over: handed_over.map_err(Failure::config)? })
}

/// What is known before anything is served.
struct Begun {
    place: PathBuf,
    home: Option<PathBuf>,
    profiles: Profiles,
    /// Secrets that were in the environment.
    environment: HashMap<String, SecretString>,
}

/// Reads the configuration, or what stands in its place.
fn begin(args: &Args) -> Result<Begun, Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let (place, profiles) = if args.from_env {
        (PathBuf::from("the environment"), variables::profiles(std::env::vars_os())?)
    } else {
        let place = config_path(args.config.clone(), home.as_deref())?;
        // Who has no configuration yet can have credentials stored all the same.
        let may_lack = args.config.is_none() && !args.once && !args.check_config;
        let is_absent = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        if may_lack && place.symlink_metadata().is_err_and(is_absent) {
            (place, Profiles::default())
        } else {
            let profiles = lifecycle::load(&place, home.as_deref()).map_err(Failure::config)?;
            (place, profiles)
        }
    };
    #[expect(unsafe_code, reason = "the environment is changed")]
    // SAFETY: no thread has been started yet.
    let environment = unsafe { os::environment::take(environment_names(&profiles)) };
    Ok(Begun { place, home, profiles, environment })
}

impl Begun {
    fn parts(self, max_connections: usize, idle_exit: IdleExit, storage: Option<Storage>) -> Parts {
        let Self { place, home, profiles, environment } = self;
        let policy = Policy::owner_only(os::users::effective_uid());
        Parts { profiles, config_path: place, home, environment, policy, max_connections, idle_exit, storage }
    }
}

/// The daemon.
fn serve(begun: Begun, origin: Origin) -> Result<(), Failure> {
    let Origin { starter, handed_over } = origin;
    let listener = match handed_over {
        Some(handed_over) => Listener::handed_over(handed_over).map_err(Failure::from),
        None => bind(),
    };
    let storage = storage(&begun.profiles.settings, &begun.place);
    let prepared = listener.and_then(|listener| {
        Ok((listener, storage?, os::harden::raise_descriptor_limit().map_err(Failure::system)?))
    });
    let (listener, storage, descriptors) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return Err(Origin { starter, handed_over: None }.fail(failure)),
    };
    // The rest is for the log, files, and connections to IdPs.
    let connections = usize::try_from(descriptors.saturating_sub(64)).unwrap_or(usize::MAX).clamp(1, 8192);
    // One that somebody's call started is there for calls, not for good.
    let idle_exit = if starter.is_some() { AUTOSTARTED_IDLE_EXIT } else { IdleExit::Never };
    let ready = move || {
        if let Some(starter) = starter {
            starter.ready();
        }
    };
    if begun.place.symlink_metadata().is_err() {
        info!("there are no profiles: {} is not there yet", begun.place.display());
    }
    run(begun.parts(connections, idle_exit, storage), Where::Listener(listener, Box::new(ready)))
}

fn bind() -> Result<Listener, Failure> {
    let path = usher_proto::socket::path(|name| std::env::var_os(name)).map_err(Failure::config)?;
    Ok(Listener::bind(&path)?)
}

/// For one caller, whose socket is stdin.
fn serve_stdin(begun: Begun) -> Result<(), Failure> {
    let stream: UnixStream = os::detach::stdin_socket().map_err(|error| Failure {
        code: exit::USAGE,
        message: format!("--once wants the caller's socket for stdin: {error}"),
    })?;
    run(begun.parts(1, IdleExit::Never, None), Where::Stream(stream))
}

fn run(parts: Parts, place: Where) -> Result<(), Failure> {
    // reqwest asks for the process's provider of cryptography; nobody else has set one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    block_on(crate::run(parts, place))?.map_err(Failure::system)
}

/// Says what the configuration is worth: it has no mistakes, but a secret may be missing.
fn check(begun: Begun) -> Result<(), Failure> {
    let Begun { place, profiles, environment, .. } = begun;
    let sources = Sources::new(environment, std::env::var_os("CREDENTIALS_DIRECTORY"));
    let count = profiles.by_name.len();
    lifecycle::warn_of_users(&profiles.settings);
    let store = profiles.settings.store.clone();
    let key = async {
        let StoreSettings { key, .. } = store?;
        match &key {
            // It is made with the store.
            SecretRef::File(path) if path.symlink_metadata().is_err() => None,
            key => store::check_key(&sources, key).await.err(),
        }
    };
    let unreadable = unreadable(&sources, profiles.by_name.into_values(), SECRETS_PATIENCE);
    let (unreadable, key) = block_on(async { (unreadable.await, key.await) })?;
    let mut warnings = unreadable.len();
    for (profile, error) in unreadable {
        warn!(profile, %error, "secret unavailable");
    }
    if let Some(error) = key {
        warnings += 1;
        warn!(%error, "the store's key is not usable: tokens would be kept in memory only");
    }
    let profiles = if count == 1 { "profile" } else { "profiles" };
    let verdict = match warnings {
        0 => "no problems",
        _ => "no mistakes, but see the warnings",
    };
    info!("{}: {count} {profiles}, {verdict}", place.display());
    Ok(())
}

/// One thread: calls are short, and a second one costs each of them more than it gives. Files and names
/// are read in others, of which hung file systems may take some; nobody waits for those at the end.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .map_err(|error| Failure::system(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(outcome)
}

/// `--config`, else the XDG place. Absolute, so that a reload reads the same file.
fn config_path(given: Option<PathBuf>, home: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        let path = std::path::absolute(&path);
        return path.map_err(|error| Failure::config(format!("cannot tell the current directory: {error}")));
    }
    let xdg = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let directory = xdg.or_else(|| home.map(|home| home.join(".config")));
    directory
        .map(|directory| directory.join("usher/config.toml"))
        .ok_or_else(|| Failure::config("no place for the configuration: set HOME, or give --config FILE"))
}

/// What is kept on disk, and where: where the configuration says, else in the directory that systemd made for the service
/// (systemd.exec(5), `StateDirectory=`), else below `$XDG_STATE_HOME/usher`. Where the configuration says nothing of a
/// store, credentials that are given to keep are kept all the same, with a key beside the configuration.
fn storage(settings: &Settings, config: &Path) -> Result<Option<Storage>, Failure> {
    let of_service = std::env::var_os("STATE_DIRECTORY").and_then(|list| std::env::split_paths(&list).next());
    let state = of_service.filter(|dir| dir.is_absolute()).or_else(|| Some(state_home()?.join("usher")));
    let directory = state.map(|state| state.join("store"));
    let Some(store) = &settings.store else {
        let key = SecretRef::File(config.with_file_name("store.key"));
        let location = directory.map(|directory| Location { directory, key });
        return Ok(location.map(|location| Storage { location, keeps_tokens: false }));
    };
    let directory = store.directory.clone().or(directory).ok_or_else(|| {
        Failure::config("no place for the store: set HOME, or write directory below [store]")
    })?;
    Ok(Some(Storage { location: Location { directory, key: store.key.clone() }, keeps_tokens: true }))
}

/// `$XDG_STATE_HOME`, or what stands for it (XDG Base Directory Specification 0.8).
fn state_home() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    var("XDG_STATE_HOME").or_else(|| Some(var("HOME")?.join(".local/state")))
}

/// The variables that the configuration names as secrets.
fn environment_names(profiles: &Profiles) -> impl Iterator<Item = &str> {
    let of_profiles = profiles.by_name.values().map(|profile| profile.grant.secret());
    let of_store = profiles.settings.store.iter().map(|store| &store.key);
    of_profiles.chain(of_store).filter_map(|secret| match secret {
        SecretRef::Env(name) => Some(name.as_str()),
        SecretRef::File(_) | SecretRef::Command(_) | SecretRef::Credential(_) => None,
    })
}

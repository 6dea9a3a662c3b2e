//! usherd. Reads top-down: arguments, logs, hardening, configuration, socket, run, exit code.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::{Parser, ValueEnum};
use os::listener::{ListenError, Listener};
use tokio::runtime::Builder;
use tracing::{Level, error, info, warn};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};
use usher_daemon::{
    Parts,
    access::Policy,
    domain::{
        profile::Profiles,
        secret::{SecretRef, SecretString},
    },
    lifecycle, os,
    secret::Sources,
    token::secrets::unreadable,
};

const EXAMPLE: &str = "\
A configuration begins like this:

  [profile.frontdoor]
  preset        = \"netfoundry-frontdoor\"
  idp           = \"acme.example.com\"
  client_id     = \"YOUR_CLIENT_ID\"
  client_secret = { file = \"/path/to/a/file/of/mode/600\" }";

/// How long `--check-config` waits for secrets.
const SECRETS_PATIENCE: Duration = Duration::from_secs(10);

/// Owns OAuth clients' secrets and one shared token cache, and answers `usher` on a Unix socket.
///
/// Exit codes: 0 stopped as asked, 64 wrong usage, 71 the system refused, 75 another usherd already
/// serves the socket, 78 the configuration or the socket's directory is not right.
#[derive(Parser)]
#[command(name = "usherd", version, after_help = EXAMPLE)]
struct Args {
    /// The configuration [default: `$XDG_CONFIG_HOME/usher/config.toml`]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Check the configuration and its secrets, print every mistake with its line, and exit
    #[arg(long)]
    check_config: bool,

    /// How log lines on stderr look
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    log_format: LogFormat,

    /// The least important log lines to write: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = Level::INFO)]
    log_level: Level,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

/// Exit codes of sysexits.h.
mod exit {
    pub(crate) const USAGE: u8 = 64;
    pub(crate) const OSERR: u8 = 71;
    pub(crate) const TEMPFAIL: u8 = 75;
    pub(crate) const CONFIG: u8 = 78;
}

fn main() -> ExitCode {
    // Before anything is opened that could land on a standard descriptor, and before anybody knows our pid.
    if os::harden::fill_standard_descriptors().and_then(|()| os::harden::ignore_hangup()).is_err() {
        return ExitCode::from(exit::OSERR);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(message) => {
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Up to here there is one thread, as taking secrets out of the environment needs; the log has its own.
    let begun = begin(&args);
    let _flush_at_the_end = log(args.log_format, args.log_level);
    match begun.and_then(|begun| if args.check_config { check(begun) } else { serve(begun) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }
}

/// What is known before anything is served.
struct Begun {
    config_path: PathBuf,
    home: Option<PathBuf>,
    profiles: Profiles,
    /// Secrets that were in the environment.
    environment: HashMap<String, SecretString>,
}

/// Hardens the process, then reads the configuration.
fn begin(args: &Args) -> Result<Begun, Failure> {
    os::harden::process()
        .map_err(|error| Failure::new(exit::OSERR, anyhow!("cannot harden the process: {error}")))?;
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let config_path = config_path(args.config.clone(), home.as_deref())
        .map_err(|error| Failure::new(exit::CONFIG, error))?;
    let profiles = lifecycle::load(&config_path, home.as_deref())
        .map_err(|report| Failure::new(exit::CONFIG, report))?;
    #[expect(unsafe_code, reason = "the environment is changed")]
    // SAFETY: no thread has been started yet.
    let environment = unsafe { os::environment::take(environment_names(&profiles)) };
    Ok(Begun { config_path, home, profiles, environment })
}

fn serve(begun: Begun) -> Result<(), Failure> {
    let socket = usher_proto::socket::path(|name| std::env::var_os(name))
        .map_err(|error| Failure::new(exit::CONFIG, error))?;
    let listener = Listener::bind(&socket).map_err(|error| {
        let code = match &error {
            ListenError::Occupied { .. } => exit::TEMPFAIL,
            ListenError::Io { .. } => exit::OSERR,
            _ => exit::CONFIG,
        };
        Failure::new(code, error)
    })?;
    let descriptors = os::harden::raise_descriptor_limit().map_err(|error| {
        Failure::new(exit::OSERR, anyhow!("cannot raise the limit of descriptors: {error}"))
    })?;
    let Begun { config_path, home, profiles, environment } = begun;
    let parts = Parts {
        profiles,
        config_path,
        home,
        environment,
        policy: Policy::owner_only(os::effective_uid()),
        // The rest is for the log, files, and connections to IdPs.
        max_connections: usize::try_from(descriptors.saturating_sub(64)).unwrap_or(usize::MAX).clamp(1, 8192),
    };
    // reqwest asks for the process's provider of cryptography; nobody else has set one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    block_on(usher_daemon::run(parts, listener))?.map_err(|error| Failure::new(exit::OSERR, error))
}

/// Says what the configuration is worth: it has no mistakes, but a secret may be missing.
fn check(begun: Begun) -> Result<(), Failure> {
    let Begun { config_path, profiles, environment, .. } = begun;
    let sources = Sources::new(environment);
    let count = profiles.by_name.len();
    let unreadable = unreadable(&sources, profiles.by_name.into_values(), SECRETS_PATIENCE);
    for (profile, error) in block_on(unreadable)? {
        warn!(profile, %error, "secret unavailable");
    }
    let profiles = if count == 1 { "profile" } else { "profiles" };
    info!("{}: {count} {profiles}, no problems", config_path.display());
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
        .map_err(|error| Failure::new(exit::OSERR, anyhow!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(outcome)
}

/// `--config`, else the XDG place. Absolute, so that a reload reads the same file.
fn config_path(given: Option<PathBuf>, home: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return std::path::absolute(&path).context("cannot tell the current directory");
    }
    let xdg = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let directory = xdg.or_else(|| home.map(|home| home.join(".config")));
    let directory = directory.context("no place for the configuration: set HOME, or give --config FILE")?;
    Ok(directory.join("usher/config.toml"))
}

/// The variables that the configuration names as secrets.
fn environment_names(profiles: &Profiles) -> impl Iterator<Item = &str> {
    profiles.by_name.values().filter_map(|profile| match profile.grant.secret() {
        SecretRef::Env(name) => Some(name.as_str()),
        SecretRef::File(_) => None,
    })
}

/// Lines that wait for a stderr that is slow to take them. Those beyond are dropped.
const WAITING_LINES: usize = 1024;

/// Logs go to stderr, by a thread of their own: a terminal that is stopped, or a pipe that nobody reads,
/// must not stop the daemon. The level is for usher's own lines; other crates' are only heard when
/// something is wrong, since what they write at lower levels is made of what passes through them.
fn log(format: LogFormat, level: Level) -> WorkerGuard {
    let targets = Targets::new()
        .with_default(Level::WARN)
        .with_target("usher_daemon", level)
        .with_target("usherd", level);
    let stderr = std::io::stderr();
    let ansi = std::io::IsTerminal::is_terminal(&stderr);
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
    let (writer, guard) = builder.thread_name("log").finish(stderr);
    let registry = tracing_subscriber::registry().with(targets);
    match format {
        LogFormat::Human => registry.with(fmt::layer().with_writer(writer).with_ansi(ansi)).init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(writer)).init(),
    }
    guard
}

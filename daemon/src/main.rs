//! usherd. Reads top-down: arguments, logs, hardening, configuration, socket, run, exit code.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use os::listener::{ListenError, Listener};
use tokio::runtime::{Builder, Runtime};
use tracing::{Level, error, info, warn};
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
    // Before anything is opened that could land on a standard descriptor.
    if os::harden::fill_standard_descriptors().is_err() {
        return ExitCode::from(exit::OSERR);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(message) => {
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    log(args.log_format, args.log_level);
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

struct Failure {
    code: u8,
    error: anyhow::Error,
}

fn start(args: &Args) -> Result<(), Failure> {
    let failed = |code| move |error| Failure { code, error };
    os::harden::process().context("cannot harden the process").map_err(failed(exit::OSERR))?;
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let config_path = config_path(args.config.clone(), home.as_deref()).map_err(failed(exit::CONFIG))?;
    let profiles = lifecycle::load(&config_path, home.as_deref());
    let profiles = profiles.map_err(anyhow::Error::from).map_err(failed(exit::CONFIG))?;
    #[expect(unsafe_code, reason = "the environment is changed")]
    // SAFETY: no thread has been started yet.
    let environment = unsafe { os::environment::take(environment_names(&profiles)) };
    if args.check_config {
        return check(&config_path, profiles, environment).map_err(failed(exit::OSERR));
    }

    let socket = usher_proto::socket::path(|name| std::env::var_os(name))
        .map_err(anyhow::Error::from)
        .map_err(failed(exit::CONFIG))?;
    let listener = Listener::bind(&socket).map_err(|error| {
        let code = match &error {
            ListenError::Occupied { .. } => exit::TEMPFAIL,
            ListenError::Io { .. } => exit::OSERR,
            _ => exit::CONFIG,
        };
        Failure { code, error: error.into() }
    })?;
    let descriptors = os::harden::raise_descriptor_limit()
        .context("cannot raise the limit of descriptors")
        .map_err(failed(exit::OSERR))?;
    let parts = Parts {
        profiles,
        config_path,
        home,
        environment,
        policy: Policy::owner_only(os::effective_uid()),
        // The rest is for the log, files, and connections to IdPs.
        max_connections: usize::try_from(descriptors.saturating_sub(64)).unwrap_or(usize::MAX).max(1),
    };
    serve(parts, listener).map_err(failed(exit::OSERR))
}

/// Says what the configuration is worth: it has no mistakes, but a secret may be missing.
fn check(path: &Path, profiles: Profiles, environment: HashMap<String, SecretString>) -> anyhow::Result<()> {
    let sources = Sources::new(environment);
    let count = profiles.by_name.len();
    let unreadable = unreadable(&sources, profiles.by_name.into_values(), SECRETS_PATIENCE);
    for (profile, error) in runtime()?.block_on(unreadable) {
        warn!(profile, %error, "secret unavailable");
    }
    let profiles = if count == 1 { "profile" } else { "profiles" };
    info!("{}: {count} {profiles}, no problems", path.display());
    Ok(())
}

fn serve(parts: Parts, listener: Listener) -> anyhow::Result<()> {
    // reqwest asks for the process's provider of cryptography; nobody else has set one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(runtime()?.block_on(usher_daemon::run(parts, listener))?)
}

/// One thread: calls are short, and a second one costs each of them more than it gives. Files and names
/// are read in others, of which hung file systems may take some.
fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(64).build().context("cannot start the runtime")
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

/// Logs go to stderr. The level is for usher's own lines; other crates' are only heard when something
/// is wrong, since what they write at lower levels is made of what passes through them.
fn log(format: LogFormat, level: Level) {
    let targets = Targets::new()
        .with_default(Level::WARN)
        .with_target("usher_daemon", level)
        .with_target("usherd", level);
    let stderr_is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let registry = tracing_subscriber::registry().with(targets);
    match format {
        LogFormat::Human => {
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(stderr_is_terminal)).init();
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
    }
}

//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing::Level;

const EXAMPLE: &str = "\
A configuration begins like this:

  [profile.frontdoor]
  preset        = \"netfoundry-frontdoor\"
  idp           = \"acme.example.com\"
  client_id     = \"YOUR_CLIENT_ID\"
  client_secret = { file = \"/path/to/a/file/of/mode/600\" }";

/// Owns OAuth clients' secrets and one shared token cache, and answers `usher` on a Unix socket.
///
/// Exit codes: 0 stopped as asked, 64 wrong usage, 71 the system refused, 75 another usherd already
/// serves the socket, 78 the configuration or the socket's directory is not right.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(name = "usherd", version, after_help = EXAMPLE)]
pub struct Args {
    /// The configuration [default: `$XDG_CONFIG_HOME/usher/config.toml`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration and its secrets, print every mistake with its line, and exit
    #[arg(long)]
    pub check_config: bool,

    /// How log lines on stderr look
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,

    /// The least important log lines to write: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = Level::INFO)]
    pub log_level: Level,

    /// Go into the background: a session of its own, logs in `$XDG_STATE_HOME/usher/usherd.log`, and a line
    /// on stdout once there is an answer to whoever waits. What `usher` starts, if it finds no usherd
    #[arg(long, conflicts_with_all = ["check_config", "once"])]
    pub background: bool,

    /// Serve the one caller whose socket is stdin, without a place for others, until it hangs up
    #[arg(long, conflicts_with = "check_config")]
    pub once: bool,

    /// Take a profile named `env` from variables such as `USHER_CLIENT_ID` in place of a configuration
    #[arg(long, requires = "once", conflicts_with = "config")]
    pub from_env: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

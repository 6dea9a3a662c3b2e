//! What each verb takes.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::{Asked, Manner, Wanted};
use crate::{
    time::parse_interval,
    token_file::parse_mode,
    variable::{Name, Variable, parse_name, parse_variable},
};

const VARIABLE: &str = "A variable and what goes into it: token, authorization (the header's value), header (its \
                        whole line) or expires_at (epoch seconds); repeat it for more [default: USHER_TOKEN, or \
                        those of NetFoundry's tools]";

/// `usher token`
#[derive(Debug, clap::Args)]
pub struct Token {
    /// Whose.
    #[command(flatten)]
    pub asked: Asked,
    /// Print JSON, errors (on stderr) included
    #[arg(long)]
    pub json: bool,
    /// Ask the IdP for this one token, without a daemon and its cache: for CI jobs
    #[arg(long, conflicts_with = "rejected")]
    pub once: bool,
    /// Take the profile from variables: `USHER_CLIENT_ID` is its `client_id`, and so on for every key
    #[arg(long, requires = "once", conflicts_with_all = ["rejected", "output"])]
    pub from_env: bool,
    /// Into what file.
    #[command(flatten)]
    pub file: IntoFile,
    /// What to print; `github` is for `>> "$GITHUB_OUTPUT"`, and masks the token in the log first
    #[arg(long, value_enum, default_value_t = Format::Plain, requires = "once", conflicts_with_all = ["json", "rejected", "output"])]
    pub format: Format,
}

/// A file in place of stdout.
#[derive(Debug, clap::Args)]
pub struct IntoFile {
    /// Write the token into this file in place of printing it; it is replaced as a whole
    #[arg(long, value_name = "FILE", conflicts_with = "once")]
    pub output: Option<PathBuf>,
    /// The file's mode, for readers other than you [default: 0600]
    #[arg(long, value_name = "MODE", requires = "output", value_parser = parse_mode)]
    pub mode: Option<u32>,
    /// Go on, and replace the file with each next token before the one in it expires; when that is, usherd
    /// decides, so that --min-ttl does not go with it
    #[arg(long, requires = "output", conflicts_with_all = ["rejected", "min_ttl"])]
    pub follow: bool,
}

/// How a token is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The token alone.
    Plain,
    /// As `--json`.
    Json,
    /// `name=value` lines for GitHub Actions.
    Github,
}

/// `usher stop`
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
}

/// `usher header`
#[derive(Debug, clap::Args)]
pub struct Header {
    /// Whose.
    #[command(flatten)]
    pub asked: Asked,
}

/// `usher curl`
#[derive(Debug, clap::Args)]
pub struct Curl {
    /// The profile's name.
    #[arg(short, long, help = "The profile [default: $USHER_PROFILE, else the one whose urls match]")]
    pub profile: Option<String>,
    /// What token.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Options and URLs for curl
    #[arg(value_name = "CURL-ARGS", trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    pub args: Vec<OsString>,
}

/// `usher status`
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Only this profile
    pub profile: Option<String>,
    /// Show it again and again, every so many seconds [default: 2], until Ctrl-C; with --json a line each time
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = parse_watch)]
    pub watch: Option<Duration>,
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
}

/// An interval. What stands behind `--watch` is taken for one, a profile, too.
fn parse_watch(text: &str) -> Result<Duration, String> {
    parse_interval(text).map_err(|error| {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            error
        } else {
            format!("no number of seconds; a profile goes before it: `usher status {text} --watch`")
        }
    })
}

/// `usher reload`
#[derive(Debug, clap::Args)]
pub struct Reload {
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
}

/// `usher forget`
#[derive(Debug, clap::Args)]
pub struct Forget {
    /// The profile
    pub profile: String,
    /// Have the tokens revoked at the IdP, too
    #[arg(long)]
    pub revoke: bool,
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
}

/// `usher run`
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The profile's name.
    #[arg(short, long, help = "The profile [default: $USHER_PROFILE, else usherd's choice]")]
    pub profile: Option<String>,
    /// In which variables.
    #[command(flatten)]
    pub variables: Variables,
    /// Keep the token in this file, mode 0600, for as long as the command runs, each before it expires, which
    /// --min-ttl cannot change; no variable holds it then but those of --env
    #[arg(long, value_name = "FILE", conflicts_with = "min_ttl")]
    pub refresh_file: Option<PathBuf>,
    /// What token.
    #[command(flatten)]
    pub wanted: Wanted,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required = true, num_args = 1..)]
    pub command: Vec<OsString>,
}

/// In which variables a command finds the token.
#[derive(Debug, clap::Args)]
pub struct Variables {
    /// Variables, and what goes into each.
    #[arg(long = "env", value_name = "NAME[=WHAT]", value_parser = parse_variable, help = VARIABLE)]
    pub env: Vec<Variable>,
    /// The same as --env NAME=authorization
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub header_env: Vec<Name>,
}

/// `usher env`
#[derive(Debug, clap::Args)]
pub struct Env {
    /// Whose.
    #[command(flatten)]
    pub asked: Asked,
    /// Print what takes the variables away again: the profile's, or without one all of them
    #[arg(long)]
    pub unset: bool,
    /// Whose language to print
    #[arg(long, value_name = "SHELL", value_enum, default_value_t = Syntax::Sh)]
    pub shell: Syntax,
}

/// The languages of `usher env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Syntax {
    /// sh, bash, zsh and whatever else follows POSIX
    Sh,
    /// fish
    Fish,
}

/// `usher use`
#[derive(Debug, clap::Args)]
pub struct Use {
    /// The profile that is to be the default; without it the present one is printed
    pub profile: Option<String>,
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
}

/// `usher inspect`
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// Whose.
    #[command(flatten)]
    pub asked: Asked,
    /// Print JSON, errors (on stderr) included
    #[arg(long)]
    pub json: bool,
}

/// `usher service`
#[derive(Debug, clap::Args)]
pub struct Service {
    /// What about it.
    #[command(subcommand)]
    pub command: ServiceCommand,
}

/// The verbs of `usher service`.
#[derive(Debug, clap::Subcommand)]
pub enum ServiceCommand {
    /// Install the units, with the usherd beside this usher, and have systemd listen
    #[command(after_help = "\
Can be repeated, after an update, say. Unit files that somebody else wrote are left as they are. An usherd that \
was started without systemd is ended first.")]
    Install,
    /// Stop usherd, and take back what install did
    Uninstall,
    /// Show what is installed, what runs, and whether it goes on when you log out
    Status(ServiceStatus),
}

/// `usher service status`
#[derive(Debug, clap::Args)]
pub struct ServiceStatus {
    /// Print JSON, errors (on stderr) included
    #[arg(long)]
    pub json: bool,
}

/// `usher completions`
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// Whose completions
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The shells with completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// `usher man`
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Write usher.1 and a page for each command into this directory, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

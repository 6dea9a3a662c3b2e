//! What can be typed, and its help texts. Definitions alone: completions and manual pages are made of them.

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::time::{parse_deadline, parse_duration};

mod helper;
mod helper_install;
mod verbs;

pub use helper::{Helper, HelperCommand, Protocol};
pub use helper_install::{
    Consent, HelperInstall, HelperPrint, HelperUninstall, InstallDocker, InstallGit, InstallTool, Place,
    PrintTool, Tool,
};
pub use verbs::{
    Completions, Curl, Env, Forget, Format, Header, Inspect, IntoFile, Man, Reload, Run, Service,
    ServiceCommand, ServiceStatus, Shell, Status, Stop, Syntax, Token, Use, Variables,
};

const ABOUT: &str = "Short-lived tokens from the daemon that owns the secrets";

const EXAMPLES: &str = "\
Examples:
  usher token frontdoor                      print an access token
  curl -H @<(usher header frontdoor) URL     send it, without showing it to `ps`
  usher curl -p frontdoor /shares            the same, below the profile's base_url
  usher status                               how each profile fares

Exit codes: 0 done; 64 wrong use; 69 IdP or usherd cannot be reached; 70 a fault of usher; 74 output \
cannot be written; 75 try again later; 77 refused; 78 configuration or secret. `usher curl` exits as \
curl does once curl runs, and `usher run` as its command.";

const REJECTED: &str = "The token_id of a token that the API has refused: a new one is fetched in its place";

/// The command line of `usher`.
#[derive(Debug, Parser)]
#[command(
    name = "usher",
    about = ABOUT,
    after_help = EXAMPLES,
    disable_version_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Args {
    /// Print the versions of usher and of the running usherd
    #[arg(short = 'V', long)]
    pub version: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print an access token
    #[command(after_help = "\
Examples:
  usher token frontdoor
  usher token frontdoor --min-ttl 45m          for a job that runs 45 minutes
  usher token frontdoor --scope frontdoor.read
  usher token frontdoor --json | jq -r .expires_in
  usher token frontdoor --output /run/app/token --mode 0640 --follow")]
    Token(Token),
    /// Print an Authorization header
    #[command(after_help = "\
Examples:
  curl -H @<(usher header frontdoor) https://api.example.com/shares
  usher header automation                      works for static Basic profiles alike")]
    Header(Header),
    /// Run curl with the Authorization header added, where the profile's token may be sent
    #[command(
        override_usage = "usher curl [OPTIONS] [--] CURL-ARGS...",
        after_help = "\
usher's options come first; everything from the first thing that is not one of them goes to curl.

The token is in no argument and no environment variable, and is cut out of what -v prints. URLs have to \
lie within the profile's `urls`; a path such as /shares is taken below its base_url. Options of curl that \
could carry the token elsewhere are refused. The exit code is curl's.

Examples:
  usher curl -p frontdoor /shares
  usher curl -p frontdoor -sS -X POST --json '{\"name\":\"demo\"}' /shares
  usher curl https://api.example.com/shares    the profile follows from the URL"
    )]
    Curl(Curl),
    /// Run a command with the token in its environment, and in nobody else's
    #[command(
        override_usage = "usher run [OPTIONS] -- COMMAND [ARGS]...",
        after_help = "\
The command takes usher's place: its signals and its exit code are its own. 127 says that it was not \
found, 126 that it could not be run.

A token in an environment is readable by everything that the command starts, and is never renewed: ask for \
enough time with --min-ttl, or have the command ask `usher token` itself, or read the file of --refresh-file, \
which holds a valid one for as long as the IdP answers in time. A file that was there before is replaced. usher stays beside the command then, and takes the file away after it.

Examples:
  usher run -p prod -- nfctl list networks         NETFOUNDRY_API_TOKEN, MOPENV and MOPURL are set
  usher run -p tf --min-ttl 45m --env TF_TOKEN_app_example_com -- terraform apply
  usher run -p prod --refresh-file ~/.cache/prod.token -- ./long-job
  usher run -p prod --header-env API_AUTH -- sh -c 'curl -H \"Authorization: $API_AUTH\" URL'"
    )]
    Run(Run),
    /// Print shell commands that set the token in the shell's environment
    #[command(after_help = "\
The presets of NetFoundry set what its own tools read: NETFOUNDRY_API_TOKEN, MOPENV and MOPURL. All others \
set USHER_TOKEN. The token is not renewed there; `usher run` keeps it out of the shell.

Examples:
  eval \"$(usher env prod)\"
  eval \"$(usher env --unset)\"
  usher env prod --shell fish | source")]
    Env(Env),
    /// Show or set the default profile
    #[command(after_help = "\
Writes default_profile into the configuration that usherd reads, keeps all else of it as it is, and has it \
read again. With errors in the configuration nothing changes.

Examples:
  usher use             which one it is
  usher use staging")]
    Use(Use),
    /// Show what a token says about itself
    #[command(after_help = "\
Shows the claims of a JWT. No signature is checked, and neither the token nor its signature is printed.

Examples:
  usher inspect prod
  usher inspect prod --json | jq .claims.aud")]
    Inspect(Inspect),
    /// End usherd; calls in flight are finished first
    Stop(Stop),
    /// Show the daemon, its profiles and their tokens
    #[command(after_help = "\
Examples:
  usher status
  usher status frontdoor --json
  usher status --watch
  usher status --watch 10 --json >> status.ndjson")]
    Status(Status),
    /// Have usherd read its configuration again
    #[command(after_help = "With errors in the configuration nothing changes; they are printed.")]
    Reload(Reload),
    /// Drop a profile's cached tokens
    #[command(after_help = "\
Without --revoke the tokens stay valid at the IdP until they expire. What cannot be revoked at once is tried \
again by usherd; `usher status` shows it.

Examples:
  usher forget frontdoor
  usher forget frontdoor --revoke")]
    Forget(Forget),
    /// Have systemd start usherd with the first call
    #[command(after_help = "\
Installs usherd.socket and usherd.service for the user's systemd, which then listens and starts usherd when \
somebody calls. docs/systemd.md has more: linger, credentials, what the sandbox takes away.

Examples:
  usher service install
  usher service status")]
    Service(Service),
    /// Answer git, docker and others that ask for credentials
    #[command(after_help = "\
These programs call a helper by a name of its own, such as git-credential-usher: a symbolic link of that name \
to usher does it. docs/ has a page for each.

Examples:
  git config --global credential.helper usher
  usher helper git --help")]
    Helper(Helper),
    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  usher completions bash > ~/.local/share/bash-completion/completions/usher
  usher completions zsh > ~/.zfunc/_usher       with ~/.zfunc in fpath, before compinit
  usher completions fish > ~/.config/fish/completions/usher.fish")]
    Completions(Completions),
    /// Print the manual page, or write those of all commands
    #[command(after_help = "\
Examples:
  usher man | man -l -
  usher man --dir ~/.local/share/man/man1")]
    Man(Man),
}

/// What token is wanted, and for how long to wait.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// How long the token should remain valid at least, such as 45m or 1h30m; a plain number is seconds
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    pub min_ttl: Option<Duration>,
    /// A scope to ask for; repeat it, or give several with spaces or commas between [default: the profile's]
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// The audience to ask for [default: the profile's]
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Option<String>,
    /// How long to wait for the token
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_deadline, allow_hyphen_values = true)]
    pub timeout: Duration,
}

/// How to talk to usherd about itself.
#[derive(Debug, clap::Args)]
pub struct Manner {
    /// Print JSON, errors (on stderr) included
    #[arg(long)]
    pub json: bool,
    /// How long to wait for usherd
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_deadline, allow_hyphen_values = true)]
    pub timeout: Duration,
}

/// Whose token is wanted, and in whose place.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// The profile's name.
    #[arg(help = "The profile [default: $USHER_PROFILE, else usherd's choice]")]
    pub profile: Option<String>,
    /// The same as an option, for hands that have learnt `usher curl -p`.
    #[arg(short = 'p', long = "profile", value_name = "PROFILE", hide = true, conflicts_with = "profile")]
    pub profile_option: Option<String>,
    /// What token.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Names a token that the API has refused.
    #[arg(long, value_name = "TOKEN_ID", help = REJECTED)]
    pub rejected: Option<String>,
}

#[cfg(test)]
mod tests;

//! What can be typed, and its help texts. Definitions alone: completions and manual pages are made of them.

use std::{ffi::OsString, time::Duration};

use clap::{Parser, Subcommand};

use crate::time::{parse_deadline, parse_duration};

const ABOUT: &str = "Short-lived tokens from the daemon that owns the secrets";

const EXAMPLES: &str = "\
Examples:
  usher token frontdoor                      print an access token
  curl -H @<(usher header frontdoor) URL     send it, without showing it to `ps`
  usher curl -p frontdoor /shares            the same, below the profile's base_url
  usher status                               how each profile fares

Exit codes: 0 done; 64 wrong use; 69 IdP or usherd cannot be reached; 70 a fault of usher; 74 output \
cannot be written; 75 try again later; 77 refused; 78 configuration or secret. `usher curl` exits as \
curl does once curl runs.";

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
  usher token frontdoor --json | jq -r .expires_in")]
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
    /// Show the daemon, its profiles and their tokens
    #[command(after_help = "\
Examples:
  usher status
  usher status frontdoor --json")]
    Status(Status),
    /// Have usherd read its configuration again
    #[command(after_help = "With errors in the configuration nothing changes; they are printed.")]
    Reload(Reload),
    /// Drop a profile's cached tokens
    #[command(after_help = "The tokens stay valid at the IdP until they expire.")]
    Forget(Forget),
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

/// `usher token`
#[derive(Debug, clap::Args)]
pub struct Token {
    /// Whose.
    #[command(flatten)]
    pub asked: Asked,
    /// Print JSON, errors (on stderr) included
    #[arg(long)]
    pub json: bool,
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
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
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
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curl(args: &[&str]) -> Curl {
        let all = ["usher", "curl"].iter().chain(args);
        match Args::try_parse_from(all).unwrap().command {
            Some(Command::Curl(curl)) => curl,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definitions_are_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn curl_gets_everything_from_the_first_foreign_argument() {
        let cases: [(&[&str], &[&str]); 7] = [
            (&["-p", "f", "/shares"], &["/shares"]),
            (&["-p", "f", "-sSfo", "out", "/shares"], &["-sSfo", "out", "/shares"]),
            (&["-p", "f", "/shares", "-p"], &["/shares", "-p"]),
            (&["-p", "f", "--", "-X", "POST", "/s"], &["-X", "POST", "/s"]),
            (&["--profile", "f", "--json", "{}", "/s"], &["--json", "{}", "/s"]),
            (&["-p", "f", "-v", "--scope", "x", "/s"], &["-v", "--scope", "x", "/s"]),
            (&["-p", "f", "-s", "--", "/s"], &["-s", "--", "/s"]),
        ];
        for (given, passed) in cases {
            let parsed = curl(given);
            assert_eq!(parsed.profile.as_deref(), Some("f"), "{given:?}");
            assert_eq!(parsed.args, passed, "{given:?}");
        }
    }

    #[test]
    fn curl_takes_ushers_options_first() {
        let parsed = curl(&["--scope", "a", "--scope=b", "--min-ttl", "5m", "--audience", "x", "/s"]);
        assert_eq!(parsed.wanted.scopes, ["a", "b"]);
        assert_eq!(parsed.wanted.min_ttl, Some(Duration::from_secs(300)));
        assert_eq!(parsed.wanted.audience.as_deref(), Some("x"));
        assert_eq!(parsed.args, ["/s"]);
    }
}

//! git's credential helper (gitcredentials(7), git-credential(1)): a token where a profile owns the host, else what
//! was stored. docs/git.md is about it.

use std::{ffi::OsString, time::Duration};

use clap::{CommandFactory as _, Parser};
use secrecy::{ExposeSecret as _, SecretString};
use usher_proto::{
    error::ErrorReason,
    v1::{
        Credential, CredentialPlace, EraseCredentialRequest, GetCredentialRequest, StoreCredentialRequest,
        credential_place::{Form, Parts},
        get_credential_response,
    },
};
use zeroize::Zeroizing;

use super::{DEADLINE, FAILED};
use crate::{
    call::with_started_daemon, caller::Caller, command::proto_duration, error::Error, exit, report,
    time::parse_deadline,
};

mod answer;
mod challenge;
mod parse;
mod state;

use answer::Round;
pub use answer::{Answer, Given, Unspeakable, render};
pub use parse::{Malformed, Request, parse};
pub use state::{Scheme, State};

/// What git calls, for the helper `usher`.
pub(super) const ARGV0: &str = "git-credential-usher";

/// Who stores.
const COLLECTION: &str = "git";

/// What git 2.46 and later ask for with `capability`.
const CAPABILITIES: &str = "version 0\ncapability authtype\ncapability state\n";

/// Answer git, as git-credential-usher
#[derive(Debug, Parser)]
#[command(
    name = "git",
    bin_name = "usher helper git",
    no_binary_name = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
git calls this. It gives a token where a profile's urls own the host, else what git has stored here.

Examples:
  git config --global credential.helper usher
  git config --global credential.helper 'usher --persist'
  git config --global credential.https://git.example.com.helper 'usher -p forge'"
)]
struct Options {
    /// The only profile that may answer [default: whichever owns the place]
    #[arg(short, long)]
    profile: Option<String>,
    /// How long what git stores is kept in memory, in seconds or as 15m [default: 900]
    #[arg(long, value_name = "DURATION", value_parser = parse_deadline, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    /// Keep what git stores on disk, encrypted, until it is erased
    #[arg(long, conflicts_with = "timeout")]
    persist: bool,
    /// get, store, erase or capability; any other is ignored, as git asks
    operation: OsString,
}

/// What it takes.
pub(super) fn command() -> clap::Command {
    Options::command()
}

/// Answers git.
pub(super) fn run(args: &[OsString], caller: &mut Caller<'_>) -> Result<u8, Error> {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => return report::usage(&error, caller),
    };
    let outcome = match options.operation.to_str() {
        Some("get") => get(&options, caller),
        Some("store") => store(&options, caller),
        Some("erase") => erase(&options, caller),
        Some("capability") => caller.answer(CAPABILITIES),
        _ => Ok(()),
    };
    match outcome {
        Ok(()) => Ok(exit::OK),
        Err(error @ (Error::Input(_) | Error::Refused(_))) => {
            report::failure(&error, caller);
            Ok(FAILED)
        }
        Err(error) => Err(error),
    }
}

fn get(options: &Options, caller: &mut Caller<'_>) -> Result<(), Error> {
    let Some(request) = read(caller)? else { return Ok(()) };
    let round = Round::of(&request);
    let message = GetCredentialRequest {
        collection: COLLECTION.to_owned(),
        place: Some(place(&request)),
        username: request.username.clone(),
        profile: options.profile(),
        min_ttl: None,
        rejected_token_id: if let Round::Anew(token_id) = round {
            token_id.to_owned()
        } else {
            String::new()
        },
        persist: options.persist,
    };
    let answer = with_started_daemon(caller, DEADLINE, async |daemon| daemon.credential(message).await);
    let answer = match answer {
        Ok(answer) => answer.answer,
        Err(error) => {
            if belongs_to_a_profile(&error, options) {
                // Else git would ask the next helper, and then a person, for what is the profile's.
                caller.answer("quit=1\n")?;
            }
            return Err(error);
        }
    };
    let answer = match answer {
        Some(get_credential_response::Answer::Issued(issued)) => Answer::issued(issued, &request, &round)?,
        Some(get_credential_response::Answer::Stored(stored)) => Answer::stored(stored, &request),
        None => Answer::default(),
    };
    let lines = render(&answer).map(Zeroizing::new).map_err(|error| Error::Answer(error.to_string()))?;
    caller.pass(&lines).map_err(Error::Output)
}

/// Whether usherd has found the place's owner, or the command line names it, and it is the owner that cannot answer.
fn belongs_to_a_profile(error: &Error, options: &Options) -> bool {
    let Error::Refused(failure) = error else { return false };
    match failure.reason {
        ErrorReason::RequestInvalid | ErrorReason::UrlNotAllowed => false,
        ErrorReason::ProfileAmbiguous => true,
        ErrorReason::ProfileUnknown => options.profile.is_some(),
        _ => failure.facts.contains_key("profile"),
    }
}

fn store(options: &Options, caller: &mut Caller<'_>) -> Result<(), Error> {
    let Some(request) = read(caller)? else { return Ok(()) };
    let has_secret = request.password.is_some() || request.credential.is_some();
    // git has everything stored that worked: also what we have answered, and what is not worth it.
    if request.ephemeral || request.state.is_some() || !has_secret {
        return Ok(());
    }
    let message = StoreCredentialRequest {
        collection: COLLECTION.to_owned(),
        place: Some(place(&request)),
        credential: Some(Credential {
            username: request.username,
            password: exposed(request.password.as_ref()),
            authtype: request.authtype,
            credential: exposed(request.credential.as_ref()),
            expires_at: request
                .password_expiry_utc
                .map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
            oauth_refresh_token: exposed(request.oauth_refresh_token.as_ref()),
        }),
        timeout: options.timeout.and_then(proto_duration),
        persist: options.persist,
        profile: options.profile(),
    };
    with_started_daemon(caller, DEADLINE, async |daemon| daemon.store(message).await).map(drop)
}

fn erase(options: &Options, caller: &mut Caller<'_>) -> Result<(), Error> {
    let Some(request) = read(caller)? else { return Ok(()) };
    let message = EraseCredentialRequest {
        collection: COLLECTION.to_owned(),
        place: Some(place(&request)),
        secret: exposed(request.password.as_ref().or(request.credential.as_ref())),
        username: request.username,
        profile: options.profile(),
        persist: options.persist,
        // Who gives our state back has asked again with it before giving up.
        asks_anew: request.state.is_some(),
    };
    with_started_daemon(caller, DEADLINE, async |daemon| daemon.erase(message).await).map(drop)
}

/// What git asks; none where no helper of ours has a part in it.
fn read(caller: &mut Caller<'_>) -> Result<Option<Request>, Error> {
    let input = caller.input_until(parse::MAX_INPUT, parse::is_complete)?;
    let request = parse(&input).map_err(|malformed| {
        Error::Input(format!("what git says cannot be used, and nobody was asked: {malformed}"))
    })?;
    Ok(Some(request).filter(|request| !request.is_foreign()))
}

fn place(request: &Request) -> CredentialPlace {
    let Request { protocol, host, path, .. } = request;
    CredentialPlace {
        form: Some(Form::Parts(Parts { protocol: protocol.clone(), host: host.clone(), path: path.clone() })),
    }
}

fn exposed(secret: Option<&SecretString>) -> String {
    secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default()
}

impl Options {
    fn profile(&self) -> String {
        self.profile.clone().unwrap_or_default()
    }
}

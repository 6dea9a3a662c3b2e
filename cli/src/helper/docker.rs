//! docker's credential helper, for skopeo, podman, buildah, helm and oras as well: the protocol of
//! docker-credential-helpers, whose texts its clients compare. docs/docker.md is about it.

use std::{collections::BTreeMap, ffi::OsString, fmt, time::Duration};

use clap::{CommandFactory as _, Parser, error::ErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use usher_proto::{
    v1::{
        Credential, CredentialPlace, EraseCredentialRequest, GetCredentialRequest, IssuedCredential,
        ListCredentialsRequest, ListedCredential, StoreCredentialRequest, StoreOutcome,
        credential_place::Form, get_credential_response,
    },
    version::VERSION,
};
use zeroize::Zeroizing;

use super::{DEADLINE, FAILED};
use crate::{
    call::with_started_daemon,
    caller::{Caller, printable},
    command::proto_duration,
    error::Error,
    exit, report,
};

/// Who stores.
const COLLECTION: &str = "docker";

/// What its clients know it as.
pub(super) const ARGV0: &str = "docker-credential-usher";

/// The most that is read, in bytes.
const MAX_INPUT: usize = 1 << 20;

/// How long a token should remain valid at least: docker is told of no expiry, and asks once for a whole pull.
const MIN_TTL: Duration = Duration::from_secs(60);

/// Answer docker, podman, skopeo and others, as docker-credential-usher
#[derive(Debug, Parser)]
#[command(
    name = "docker",
    bin_name = "usher helper docker",
    no_binary_name = true,
    disable_version_flag = true,
    max_term_width = 100,
    after_help = "\
docker calls this. It gives a token where a profile's urls own the registry, else what `docker login` has stored \
here: on disk, encrypted.

Example, in ~/.docker/config.json:
  { \"credsStore\": \"usher\" }"
)]
struct Options {
    /// Keep what is stored in memory, and for 15 minutes, in place of on disk
    #[arg(long)]
    memory: bool,
    /// Print the version
    #[arg(short, long)]
    version: bool,
    /// get, store, erase, list or version
    #[arg(value_name = "ACTION", allow_hyphen_values = true)]
    action: Vec<OsString>,
}

/// Why there is no answer, in the words that docker's clients know.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// No registry.
    #[error("no credentials server URL")]
    NoServer,
    /// Nobody.
    #[error("no credentials username")]
    NoUsername,
    /// More than anybody needs.
    #[error("the request is longer than {MAX_INPUT} bytes")]
    TooLong,
    /// What two programs could read differently.
    #[error("the server URL {0}")]
    Server(&'static str),
    /// No credential.
    #[error(
        "the request is no JSON object with ServerURL, Username and Secret (line {line}, column {column})"
    )]
    Json {
        /// Where it is wrong.
        line: usize,
        /// Where in that line.
        column: usize,
    },
}

/// What `docker login` has stored.
#[derive(Debug)]
pub struct Login {
    /// The registry.
    pub server: String,
    /// The user; `<token>` where the secret is an identity token.
    pub username: String,
    /// The password, or the identity token.
    pub secret: SecretString,
}

/// What it takes.
pub(super) fn command() -> clap::Command {
    Options::command()
}

/// Answers docker: errors too on stdout.
pub(super) fn run(args: &[OsString], caller: &mut Caller<'_>) -> Result<u8, Error> {
    let outcome = match Options::try_parse_from(args) {
        Ok(options) => act(&options, caller),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return report::usage(&error, caller),
        Err(_) => Err(usage()),
    };
    match outcome {
        Ok(()) => Ok(exit::OK),
        // Nobody reads any more.
        Err(Trouble::Usher(error @ Error::Output(_))) => Err(error),
        Err(trouble) => {
            caller.answer(&format!("{}\n", printable(trouble.to_string().trim_end())))?;
            Ok(FAILED)
        }
    }
}

/// What docker is told.
enum Trouble {
    /// In the protocol's words, or our own.
    Said(String),
    /// What kept usher from it.
    Usher(Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(text) => f.write_str(text),
            Self::Usher(error) => {
                write!(f, "usher: {}", error.to_string().trim_end())?;
                error.hint_to_program().map_or(Ok(()), |hint| write!(f, " (hint: {hint})"))
            }
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Usher(error)
    }
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::Said(malformed.to_string())
    }
}

fn usage() -> Trouble {
    Trouble::Said(format!("Usage: {ARGV0} <store|get|erase|list|version>"))
}

fn act(options: &Options, caller: &mut Caller<'_>) -> Result<(), Trouble> {
    if options.version {
        return version(caller);
    }
    let [action] = &options.action[..] else { return Err(usage()) };
    match action.to_str() {
        Some("get") => get(options, caller),
        Some("store") => store(options, caller),
        Some("erase") => erase(options, caller),
        Some("list") => list(options, caller),
        Some("version") => version(caller),
        _ => Err(Trouble::Said(format!("{ARGV0}: unknown action: {}", action.display()))),
    }
}

fn version(caller: &mut Caller<'_>) -> Result<(), Trouble> {
    Ok(caller.answer(&format!("{ARGV0} (usher) {VERSION}\n"))?)
}

/// What is answered to `get`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Found<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    username: &'a str,
    secret: &'a str,
}

fn get(options: &Options, caller: &mut Caller<'_>) -> Result<(), Trouble> {
    let server = parse_server(&caller.input(MAX_INPUT)?)?;
    let message = GetCredentialRequest {
        collection: COLLECTION.to_owned(),
        place: Some(place(&server)),
        min_ttl: proto_duration(MIN_TTL),
        persist: !options.memory,
        ..Default::default()
    };
    let answer = with_started_daemon(caller, DEADLINE, async |daemon| daemon.credential(message).await)?;
    let (username, secret) = match answer.answer {
        Some(get_credential_response::Answer::Issued(issued)) => issued_login(issued, &server)?,
        Some(get_credential_response::Answer::Stored(stored)) => (stored.username, stored.password),
        None => return Err(Trouble::Said("credentials not found in native keychain".to_owned())),
    };
    let secret = Zeroizing::new(secret);
    answer_json(&Found { server: &server, username: &username, secret: &secret }, caller)
}

fn issued_login(issued: IssuedCredential, server: &str) -> Result<(String, String), Trouble> {
    let token = issued.token.ok_or_else(|| Error::Answer("usherd answered without a token".to_owned()))?;
    if issued.username.is_empty() {
        let profile = &token.profile;
        return Err(Trouble::Said(format!(
            "usher: the profile {profile} owns {server}, and has no user name to give with its token: set `username` \
             in [profile.{profile}], as the registry wants it"
        )));
    }
    Ok((issued.username, token.access_token))
}

fn store(options: &Options, caller: &mut Caller<'_>) -> Result<(), Trouble> {
    let Login { server, username, secret } = parse_store(&caller.input(MAX_INPUT)?)?;
    let message = StoreCredentialRequest {
        collection: COLLECTION.to_owned(),
        place: Some(place(&server)),
        credential: Some(Credential {
            username,
            password: secret.expose_secret().to_owned(),
            ..Default::default()
        }),
        persist: !options.memory,
        ..Default::default()
    };
    let answer = with_started_daemon(caller, DEADLINE, async |daemon| daemon.store(message).await)?;
    match answer.outcome() {
        // Else the next login would look as if it had been for something.
        StoreOutcome::Owned => Err(Trouble::Said(format!(
            "not stored: the profile {} owns this registry, and answers for it",
            answer.profile
        ))),
        StoreOutcome::Issued if answer.profile.is_empty() => Err(Trouble::Said(format!(
            "not stored: usherd has issued this token, and no profile's urls have {server}: add it to those of the \
             profile that is to answer there"
        ))),
        StoreOutcome::Stored | StoreOutcome::Issued => Ok(()),
        StoreOutcome::Unspecified => {
            Err(Error::Answer("usherd did not say whether it is stored".to_owned()).into())
        }
    }
}

fn erase(options: &Options, caller: &mut Caller<'_>) -> Result<(), Trouble> {
    let server = parse_server(&caller.input(MAX_INPUT)?)?;
    let message = EraseCredentialRequest {
        collection: COLLECTION.to_owned(),
        place: Some(place(&server)),
        persist: !options.memory,
        ..Default::default()
    };
    with_started_daemon(caller, DEADLINE, async |daemon| daemon.erase(message).await)?;
    Ok(())
}

fn list(options: &Options, caller: &mut Caller<'_>) -> Result<(), Trouble> {
    let message = ListCredentialsRequest { collection: COLLECTION.to_owned(), persist: !options.memory };
    let answer = with_started_daemon(caller, DEADLINE, async |daemon| daemon.list(message).await)?;
    // Profiles last: they answer in the place of what is stored.
    let (stored, owned): (Vec<_>, Vec<_>) =
        answer.credentials.into_iter().partition(|listed| listed.profile.is_empty());
    let users: BTreeMap<String, String> = stored.into_iter().chain(owned).filter_map(named).collect();
    answer_json(&users, caller)
}

fn named(listed: ListedCredential) -> Option<(String, String)> {
    match listed.place?.form? {
        Form::Server(server) => Some((server, listed.username)),
        Form::Parts(_) => None,
    }
}

fn answer_json(answer: &impl Serialize, caller: &mut Caller<'_>) -> Result<(), Trouble> {
    // Strings under string keys: nothing that serde_json could refuse.
    let text = Zeroizing::new(serde_json::to_string(answer).unwrap_or_default() + "\n");
    Ok(caller.answer(&text)?)
}

fn place(server: &str) -> CredentialPlace {
    CredentialPlace { form: Some(Form::Server(server.to_owned())) }
}

/// Reads which registry is meant, as `get` and `erase` have it: nothing else stands on stdin.
pub fn parse_server(input: &[u8]) -> Result<String, Malformed> {
    if input.len() > MAX_INPUT {
        return Err(Malformed::TooLong);
    }
    let server = std::str::from_utf8(input).map_err(|_| Malformed::Server("is not UTF-8"))?.trim_end();
    if server.is_empty() {
        return Err(Malformed::NoServer);
    }
    if server.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(Malformed::Server("holds a control character or a space"));
    }
    let rest = match server.split_once("://") {
        Some((scheme, rest)) if ["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http)) => {
            rest
        }
        Some(_) => return Err(Malformed::Server("is neither https nor http")),
        None => server,
    };
    if rest.is_empty() || rest.starts_with(['/', ':', '?', '#']) {
        return Err(Malformed::Server("names no host"));
    }
    Ok(server.to_owned())
}

/// The protocol's own names.
#[derive(Deserialize)]
struct Told {
    #[serde(default, rename = "ServerURL")]
    server: String,
    #[serde(default, rename = "Username")]
    username: String,
    #[serde(default, rename = "Secret")]
    secret: SecretString,
}

/// Reads what is to be stored.
pub fn parse_store(input: &[u8]) -> Result<Login, Malformed> {
    if input.len() > MAX_INPUT {
        return Err(Malformed::TooLong);
    }
    // Its message might quote the secret.
    let told: Told = serde_json::from_slice(input)
        .map_err(|error| Malformed::Json { line: error.line(), column: error.column() })?;
    let server = parse_server(told.server.as_bytes())?;
    if told.username.is_empty() {
        return Err(Malformed::NoUsername);
    }
    Ok(Login { server, username: told.username, secret: told.secret })
}

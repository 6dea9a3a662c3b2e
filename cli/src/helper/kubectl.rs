//! kubectl's credential plugin, and client-go's: `ExecCredential` of `client.authentication.k8s.io`, v1 and v1beta1.
//! docs/kubectl.md is about it.

use std::{
    ffi::OsString,
    time::{Duration, UNIX_EPOCH},
};

use clap::{CommandFactory as _, Parser};
use serde::{Deserialize, Deserializer, Serialize};
use usher_proto::v1::{GetTokenRequest, GetTokenResponse};
use zeroize::Zeroizing;

use super::DEADLINE;
use crate::{
    call::with_started_daemon,
    caller::Caller,
    command::{profile, proto_duration},
    error::Error,
    exit, report,
    time::now,
};

/// Where kubectl says what it wants.
const INFO: &str = "KUBERNETES_EXEC_INFO";

/// What it is called.
const KIND: &str = "ExecCredential";

/// How long before its end a token is said to have ended: kubectl uses it up to the last second.
const SLACK: i64 = 30;

/// How long a token should remain valid at least, with the slack.
const MIN_TTL: Duration = Duration::from_secs(60);

/// The last second that RFC 3339 can write.
const LAST: i64 = 253_402_300_799;

const PROFILE: &str = "The profile [default: the cluster's, $USHER_PROFILE, whichever owns the cluster's URL, else \
                       usherd's choice]";

/// Answer kubectl and whatever else is built on client-go
#[derive(Debug, Parser)]
#[command(
    name = "kubectl",
    bin_name = "usher helper kubectl",
    no_binary_name = true,
    max_term_width = 100,
    after_help = "\
kubectl runs this as a user's credential plugin. With provideClusterInfo the profile follows from the cluster's \
URL, and the token goes to no other.

Example:
  kubectl config set-credentials me --exec-api-version=client.authentication.k8s.io/v1 \\
    --exec-interactive-mode=Never --exec-provide-cluster-info \\
    --exec-command=usher --exec-arg=helper,kubectl"
)]
struct Options {
    /// The profile's name.
    #[arg(short, long, help = PROFILE)]
    profile: Option<String>,
    /// The audience to ask for [default: the cluster's, else the profile's]
    #[arg(long)]
    audience: Option<String>,
}

/// What kubectl says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// In which version it is to be answered.
    pub version: Version,
    /// The cluster, if the plugin is told of it (`provideClusterInfo`).
    pub cluster: Option<Cluster>,
}

/// The versions of the protocol. They differ in what kubectl demands of its own configuration alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// `client.authentication.k8s.io/v1`
    #[default]
    V1,
    /// `client.authentication.k8s.io/v1beta1`
    V1Beta1,
}

/// The cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its URL.
    pub server: String,
    /// What the kubeconfig has for us.
    pub config: Config,
}

/// What a kubeconfig can say of a cluster: its extension `client.authentication.k8s.io/exec`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// The profile.
    #[serde(default, deserialize_with = "or_default")]
    pub profile: String,
    /// The audience to ask for.
    #[serde(default, deserialize_with = "or_default")]
    pub audience: String,
    /// The scopes to ask for.
    #[serde(default, deserialize_with = "or_default")]
    pub scopes: Vec<String>,
}

/// Why nothing was made of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No `ExecCredential`.
    #[error("{INFO} is no {KIND} (line {line}, column {column})")]
    Json {
        /// Where it is wrong.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// Something else.
    #[error("{INFO} is a {0:?}, not an {KIND}")]
    Kind(String),
    /// A version that is not known.
    #[error(
        "{INFO} has the apiVersion {0:?}; usher knows client.authentication.k8s.io/v1 and v1beta1: set one of \
         them in the kubeconfig"
    )]
    Version(String),
    /// A cluster without a URL.
    #[error("{INFO} has a cluster whose server is no https or http URL")]
    Server,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    api_version: String,
    #[serde(default, deserialize_with = "or_default")]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Spec {
    cluster: Option<ToldCluster>,
}

#[derive(Deserialize)]
struct ToldCluster {
    #[serde(default, deserialize_with = "or_default")]
    server: String,
    #[serde(default, deserialize_with = "or_default")]
    config: Config,
}

/// `null` says as much as nothing at all: so do Go's programs write it.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// What it takes.
pub(super) fn command() -> clap::Command {
    Options::command()
}

/// Answers kubectl.
pub(super) fn run(args: &[OsString], caller: &mut Caller<'_>) -> Result<u8, Error> {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => return report::usage(&error, caller),
    };
    let info = match caller.var(INFO) {
        Some(text) => parse_info(&text.to_string_lossy())
            .map_err(|malformed| Error::Environment(malformed.to_string()))?,
        None => Info::default(),
    };
    let version = info.version;
    let message = request(options, info, caller)?;
    let answer = with_started_daemon(caller, DEADLINE, async |daemon| daemon.token(message).await)?;
    caller.answer(&text(version, &answer, now())?)?;
    Ok(exit::OK)
}

/// What is asked for: the command line goes before the cluster's configuration.
fn request(options: Options, info: Info, caller: &Caller<'_>) -> Result<GetTokenRequest, Error> {
    let (url, config) = match info.cluster {
        Some(Cluster { server, config }) => (server, config),
        None => Default::default(),
    };
    Ok(GetTokenRequest {
        profile: profile(options.profile.or(Some(config.profile)), caller)?,
        url,
        scopes: config.scopes,
        audience: options.audience.unwrap_or(config.audience),
        min_ttl: proto_duration(MIN_TTL),
        ..Default::default()
    })
}

/// Reads what kubectl says.
pub fn parse_info(text: &str) -> Result<Info, Malformed> {
    let told: Told = serde_json::from_str(text)
        .map_err(|error| Malformed::Json { line: error.line(), column: error.column() })?;
    if told.kind != KIND {
        return Err(Malformed::Kind(told.kind));
    }
    let known =
        [Version::V1, Version::V1Beta1].into_iter().find(|version| version.name() == told.api_version);
    let version = known.ok_or(Malformed::Version(told.api_version))?;
    let cluster = told.spec.cluster.map(cluster).transpose()?;
    Ok(Info { version, cluster })
}

/// A path would be taken below a profile's `base_url`: it has to be a URL.
fn cluster(told: ToldCluster) -> Result<Cluster, Malformed> {
    let is_http = |scheme: &str| ["https", "http"].iter().any(|http| scheme.eq_ignore_ascii_case(http));
    match told.server.split_once("://") {
        Some((scheme, rest)) if is_http(scheme) && !rest.is_empty() => {
            Ok(Cluster { server: told.server, config: told.config })
        }
        _ => Err(Malformed::Server),
    }
}

impl Version {
    /// As kubectl writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "client.authentication.k8s.io/v1",
            Self::V1Beta1 => "client.authentication.k8s.io/v1beta1",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential<'a> {
    api_version: &'a str,
    kind: &'a str,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_timestamp: Option<String>,
    token: &'a str,
}

fn text(version: Version, answer: &GetTokenResponse, now: i64) -> Result<Zeroizing<String>, Error> {
    if !answer.token_type.eq_ignore_ascii_case("Bearer") {
        return Err(Error::usage(
            format!(
                "the profile {} has a {} credential; a cluster takes Bearer tokens alone",
                answer.profile, answer.token_type
            ),
            "name a profile whose IdP issues tokens: usher helper kubectl -p PROFILE",
        ));
    }
    let expires = answer.expires_at.map(|at| timestamp(at.seconds, now));
    let status = Status { expiration_timestamp: expires, token: &answer.access_token };
    let credential = ExecCredential { api_version: version.name(), kind: KIND, status };
    // Strings under string keys: nothing that serde_json could refuse.
    Ok(Zeroizing::new(serde_json::to_string(&credential).unwrap_or_default() + "\n"))
}

/// When the token is to be thought of as expired: not in the past, or kubectl would ask without end.
fn timestamp(expires: i64, now: i64) -> String {
    let end = expires.saturating_sub(SLACK).max(now).clamp(0, LAST);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(end.unsigned_abs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_said_to_end_half_a_minute_early_and_never_before_now() {
        for (expires, now, end) in [
            (1_800_000_030, 1_700_000_000, "2027-01-15T08:00:00Z"),
            (1_800_000_030, 1_800_000_000, "2027-01-15T08:00:00Z"),
            (1_800_000_010, 1_800_000_000, "2027-01-15T08:00:00Z"),
            (1_700_000_000, 1_800_000_000, "2027-01-15T08:00:00Z"),
            (i64::MAX, 0, "9999-12-31T23:59:59Z"),
            (i64::MIN, i64::MIN, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(expires, now), end, "{expires} {now}");
        }
    }
}

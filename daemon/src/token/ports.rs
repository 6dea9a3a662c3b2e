//! What the engine needs from the world.

use std::{pin::Pin, sync::Arc, time::Duration};

use crate::domain::{
    profile::ClientCredentials,
    quota::Quota,
    record::{KeyId, Record},
    scope::ScopeSet,
    secret::{SecretRef, SecretString},
    time::Moment,
};

/// A future behind a trait object: only what is off the hot path returns one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, on both clocks.
    fn now(&self) -> Moment;

    /// Waits until so long after boot, suspend included: what came while the machine slept has come when it
    /// wakes.
    fn sleep_until(&self, boot: Duration) -> BoxFuture<'_, ()>;

    /// Ends when somebody sets the wall clock after this was called: only then do the two clocks part, but for
    /// suspend. It may end without that.
    fn wall_is_set(&self) -> BoxFuture<'_, ()>;
}

/// Keeps over a restart what must not be lost by one. Nobody's call waits for it.
pub trait Archive: Send + Sync {
    /// All that was kept. None: it cannot be read now.
    fn load(&self) -> BoxFuture<'_, Option<Vec<Kept>>>;

    /// Keeps each of these in the place of what was kept of its key; with none, keeps nothing of it. Answers
    /// those for which that failed. Not called before what was kept has been loaded: that would be lost.
    fn keep(&self, changes: Vec<(KeyId, Option<Record>)>) -> BoxFuture<'_, Vec<KeyId>>;

    /// How it fares.
    fn state(&self) -> ArchiveState;
}

/// What was kept.
#[derive(Debug)]
pub struct Kept {
    /// As it was written.
    pub record: Record,
    /// The machine has not been booted since, so that its boot clock goes on.
    pub this_boot: bool,
}

/// How an archive fares, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveState {
    /// Where it is.
    pub place: String,
    /// Where its key comes from.
    pub key: String,
    /// Whoever can read the files of its place can read the key as well.
    pub weak_key: bool,
    /// Why nothing, or not everything, is kept; none if all is.
    pub trouble: Option<String>,
}

/// Spreads what would otherwise happen everywhere at once.
pub trait Jitter: Send + Sync {
    /// A number from 0 up to, not including, 1.
    fn unit(&self) -> f64;
}

/// Resolves references to secrets.
pub trait Secrets: Send + Sync {
    /// The secret, read anew.
    fn resolve<'a>(&'a self, reference: &'a SecretRef) -> BoxFuture<'a, Result<SecretString, SecretError>>;

    /// Whether it can be had, as far as can be told without bothering anybody.
    fn check<'a>(&'a self, reference: &'a SecretRef) -> BoxFuture<'a, Result<(), SecretError>> {
        Box::pin(async move { self.resolve(reference).await.map(drop) })
    }
}

/// Why a secret cannot be had: which source, what is wrong with it, what to do. Holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

/// Asks an IdP for tokens.
pub trait Issuer: Send + Sync {
    /// Sends one token request, once, and answers within its own deadline.
    fn issue(&self, request: IssueRequest) -> BoxFuture<'_, Reply>;

    /// Has one token revoked (RFC 7009): sends one request, once, and answers within its own deadline.
    fn revoke(&self, request: RevokeRequest) -> BoxFuture<'_, Result<(), IssueError>>;
}

/// One token to be revoked.
#[derive(Debug)]
pub struct RevokeRequest {
    /// Where and how to ask.
    pub grant: ClientCredentials,
    /// The client's secret.
    pub secret: SecretString,
    /// The access token.
    pub token: SecretString,
}

/// One token request.
#[derive(Debug)]
pub struct IssueRequest {
    /// Where and how to ask.
    pub grant: ClientCredentials,
    /// The client's secret.
    pub secret: SecretString,
    /// The scopes to ask for.
    pub scopes: ScopeSet,
    /// The audience to ask for.
    pub audience: Option<Arc<str>>,
}

/// What became of a token request.
#[derive(Debug)]
pub struct Reply {
    /// The token, or why there is none.
    pub outcome: Result<Issued, IssueError>,
    /// What the IdP said besides, of how many more requests it takes.
    pub quotas: Vec<Quota>,
}

impl From<Result<Issued, IssueError>> for Reply {
    /// Nothing besides.
    fn from(outcome: Result<Issued, IssueError>) -> Self {
        Self { outcome, quotas: Vec::new() }
    }
}

/// A token response that could be understood.
#[derive(Debug)]
pub struct Issued {
    /// The access token, checked to be visible ASCII.
    pub access_token: SecretString,
    /// How long it lives from when it was asked for.
    pub expires_in: ExpiresIn,
    /// What was granted, if the IdP said so; otherwise it is what was asked for (RFC 6749 section 5.1).
    pub scopes: Option<ScopeSet>,
    /// The IdP's clock when it answered, since the Unix epoch, if it said.
    pub server_time: Option<Duration>,
}

/// `expires_in` of a token response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiresIn {
    /// Missing or null.
    Unknown,
    /// Zero or less.
    Over,
    /// More than zero.
    After(Duration),
}

/// Why a token request, or a revocation, failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct IssueError {
    /// What went wrong.
    pub kind: IssueErrorKind,
    /// A sentence for people, with the IdP's host. Holds neither bodies nor secrets.
    pub message: String,
    /// RFC 6749 section 5.2, if the IdP said.
    pub oauth_error: Option<String>,
    /// The status of the HTTP response, if there was one.
    pub http_status: Option<u16>,
    /// How long the IdP asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl IssueError {
    /// A failure of which no more is known.
    pub fn new(kind: IssueErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), oauth_error: None, http_status: None, retry_after: None }
    }

    /// Whether it is the client that was refused, whatever it asked for (RFC 6749 section 5.2).
    pub fn refuses_client(&self) -> bool {
        self.kind == IssueErrorKind::Refused
            && (self.http_status == Some(401)
                || matches!(self.oauth_error.as_deref(), Some("invalid_client" | "unauthorized_client")))
    }
}

/// Failures by what asking again can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueErrorKind {
    /// No answer. Asking again may help.
    Unreachable,
    /// The answer was "not now". Asking again may help.
    Unavailable,
    /// The answer was no token response. Asking again may help.
    Invalid,
    /// The answer was "no". Asking again does not help until something is changed.
    Refused,
    /// The IdP does not offer this at all: there is no revocation endpoint, or it does not take such tokens.
    Unsupported,
}

impl IssueErrorKind {
    /// Whether asking again, with nothing changed, may help.
    pub fn is_transient(self) -> bool {
        !matches!(self, Self::Refused | Self::Unsupported)
    }
}

//! How a failure crosses the socket: a gRPC status whose details name an [`ErrorReason`].
//!
//! The details are those of the gRPC error model (AIP-193): a `google.rpc.ErrorInfo` with the domain
//! [`DOMAIN`], and a `google.rpc.RetryInfo` where a later try can succeed. Every gRPC language has a
//! decoder for them.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub use crate::v1::ErrorReason;

/// The domain of the `ErrorInfo`.
pub const DOMAIN: &str = "usher.v1";

/// The longest message, in bytes. It travels twice, in header fields, one of them percent-encoded: clients
/// take no more than 8 or 16 KiB of these in all.
const MAX_MESSAGE: usize = 2048;
/// The longest fact, in bytes.
const MAX_FACT: usize = 256;

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

/// What a client needs to know of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What to branch on.
    pub reason: ErrorReason,
    /// A sentence for people. Holds no secret.
    pub message: String,
    /// Facts by name: `profile`, `oauth_error`, `http_status`.
    pub facts: HashMap<String, String>,
    /// How long to wait before asking again can help.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without facts.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { reason, message: cut(message.into(), MAX_MESSAGE), facts: HashMap::new(), retry_after: None }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.facts.insert(name.to_owned(), cut(value.into(), MAX_FACT));
        self
    }
}

/// The name of a reason, as it is in the `ErrorInfo`: `IDP_REFUSED`.
pub fn name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// What protobuf wants before the name of each value of the enum.
const PREFIX: &str = "ERROR_REASON_";

/// The gRPC code of each reason.
pub fn code(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::RequestInvalid => Code::InvalidArgument,
        R::ProfileUnknown => Code::NotFound,
        R::AccessDenied | R::ScopeNotAllowed | R::AudienceNotAllowed | R::UrlNotAllowed => {
            Code::PermissionDenied
        }
        R::IdpUnreachable | R::IdpUnavailable | R::IdpAnswerInvalid => Code::Unavailable,
        R::LoginNeeded => Code::Unauthenticated,
        R::RateLimited => Code::ResourceExhausted,
        R::DeadlineExceeded => Code::DeadlineExceeded,
        R::ProfileAmbiguous
        | R::ScopeNotGranted
        | R::SecretUnavailable
        | R::IdpRefused
        | R::TokenRejected
        | R::StoreUnavailable
        | R::ConfigInvalid => Code::FailedPrecondition,
        R::Internal | R::Unspecified => Code::Internal,
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut details = ErrorDetails::with_error_info(name(failure.reason), DOMAIN, failure.facts);
        if let Some(delay) = failure.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(code(failure.reason), failure.message, details)
    }
}

impl From<&Status> for Failure {
    /// The failure in a status. A status that usherd did not make has the reason `Unspecified`.
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = info
            .and_then(|info| ErrorReason::from_str_name(&format!("{PREFIX}{}", info.reason)))
            .unwrap_or_default();
        Self {
            reason,
            message: status.message().to_owned(),
            facts: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        let sent = Failure {
            retry_after: Some(Duration::from_secs(30)),
            ..Failure::new(ErrorReason::IdpRefused, "the IdP refused the client")
                .with("profile", "frontdoor")
                .with("oauth_error", "invalid_client")
        };
        let status = Status::from(sent.clone());
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(Failure::from(&status), sent);
    }

    #[test]
    fn what_is_too_long_for_a_header_is_cut() {
        let long = "\u{e4}".repeat(10_000);
        let failure = Failure::new(ErrorReason::ProfileUnknown, &long).with("profile", &long);
        assert!(failure.message.len() < 2060 && failure.message.ends_with("\u{e4} ..."));
        assert!(failure.facts["profile"].len() < 270);
    }

    #[test]
    fn a_foreign_status_has_no_reason() {
        let failure = Failure::from(&Status::unimplemented("no such method"));
        assert_eq!(failure.reason, ErrorReason::Unspecified);
        assert_eq!(failure.message, "no such method");
    }
}

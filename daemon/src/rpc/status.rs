//! The one place where the engine's errors become gRPC statuses.

use std::time::Duration;

use http::Response;
use tonic::{Status, body::Body};
use usher_proto::error::{ErrorReason, Failure};

use crate::{
    config::Report,
    token::{
        error::TokenError,
        ports::{IssueError, IssueErrorKind},
    },
};

/// What a caller is told.
pub fn failure(error: &TokenError) -> Failure {
    let failure = Failure::new(reason(error), error.to_string());
    match error {
        TokenError::ScopeNotAllowed { profile, .. }
        | TokenError::AudienceNotAllowed { profile, .. }
        | TokenError::UrlNotAllowed { profile, .. }
        | TokenError::ScopeNotGranted { profile, .. }
        | TokenError::Secret { profile, .. }
        | TokenError::TokenRejected { profile, .. }
        | TokenError::Deadline { profile } => failure.with("profile", profile),
        TokenError::RateLimited { profile, retry_in, .. } => {
            later(failure.with("profile", profile), *retry_in)
        }
        TokenError::Issue { profile, error, retry_in } => {
            let mut failure = later(failure.with("profile", profile), *retry_in);
            if let Some(code) = &error.oauth_error {
                failure = failure.with("oauth_error", code);
            }
            if let Some(status) = error.http_status {
                failure = failure.with("http_status", status.to_string());
            }
            failure
        }
        TokenError::Invalid(_)
        // The name may be anything, even a token that was pasted.
        | TokenError::ProfileUnknown { .. }
        | TokenError::ProfileAmbiguous { .. }
        | TokenError::UrlInvalid(_)
        | TokenError::NoProfileForUrl { .. }
        | TokenError::Overtaken
        | TokenError::Internal(_) => failure,
    }
}

fn later(failure: Failure, retry_in: Duration) -> Failure {
    Failure { retry_after: (!retry_in.is_zero()).then_some(retry_in), ..failure }
}

fn reason(error: &TokenError) -> ErrorReason {
    match error {
        TokenError::Invalid(_) | TokenError::UrlInvalid(_) => ErrorReason::RequestInvalid,
        TokenError::ProfileUnknown { .. } => ErrorReason::ProfileUnknown,
        TokenError::ProfileAmbiguous { .. } => ErrorReason::ProfileAmbiguous,
        TokenError::ScopeNotAllowed { .. } => ErrorReason::ScopeNotAllowed,
        TokenError::AudienceNotAllowed { .. } => ErrorReason::AudienceNotAllowed,
        TokenError::UrlNotAllowed { .. } | TokenError::NoProfileForUrl { .. } => ErrorReason::UrlNotAllowed,
        TokenError::ScopeNotGranted { .. } => ErrorReason::ScopeNotGranted,
        TokenError::Secret { .. } => ErrorReason::SecretUnavailable,
        TokenError::Issue { error, .. } => issue_reason(error),
        TokenError::RateLimited { .. } => ErrorReason::RateLimited,
        TokenError::TokenRejected { .. } => ErrorReason::TokenRejected,
        TokenError::Deadline { .. } => ErrorReason::DeadlineExceeded,
        TokenError::Overtaken | TokenError::Internal(_) => ErrorReason::Internal,
    }
}

/// The reason of a failed token request.
pub fn issue_reason(error: &IssueError) -> ErrorReason {
    match error.kind {
        IssueErrorKind::Unreachable => ErrorReason::IdpUnreachable,
        IssueErrorKind::Unavailable => ErrorReason::IdpUnavailable,
        IssueErrorKind::Invalid => ErrorReason::IdpAnswerInvalid,
        IssueErrorKind::Refused | IssueErrorKind::Unsupported => ErrorReason::IdpRefused,
    }
}

/// What a caller of Reload is told about a broken configuration.
pub fn broken_config(report: &Report) -> Failure {
    Failure::new(ErrorReason::ConfigInvalid, report.summary())
}

/// An answer as it is, but for what tonic says of a request that it cannot read: to it that is an internal
/// error, and it is the caller's. All that usher says itself comes with details.
pub(super) fn of_decoding(answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers();
    let is_internal = headers.get(Status::GRPC_STATUS).is_some_and(|code| code == "13");
    if !is_internal || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return answer;
    }
    let said = Status::from_header_map(headers);
    let said = said.as_ref().map_or("", Status::message);
    let failure = Failure::new(ErrorReason::RequestInvalid, format!("the request cannot be read: {said}"));
    Status::from(failure).into_http()
}

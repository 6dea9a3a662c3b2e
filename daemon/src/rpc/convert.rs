//! The engine's words into the contract's.

pub mod credential;

use std::time::Duration;

use prost_types::Timestamp;
use tonic::Status;
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{
        ForgetResponse, GetTokenRequest, GetTokenResponse, ProfileStatus, Quota, RemovedProfile, Revocation,
        RevocationState, StoreStatus, TokenSource, TokenState, TokenStatus, WatchTokenRequest,
        WatchTokenResponse, WatchTrouble, watch_token_response,
    },
};

use super::status::{self, issue_reason};
use crate::{
    domain::{
        profile::{Grant, Profile},
        secret::ExposeSecret as _,
        time::Moment,
    },
    token::{
        entry::{Cause, Entry},
        freshness::Freshness,
        ports::ArchiveState,
        quotas::KnownQuota,
        revocations::{Pending, Progress},
        revoke::{self, Forgotten},
        service::{Answer, Source, TokenRequest},
        watch::Event,
    },
};

/// What a caller asks for.
pub fn request(request: GetTokenRequest, patience: Duration) -> Result<TokenRequest, Status> {
    Ok(TokenRequest {
        profile: request.profile,
        url: request.url,
        scopes: request.scopes,
        audience: request.audience,
        min_ttl: span(request.min_ttl)?,
        rejected_token_id: request.rejected_token_id,
        patience,
    })
}

/// A stretch of time; none is none.
pub fn span(span: Option<prost_types::Duration>) -> Result<Duration, Status> {
    // Looked at before it is converted: its negation can overflow.
    let span = span.unwrap_or_default();
    let is_negative = span.seconds < 0 || span.nanos < 0;
    let converted = Duration::try_from(span).ok().filter(|_| !is_negative);
    converted.ok_or_else(|| {
        Failure::new(ErrorReason::RequestInvalid, "min_ttl, or timeout, must not be negative").into()
    })
}

/// What a watcher asks for.
pub fn watch(request: WatchTokenRequest) -> TokenRequest {
    let WatchTokenRequest { profile, url, scopes, audience } = request;
    TokenRequest { profile, url, scopes, audience, ..TokenRequest::default() }
}

/// What a watcher is told, at `now`.
pub fn event(event: &Event, now: Moment) -> WatchTokenResponse {
    let event = match event {
        Event::Token(token) => watch_token_response::Event::Token(answer(token)),
        Event::Trouble(error) => {
            let failure = status::failure(error);
            watch_token_response::Event::Trouble(WatchTrouble {
                reason: failure.reason.into(),
                message: failure.message,
                retry_at: failure.retry_after.map(|wait| timestamp(now.wall.saturating_add(wait))),
            })
        }
    };
    WatchTokenResponse { event: Some(event) }
}

/// What a caller gets.
pub fn answer(answer: &Answer) -> GetTokenResponse {
    let token = &answer.token;
    GetTokenResponse {
        access_token: token.access_token.expose_secret().to_owned(),
        token_type: token.scheme.as_str().to_owned(),
        authorization: token.authorization.expose_secret().to_owned(),
        expires_at: token.lifetime.map(|lifetime| timestamp(lifetime.expires_at.wall)),
        scopes: token.scopes.iter().map(str::to_owned).collect(),
        profile: answer.profile.name.clone(),
        token_id: token.id.0.clone(),
        source: match answer.source {
            Source::Cache => TokenSource::Cache,
            Source::Fetched => TokenSource::Fetched,
            Source::Refreshed => TokenSource::Refreshed,
        }
        .into(),
        below_min_ttl: answer.below_min_ttl,
        url: answer.url.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// A profile without its keys.
pub fn profile(profile: &Profile, clock_offset_seconds: Option<i64>) -> ProfileStatus {
    let token_url = match &profile.grant {
        Grant::ClientCredentials(grant) => grant.token_endpoint.configured().to_string(),
        Grant::Static(_) => String::new(),
    };
    ProfileStatus {
        name: profile.name.clone(),
        preset: profile.preset.clone(),
        grant: profile.grant.name().to_owned(),
        token_url,
        scopes: profile.scopes.iter().map(str::to_owned).collect(),
        urls: profile.urls.iter().map(ToString::to_string).collect(),
        long_lived: matches!(profile.grant, Grant::Static(_)),
        allows_loopback_http: profile.allow_loopback_http,
        secret_error: String::new(),
        tokens: Vec::new(),
        quotas: Vec::new(),
        clock_offset_seconds,
        secret_source: profile.grant.secret().to_string(),
        audience: profile.audience.as_deref().unwrap_or_default().to_owned(),
        audiences: profile.audiences.iter().map(ToString::to_string).collect(),
        base_url: profile.base_url.as_ref().map(ToString::to_string).unwrap_or_default(),
        default_scopes: profile.default_scopes.iter().map(str::to_owned).collect(),
        revocations_pending: 0,
        revocation_error: String::new(),
        revocations_given_up: 0,
        revocation_retry_at: None,
        by_name_only: profile.by_name_only,
        username: profile.username.clone().unwrap_or_default(),
    }
}

/// Where tokens are kept.
pub fn store(state: ArchiveState, pending: usize) -> StoreStatus {
    StoreStatus {
        directory: state.place,
        key_source: state.key,
        weak_key: state.weak_key,
        degraded: state.trouble.unwrap_or_default(),
        pending: count(pending),
    }
}

/// A profile that is gone, and what is still to be revoked of it.
pub fn removed(pending: Pending, name: String) -> RemovedProfile {
    RemovedProfile {
        name,
        revocations_pending: count(pending.count),
        revocation_error: pending.error.unwrap_or_default(),
        revocations_given_up: count(pending.given_up),
        revocation_retry_at: pending.retry_at.map(|at| timestamp(at.wall)),
    }
}

/// As the contract counts.
pub fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What has become of a profile's tokens.
pub fn forgotten(forgotten: Forgotten) -> ForgetResponse {
    ForgetResponse {
        forgotten: forgotten.count,
        revocations: forgotten.revocations.into_iter().map(revocation).collect(),
        advice: forgotten.advice.unwrap_or_default(),
        still_on_disk: false,
    }
}

fn revocation(revocation: revoke::Revocation) -> Revocation {
    let (state, message, retry_at) = match revocation.progress {
        Progress::Revoked => (RevocationState::Revoked, String::new(), None),
        Progress::Waiting => (RevocationState::Queued, "there is no answer yet".to_owned(), None),
        Progress::Later { why, at } => (RevocationState::Queued, why, Some(timestamp(at.wall))),
        Progress::NotPossible(why) => (RevocationState::NotPossible, why, None),
        Progress::Failed(why) => (RevocationState::Failed, why, None),
    };
    Revocation { token_id: revocation.id.0, state: state.into(), message, retry_at }
}

/// A key of a profile.
pub fn entry(entry: &Entry, now: Moment) -> TokenStatus {
    let status = entry.status(now);
    let lifetime = status.token.as_ref().and_then(|token| token.lifetime);
    let (last_error, reason) = match status.trouble.as_ref().map(|trouble| &trouble.cause) {
        None => (String::new(), ErrorReason::Unspecified),
        Some(Cause::Secret(error)) => (error.to_string(), ErrorReason::SecretUnavailable),
        Some(Cause::Issue { error, .. }) => (error.to_string(), issue_reason(error)),
    };
    let retry_in = Some(status.retry_in).filter(|wait| !wait.is_zero());
    TokenStatus {
        audience: entry.id.audience.as_deref().unwrap_or_default().to_owned(),
        scopes: entry.id.scopes.iter().map(str::to_owned).collect(),
        state: match status.freshness {
            None => TokenState::None,
            Some(Freshness::Fresh) => TokenState::Fresh,
            Some(Freshness::Ageing) => TokenState::Ageing,
            Some(Freshness::Due) => TokenState::Due,
            Some(Freshness::Expired) => TokenState::Expired,
        }
        .into(),
        expires_at: lifetime.map(|lifetime| timestamp(lifetime.expires_at.wall)),
        token_id: status.token.map(|token| token.id.0.clone()).unwrap_or_default(),
        last_used_at: status.last_used.map(|moment| timestamp(moment.wall)),
        fetched: status.fetched,
        failed: status.failed,
        served: status.served,
        last_error,
        last_error_reason: reason.into(),
        retry_at: retry_in.map(|wait| timestamp(now.wall.saturating_add(wait))),
        budget_left: status.budget_left,
        refreshed: status.refreshed,
        budget_limit: status.budget.requests,
        budget_window_seconds: status.budget.window.as_secs(),
    }
}

/// A bucket of an IdP's quota.
pub fn quota(known: KnownQuota) -> Quota {
    let KnownQuota { quota, learnt } = known;
    Quota {
        name: quota.name,
        limit: quota.limit,
        remaining: quota.remaining,
        resets_at: quota.resets_at.map(timestamp),
        learnt_at: Some(timestamp(learnt.wall)),
    }
}

/// Unix time as the contract has it.
pub fn timestamp(wall: Duration) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(wall.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(wall.subsec_nanos()).unwrap_or(0),
    }
}

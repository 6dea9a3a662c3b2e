//! `usher status --json`: everything in the answer; times as epoch seconds and, where one waits, time left.

use prost_types::Timestamp;
use serde::Serialize;
use usher_proto::v1::{
    ErrorReason, ProfileStatus, Quota, RemovedProfile, StatusResponse, StoreStatus, TokenStatus,
};

use super::{some, state_word};

#[derive(Serialize)]
pub(super) struct Daemon<'a> {
    version: &'a str,
    pid: u32,
    started_at: Option<i64>,
    socket: Option<&'a str>,
    config_path: &'a str,
    config_error: Option<&'a str>,
    config_loaded_at: Option<i64>,
    default_profile: Option<&'a str>,
    store: Option<Store<'a>>,
    credentials: Option<Credentials<'a>>,
    removed_profiles: Vec<Removed<'a>>,
    profiles: Vec<Profile<'a>>,
}

/// What credential helpers have stored.
#[derive(Serialize)]
struct Credentials<'a> {
    in_memory: u32,
    on_disk: u32,
    store: Option<Store<'a>>,
}

#[derive(Serialize)]
struct Store<'a> {
    directory: &'a str,
    key_source: &'a str,
    weak_key: bool,
    /// Why tokens are kept in memory only, for now.
    degraded: Option<&'a str>,
    /// Tokens that have changed and are not on disk yet.
    pending: u32,
}

/// A profile that is gone, and whose tokens are still to be revoked.
#[derive(Serialize)]
struct Removed<'a> {
    name: &'a str,
    revocations_pending: u32,
    revocations_given_up: u32,
    revocation_error: Option<&'a str>,
    revocation_retry_at: Option<i64>,
}

#[derive(Serialize)]
struct Profile<'a> {
    name: &'a str,
    preset: Option<&'a str>,
    grant: &'a str,
    token_url: Option<&'a str>,
    scopes: &'a [String],
    default_scopes: &'a [String],
    audience: Option<&'a str>,
    audiences: &'a [String],
    base_url: Option<&'a str>,
    urls: &'a [String],
    /// Seconds that the IdP's clock is ahead.
    clock_offset_seconds: Option<i64>,
    long_lived: bool,
    allows_loopback_http: bool,
    by_name_only: bool,
    username: Option<&'a str>,
    secret_source: Option<&'a str>,
    secret_error: Option<&'a str>,
    revocations_pending: u32,
    revocations_given_up: u32,
    revocation_error: Option<&'a str>,
    revocation_retry_at: Option<i64>,
    tokens: Vec<Token<'a>>,
    quotas: Vec<Bucket<'a>>,
}

/// A bucket of the IdP's quota.
#[derive(Serialize)]
struct Bucket<'a> {
    name: &'a str,
    limit: Option<u64>,
    remaining: u64,
    resets_at: Option<i64>,
    resets_in: Option<i64>,
    learnt_at: Option<i64>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "its keys are those of the contract")]
struct Token<'a> {
    audience: Option<&'a str>,
    scopes: &'a [String],
    state: &'static str,
    expires_at: Option<i64>,
    expires_in: Option<i64>,
    token_id: Option<&'a str>,
    last_used_at: Option<i64>,
    fetched: u64,
    refreshed: u64,
    failed: u64,
    served: u64,
    last_error: Option<&'a str>,
    last_error_reason: Option<&'static str>,
    retry_at: Option<i64>,
    retry_in: Option<i64>,
    budget_left: u32,
    budget_limit: u32,
    budget_window_seconds: u64,
}

impl<'a> Store<'a> {
    fn of(store: &'a StoreStatus) -> Self {
        Self {
            directory: &store.directory,
            key_source: &store.key_source,
            weak_key: store.weak_key,
            degraded: some(&store.degraded),
            pending: store.pending,
        }
    }
}

impl<'a> Daemon<'a> {
    pub(super) fn of(answer: &'a StatusResponse, now: i64) -> Self {
        Self {
            version: &answer.version,
            pid: answer.pid,
            started_at: seconds(answer.started_at),
            socket: some(&answer.socket),
            config_path: &answer.config_path,
            config_error: some(&answer.config_error),
            config_loaded_at: seconds(answer.config_loaded_at),
            default_profile: some(&answer.default_profile),
            store: answer.store.as_ref().map(Store::of),
            credentials: answer.credentials.as_ref().map(|held| Credentials {
                in_memory: held.in_memory,
                on_disk: held.on_disk,
                store: held.store.as_ref().map(Store::of),
            }),
            removed_profiles: answer.removed_profiles.iter().map(Removed::of).collect(),
            profiles: answer.profiles.iter().map(|profile| Profile::of(profile, now)).collect(),
        }
    }
}

impl<'a> Removed<'a> {
    fn of(removed: &'a RemovedProfile) -> Self {
        Self {
            name: &removed.name,
            revocations_pending: removed.revocations_pending,
            revocations_given_up: removed.revocations_given_up,
            revocation_error: some(&removed.revocation_error),
            revocation_retry_at: seconds(removed.revocation_retry_at),
        }
    }
}

impl<'a> Profile<'a> {
    fn of(profile: &'a ProfileStatus, now: i64) -> Self {
        Self {
            name: &profile.name,
            preset: some(&profile.preset),
            grant: &profile.grant,
            token_url: some(&profile.token_url),
            scopes: &profile.scopes,
            default_scopes: &profile.default_scopes,
            audience: some(&profile.audience),
            audiences: &profile.audiences,
            base_url: some(&profile.base_url),
            urls: &profile.urls,
            clock_offset_seconds: profile.clock_offset_seconds,
            long_lived: profile.long_lived,
            allows_loopback_http: profile.allows_loopback_http,
            by_name_only: profile.by_name_only,
            username: some(&profile.username),
            secret_source: some(&profile.secret_source),
            secret_error: some(&profile.secret_error),
            revocations_pending: profile.revocations_pending,
            revocations_given_up: profile.revocations_given_up,
            revocation_error: some(&profile.revocation_error),
            revocation_retry_at: seconds(profile.revocation_retry_at),
            tokens: profile.tokens.iter().map(|token| Token::of(token, now)).collect(),
            quotas: profile.quotas.iter().map(|quota| Bucket::of(quota, now)).collect(),
        }
    }
}

impl<'a> Bucket<'a> {
    fn of(quota: &'a Quota, now: i64) -> Self {
        let resets_at = seconds(quota.resets_at);
        Self {
            name: &quota.name,
            limit: quota.limit,
            remaining: quota.remaining,
            resets_at,
            resets_in: resets_at.map(|at| left(at, now)),
            learnt_at: seconds(quota.learnt_at),
        }
    }
}

impl<'a> Token<'a> {
    fn of(token: &'a TokenStatus, now: i64) -> Self {
        let (expires_at, retry_at) = (seconds(token.expires_at), seconds(token.retry_at));
        let reason = token.last_error_reason();
        Self {
            audience: some(&token.audience),
            scopes: &token.scopes,
            state: state_word(token.state()),
            expires_at,
            expires_in: expires_at.map(|at| left(at, now)),
            token_id: some(&token.token_id),
            last_used_at: seconds(token.last_used_at),
            fetched: token.fetched,
            refreshed: token.refreshed,
            failed: token.failed,
            served: token.served,
            last_error: some(&token.last_error),
            last_error_reason: (reason != ErrorReason::Unspecified).then(|| usher_proto::error::name(reason)),
            retry_at,
            retry_in: retry_at.map(|at| left(at, now)),
            budget_left: token.budget_left,
            budget_limit: token.budget_limit,
            budget_window_seconds: token.budget_window_seconds,
        }
    }
}

fn left(at: i64, now: i64) -> i64 {
    at.saturating_sub(now).max(0)
}

fn seconds(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.seconds)
}

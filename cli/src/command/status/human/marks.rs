//! What a person should know of a profile beside its row.

use std::{fmt::Write as _, time::Duration};

use usher_proto::v1::{ErrorReason, ProfileStatus, RemovedProfile, StatusResponse, TokenStatus};

use super::table::backs_off;
use crate::time::{distance, human};

/// What a person should know of a profile, a line each.
pub(super) fn of(profile: &ProfileStatus, now: i64) -> String {
    let mut text = String::new();
    let name = &profile.name;
    if !profile.secret_error.is_empty() {
        let _ = writeln!(text, "{name}: the secret cannot be read: {}", profile.secret_error.trim_end());
    }
    for token in &profile.tokens {
        if let Some(what) = holdup(profile, token) {
            let _ = write!(text, "{name}: {what}");
            if let Some(at) = token.retry_at.filter(|_| backs_off(token, now)) {
                let _ = write!(text, "; the IdP is asked again {}", distance(at.seconds, now));
            }
            text.push('\n');
        }
    }
    for quota in profile.quotas.iter().filter(|quota| quota.remaining == 0) {
        let _ = write!(text, "{name}: the IdP's quota {} is used up", quota.name);
        if let Some(at) = quota.resets_at {
            let _ = write!(
                text,
                "; until it is full again, {}, tokens are refreshed in their last minute only",
                distance(at.seconds, now)
            );
        }
        text.push('\n');
    }
    text.push_str(&unrevoked(&Unrevoked::of(profile), now));
    if let Some(offset) = profile.clock_offset_seconds.filter(|offset| offset.unsigned_abs() > 60) {
        let by = human(Duration::from_secs(offset.unsigned_abs()));
        let way = if offset > 0 { "ahead of" } else { "behind" };
        let _ = writeln!(
            text,
            "{name}: the IdP's clock is {by} {way} this machine's; APIs may take tokens for expired or not yet valid"
        );
    }
    if profile.long_lived {
        let _ = writeln!(
            text,
            "{name}: hands out the long-lived account token itself; exchange it for a short-lived one if your \
             IdP can: see the README"
        );
    }
    if profile.allows_loopback_http {
        let _ = writeln!(text, "{name}: may speak http, unencrypted, to this machine (allow_loopback_http)");
    }
    text
}

/// The profiles that are gone, as far as there is something to tell.
pub(super) fn of_removed(answer: &StatusResponse, now: i64) -> String {
    let tell = |removed: &RemovedProfile| {
        let name = format!("{} (no longer in the configuration)", removed.name);
        let unrevoked_tokens = Unrevoked {
            name: &name,
            pending: removed.revocations_pending,
            given_up: removed.revocations_given_up,
            error: removed.revocation_error.trim_end(),
            retry_at: removed.revocation_retry_at.map(|at| at.seconds),
        };
        unrevoked(&unrevoked_tokens, now)
    };
    answer.removed_profiles.iter().map(tell).collect()
}

/// The tokens of a profile that are gone here and not at the IdP.
struct Unrevoked<'a> {
    name: &'a str,
    pending: u32,
    given_up: u32,
    error: &'a str,
    retry_at: Option<i64>,
}

impl<'a> Unrevoked<'a> {
    fn of(profile: &'a ProfileStatus) -> Self {
        Self {
            name: &profile.name,
            pending: profile.revocations_pending,
            given_up: profile.revocations_given_up,
            error: profile.revocation_error.trim_end(),
            retry_at: profile.revocation_retry_at.map(|at| at.seconds),
        }
    }
}

fn unrevoked(tokens: &Unrevoked<'_>, now: i64) -> String {
    let Unrevoked { name, pending, given_up, error, retry_at } = tokens;
    let mut text = String::new();
    let why = |what| if error.is_empty() { String::new() } else { format!("; {what}: {error}") };
    if *pending > 0 {
        let waits = if *pending == 1 { "1 token waits".to_owned() } else { format!("{pending} tokens wait") };
        let _ = write!(text, "{name}: {waits} to be revoked{}", why("the last try failed"));
        if let Some(at) = retry_at.filter(|at| *at > now) {
            let _ = write!(text, "; tried again {}", distance(at, now));
        }
        text.push('\n');
    }
    if *given_up > 0 {
        let is = if *given_up == 1 { "1 token was".to_owned() } else { format!("{given_up} tokens were") };
        let last = if *pending == 0 { why("the reason") } else { String::new() };
        let _ = writeln!(text, "{name}: {is} NOT revoked, valid until expiry{last}");
    }
    text
}

/// What keeps a token from being fetched.
fn holdup(profile: &ProfileStatus, token: &TokenStatus) -> Option<String> {
    match (token.last_error_reason(), token.last_error.trim_end()) {
        // Told of the profile already.
        (ErrorReason::SecretUnavailable, _) if !profile.secret_error.is_empty() => None,
        (_, "") if token.retry_at.is_none() => None,
        (_, "") if token.budget_left == 0 => {
            Some("the budget of token requests is used up (max_token_requests)".to_owned())
        }
        (_, "") => Some("the API rejected one new token after another".to_owned()),
        (ErrorReason::Unspecified, error) => Some(error.to_owned()),
        (reason, error) => Some(format!("{error} [{}]", usher_proto::error::name(reason))),
    }
}

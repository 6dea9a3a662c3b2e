//! What a person should know of a profile beside its row.

use std::{fmt::Write as _, time::Duration};

use usher_proto::v1::{ErrorReason, ProfileStatus, TokenStatus};

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
                "; tokens are refreshed ahead of their expiry again {}",
                distance(at.seconds, now)
            );
        }
        text.push('\n');
    }
    if profile.revocations_pending > 0 {
        text.push_str(&unrevoked(profile));
    }
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

/// The tokens that are gone here and not yet at the IdP.
fn unrevoked(profile: &ProfileStatus) -> String {
    let tokens = match profile.revocations_pending {
        1 => "1 token that was forgotten waits".to_owned(),
        many => format!("{many} tokens that were forgotten wait"),
    };
    let why = match profile.revocation_error.trim_end() {
        "" => String::new(),
        error => format!("; the last try failed: {error}"),
    };
    format!("{}: {tokens} to be revoked{why}\n", profile.name)
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

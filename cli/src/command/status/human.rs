//! `usher status` for people: the daemon in a line, a table of tokens, and below it what needs attention.

use std::{fmt::Write as _, time::Duration};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};
use usher_proto::v1::{ErrorReason, ProfileStatus, StatusResponse, TokenState, TokenStatus};

use super::state_word;
use crate::{
    caller::printable,
    time::{distance, human},
};

const HEADINGS: [&str; 8] = ["NAME", "GRANT", "STATE", "EXPIRES", "SCOPES", "SERVED", "FETCHED", "FAILED"];
/// From here on the columns are numbers.
const FIRST_NUMBER: usize = 5;

/// All of it, as of `now`.
pub(super) fn render(answer: &StatusResponse, now: i64) -> String {
    let mut text = daemon(answer, now);
    if answer.profiles.is_empty() {
        text.push_str("no profiles: write one into the configuration, then `usher reload`\n");
    } else {
        text.push('\n');
        text.push_str(&table(&answer.profiles, now));
    }
    let marks: String = answer.profiles.iter().map(|profile| marks(profile, now)).collect();
    if !marks.is_empty() {
        text.push('\n');
        text.push_str(&marks);
    }
    printable(&text)
}

fn daemon(answer: &StatusResponse, now: i64) -> String {
    let mut line = format!("usherd {}, pid {}", answer.version, answer.pid);
    if let Some(at) = answer.started_at {
        let _ = write!(line, ", started {}", distance(at.seconds, now));
    }
    let _ = writeln!(line, ", config {}", answer.config_path);
    if !answer.config_error.is_empty() {
        line.push_str("\nCONFIGURATION REFUSED: the one before");
        if let Some(at) = answer.config_loaded_at {
            let _ = write!(line, ", read {},", distance(at.seconds, now));
        }
        line.push_str(" is still in use.\n");
        indent(&mut line, &answer.config_error);
    }
    if let Some(store) = &answer.store {
        let _ = write!(line, "tokens kept in {}, key: {}", store.directory, store.key_source);
        line.push_str(if store.weak_key { " (weak: whoever can read your files has both)\n" } else { "\n" });
        if !store.degraded.is_empty() {
            line.push_str("\nDEGRADED: tokens are kept in memory only. It is tried again.\n");
            indent(&mut line, &store.degraded);
        }
    }
    line
}

fn table(profiles: &[ProfileStatus], now: i64) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(HEADINGS);
    for profile in profiles {
        if profile.tokens.is_empty() {
            table.add_row(row(profile, &TokenStatus::default(), now));
        }
        for token in &profile.tokens {
            table.add_row(row(profile, token, now));
        }
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= FIRST_NUMBER {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn row(profile: &ProfileStatus, token: &TokenStatus, now: i64) -> [String; 8] {
    let scopes = if token.scopes.is_empty() { &profile.scopes } else { &token.scopes };
    [
        profile.name.clone(),
        profile.grant.clone(),
        state(profile, token, now),
        token.expires_at.map_or_else(|| "-".to_owned(), |at| distance(at.seconds, now)),
        if scopes.is_empty() { "-".to_owned() } else { scopes.join(" ") },
        token.served.to_string(),
        token.fetched.to_string(),
        token.failed.to_string(),
    ]
}

fn state(profile: &ProfileStatus, token: &TokenStatus, now: i64) -> String {
    let held = match token.state() {
        _ if profile.grant == "static" => "static",
        TokenState::Unspecified => "none",
        state => state_word(state),
    };
    let trouble = if !profile.secret_error.is_empty() {
        "secret error"
    } else if backs_off(token, now) {
        "backing off"
    } else {
        return held.to_owned();
    };
    // A token that is still good is worth knowing of, whatever else is wrong.
    match token.state() {
        TokenState::Fresh | TokenState::Ageing | TokenState::Due => format!("{held}, {trouble}"),
        TokenState::Unspecified | TokenState::None | TokenState::Expired => trouble.to_owned(),
    }
}

fn backs_off(token: &TokenStatus, now: i64) -> bool {
    token.retry_at.is_some_and(|at| at.seconds > now)
}

/// What a person should know of a profile, a line each.
fn marks(profile: &ProfileStatus, now: i64) -> String {
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

fn indent(text: &mut String, lines: &str) {
    for line in lines.trim_end().lines() {
        let _ = writeln!(text, "  {line}");
    }
}

//! The table of tokens: a row for each key of each profile.

use usher_proto::v1::{ProfileStatus, TokenState, TokenStatus};

use super::layout::{GAP, cut, fits, table};
use crate::{
    command::status::state_word,
    time::{ago, distance, span},
};

const FIRST: [&str; 4] = ["NAME", "STATE", "EXPIRES", "USED"];
const SCOPES: &str = "SCOPES";
const NUMBERS: [&str; 4] = ["SERVED", "FETCHED", "REFRESHED", "FAILED"];
/// How much of its scopes names a second key of a profile where they have no column.
const NARROW_NAME: usize = 15;

/// How much is said.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    /// All.
    Full,
    /// Times without the epoch seconds.
    Short,
    /// As little as can be: no scopes, but for what tells the keys of a profile apart, and a `!` for what is told
    /// below.
    Least,
}

/// The table with as much as `width` has room for; empty if there are no profiles.
pub(super) fn tokens(profiles: &[ProfileStatus], now: i64, width: Option<usize>) -> String {
    if profiles.is_empty() {
        return String::new();
    }
    let all = [Detail::Full, Detail::Short, Detail::Least];
    let mut tables = all.into_iter().map(|detail| render(profiles, now, detail));
    tables.find(|text| fits(text, width)).unwrap_or_else(|| render(profiles, now, Detail::Least))
}

fn render(profiles: &[ProfileStatus], now: i64, detail: Detail) -> String {
    let none = [TokenStatus::default()];
    let mut rows = Vec::new();
    for profile in profiles {
        let tokens = if profile.tokens.is_empty() { &none[..] } else { &profile.tokens };
        rows.extend(tokens.iter().enumerate().map(|(index, token)| row(profile, token, index, now, detail)));
    }
    let scopes = (detail != Detail::Least).then_some(SCOPES);
    let headings: Vec<_> = FIRST.into_iter().chain(scopes).chain(NUMBERS).collect();
    let gap = if detail == Detail::Least { 1 } else { GAP };
    table(&rows, &headings, headings.len() - NUMBERS.len(), gap)
}

fn row(profile: &ProfileStatus, token: &TokenStatus, index: usize, now: i64, detail: Detail) -> Vec<String> {
    let asked = if token.scopes.is_empty() { &profile.scopes } else { &token.scopes };
    let scopes = if asked.is_empty() { "-".to_owned() } else { asked.join(" ") };
    let name = match detail {
        Detail::Least if index > 0 => format!("  {}", cut(&scopes, NARROW_NAME.max(profile.name.len()) - 2)),
        _ => profile.name.clone(),
    };
    let expires = match (token.expires_at, detail) {
        (None, _) => "-".to_owned(),
        (Some(at), Detail::Full) => distance(at.seconds, now),
        (Some(at), Detail::Short) => span(at.seconds, now),
        (Some(at), Detail::Least) => span(at.seconds, now).trim_start_matches("in ").to_owned(),
    };
    let used = token.last_used_at.map_or_else(|| "-".to_owned(), |at| ago(at.seconds, now));
    let mut row = vec![name, state(profile, token, now, detail), expires, used];
    row.extend((detail != Detail::Least).then_some(scopes));
    row.extend([token.served, token.fetched, token.refreshed, token.failed].map(|count| count.to_string()));
    row
}

fn state(profile: &ProfileStatus, token: &TokenStatus, now: i64, detail: Detail) -> String {
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
        TokenState::Fresh | TokenState::Ageing | TokenState::Due if detail == Detail::Least => {
            format!("{held}!")
        }
        TokenState::Fresh | TokenState::Ageing | TokenState::Due => format!("{held}, {trouble}"),
        TokenState::Unspecified | TokenState::None | TokenState::Expired => trouble.to_owned(),
    }
}

/// Whether no request may be sent yet.
pub(super) fn backs_off(token: &TokenStatus, now: i64) -> bool {
    token.retry_at.is_some_and(|at| at.seconds > now)
}

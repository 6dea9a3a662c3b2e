//! `usher inspect` for people. Whatever a token says is a stranger's word: nothing of it makes a line of its own,
//! steers the terminal or fills it.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use usher_proto::v1::GetTokenResponse;

use super::jwt::{Said, seconds};
use crate::{caller::printable, time::distance};

/// The claims that everybody looks for, in this order; the others follow.
const FIRST: [&str; 11] =
    ["iss", "sub", "client_id", "azp", "aud", "scope", "scp", "iat", "nbf", "exp", "jti"];
const DATES: [&str; 5] = ["iat", "nbf", "exp", "auth_time", "updated_at"];
/// As much of a claim, and as many others, are shown.
const LONGEST: usize = 200;
const MOST: usize = 40;

/// All of it, as of `now`.
pub(super) fn render(answer: &GetTokenResponse, said: &Said, now: i64) -> String {
    let mut text = format!("{}: ", answer.profile);
    let length = answer.access_token.len();
    match said {
        Said::Signed(header, claims) => {
            let _ = writeln!(text, "a JWT of {length} characters; its signature was NOT checked");
            section(&mut text, "header", header, &["alg", "kid", "typ"], now);
            section(&mut text, "claims", claims, &FIRST, now);
        }
        Said::Encrypted(header) => {
            let _ = writeln!(text, "an encrypted JWT of {length} characters; only its header can be read");
            section(&mut text, "header", header, &["alg", "enc", "kid", "typ"], now);
        }
        Said::Opaque => {
            let _ = writeln!(
                text,
                "no JWT, but an opaque token of {length} characters; only the API can read it"
            );
        }
    }
    text.push_str("usherd knows\n");
    line(&mut text, "type", &answer.token_type);
    line(
        &mut text,
        "scopes",
        &if answer.scopes.is_empty() { "-".to_owned() } else { answer.scopes.join(" ") },
    );
    let expiry =
        answer.expires_at.map_or_else(|| "no expiry is known".to_owned(), |at| distance(at.seconds, now));
    line(&mut text, "expires", &expiry);
    line(&mut text, "token_id", &answer.token_id);
    text
}

fn section(text: &mut String, title: &str, object: &Map<String, Value>, first: &[&str], now: i64) {
    let _ = writeln!(text, "{title}");
    for (name, value) in first.iter().filter_map(|name| object.get_key_value(*name)) {
        line(text, name, &shown(name, value, now));
    }
    let others: Vec<_> = object.iter().filter(|(name, _)| !first.contains(&name.as_str())).collect();
    for (name, value) in others.iter().take(MOST) {
        line(text, name, &shown(name, value, now));
    }
    if let Some(more) = others.len().checked_sub(MOST).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more: --json shows them");
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {:<9} {}", tame(name), tame(value));
}

fn shown(name: &str, value: &Value, now: i64) -> String {
    match value {
        Value::Number(_) if DATES.contains(&name) => {
            seconds(value).map_or_else(|| value.to_string(), |at| distance(at, now))
        }
        Value::String(text) => text.clone(),
        Value::Array(all) if !all.is_empty() && all.iter().all(Value::is_string) => {
            all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// `text` on one line, of a bearable length, with nothing in it that is not seen.
fn tame(text: &str) -> String {
    let seen = |c: char| if c == '\n' || super::is_invisible(c) { '\u{fffd}' } else { c };
    let mut tamed: String = printable(text).chars().take(LONGEST).map(seen).collect();
    let length = text.chars().count();
    if length > LONGEST {
        let _ = write!(tamed, "... ({length} characters: --json shows them)");
    }
    tamed
}

//! `usher inspect`: what a token says about itself, and what usherd knows of it. Neither form holds the token or
//! its signature.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};
use usher_proto::v1::GetTokenResponse;

use self::jwt::{Said, seconds};
use super::token::ask;
use crate::{args::Inspect, caller::Caller, error::Error, exit, time::now};

mod human;
mod jwt;

pub(super) fn run(args: Inspect, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.json);
    let answer = ask(args.asked, caller)?;
    let said = jwt::read(&answer.access_token);
    let text = if args.json { json(&answer, &said, now())? } else { human::render(&answer, &said, now()) };
    caller.answer(&text)?;
    Ok(exit::OK)
}

#[derive(Serialize)]
struct Facts<'a> {
    profile: &'a str,
    token_id: &'a str,
    token_type: &'a str,
    format: &'static str,
    length: usize,
    signature_checked: bool,
    header: Option<&'a Map<String, Value>>,
    claims: Option<&'a Map<String, Value>>,
    /// By the token's own `exp`.
    claims_expire_in: Option<i64>,
    scopes: &'a [String],
    expires_at: Option<i64>,
    expires_in: Option<i64>,
}

fn json(answer: &GetTokenResponse, said: &Said, now: i64) -> Result<String, Error> {
    let (format, header, claims) = match said {
        Said::Signed(header, claims) => ("jwt", Some(header), Some(claims)),
        Said::Encrypted(header) => ("encrypted_jwt", Some(header), None),
        Said::Opaque => ("opaque", None, None),
    };
    let left = |at: i64| at.saturating_sub(now);
    let expires_at = answer.expires_at.map(|at| at.seconds);
    let facts = Facts {
        profile: &answer.profile,
        token_id: &answer.token_id,
        token_type: &answer.token_type,
        format,
        length: answer.access_token.len(),
        signature_checked: false,
        header,
        claims,
        claims_expire_in: claims.and_then(|claims| claims.get("exp")).and_then(seconds).map(left),
        scopes: &answer.scopes,
        expires_at,
        expires_in: expires_at.map(|at| left(at).max(0)),
    };
    let text = serde_json::to_string(&facts)
        .map_err(|error| Error::Answer(format!("cannot write the answer as JSON: {error}")))?;
    Ok(escaped(&text) + "\n")
}

/// JSON lets characters stand that steer a terminal or reverse its lines; in its strings they can be written
/// otherwise.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || is_invisible(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a character changes how others are shown: the direction of lines, and breaks of them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests;

//! What an IdP answers to a token request: a token that can be presented, or an error without a secret in it.
//!
//! An input is an HTTP response in short: its status, its headers, an empty line, its body; lines end in LF.

#![no_main]

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::{Corpus, fuzz_target};
use usher_daemon::{
    domain::{
        scope::ScopeSet,
        secret::{ExposeSecret as _, SecretString},
        time::Moment,
    },
    idp::{client_auth::Sent, date, exchange::Answer, quota, wire},
    token::ports::{IssueError, Issued},
};
use zeroize::Zeroizing;

const CLIENT: &str = "client";
const SECRET: &str = "p+w/o r=d";
/// As a form has it, and with it HTTP Basic.
const ENCODED: &str = "p%2Bw%2Fo+r%3Dd";

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(answer) = read(data) else { return Corpus::Reject };
    let secret = SecretString::from(SECRET);
    let sent = Sent { client_id: CLIENT, secret: &secret, token: None };
    match wire::read(&answer, "idp.example", sent) {
        Ok(issued) => can_be_presented(&issued, answer.status),
        Err(error) => tells_no_secret(&error),
    }
    let now = Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(1000) };
    let _ = date::retry_after(&answer.headers, now);
    let quotas = quota::quotas(&answer.headers, now);
    assert!(quotas.len() <= 8, "{}", quotas.len());
    for quota in &quotas {
        assert!(!quota.name.is_empty() && !quota.name.chars().any(char::is_control), "{:?}", quota.name);
    }
    let _ = quota::retry_after(&quotas, now);
    Corpus::Keep
});

/// None: HTTP has no such answer.
fn read(data: &[u8]) -> Option<Answer> {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let status = StatusCode::from_bytes(lines.next()?).ok()?;
    let mut rest = lines.next()?;
    let mut headers = HeaderMap::new();
    loop {
        let mut lines = rest.splitn(2, |byte| *byte == b'\n');
        let line = lines.next()?;
        rest = lines.next().unwrap_or_default();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(Answer { status, headers, body: Zeroizing::new(rest.to_owned()) })
}

fn can_be_presented(issued: &Issued, status: StatusCode) {
    assert!(status.is_success(), "{status}");
    let token = issued.access_token.expose_secret();
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?}");
    for scope in issued.scopes.iter().flat_map(ScopeSet::iter) {
        assert!(!scope.is_empty() && !scope.contains(' '), "{scope:?}");
    }
}

fn tells_no_secret(error: &IssueError) {
    let code = error.oauth_error.as_deref().unwrap_or_default();
    assert!(code.len() <= 100 && code.bytes().all(|byte| byte.is_ascii_graphic()), "{code:?}");
    assert!(error.message.len() < 2000, "{} bytes of message", error.message.len());
    assert!(!error.message.chars().any(char::is_control), "{:?}", error.message);
    let pair = |secret: &str| BASE64_STANDARD.encode(format!("{CLIENT}:{secret}"));
    for form in [SECRET, ENCODED, "p%2Bw%2Fo%20r%3Dd", &pair(SECRET), &pair(ENCODED)] {
        assert!(!error.message.contains(form) && !code.contains(form), "{:?} {code:?}", error.message);
    }
}

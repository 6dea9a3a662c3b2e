//! Token requests and responses as bytes.

use std::{borrow::Cow, fmt, time::Duration};

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{
    client_auth::Sent,
    exchange::Answer,
    grants::Parameters,
    slow_down::{self, Said},
};
use crate::{
    domain::{profile::Body, scope::ScopeSet, secret::SecretString, token::check_credential},
    token::ports::{ExpiresIn, IssueError, IssueErrorKind, Issued},
};

/// The longest `error_description` that is passed on, in characters.
const MAX_DESCRIPTION: usize = 200;
/// The longest Content-Type that is passed on, in characters.
const MAX_CONTENT_TYPE: usize = 60;
/// The longest `error` that is taken for one.
const MAX_ERROR: usize = 100;

/// The Content-Type of a request.
pub fn content_type(body: Body) -> &'static str {
    match body {
        Body::Json => "application/json",
        Body::Form => "application/x-www-form-urlencoded",
    }
}

/// The body of a request.
pub fn encode(parameters: &Parameters<'_>, body: Body) -> Zeroizing<Vec<u8>> {
    // Large enough for any escaping: a buffer that grows leaves copies of the secret behind.
    let room = parameters.pairs().map(|(name, value)| name.len() + 6 * value.len() + 16).sum();
    match body {
        Body::Json => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(room));
            // Strings into memory: there is nothing that could fail.
            let _ = serde_json::to_writer(&mut *bytes, parameters);
            bytes
        }
        Body::Form => form(room, parameters.pairs()),
    }
}

/// Pairs as a form. `room` is what they need at most.
pub fn form<'a>(room: usize, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Zeroizing<Vec<u8>> {
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
    form.extend_pairs(pairs);
    Zeroizing::new(form.finish().into_bytes())
}

/// A token response (RFC 6749 section 5.1). Unknown members are passed over, doubled ones are errors.
#[derive(Deserialize)]
struct Success<'a> {
    #[serde(borrow)]
    access_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    token_type: Option<Cow<'a, str>>,
    #[serde(default)]
    expires_in: Seconds,
    #[serde(borrow)]
    scope: Option<Cow<'a, str>>,
    /// What [`Failure`] could not read.
    error: Option<IgnoredAny>,
}

/// An error response (RFC 6749 section 5.2).
#[derive(Deserialize, Default)]
struct Failure<'a> {
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_description: Option<Cow<'a, str>>,
}

/// What servers that do not speak OAuth in their errors say in its place.
#[derive(Deserialize, Default)]
struct ForeignFailure<'a> {
    /// AWS's, at times with a namespace and `#` before it.
    #[serde(borrow, rename = "__type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "Message")]
    message: Option<Cow<'a, str>>,
}

/// Reads an answer. Nothing of the body is in the error but `error` and a cleaned `error_description`.
pub fn read(answer: &Answer, server: &str, sent: Sent<'_>) -> Result<Issued, IssueError> {
    let failure: Failure<'_> = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !answer.status.is_success() || failure.error.is_some() {
        return Err(refused(answer, server, &failure, sent, hint));
    }
    let success: Success<'_> = serde_json::from_slice(&answer.body).map_err(|error| {
        // The parser's message can quote a value; its category and place cannot.
        let what = match error.classify() {
            serde_json::error::Category::Data => {
                "JSON, but no token response: a member is doubled or of a wrong type"
            }
            _ => "not JSON; is token_url the token endpoint?",
        };
        invalid(answer, server, sent, &format!("{what} (at line {} column {})", error.line(), error.column()))
    })?;
    if success.error.is_some() {
        return Err(invalid(answer, server, sent, "with an error that is no text"));
    }
    let kind = success.token_type.ok_or_else(|| invalid(answer, server, sent, "without token_type"))?;
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(invalid(
            answer,
            server,
            sent,
            "with a token_type other than Bearer, which usher cannot present",
        ));
    }
    let Seconds(Some(expires_in)) = success.expires_in else {
        return Err(invalid(answer, server, sent, "with an expires_in that is no whole number of seconds"));
    };
    let access_token =
        success.access_token.ok_or_else(|| invalid(answer, server, sent, "without access_token"))?;
    let access_token = SecretString::from(&*access_token);
    check_credential(&access_token)
        .map_err(|error| invalid(answer, server, sent, &format!("with an access_token that {error}")))?;
    Ok(Issued {
        access_token,
        expires_in,
        scopes: success.scope.map(|scope| ScopeSet::from_parameter(&scope)),
        server_time: None,
    })
}

fn invalid(answer: &Answer, server: &str, sent: Sent<'_>, what: &str) -> IssueError {
    let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.and_then(|text| quotable(text, MAX_CONTENT_TYPE, sent));
    let content_type = content_type.as_deref().unwrap_or("no Content-Type");
    let message = format!(
        "the IdP {} answered {} with something that is no token response: {what} ({content_type})",
        server,
        answer.status.as_u16(),
    );
    let http_status = Some(answer.status.as_u16());
    IssueError { http_status, ..IssueError::new(IssueErrorKind::Invalid, message) }
}

/// What first to look at, by an answer's status and its `error`.
pub type Hint = fn(StatusCode, Option<&str>) -> Option<&'static str>;

/// Why an answer that is no success is none.
pub fn refusal(answer: &Answer, server: &str, sent: Sent<'_>, hint: Hint) -> IssueError {
    let failure: Failure<'_> = serde_json::from_slice(&answer.body).unwrap_or_default();
    refused(answer, server, &failure, sent, hint)
}

fn refused(answer: &Answer, server: &str, failure: &Failure<'_>, sent: Sent<'_>, hint: Hint) -> IssueError {
    let status = answer.status;
    let code = failure.error.as_deref().filter(|code| {
        (1..=MAX_ERROR).contains(&code.len())
            && code.bytes().all(|byte| matches!(byte, 0x21..=0x7e))
            && !sent.is_in(code)
    });
    let busy = matches!(code, Some("temporarily_unavailable" | "server_error"))
        || status == StatusCode::TOO_MANY_REQUESTS
        || status.is_server_error();
    let slow_down = if busy { None } else { slow_down(answer, code, failure) };
    let kind =
        if busy || slow_down.is_some() { IssueErrorKind::Unavailable } else { IssueErrorKind::Refused };
    let mut message = format!("the IdP {} answered {}", server, status.as_u16());
    if let Some(code) = code {
        message.push(' ');
        message.push_str(code);
    }
    if let Some(description) = &failure.error_description {
        message.push_str(": ");
        let description = quotable(description, MAX_DESCRIPTION, sent);
        message.push_str(
            description.as_deref().unwrap_or("[its description quotes the secret and is withheld]"),
        );
    }
    if let Some(why) = slow_down {
        message.push_str("; usher takes that for a rate limit (");
        message.push_str(why);
        message.push(')');
    }
    if kind == IssueErrorKind::Refused
        && let Some(hint) = hint(status, code)
    {
        message.push_str("; ");
        message.push_str(hint);
    }
    let (oauth_error, http_status) = (code.map(str::to_owned), Some(status.as_u16()));
    IssueError { oauth_error, http_status, ..IssueError::new(kind, message) }
}

/// Why a refusal means "slow down"; none if it does not.
fn slow_down(answer: &Answer, code: Option<&str>, failure: &Failure<'_>) -> Option<&'static str> {
    let foreign: ForeignFailure<'_> = serde_json::from_slice(&answer.body).unwrap_or_default();
    let kind = foreign.kind.as_deref().map(|kind| kind.rsplit('#').next().unwrap_or(kind));
    // What is no code is words.
    let error = failure.error.as_deref().filter(|_| code.is_none());
    let words = [error, failure.error_description.as_deref(), foreign.message.as_deref()];
    slow_down::sign(&Said {
        status: answer.status,
        code: code.or(kind),
        words: &words.into_iter().flatten().collect::<Vec<_>>().join(" "),
        retry_after: answer.headers.contains_key(RETRY_AFTER),
    })
}

/// What to look at first.
fn hint(status: StatusCode, code: Option<&str>) -> Option<&'static str> {
    match (code, status.as_u16()) {
        (_, 300..=399) => {
            Some("usher follows no redirect with a secret in hand: set token_url to where it leads")
        }
        (Some("invalid_client"), _) => Some("check client_id, the secret, and client_auth"),
        (Some("invalid_scope"), _) => Some("check scopes"),
        (Some("unauthorized_client" | "unsupported_grant_type"), _) => {
            Some("the client must be allowed the client_credentials grant")
        }
        (_, 415) | (Some("invalid_request"), _) => {
            Some("check body (\"json\" or \"form\"), client_auth and audience")
        }
        (None, 404 | 405) => Some("check token_url"),
        _ => None,
    }
}

/// What may be told of a server's `text`: cleaned and cut. None if it holds the secret, or would once it is cleaned.
fn quotable(text: &str, max: usize, sent: Sent<'_>) -> Option<String> {
    let cleaned = clean(text, usize::MAX);
    (!sent.is_in(text) && !sent.is_in(&cleaned)).then(|| clean(&cleaned, max))
}

/// Without what steers a terminal or turns text around, and cut.
pub(super) fn clean(text: &str, max: usize) -> String {
    let steers = |letter: &char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().filter(|letter| !steers(letter)).take(max).collect()
}

/// `expires_in`: integers, floats without a fraction, and strings of digits; null is as good as missing.
/// None: anything else. A lifetime is never guessed.
struct Seconds(Option<ExpiresIn>);

impl Default for Seconds {
    fn default() -> Self {
        Self(Some(ExpiresIn::Unknown))
    }
}

impl Seconds {
    fn of(seconds: f64) -> Self {
        if !seconds.is_finite() || seconds.fract() != 0.0 {
            Self(None)
        } else if seconds <= 0.0 {
            Self(Some(ExpiresIn::Over))
        } else {
            // More than fits is clamped by the engine.
            Self(Some(ExpiresIn::After(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))))
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl<'de> Visitor<'de> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds(Some(match seconds {
            0 => ExpiresIn::Over,
            _ => ExpiresIn::After(Duration::from_secs(seconds)),
        })))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
        self.visit_u64(u64::try_from(seconds).unwrap_or(0))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
        Ok(Seconds::of(seconds))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        Ok(text.parse().ok().filter(|_| whole).map_or(Seconds(None), Seconds::of))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Seconds, E> {
        Ok(Seconds::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Seconds, E> {
        Ok(Seconds(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seconds, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Seconds(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seconds, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Seconds(None))
    }
}

#[cfg(test)]
mod tests;

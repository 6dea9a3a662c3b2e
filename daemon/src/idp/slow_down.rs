//! Refusals that mean "slow down".
//!
//! 429 says so by itself. Others say it with 400 or 403, which else is a "no" that asking again does not change.
//! A wrong secret is never taken for it: trying that again and again locks the account.

use reqwest::StatusCode;

/// As much of a description is looked at, in bytes.
const MAX_WORDS: usize = 1000;

/// What an error response says.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    /// Its status.
    pub(super) status: StatusCode,
    /// `error`, if it is one, else what AWS has in its place.
    pub(super) code: Option<&'a str>,
    /// What it says in words.
    pub(super) words: &'a str,
    /// It names a time to come back.
    pub(super) retry_after: bool,
}

/// One way to say it.
struct Sign {
    /// The code; none: a response without one that could be an `error` of OAuth's.
    code: Option<&'static str>,
    /// What has to be among its words, too, in lower case.
    words: &'static str,
    /// Who says it so.
    why: &'static str,
}

const SIGNS: [Sign; 14] = [
    by_code("slow_down", "RFC 8628; AWS's token service"),
    by_code("rate_limit_exceeded", "Google's code for a rate limit"),
    by_code("quota_exceeded", "Google's code for a quota"),
    by_code("too_many_requests", "429 as a word"),
    by_code("over_request_rate_limit", "Supabase's code for a rate limit"),
    by_code("TooManyRequestsException", "Cognito's code for a rate limit"),
    by_code("ThrottlingException", "AWS's code for a rate limit"),
    by_words(Some("invalid_request"), "exceeded the rate limit", "as Vertex says it"),
    by_words(Some("invalid_request"), "too many requests", "as AWS says it"),
    by_words(Some("access_denied"), "rate limit exceeded", "as Exact Online says it"),
    by_words(None, "throttle limit reached", "as Zoho says it"),
    by_words(None, "too many requests", "as Fiat Republic says it"),
    by_words(Some("invalid_request"), "aadsts90055", "Entra's code for a tenant that is throttled"),
    by_words(Some("invalid_grant"), "aadsts50196", "Entra's code for a client that asks in a loop"),
];

/// Words that tell of a client that was refused, or locked out, whatever else is said.
const OF_THE_CLIENT: [&str; 6] = ["attempt", "locked", "lockout", "credential", "password", "secret"];

/// Whoever speaks of these refuses no client for good, whatever their code is for it.
const OF_A_LIMIT: [&str; 3] = ["rate limit", "too many requests", "throttl"];

const fn by_code(code: &'static str, why: &'static str) -> Sign {
    Sign { code: Some(code), words: "", why }
}

const fn by_words(code: Option<&'static str>, words: &'static str, why: &'static str) -> Sign {
    Sign { code, words, why }
}

/// Why the response means "slow down"; none if it does not.
pub(super) fn sign(said: &Said<'_>) -> Option<&'static str> {
    let refuses_client = said.status == StatusCode::UNAUTHORIZED
        || matches!(said.code, Some("invalid_client" | "unauthorized_client"));
    if refuses_client || said.status.is_redirection() {
        return None;
    }
    let words = said.words.as_bytes();
    let words = String::from_utf8_lossy(&words[..words.len().min(MAX_WORDS)]).to_ascii_lowercase();
    let of_the_client = OF_THE_CLIENT.iter().any(|word| words.contains(word));
    let fits = |sign: &&Sign| {
        sign.code == said.code && (sign.words.is_empty() || (!of_the_client && words.contains(sign.words)))
    };
    if let Some(sign) = SIGNS.iter().find(fits) {
        return Some(sign.why);
    }
    let is_vague = matches!(said.code, None | Some("invalid_request" | "access_denied"));
    if is_vague && !of_the_client && OF_A_LIMIT.iter().any(|limit| words.contains(limit)) {
        return Some("it speaks of a rate limit");
    }
    // Whoever does not say what is wrong, but when to come back, is not done with us.
    let may_wait = matches!(said.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN);
    let says_no_more = said.code.is_none() && !of_the_client && !words.contains("invalid");
    (may_wait && said.retry_after && says_no_more).then_some("it says when to come back, and no more")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means_slow_down(status: u16, code: Option<&str>, words: &str, retry_after: bool) -> bool {
        let status = StatusCode::from_u16(status).unwrap();
        sign(&Said { status, code, words, retry_after }).is_some()
    }

    #[test]
    fn every_sign_is_found_and_says_who_gives_it() {
        for row in &SIGNS {
            let said = Said {
                status: StatusCode::BAD_REQUEST,
                code: row.code,
                words: row.words,
                retry_after: false,
            };
            assert_eq!(sign(&said), Some(row.why), "{:?} {:?}", row.code, row.words);
            assert_eq!(row.words, row.words.to_ascii_lowercase(), "it would never be found");
        }
    }

    #[test]
    fn a_refused_client_is_never_taken_for_it() {
        let busy = "too many requests: client has exceeded the rate limit, aadsts90055";
        for (status, code) in [
            (401, None),
            (401, Some("slow_down")),
            (401, Some("invalid_request")),
            (400, Some("invalid_client")),
            (403, Some("unauthorized_client")),
            (302, None),
        ] {
            assert!(!means_slow_down(status, code, busy, true), "{status} {code:?}");
        }
        for words in [
            "Too many requests with a wrong client secret",
            "Rate limit exceeded: too many failed attempts",
            "too many requests; the account is LOCKED",
        ] {
            for code in [None, Some("invalid_request"), Some("access_denied")] {
                assert!(!means_slow_down(400, code, words, true), "{code:?} {words}");
            }
        }
    }

    #[test]
    fn words_count_with_their_code_alone() {
        assert!(means_slow_down(400, Some("invalid_request"), "it has EXCEEDED the rate limit", false));
        assert!(!means_slow_down(400, Some("invalid_scope"), "it has exceeded the rate limit", false));
        assert!(!means_slow_down(400, Some("invalid_request"), "the limit of scopes is 10", false));
        assert!(!means_slow_down(400, Some("TooManyFailedAttemptsException"), "", false));
        let late = format!("{}exceeded the rate limit", "\u{e4}".repeat(MAX_WORDS));
        assert!(!means_slow_down(400, Some("invalid_request"), &late, false), "it is looked at for ever");
    }

    #[test]
    fn a_time_to_come_back_counts_where_nothing_else_is_said() {
        for (status, code, retry_after, slow) in [
            (400, None, true, true),
            (403, None, true, true),
            (403, None, false, false),
            (400, Some("invalid_scope"), true, false),
            (404, None, true, false),
        ] {
            assert_eq!(means_slow_down(status, code, "", retry_after), slow, "{status} {code:?}");
        }
        assert!(!means_slow_down(400, None, "Invalid client", true));
    }
}

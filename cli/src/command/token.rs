//! `usher token`: the access token, alone on its line, or with all that is known of it.

use serde::Serialize;
use usher_proto::v1::{GetTokenRequest, GetTokenResponse, TokenSource};

use super::{answer_json, profile, request};
use crate::{
    args::{Asked, Token, Wanted},
    call::with_started_daemon,
    caller::Caller,
    error::Error,
    exit,
    time::{human, now},
};

pub(super) fn run(args: Token, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.json);
    let answer = ask(args.asked, caller)?;
    if args.json {
        answer_json(&Facts::of(&answer, now()), caller)?;
    } else {
        caller.answer(&format!("{}\n", answer.access_token))?;
    }
    Ok(exit::OK)
}

/// The token that was asked for; a warning if it does not last as long as it should.
pub(super) fn ask(asked: Asked, caller: &mut Caller<'_>) -> Result<GetTokenResponse, Error> {
    let (message, wanted) = message(asked, caller)?;
    let answer = with_started_daemon(caller, wanted.timeout, async |daemon| daemon.token(message).await)?;
    warn_if_short(&answer, &wanted, caller);
    Ok(answer)
}

/// The request for it, and what was wanted.
pub(super) fn message(asked: Asked, caller: &Caller<'_>) -> Result<(GetTokenRequest, Wanted), Error> {
    let Asked { profile: named, profile_option, wanted, rejected } = asked;
    let message = GetTokenRequest {
        rejected_token_id: rejected.unwrap_or_default(),
        ..request(profile(named.or(profile_option), caller)?, &wanted)
    };
    Ok((message, wanted))
}

/// The caller has to know that `min_ttl` was not kept, but the token may well do.
pub(super) fn warn_if_short(answer: &GetTokenResponse, wanted: &Wanted, caller: &mut Caller<'_>) {
    if !answer.below_min_ttl {
        return;
    }
    let asked = human(wanted.min_ttl.unwrap_or_default());
    let left = match answer.expires_at {
        Some(at) => {
            human(std::time::Duration::from_secs(at.seconds.saturating_sub(now()).max(0).unsigned_abs()))
        }
        None => "an unknown time".to_owned(),
    };
    caller.warn(&format!(
        "the token of {} is valid for {left}, not for the {asked} of --min-ttl",
        answer.profile
    ));
}

#[derive(Serialize)]
pub(super) struct Facts<'a> {
    access_token: &'a str,
    token_type: &'a str,
    authorization: &'a str,
    expires_at: Option<i64>,
    expires_in: Option<i64>,
    scopes: &'a [String],
    profile: &'a str,
    token_id: &'a str,
    source: Option<&'static str>,
    below_min_ttl: bool,
}

impl<'a> Facts<'a> {
    pub(super) fn of(answer: &'a GetTokenResponse, now: i64) -> Self {
        let expires_at = answer.expires_at.map(|at| at.seconds);
        Self {
            access_token: &answer.access_token,
            token_type: &answer.token_type,
            authorization: &answer.authorization,
            expires_at,
            expires_in: expires_at.map(|at| at.saturating_sub(now).max(0)),
            scopes: &answer.scopes,
            profile: &answer.profile,
            token_id: &answer.token_id,
            source: match answer.source() {
                TokenSource::Unspecified => None,
                TokenSource::Cache => Some("cache"),
                TokenSource::Fetched => Some("fetched"),
                TokenSource::Refreshed => Some("refreshed"),
            },
            below_min_ttl: answer.below_min_ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_token() {
        let answer = GetTokenResponse {
            access_token: "abc".into(),
            token_type: "Bearer".into(),
            authorization: "Bearer abc".into(),
            expires_at: Some(prost_types::Timestamp { seconds: 1060, nanos: 999_999_999 }),
            scopes: vec!["a".into(), "b".into()],
            profile: "frontdoor".into(),
            token_id: "id".into(),
            source: TokenSource::Fetched.into(),
            ..Default::default()
        };
        assert_eq!(
            serde_json::to_value(Facts::of(&answer, 1000)).unwrap(),
            serde_json::json!({
                "access_token": "abc", "token_type": "Bearer", "authorization": "Bearer abc",
                "expires_at": 1060, "expires_in": 60, "scopes": ["a", "b"], "profile": "frontdoor",
                "token_id": "id", "source": "fetched", "below_min_ttl": false,
            })
        );
        assert_eq!(Facts::of(&answer, 2000).expires_in, Some(0));
        let endless = GetTokenResponse { expires_at: None, ..answer };
        assert_eq!(Facts::of(&endless, 1000).expires_in, None);
    }
}

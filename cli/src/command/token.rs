//! `usher token`: the access token, alone on its line, or with all that is known of it.

use std::path::Path;

use serde::Serialize;
use usher_proto::v1::{GetTokenRequest, GetTokenResponse, TokenSource};

use super::{
    env::{Place, warn_if_long_lived},
    json_line, profile, request,
};
use crate::{
    args::{Asked, IntoFile, Token, Wanted},
    call::{self, with_started_daemon},
    caller::Caller,
    error::Error,
    exit,
    follow::{Kept, follow},
    time::{human, now},
    token_file::{OWNER_ONLY, TokenFile},
};

pub(super) fn run(args: Token, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.json);
    let Token { asked, json, file: IntoFile { output, mode, follow: goes_on }, .. } = args;
    if output.as_deref() == Some(Path::new("-")) {
        return Err(Error::usage(
            "--output names a file, and - is none",
            "without --output the token goes to stdout",
        ));
    }
    let (message, wanted) = message(asked, caller)?;
    let request = message.clone();
    let answer = with_started_daemon(caller, wanted.timeout, async |daemon| daemon.token(message).await)?;
    warn_if_short(&answer, &wanted, caller);
    let Some(path) = output else {
        caller.answer(&text(&answer, json)?)?;
        return Ok(exit::OK);
    };
    let file = TokenFile::new(path, mode.unwrap_or(OWNER_ONLY));
    let text = |token: &GetTokenResponse| text(token, json);
    let mut kept = Kept::begin(&file, &text, &answer)?;
    warn_if_long_lived(&answer, Place::File, caller);
    if !goes_on {
        return Ok(exit::OK);
    }
    // Whoever waits for the unit may read the file now.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    drop(answer);
    match call::runtime()?.block_on(follow(caller, &request, &mut kept))? {}
}

/// The token alone on its line, or all that is known of it.
fn text(answer: &GetTokenResponse, json: bool) -> Result<String, Error> {
    if json { json_line(&Facts::of(answer, now())) } else { Ok(format!("{}\n", answer.access_token)) }
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

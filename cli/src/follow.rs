//! A token that is kept up to date for as long as this process runs, whatever becomes of usherd meanwhile.

use std::{convert::Infallible, time::Duration};

use tonic::Streaming;
use usher_proto::v1::{
    GetTokenRequest, GetTokenResponse, WatchTokenRequest, WatchTokenResponse, watch_token_response::Event,
};

use crate::{call::Lasting, caller::Caller, error::Error, exit};

/// How long to wait before usherd is looked for again: the first time, and at most.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Gives each token of `request` that is not `known` to `each`, for ever. Ends with an error only where going
/// on is no use.
pub(crate) async fn follow(
    caller: &mut Caller<'_>,
    request: &GetTokenRequest,
    mut known: String,
    mut each: impl FnMut(&GetTokenResponse, &mut Caller<'_>) -> Result<(), Error>,
) -> Result<Infallible, Error> {
    let mut again = AGAIN_MIN;
    loop {
        let error = match watch(caller, request).await {
            Ok(mut tokens) => {
                let ended = pass_on(caller, &mut tokens, &mut known, &mut each, &mut again).await;
                match ended {
                    Ok(status) => Error::from(status),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => error,
        };
        if !may_pass(&error) {
            return Err(error);
        }
        caller.warn(&format!("{error}; looking for usherd again"));
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN_MAX);
    }
}

async fn watch(
    caller: &mut Caller<'_>,
    request: &GetTokenRequest,
) -> Result<Streaming<WatchTokenResponse>, Error> {
    let GetTokenRequest { profile, url, scopes, audience, .. } = request.clone();
    let message = WatchTokenRequest { profile, url, scopes, audience };
    Lasting::connect(caller).await?.watch(message).await
}

/// Passes on what comes, until the stream ends; answers how it did.
async fn pass_on(
    caller: &mut Caller<'_>,
    tokens: &mut Streaming<WatchTokenResponse>,
    known: &mut String,
    each: &mut impl FnMut(&GetTokenResponse, &mut Caller<'_>) -> Result<(), Error>,
    again: &mut Duration,
) -> Result<tonic::Status, Error> {
    loop {
        match tokens.message().await {
            Ok(Some(WatchTokenResponse { event: Some(Event::Token(token)) })) => {
                *again = AGAIN_MIN;
                if token.token_id != *known {
                    known.clone_from(&token.token_id);
                    each(&token, caller)?;
                }
            }
            Ok(Some(WatchTokenResponse { event: Some(Event::Trouble(trouble)) })) => {
                caller.warn(&format!("no new token yet: {}", trouble.message));
            }
            // A kind of event that a later usherd has.
            Ok(Some(WatchTokenResponse { event: None })) => {}
            Ok(None) => return Ok(tonic::Status::unavailable("the stream of tokens has ended")),
            Err(status) => return Ok(status),
        }
    }
}

/// Whether it may be otherwise when usherd runs again, or the IdP answers again.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(exit::code(error), exit::UNAVAILABLE | exit::TEMPORARY)
}

//! A token that is kept up to date in a file for as long as this process runs, whatever becomes of usherd, of the
//! IdP and of the disk meanwhile.

use std::{convert::Infallible, ffi::OsString, io, time::Duration};

use tonic::{Status, Streaming};
use usher_proto::v1::{
    GetTokenRequest, WatchTokenRequest, WatchTokenResponse, WatchTrouble, watch_token_response::Event,
};

use crate::{
    call::Lasting,
    caller::Caller,
    error::Error,
    exit,
    time::{distance, now},
};

mod kept;

pub(crate) use kept::Kept;

/// How long to wait before usherd is looked for again: the first time, and at most.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Keeps the tokens of `request` in the file, for ever. Ends with an error only where going on is no use.
pub(crate) async fn follow(
    caller: &mut Caller<'_>,
    request: &GetTokenRequest,
    kept: &mut Kept<'_>,
) -> Result<Infallible, Error> {
    let mut again = AGAIN_MIN;
    loop {
        let mut heard = false;
        let watching = watch(caller.environment(), request);
        let error = match kept.meanwhile(caller, watching).await {
            Ok(mut tokens) => Error::from(pass_on(caller, &mut tokens, kept, &mut heard).await),
            Err(error) => error,
        };
        if !may_pass(&error) {
            return Err(error);
        }
        // usherd renews a connection every hour: one that has worked and ends is nothing to talk about.
        if heard {
            again = AGAIN_MIN;
            kept.meanwhile(caller, tokio::time::sleep(again)).await;
            continue;
        }
        caller.warn(&format!("{error}; looking for usherd again"));
        kept.meanwhile(caller, tokio::time::sleep(again)).await;
        again = (again * 2).min(AGAIN_MAX);
    }
}

/// Opens the stream. Needs nothing of the caller but the environment, so that the caller can be told of the file
/// at the same time.
async fn watch(
    environment: &dyn Fn(&str) -> Option<OsString>,
    request: &GetTokenRequest,
) -> Result<Streaming<WatchTokenResponse>, Error> {
    let (mut out, mut err) = (io::sink(), io::sink());
    let caller = Caller::new(&mut out, &mut err, environment);
    let GetTokenRequest { profile, url, scopes, audience, .. } = request.clone();
    let message = WatchTokenRequest { profile, url, scopes, audience };
    Lasting::connect(&caller).await?.watch(message).await
}

/// Passes on what comes, until the stream ends; answers how it did. `heard` is set with the first event.
async fn pass_on(
    caller: &mut Caller<'_>,
    tokens: &mut Streaming<WatchTokenResponse>,
    kept: &mut Kept<'_>,
    heard: &mut bool,
) -> Status {
    loop {
        let event = kept.meanwhile(caller, tokens.message()).await;
        *heard |= matches!(event, Ok(Some(_)));
        match event {
            Ok(Some(WatchTokenResponse { event: Some(Event::Token(token)) })) => {
                kept.take(token, caller);
            }
            Ok(Some(WatchTokenResponse { event: Some(Event::Trouble(trouble)) })) => {
                caller.warn(&told(&trouble, now()));
            }
            // A kind of event that a later usherd has.
            Ok(Some(WatchTokenResponse { event: None })) => {}
            Ok(None) => return Status::unavailable("the stream of tokens has ended"),
            Err(status) => return status,
        }
    }
}

fn told(trouble: &WatchTrouble, now: i64) -> String {
    let again = trouble.retry_at.map(|at| at.seconds).filter(|at| *at > now);
    let again = again.map(|at| format!("; the next try is {}", distance(at, now))).unwrap_or_default();
    format!("no new token yet: {}{again}", trouble.message)
}

/// Whether it may be otherwise when usherd runs again, or the IdP answers again.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(exit::code(error), exit::UNAVAILABLE | exit::TEMPORARY)
}

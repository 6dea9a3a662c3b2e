//! `usher env`: shell commands that set the token in the shell's environment, or take it away again.

use std::time::Duration;

use tonic::Code;
use usher_proto::v1::{ErrorReason, GetTokenRequest, GetTokenResponse, ProfileStatus, StatusRequest};

use super::token;
use crate::{
    args::{Asked, Env},
    call::{Daemon, with_daemon, with_started_daemon},
    caller::Caller,
    error::Error,
    exit,
};

mod netfoundry;
mod syntax;

/// What holds the token of a profile whose tools usher does not know.
const TOKEN: &str = "USHER_TOKEN";

/// A variable: its name, and its value unless it is to be unset.
pub(super) type Setting = (String, Option<String>);

pub(super) fn run(args: Env, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let shell = args.shell;
    let settings = if args.unset {
        unset(args.asked, caller)?
    } else {
        let (message, wanted) = token::message(args.asked, caller)?;
        let (answer, settings) = usual(message, wanted.timeout, caller)?;
        token::warn_if_short(&answer, &wanted, caller);
        warn_if_long_lived(&answer, Place::Environment, caller);
        settings
    };
    caller.answer(&syntax::render(shell, &settings)?)?;
    Ok(exit::OK)
}

/// Without a profile all variables that could be set: needs no daemon, and nothing to be known of the past.
fn unset(asked: Asked, caller: &mut Caller<'_>) -> Result<Vec<Setting>, Error> {
    let profile = asked.profile.or(asked.profile_option).filter(|name| !name.is_empty());
    let all = match profile {
        None => netfoundry::NAMES.into_iter().chain([TOKEN]).collect(),
        Some(profile) => {
            let message = StatusRequest { profile };
            let status =
                with_daemon(caller, asked.wanted.timeout, async |daemon| daemon.status(message).await)?;
            match status.profiles.first() {
                Some(profile) if netfoundry::is_one(profile) => netfoundry::NAMES.to_vec(),
                _ => vec![TOKEN],
            }
        }
    };
    Ok(all.into_iter().map(|name| (name.to_owned(), None)).collect())
}

/// The token, and the variables in which the profile's own tools look for it.
pub(super) fn usual(
    message: GetTokenRequest,
    timeout: Duration,
    caller: &mut Caller<'_>,
) -> Result<(GetTokenResponse, Vec<Setting>), Error> {
    let (answer, profile) = with_started_daemon(caller, timeout, async |daemon| {
        let answer = daemon.token(message).await?;
        let profile = status(daemon, &answer.profile).await?;
        Ok((answer, profile))
    })?;
    let settings = match profile.filter(netfoundry::is_one) {
        Some(profile) => netfoundry::settings(&profile, &answer.access_token),
        None => vec![(TOKEN.to_owned(), Some(answer.access_token.clone()))],
    };
    Ok((answer, settings))
}

/// What is known of a profile; nothing where this caller may not ask for it.
async fn status(daemon: &mut Daemon<'_>, profile: &str) -> Result<Option<ProfileStatus>, Error> {
    match daemon.status(StatusRequest { profile: profile.to_owned() }).await {
        Ok(status) => Ok(status.profiles.into_iter().next()),
        Err(Error::Refused(failure)) if failure.reason == ErrorReason::AccessDenied => Ok(None),
        Err(Error::Foreign { code: Code::Unimplemented, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Only what never expires has no known expiry.
pub(super) fn warn_if_long_lived(answer: &GetTokenResponse, place: Place, caller: &mut Caller<'_>) {
    let (place, who) = match place {
        Place::Environment => ("an environment", "all that is started there"),
        Place::File => ("a file", "whoever may read that"),
    };
    if answer.expires_at.is_none() {
        caller.warn(&format!(
            "{} hands out a long-lived secret, not a short-lived token, and now it is in {place}: {who} can \
             have it, and it does not expire",
            answer.profile
        ));
    }
}

/// Where a token goes that does not stay in usherd.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Environment,
    File,
}

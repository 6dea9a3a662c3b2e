//! `usher status`: the daemon, its profiles and their tokens. Neither form holds a token or a secret.

use usher_proto::v1::{StatusRequest, TokenState};

use super::{answer_json, some};
use crate::{args::Status, call::with_daemon, caller::Caller, error::Error, exit, time::now};

mod facts;
mod human;

pub(super) fn run(args: Status, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let message = StatusRequest { profile: args.profile.unwrap_or_default() };
    let answer = with_daemon(caller, args.manner.timeout, async |daemon| daemon.status(message).await)?;
    if args.manner.json {
        answer_json(&facts::Daemon::of(&answer, now()), caller)?;
    } else {
        caller.answer(&human::render(&answer, now()))?;
    }
    Ok(exit::OK)
}

fn state_word(state: TokenState) -> &'static str {
    match state {
        TokenState::Unspecified => "unknown",
        TokenState::None => "none",
        TokenState::Fresh => "fresh",
        TokenState::Ageing => "ageing",
        TokenState::Due => "due",
        TokenState::Expired => "expired",
    }
}

#[cfg(test)]
mod tests;

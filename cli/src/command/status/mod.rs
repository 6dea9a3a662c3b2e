//! `usher status`: the daemon, its profiles and their tokens. Neither form holds a token or a secret.

use usher_proto::v1::{StatusRequest, StatusResponse, TokenState};

use super::{json_line, some};
use crate::{
    args::Status,
    call::with_daemon,
    caller::{Caller, Screen},
    error::Error,
    exit,
    time::now,
};

mod facts;
mod human;
mod watch;

pub(super) fn run(args: Status, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let message = StatusRequest { profile: args.profile.unwrap_or_default() };
    if let Some(every) = args.watch {
        return watch::run(&message, every, args.manner.timeout, caller);
    }
    let answer = with_daemon(caller, args.manner.timeout, async |daemon| daemon.status(message).await)?;
    let text = if args.manner.json { json(&answer)? } else { text(&answer, now(), caller.screen()) };
    caller.answer(&text)?;
    Ok(exit::OK)
}

/// One line, for programs.
fn json(answer: &StatusResponse) -> Result<String, Error> {
    json_line(&facts::Daemon::of(answer, now()))
}

/// As many lines as it takes, for people.
fn text(answer: &StatusResponse, now: i64, screen: Option<Screen>) -> String {
    human::render(answer, now, screen.map(|screen| screen.columns))
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

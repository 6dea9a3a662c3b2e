//! `usher run`: a command with the token in its environment, and in nobody else's. The command takes this
//! process's place; with a file to keep up to date, it is its child.

use std::{os::unix::process::CommandExt as _, process::Command};

use usher_proto::v1::GetTokenResponse;

use super::{
    env::{self, Place, Setting},
    profile, request,
    token::warn_if_short,
};
use crate::{
    args::{Run, Variables},
    call::with_started_daemon,
    caller::Caller,
    error::Error,
    variable::Variable,
};

mod refresh;

pub(super) fn run(args: Run, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let Variables { env: variables, header_env } = args.variables;
    let variables: Vec<Variable> =
        variables.into_iter().chain(header_env.into_iter().map(Variable::authorization)).collect();
    let message = request(profile(args.profile, caller)?, &args.wanted);
    let in_file = args.refresh_file.is_some();
    let in_environment = !in_file || !variables.is_empty();
    let (answer, settings): (GetTokenResponse, Vec<Setting>) = if in_environment && variables.is_empty() {
        env::usual(message.clone(), args.wanted.timeout, caller)?
    } else {
        let message = message.clone();
        let answer =
            with_started_daemon(caller, args.wanted.timeout, async |daemon| daemon.token(message).await)?;
        let settings = variables.into_iter().map(|variable| variable.filled(&answer)).collect();
        (answer, settings)
    };
    warn_if_short(&answer, &args.wanted, caller);
    if in_environment {
        env::warn_if_long_lived(&answer, Place::Environment, caller);
    }
    if in_file {
        env::warn_if_long_lived(&answer, Place::File, caller);
    }

    let mut words = args.command.into_iter();
    let Some(program) = words.next() else {
        return Err(Error::usage("no command to run", "usher run -p PROFILE -- COMMAND ARGS..."));
    };
    let mut command = Command::new(&program);
    command.args(words);
    for (name, value) in settings {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let cannot = |source| Error::Run { command: program.display().to_string(), source };
    match args.refresh_file {
        Some(path) => refresh::run(command, path, &message, &answer, caller, cannot),
        // Only a failure returns.
        None => Err(cannot(command.exec())),
    }
}

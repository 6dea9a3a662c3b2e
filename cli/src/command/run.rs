//! `usher run`: a command with the token in its environment, and in nobody else's. The command takes this
//! process's place.

use std::{os::unix::process::CommandExt as _, process::Command};

use super::{env, profile, request};
use crate::{
    args::{Run, Variables},
    call::with_started_daemon,
    caller::Caller,
    error::Error,
    variable::Variable,
};

pub(super) fn run(args: Run, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let Variables { env: variables, header_env } = args.variables;
    let variables: Vec<Variable> =
        variables.into_iter().chain(header_env.into_iter().map(Variable::authorization)).collect();
    let message = request(profile(args.profile, caller)?, &args.wanted);
    let (answer, variables) = if variables.is_empty() {
        env::usual(message, args.wanted.timeout, caller)?
    } else {
        let answer =
            with_started_daemon(caller, args.wanted.timeout, async |daemon| daemon.token(message).await)?;
        let variables = variables.into_iter().map(|variable| variable.filled(&answer)).collect();
        (answer, variables)
    };
    super::token::warn_if_short(&answer, &args.wanted, caller);
    env::warn_if_long_lived(&answer, caller);

    let mut words = args.command.into_iter();
    let Some(program) = words.next() else {
        return Err(Error::usage("no command to run", "usher run -p PROFILE -- COMMAND ARGS..."));
    };
    let mut command = Command::new(&program);
    command.args(words);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Only a failure returns.
    let source = command.exec();
    Err(Error::Run { command: program.display().to_string(), source })
}

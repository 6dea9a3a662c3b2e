//! `usher`, the command line: thin, on usherd's socket. No TLS, no HTTP client, one thread.
//!
//! - [`args`]: what can be typed, and its help texts
//! - `command`: what each verb does, one file a command
//! - `caller`: what the calling process gave us: its streams and its environment
//! - `call`: one connection to usherd, with the caller's deadline
//! - `error`: every way to fail, by what the user does next
//! - `exit`: the one place where a failure becomes an exit code
//! - [`helper`]: the protocols of git's, docker's and kubectl's credential helpers, one module each
//! - `follow`: a token that is kept up to date, and `token_file`: where
//! - `report`: how a failure is told, to people or as JSON
//! - `start`: where no usherd is running
//! - `systemd`: the user's systemd
//! - `time`: the clock, and durations as people read and write them
//! - `variable`: environment variables that are to hold a token

use std::{ffi::OsString, io, process::ExitCode};

use clap::Parser as _;

pub mod args;
mod call;
mod caller;
mod command;
mod error;
pub mod exit;
#[cfg(test)]
mod fake;
mod follow;
pub mod helper;
mod report;
mod start;
mod systemd;
mod time;
mod token_file;
mod variable;

pub use caller::{Caller, Keyboard, Screen};
pub use error::Error;

/// Runs the command line `args` (the program's name first) on this process's streams.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (mut input, mut out, mut err) = (io::stdin(), io::stdout(), io::stderr());
    let mut caller = Caller::new(&mut out, &mut err, &|name| std::env::var_os(name))
        .with_input(&mut input)
        .with_screen(&Screen::of_stdout)
        .with_keyboard(&Keyboard::ask);
    ExitCode::from(run(args, &mut caller))
}

/// Runs the command line `args` (the program's name first) for `caller` and returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, caller: &mut Caller<'_>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    // Helpers are called often, and by name: the whole tree of commands is not built for them.
    let outcome = match helper::called(&args) {
        Some((helper, args)) => {
            caller.answer_program();
            (helper.run)(args, caller)
        }
        None => command_line(&args, caller),
    };
    match outcome.and_then(|code| caller.flush().map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            report::failure(&error, caller);
            exit::code(&error)
        }
    }
}

fn command_line(args: &[OsString], caller: &mut Caller<'_>) -> Result<u8, Error> {
    match args::Args::try_parse_from(args) {
        Ok(args) => command::run(args, caller),
        Err(error) => {
            caller.want_json(report::wants_json(args));
            report::usage(&error, caller)
        }
    }
}

#[cfg(test)]
mod tests;

//! `usher completions`: what a shell needs to complete usher's commands and options, made of their definitions.

use clap::CommandFactory as _;

use crate::{
    args::{Args, Completions, Shell},
    caller::Caller,
    error::Error,
    exit,
};

pub(super) fn run(args: &Completions, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "usher", &mut script);
    caller.answer(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}

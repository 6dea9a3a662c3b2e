//! `usher helper`: what is not a protocol's own. A protocol is run without the tree of commands, from
//! [`crate::helper`].

use crate::{
    args::HelperCommand,
    caller::Caller,
    error::Error,
    helper::install::{print, put, take},
};

pub(super) fn run(command: HelperCommand, caller: &mut Caller<'_>) -> Result<u8, Error> {
    match command {
        HelperCommand::Install(args) => put::run(&args.tool, caller),
        HelperCommand::Uninstall(args) => take::run(&args, caller),
        HelperCommand::Print(args) => print::run(&args, caller),
        HelperCommand::Protocol(protocol) => Err(Error::usage(
            format!("`helper {}` has to come first", protocol.name()),
            format!("usher helper {} ARGS...", protocol.name()),
        )),
    }
}

//! `usher helper`: what is not a protocol's own. A protocol is run without the tree of commands, from
//! [`crate::helper`].

use crate::{args::HelperCommand, error::Error};

pub(super) fn run(command: &HelperCommand) -> Result<u8, Error> {
    match command {
        HelperCommand::Protocol(protocol) => Err(Error::usage(
            format!("`helper {}` has to come first", protocol.name()),
            format!("usher helper {} ARGS...", protocol.name()),
        )),
    }
}

//! `usher service`: usherd as a service of the user's systemd, started by the first call.
//!
//! - `units`: the two unit files, and which of them are ours
//! - `manager`: what the user's systemd is asked and told
//! - `install`, `uninstall`, `status`: the verbs

mod install;
mod manager;
mod status;
mod uninstall;
mod units;

use crate::{
    args::{Service, ServiceCommand},
    caller::Caller,
    error::Error,
};

pub(super) fn run(args: &Service, caller: &mut Caller<'_>) -> Result<u8, Error> {
    match &args.command {
        ServiceCommand::Install => install::run(caller),
        ServiceCommand::Uninstall => uninstall::run(caller),
        ServiceCommand::Status(args) => status::run(args, caller),
    }
}

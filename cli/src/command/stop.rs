//! `usher stop`: ends usherd, and waits until it has ended.

use usher_proto::{client::ConnectError, socket};

use super::answer_json;
use crate::{args::Stop, call::with_daemon, caller::Caller, error::Error, exit, start};

pub(super) fn run(args: &Stop, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let answer = match with_daemon(caller, args.manner.timeout, async |daemon| daemon.stop().await) {
        Err(Error::Connect(ConnectError::NotRunning { .. })) if args.manner.json => {
            answer_json(&serde_json::json!({ "stopped": null }), caller)?;
            return Ok(exit::OK);
        }
        Err(Error::Connect(ConnectError::NotRunning { .. })) => {
            caller.answer("usherd was not running\n")?;
            return Ok(exit::OK);
        }
        answer => answer?,
    };
    // It has hung up on us, and finishes what others asked.
    let (socket, patience) = (socket::path(|name| caller.var(name))?, args.manner.timeout);
    if !start::wait_for_end(&socket, answer.pid, patience) {
        return Err(Error::NotEnded { pid: answer.pid, patience });
    }
    if args.manner.json {
        answer_json(&serde_json::json!({ "stopped": answer.pid }), caller)?;
    } else {
        caller.answer(&format!("usherd (pid {}) has finished its calls and stopped\n", answer.pid))?;
    }
    Ok(exit::OK)
}

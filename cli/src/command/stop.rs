//! `usher stop`: ends usherd, and waits until it has ended.

use super::answer_json;
use crate::{args::Stop, call::with_daemon, caller::Caller, error::Error, exit};

pub(super) fn run(args: &Stop, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let answer = with_daemon(caller, args.manner.timeout, async |daemon| daemon.stop().await)?;
    if args.manner.json {
        answer_json(&serde_json::json!({ "stopped": answer.pid }), caller)?;
    } else {
        caller.answer(&format!("usherd (pid {}) has finished its calls and stopped\n", answer.pid))?;
    }
    Ok(exit::OK)
}

//! `usher --version`: both sides, whether or not usherd runs.

use std::time::Duration;

use usher_proto::{client::ConnectError, v1::StatusRequest, version::VERSION};

use crate::{call::with_daemon, caller::Caller, error::Error, exit};

/// With the grace of the call it is two seconds at most.
const DEADLINE: Duration = Duration::from_secs(1);

pub(super) fn run(caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.answer(&format!("usher {VERSION}\n"))?;
    // Their difference is what is printed; no warning on top of it.
    let (mut sink, env) = (std::io::sink(), |name: &str| caller.var(name));
    let mut nothing = std::io::sink();
    let mut quiet = Caller::new(&mut nothing, &mut sink, &env);
    let line =
        match with_daemon(&mut quiet, DEADLINE, async |daemon| daemon.status(StatusRequest::default()).await)
        {
            Ok(status) => format!("usherd {} (running, pid {})\n", status.version, status.pid),
            Err(Error::Connect(ConnectError::NotRunning { .. })) => "usherd: not running\n".to_owned(),
            Err(error) => format!("usherd: unknown ({error})\n"),
        };
    caller.answer(&line)?;
    Ok(exit::OK)
}

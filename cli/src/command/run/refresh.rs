//! A command beside a file that always holds a token for it.

use std::{
    future, io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitStatus},
    task::Poll,
};

use nix::{sys::signal, unistd::Pid};
use tokio::signal::unix::{Signal, SignalKind};
use usher_proto::v1::{GetTokenRequest, GetTokenResponse};

use crate::{
    call,
    caller::Caller,
    error::Error,
    follow::follow,
    token_file::{OWNER_ONLY, TokenFile},
};

/// Runs `command`, and keeps the token of `request` in the file at `path` until it has ended. Answers its exit
/// code; the file is taken away.
pub(super) fn run(
    command: Command,
    path: PathBuf,
    request: &GetTokenRequest,
    first: &GetTokenResponse,
    caller: &mut Caller<'_>,
    cannot: impl Fn(io::Error) -> Error,
) -> Result<u8, Error> {
    let file = TokenFile::new(path, OWNER_ONLY);
    let put = |token: &GetTokenResponse| file.write(&format!("{}\n", token.access_token));
    let runtime = call::runtime()?;
    let mut signals = {
        let _within = runtime.enter();
        Signals::catch().map_err(&cannot)?
    };
    put(first)?;
    let ended = runtime.block_on(async {
        let mut child = tokio::process::Command::from(command).spawn()?;
        let refreshed = async {
            let Err(error) = follow(caller, request, first.token_id.clone(), |token, _| put(token)).await;
            // The command may do without a new token; it is not ours to end.
            caller.warn(&format!("the file is not kept up to date any more: {error}"));
            future::pending::<()>().await;
        };
        tokio::pin!(refreshed);
        loop {
            tokio::select! {
                ended = child.wait() => return ended,
                number = signals.next() => pass_on(number, child.id()),
                () = &mut refreshed => {}
            }
        }
    });
    let removed = file.remove();
    let status = ended.map_err(cannot)?;
    removed?;
    Ok(code(status))
}

/// The signals that are the command's. Those of a terminal it gets from there: here they are caught so that the
/// file is taken away after it.
struct Signals {
    own: [(signal::Signal, Signal); 4],
    of_terminal: [Signal; 2],
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let catch = tokio::signal::unix::signal;
        Ok(Self {
            own: [
                (signal::SIGTERM, catch(SignalKind::terminate())?),
                (signal::SIGHUP, catch(SignalKind::hangup())?),
                (signal::SIGUSR1, catch(SignalKind::user_defined1())?),
                (signal::SIGUSR2, catch(SignalKind::user_defined2())?),
            ],
            of_terminal: [catch(SignalKind::interrupt())?, catch(SignalKind::quit())?],
        })
    }

    /// The next one that is to be passed on.
    async fn next(&mut self) -> signal::Signal {
        future::poll_fn(|context| {
            for terminal in &mut self.of_terminal {
                while terminal.poll_recv(context).is_ready() {}
            }
            let mut own = self.own.iter_mut();
            let arrived =
                own.find_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
            arrived.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

fn pass_on(number: signal::Signal, child: Option<u32>) {
    // Not yet waited for: the process id is nobody else's.
    if let Some(pid) = child.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = signal::kill(Pid::from_raw(pid), number);
    }
}

/// As a shell tells it: 128 and its number for a signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

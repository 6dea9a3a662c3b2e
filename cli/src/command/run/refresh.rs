//! A command beside a file that always holds a token for it.

use std::{
    fs, future, io,
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
    follow::{Kept, follow},
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
    let text = |token: &GetTokenResponse| Ok(format!("{}\n", token.access_token));
    let runtime = call::runtime()?;
    let mut signals = {
        let _within = runtime.enter();
        Signals::catch().map_err(&cannot)?
    };
    let mut kept = Kept::begin(&file, &text, first)?;
    let ended = runtime.block_on(async {
        let mut child = tokio::process::Command::from(command).spawn()?;
        let refreshed = async {
            let Err(error) = follow(caller, request, &mut kept).await;
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
    if let Err(error) = file.remove() {
        caller.warn(&error.to_string());
    }
    Ok(code(ended.map_err(cannot)?))
}

/// The signals that are the command's. Those of a terminal it gets from there: here they are caught so that the
/// file is taken away after it.
struct Signals {
    own: Vec<(signal::Signal, Signal)>,
    of_terminal: Vec<(signal::Signal, Signal)>,
}

impl Signals {
    /// What whoever started us had ignored, as `nohup` does, stays ignored, for the command, too: one that is caught
    /// would end it.
    fn catch() -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let catch = |signals: &[signal::Signal]| {
            let caught = signals.iter().filter(|signal| !is_in(ignored, **signal));
            let kind = |signal: signal::Signal| SignalKind::from_raw(signal as i32);
            caught.map(|signal| Ok((*signal, tokio::signal::unix::signal(kind(*signal))?))).collect()
        };
        let own: io::Result<_> = catch(&[signal::SIGTERM, signal::SIGHUP, signal::SIGUSR1, signal::SIGUSR2]);
        Ok(Self { own: own?, of_terminal: catch(&[signal::SIGINT, signal::SIGQUIT])? })
    }

    /// The next one that is to be passed on.
    async fn next(&mut self) -> signal::Signal {
        future::poll_fn(|context| {
            for (_, terminal) in &mut self.of_terminal {
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

/// The ignored signals of a process, as `/proc/PID/status` has them: a bit each. (sigaction(2) would tell, too, but
/// cannot be asked without unsafe code.)
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn is_in(mask: u64, signal: signal::Signal) -> bool {
    mask >> (signal as i32 - 1) & 1 == 1
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_of_the_status() {
        let mask =
            ignored("Name:\tusher\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\tff\n");
        assert!(is_in(mask, signal::SIGHUP) && is_in(mask, signal::SIGINT) && is_in(mask, signal::SIGPIPE));
        assert!(!is_in(mask, signal::SIGTERM) && !is_in(mask, signal::SIGQUIT));
        assert_eq!(ignored(""), 0);
    }
}

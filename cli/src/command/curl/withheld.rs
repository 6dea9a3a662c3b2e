//! A run of curl whose output is withheld until the answer's status is known, which is before its body comes:
//! curl writes the headers into a pipe of their own. Only the body of a 401 is kept until curl ends.

use std::{
    fs::File,
    io::{self, IsTerminal as _, PipeReader, Read as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    process::{Child, Stdio},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use self::held::{Held, State};
use super::{Allowed, arguments, code, command, header, parse::Parsed};
use crate::{caller::Caller, error::Error};

mod held;

/// Within so many bytes a NUL tells that an answer is no text.
const BINARY: usize = 2000;

/// curl's exit code for an answer that could not be written.
const WRITE_ERROR: u8 = 23;

/// How the run ended.
pub(super) enum Outcome {
    /// Everything was passed on; curl's exit code.
    Done(u8),
    /// The API refused the token, and nothing was passed on.
    Refused(Answer),
}

/// What curl wrote, and its exit code.
pub(super) struct Answer {
    held: Held,
    code: u8,
}

impl Answer {
    /// Passes it on after all, and returns the exit code.
    pub(super) fn release(mut self, caller: &mut Caller<'_>) -> u8 {
        let _ = self.held.pass(caller);
        self.code
    }
}

/// Runs curl.
pub(super) fn run(parsed: &Parsed, allowed: &Allowed, caller: &mut Caller<'_>) -> Result<Outcome, Error> {
    let system = |source| Error::System { what: "cannot make a pipe for curl", source };
    let file = header::file(&allowed.answer.authorization)?;
    let (headers, end) = io::pipe().map_err(system)?;
    // For curl to inherit, as the file with the header.
    fcntl(&end, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|error| system(error.into()))?;
    let path = format!("/dev/fd/{}", end.as_raw_fd());
    // Only the API's own status counts, not that of a proxy before it.
    let mut ours = vec!["-D", &path, "--suppress-connect-headers"];
    let terminal = io::stdout().is_terminal();
    if terminal {
        // As curl does of itself on a terminal: here it sees a pipe.
        ours.extend(["--no-progress-meter", "-N"]);
    }
    let mut command = command(arguments(parsed, &allowed.urls, &header::path(&file), &ours));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(Error::Curl)?;
    drop((file, end));
    follow(child, headers, terminal, caller).map_err(Error::Curl)
}

fn follow(
    mut child: Child,
    headers: PipeReader,
    terminal: bool,
    caller: &mut Caller<'_>,
) -> io::Result<Outcome> {
    let mut held = Held::default();
    let (mut seen, mut binary) = (0, false);
    let of = |fd: Option<OwnedFd>| fd.map(File::from);
    // In this order: what is known of the status decides what becomes of the rest.
    let mut streams = [
        of(Some(headers.into())),
        of(child.stdout.take().map(OwnedFd::from)),
        of(child.stderr.take().map(OwnedFd::from)),
    ];
    let mut buffer = vec![0; 64 * 1024];
    while streams.iter().any(Option::is_some) {
        for (index, ready) in wait(&streams)?.into_iter().enumerate() {
            let Some(stream) = streams[index].as_mut().filter(|_| ready) else { continue };
            let read = match stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.unwrap_or(0),
            };
            let outcome = match (index, &buffer[..read]) {
                (_, []) => {
                    streams[index] = None;
                    continue;
                }
                (0, bytes) => held.headers(bytes, caller),
                // curl's own rule for terminals.
                (1, bytes) if terminal && seen < BINARY && bytes.contains(&0) => {
                    binary = true;
                    caller.warn(
                        "the answer is binary, which can upset a terminal: write it into a file or a pipe",
                    );
                    Err(io::ErrorKind::InvalidData.into())
                }
                (1, bytes) => held.out(bytes, caller),
                (_, bytes) => held.err(bytes, caller),
            };
            seen += if index == 1 { read } else { 0 };
            if outcome.is_err() {
                // Nobody takes the answer any more: curl is to learn it as if it had written there itself.
                streams[1] = None;
            }
        }
    }
    let status = child.wait()?;
    // 22 is --fail's. Whatever else went wrong is no matter of the token.
    if held.state() == State::Refused && matches!(status.code(), Some(0 | 22)) {
        return Ok(Outcome::Refused(Answer { held, code: code(status) }));
    }
    let _ = held.pass(caller);
    Ok(Outcome::Done(if binary { WRITE_ERROR } else { code(status) }))
}

/// Waits until there is something to read, and says where.
fn wait(streams: &[Option<File>; 3]) -> io::Result<[bool; 3]> {
    let open = |(index, stream): (usize, &'_ Option<File>)| stream.is_some().then_some(index);
    let indices: Vec<usize> = streams.iter().enumerate().filter_map(open).collect();
    let mut polled: Vec<PollFd<'_>> =
        streams.iter().flatten().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = [false; 3];
    for (index, polled) in indices.into_iter().zip(polled) {
        ready[index] = polled.any().unwrap_or(true);
    }
    Ok(ready)
}

//! What becomes of curl's output: held while the status is unknown or 401, else passed on as it comes.

use std::io;

use crate::caller::Caller;

/// The body of a 401 is short. From here on it is passed on, and the token not replaced.
const MOST: usize = 1024 * 1024;

/// A status line is short; what is longer is none.
const LONGEST_LINE: usize = 256;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The status is unknown.
    #[default]
    Waiting,
    /// It is 401.
    Refused,
    /// It is another, or there was too much to hold.
    Passing,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    state: State,
    /// The header line that is being read, as far as it matters.
    line: Vec<u8>,
    /// Within a block of headers, whose first line has the status.
    inside: bool,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Held {
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// More of the headers.
    pub(super) fn headers(&mut self, bytes: &[u8], caller: &mut Caller<'_>) -> io::Result<()> {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LONGEST_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.trim_ascii_end();
            let status = if self.inside { None } else { status(line) };
            self.inside = !line.is_empty();
            match status {
                // 1xx: the answer is still to come.
                None | Some(100..200) => {}
                Some(401) => {
                    if self.state == State::Waiting {
                        self.state = State::Refused;
                    }
                }
                Some(_) => self.pass(caller)?,
            }
        }
        Ok(())
    }

    /// More of the body.
    pub(super) fn out(&mut self, bytes: &[u8], caller: &mut Caller<'_>) -> io::Result<()> {
        if self.state == State::Passing {
            return caller.pass(bytes);
        }
        self.out.extend_from_slice(bytes);
        self.limit(caller)
    }

    /// More of what curl tells people.
    pub(super) fn err(&mut self, bytes: &[u8], caller: &mut Caller<'_>) -> io::Result<()> {
        if self.state == State::Passing {
            // Whether or not anybody still reads along, curl has to get its work done.
            let _ = caller.stderr().write_all(bytes);
            return Ok(());
        }
        self.err.extend_from_slice(bytes);
        self.limit(caller)
    }

    fn limit(&mut self, caller: &mut Caller<'_>) -> io::Result<()> {
        if self.out.len() + self.err.len() > MOST { self.pass(caller) } else { Ok(()) }
    }

    /// Passes on what is held, and from now on everything.
    pub(super) fn pass(&mut self, caller: &mut Caller<'_>) -> io::Result<()> {
        self.state = State::Passing;
        let _ = caller.stderr().write_all(&std::mem::take(&mut self.err));
        caller.pass(&std::mem::take(&mut self.out))
    }
}

/// The status in `HTTP/1.1 401 Unauthorized`.
fn status(line: &[u8]) -> Option<u16> {
    let mut words = line.strip_prefix(b"HTTP/")?.split(|byte| *byte == b' ');
    std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was passed on of these headers and this output, and the state after them.
    fn after(headers: &[&str], out: &[u8]) -> (State, usize) {
        let (mut passed, mut err) = (Vec::new(), Vec::new());
        let mut caller = Caller::new(&mut passed, &mut err, &|_| None);
        let mut held = Held::default();
        for piece in headers {
            held.headers(piece.as_bytes(), &mut caller).unwrap();
        }
        held.out(out, &mut caller).unwrap();
        held.err(b"note", &mut caller).unwrap();
        let state = held.state();
        assert_eq!(err.is_empty(), passed.is_empty());
        (state, passed.len())
    }

    #[test]
    fn the_status_decides() {
        for (headers, expected) in [
            (&["HTTP/1.1 200 OK\r\n"][..], (State::Passing, 4)),
            (&["HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n"], (State::Refused, 0)),
            (&["HTTP/2 401 \r\n"], (State::Refused, 0)),
            (&["HTTP/1.1 4", "01 No\r", "\n"], (State::Refused, 0)),
            (&["HTTP/1.1 401"], (State::Waiting, 0)),
            (&["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 401 No\r\n"], (State::Refused, 0)),
            (&["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Made\r\n"], (State::Passing, 4)),
            (&["HTTP/1.1 403 No\r\n\r\n"], (State::Passing, 4)),
            // A header that looks like a status line is none.
            (&["HTTP/1.1 401 No\r\nHTTP/1.1 200 OK\r\n"], (State::Refused, 0)),
            (&["HTTP/1.1 200 OK\r\nHTTP/1.1 401 No\r\n"], (State::Passing, 4)),
            (&["HTTP/1.1 401 No\r\n\r\nHTTP/1.1 200 OK\r\n"], (State::Passing, 4)),
            (&["", "nonsense\r\n\r\n"], (State::Waiting, 0)),
        ] {
            assert_eq!(after(headers, b"body"), expected, "{headers:?}");
        }
    }

    #[test]
    fn no_more_is_held_than_a_mebibyte() {
        assert_eq!(after(&["HTTP/1.1 401 No\r\n"], &vec![b'x'; MOST + 1]), (State::Passing, MOST + 1));
        assert_eq!(after(&[], &vec![b'x'; MOST + 1]), (State::Passing, MOST + 1));
        assert_eq!(after(&["HTTP/1.1 401 No\r\n", &"x".repeat(10 * MOST)], b"").0, State::Refused);
    }
}

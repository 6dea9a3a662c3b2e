//! What the calling process gave us: three streams, an environment, perhaps a terminal to ask. Commands touch nothing
//! else.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Read, Write},
};

use zeroize::Zeroizing;

use crate::error::Error;

/// What a program asks is hardly ever longer, in bytes.
const USUAL: usize = 16 * 1024;

/// How much of it is read at once, in bytes: as much as stdin's own buffer, which then keeps nothing of it.
const PIECE: usize = 8 * 1024;

/// The process that called, as a command sees it.
pub struct Caller<'a> {
    input: Option<&'a mut dyn Read>,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    screen: &'a dyn Fn() -> Option<Screen>,
    keyboard: &'a dyn Fn(&str) -> Option<String>,
    program: bool,
    json: bool,
}

/// A terminal that shows what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// How many letters fit into a line.
    pub columns: u16,
    /// How many lines there are.
    pub rows: u16,
}

impl Screen {
    /// The terminal that is this process's stdout.
    pub fn of_stdout() -> Option<Self> {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        let size = terminal_size::terminal_size_of(&stdout);
        // A terminal that knows no size is taken for the usual one.
        Some(size.map_or(Self { columns: 80, rows: 24 }, |(columns, rows)| Self {
            columns: columns.0,
            rows: rows.0,
        }))
    }
}

/// The terminal that somebody sits at, who reads what they are told and can answer.
#[derive(Debug)]
pub struct Keyboard;

impl Keyboard {
    /// The answer to a question on stderr, a line from stdin; none if one of the two is no terminal.
    pub fn ask(question: &str) -> Option<String> {
        let (stdin, mut stderr) = (io::stdin(), io::stderr());
        if !stdin.is_terminal() || !stderr.is_terminal() {
            return None;
        }
        let _ = stderr.write_all(question.as_bytes());
        let mut line = String::new();
        // At the end of input there is an empty one.
        let _ = stdin.read_line(&mut line);
        Some(line)
    }
}

impl<'a> Caller<'a> {
    /// `out` gets the answer alone, `err` is for people, `env` looks a variable up.
    pub fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        env: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        Self {
            input: None,
            out,
            err,
            env,
            screen: &|| None,
            keyboard: &|_| None,
            program: false,
            json: false,
        }
    }

    /// `input` holds what is asked, where it is a program that asks.
    #[must_use]
    pub fn with_input(self, input: &'a mut dyn Read) -> Self {
        Self { input: Some(input), ..self }
    }

    /// `screen` tells the size of the terminal that `out` is, as often as it is asked.
    #[must_use]
    pub fn with_screen(self, screen: &'a dyn Fn() -> Option<Screen>) -> Self {
        Self { screen, ..self }
    }

    /// `keyboard` asks who sits at a terminal, and waits for a line; it knows at once if nobody does.
    #[must_use]
    pub fn with_keyboard(self, keyboard: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { keyboard, ..self }
    }

    /// What whoever sits at the terminal answers; none if nobody does.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        (self.keyboard)(question)
    }

    /// The terminal that shows what is answered, as it is now; none if the answer goes elsewhere.
    pub(crate) fn screen(&self) -> Option<Screen> {
        (self.screen)()
    }

    /// It is a program that asks, by a protocol of its own.
    pub(crate) fn answer_program(&mut self) {
        self.program = true;
    }

    /// What to do about an error, for who asks.
    pub(crate) fn hint(&self, error: &Error) -> Option<String> {
        if self.program { error.hint_to_program() } else { error.hint() }
    }

    /// Has warnings and errors written as JSON.
    pub(crate) fn want_json(&mut self, json: bool) {
        self.json = json;
    }

    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// An environment variable; an empty one counts as unset.
    pub(crate) fn var(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// What is asked, up to its end: at most one byte more than `limit`, so that who reads it sees that it is too
    /// long. It may hold secrets.
    pub(crate) fn input(&mut self, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.input_until(limit, |_, _| false)
    }

    /// The same, but no further than to where `is_complete`, which is told where the last piece begins, says that all
    /// is there: who asks may wait for the answer with the stream open.
    pub(crate) fn input_until(
        &mut self,
        limit: usize,
        is_complete: impl Fn(&[u8], usize) -> bool,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        // As long as it usually gets: a buffer that grows leaves secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(USUAL.min(limit + 1)));
        let mut piece = Zeroizing::new([0; PIECE]);
        let Some(input) = self.input.take() else { return Ok(bytes) };
        while bytes.len() <= limit {
            let room = PIECE.min(limit + 1 - bytes.len());
            let count = match input.read(&mut piece[..room]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome.map_err(Error::Unread)?,
            };
            let from = bytes.len();
            bytes.extend_from_slice(&piece[..count]);
            if count == 0 || is_complete(&bytes, from) {
                break;
            }
        }
        Ok(bytes)
    }

    /// Writes a part of the answer.
    pub(crate) fn answer(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).map_err(Error::Output)
    }

    /// Passes a piece of somebody else's answer on, at once.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(Error::Output)
    }

    /// Tells people something that is not the answer.
    pub(crate) fn warn(&mut self, warning: &str) {
        if self.json {
            self.tell(&format!("{}\n", serde_json::json!({ "warning": warning })));
        } else {
            self.tell(&format!("usher: warning: {}\n", printable(warning)));
        }
    }

    /// Tells people that all is well again.
    pub(crate) fn note(&mut self, note: &str) {
        if self.json {
            self.tell(&format!("{}\n", serde_json::json!({ "note": note })));
        } else {
            self.tell(&format!("usher: {}\n", printable(note)));
        }
    }

    /// Its environment alone, for what goes on beside it.
    pub(crate) fn environment(&self) -> &'a dyn Fn(&str) -> Option<OsString> {
        self.env
    }

    /// Writes to stderr as it is. Nobody is left to be told of a failure.
    pub(crate) fn tell(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes());
    }

    /// The stream for people, for what has to pass through in pieces.
    pub(crate) fn stderr(&mut self) -> &mut dyn Write {
        self.err
    }
}

/// Whether nobody reads any more: no reason to say anything.
pub(crate) fn hung_up(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// `text` without what could steer a terminal. Part of it comes over the network by way of usherd.
pub(crate) fn printable(text: &str) -> String {
    let keep = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    text.chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\rd"), "a\u{fffd}[2Jb\nc\u{fffd}d");
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let env = |name: &str| Some(if name == "EMPTY" { "".into() } else { "set".into() });
        let caller = Caller::new(&mut out, &mut err, &env);
        assert_eq!(caller.var("EMPTY"), None);
        assert_eq!(caller.var("OTHER"), Some("set".into()));
    }
}

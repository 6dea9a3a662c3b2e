//! What the calling process gave us: two streams and an environment. Commands touch nothing else.

use std::{
    ffi::OsString,
    io::{self, Write},
};

use crate::error::Error;

/// The process that called, as a command sees it.
pub struct Caller<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    json: bool,
}

impl<'a> Caller<'a> {
    /// `out` gets the answer alone, `err` is for people, `env` looks a variable up.
    pub fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        env: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        Self { out, err, env, json: false }
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

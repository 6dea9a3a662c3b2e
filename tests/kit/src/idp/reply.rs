//! What the IdP answers, said in one expression: `Reply::status(503).header("Retry-After", "5")`.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::gate::Gate;

/// One answer, well-behaved or not.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) act: Act,
    pub(super) headers: Vec<(String, String)>,
    pub(super) gate: Option<Gate>,
}

/// What happens on the wire.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A new token. The fields replace those of the usual answer; `None` takes one out.
    Token(Vec<(String, Option<Value>)>),
    /// A whole answer.
    Respond { status: u16, body: Vec<u8> },
    /// A head that promises `missing` bytes more than follow, then the end.
    Truncate { status: u16, body: Vec<u8>, missing: usize },
    /// A byte, a pause, a byte.
    Drip { status: u16, body: Vec<u8>, every: Duration },
    /// No length: the end of the connection is that of the body. In an orderly way TLS says so.
    UntilClose { status: u16, body: Vec<u8>, orderly: bool },
    /// `body`, then blanks as long as somebody reads.
    Endless { status: u16, body: Vec<u8> },
    /// The end of the connection, by FIN.
    Close,
    /// The end of the connection, by RST.
    Reset,
}

impl Reply {
    /// A new token, answered as the guide shows it.
    pub fn token() -> Self {
        Self::act(Act::Token(Vec::new()))
    }

    /// Of a token answer: the field `name` is `value`.
    #[must_use]
    pub fn field(self, name: &str, value: Value) -> Self {
        self.set(name, Some(value))
    }

    /// Of a token answer: the field `name` is missing.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.set(name, None)
    }

    /// Whatever status and body.
    pub fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::act(Act::Respond { status, body: body.into() })
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::raw(status, "")
    }

    /// A JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::raw(status, body.to_string()).header("Content-Type", "application/json")
    }

    /// An error as RFC 6749, section 5.2, has it.
    pub fn oauth_error(status: u16, code: &str, description: &str) -> Self {
        Self::json(status, &json!({ "error": code, "error_description": description }))
    }

    /// "Go there."
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("Location", location)
    }

    /// A login page where a token was to be, status 200.
    pub fn html200() -> Self {
        Self::raw(200, "<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>")
            .header("Content-Type", "text/html; charset=utf-8")
    }

    /// A 200 with that body, compressed, whatever the client accepts.
    pub fn gzip(body: impl AsRef<[u8]>) -> Self {
        Self::gzipped(body.as_ref())
    }

    /// A token answer whose token is `mebibytes` long, in a few kilobytes of gzip.
    pub fn gzip_bomb(mebibytes: usize) -> Self {
        let token = "a".repeat(mebibytes << 20);
        Self::gzipped(
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 })
                .to_string()
                .as_bytes(),
        )
    }

    /// No answer, only the end of the connection.
    pub fn close() -> Self {
        Self::act(Act::Close)
    }

    /// No answer, only a reset of the connection.
    pub fn reset() -> Self {
        Self::act(Act::Reset)
    }

    /// A token answer that breaks off: `Content-Length` promises more than is sent.
    pub fn truncate() -> Self {
        let body = br#"{"access_token":"cut-off-in-the-mid"#.to_vec();
        Self::act(Act::Truncate { status: 200, body, missing: 100 })
            .header("Content-Type", "application/json")
    }

    /// A 200 without a length, whose body ends with the connection.
    pub fn until_close(body: impl Into<Vec<u8>>) -> Self {
        Self::act(Act::UntilClose { status: 200, body: body.into(), orderly: true })
            .header("Content-Type", "application/json")
    }

    /// The same, but the connection is cut: TLS says nothing of an end, so there may have been more.
    pub fn cut_off(body: impl Into<Vec<u8>>) -> Self {
        Self::act(Act::UntilClose { status: 200, body: body.into(), orderly: false })
            .header("Content-Type", "application/json")
    }

    /// A 200 whose body comes a byte at a time, one `every` so often.
    pub fn drip(body: impl Into<Vec<u8>>, every: Duration) -> Self {
        Self::act(Act::Drip { status: 200, body: body.into(), every })
            .header("Content-Type", "application/json")
    }

    /// A 200 that never ends, as fast as the client reads.
    pub fn endless() -> Self {
        Self::act(Act::Endless { status: 200, body: b"{".to_vec() })
            .header("Content-Type", "application/json")
    }

    /// Of an answer that goes wrong: another status than 200.
    #[must_use]
    pub fn answering(mut self, code: u16) -> Self {
        match &mut self.act {
            Act::Respond { status, .. }
            | Act::Truncate { status, .. }
            | Act::Drip { status, .. }
            | Act::UntilClose { status, .. }
            | Act::Endless { status, .. } => *status = code,
            Act::Token(_) | Act::Close | Act::Reset => panic!("this has no status"),
        }
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Withholds this reply: the gate tells when a request for it has arrived, and lets it go.
    pub fn hold(self) -> (Self, Gate) {
        let gate = Gate::closed();
        (Self { gate: Some(gate.clone_for_server()), ..self }, gate)
    }

    fn act(act: Act) -> Self {
        Self { act, headers: Vec::new(), gate: None }
    }

    fn set(mut self, name: &str, value: Option<Value>) -> Self {
        let Act::Token(fields) = &mut self.act else { panic!("only Reply::token() has fields") };
        fields.push((name.to_owned(), value));
        self
    }

    fn gzipped(body: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).expect("compress into memory");
        Self::raw(200, encoder.finish().expect("compress into memory"))
            .header("Content-Type", "application/json")
            .header("Content-Encoding", "gzip")
    }

    /// A token reply becomes the bytes of a fresh token answer, and says which token that is; others stay.
    pub(super) fn resolve(self, fresh: impl FnOnce() -> Map<String, Value>) -> (Self, Option<String>) {
        let Act::Token(fields) = self.act else { return (self, None) };
        let mut body = fresh();
        for (name, value) in fields {
            match value {
                Some(value) => body.insert(name, value),
                None => body.remove(&name),
            };
        }
        let token = body.get("access_token").and_then(Value::as_str).map(str::to_owned);
        let act = Act::Respond { status: 200, body: Value::Object(body).to_string().into_bytes() };
        let reply = Self { act, headers: self.headers, gate: self.gate };
        (reply.header("Content-Type", "application/json").header("Cache-Control", "no-store"), token)
    }
}

//! What git says: `key=value`, a line each, as git-credential(1) has it. Whatever two programs could read differently
//! is an error; what a host or a path may be is not judged here.

use secrecy::SecretString;

use super::{
    challenge,
    state::{Scheme, State},
};

/// The most that is read, in bytes.
pub(super) const MAX_INPUT: usize = 1 << 20;

/// The longest line, without its end, in bytes.
const MAX_LINE: usize = 65_535;

/// What git says.
#[derive(Debug, Default)]
pub struct Request {
    /// "https", or whatever else git speaks.
    pub protocol: String,
    /// host or host:port.
    pub host: String,
    /// Without the slash at its beginning. Empty unless `credential.useHttpPath` is set.
    pub path: String,
    /// The user, if git knows.
    pub username: String,
    /// What is to be stored or erased.
    pub password: Option<SecretString>,
    /// The scheme of `credential`.
    pub authtype: String,
    /// What is to be stored or erased, where it is no user name and password.
    pub credential: Option<SecretString>,
    /// Whoever issued it has said that it is not worth storing.
    pub ephemeral: bool,
    /// When it expires, in seconds since the epoch.
    pub password_expiry_utc: Option<i64>,
    /// Comes and goes with the password.
    pub oauth_refresh_token: Option<SecretString>,
    /// git understands `authtype` and `credential`.
    pub takes_authtype: bool,
    /// git gives `state[]` back.
    pub takes_state: bool,
    /// Each WWW-Authenticate header of the server, as it wrote it.
    pub wwwauth: Vec<String>,
    /// That we have answered before within the same command of git's, and what.
    pub state: Option<State>,
}

/// Why nothing was made of it. Quotes nothing of it: there may be secrets in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than anybody needs.
    #[error("it is longer than {MAX_INPUT} bytes")]
    TooLong,
    /// Longer than git's own lines can be.
    #[error("line {0} is longer than {MAX_LINE} bytes")]
    LineTooLong(usize),
    /// Neither `key=value` nor the end.
    #[error("line {0} has no '='")]
    NoEquals(usize),
    /// Somebody tries to make two lines of one, or worse.
    #[error("line {0} holds a control character")]
    Control(usize),
    /// The contract has no other text.
    #[error("line {0} is not UTF-8")]
    NotUtf8(usize),
    /// Which one is meant nobody knows.
    #[error("line {0} says a second time where, and says it otherwise")]
    Conflict(usize),
    /// git takes it apart before it asks a helper.
    #[error("line {0} is a url=, which no helper is given: protocol= and host= say where")]
    Url(usize),
    /// No protocol.
    #[error("git named no protocol: `protocol=` is missing or empty")]
    NoProtocol,
    /// Nobody to give anything to.
    #[error("git named no host: `host=` is missing or empty")]
    NoHost,
}

/// Whether the blank line has come that ends a request. Before `from` it had not.
pub(super) fn is_complete(input: &[u8], from: usize) -> bool {
    let joint = from.saturating_sub(1);
    input.first() == Some(&b'\n') || input[joint..].windows(2).any(|pair| pair == b"\n\n")
}

/// Reads what git says, up to a blank line or its end.
pub fn parse(input: &[u8]) -> Result<Request, Malformed> {
    if input.len() > MAX_INPUT && !is_complete(&input[..MAX_INPUT], 0) {
        return Err(Malformed::TooLong);
    }
    let mut request = Request::default();
    let (mut protocol, mut host) = (None, None);
    for (number, line) in (1..).zip(input.split(|byte| *byte == b'\n')) {
        if line.is_empty() {
            break;
        }
        let Line { key, value } = Line::read(number, line)?;
        let text = || text(number, value);
        let conflict = |()| Malformed::Conflict(number);
        match key {
            b"protocol" => once(&mut protocol, text()?).map_err(conflict)?,
            b"host" => once(&mut host, text()?).map_err(conflict)?,
            b"path" => request.path = text()?,
            b"username" => request.username = text()?,
            b"password" => request.password = secret(text()?),
            b"authtype" => request.authtype = text()?,
            b"credential" => request.credential = secret(text()?),
            b"ephemeral" => request.ephemeral = is_true(value),
            b"password_expiry_utc" => request.password_expiry_utc = expiry(value),
            b"oauth_refresh_token" => request.oauth_refresh_token = secret(text()?),
            b"capability[]" => request.capability(value),
            b"wwwauth[]" if value.is_empty() => request.wwwauth.clear(),
            b"wwwauth[]" => request.wwwauth.push(String::from_utf8_lossy(value).into_owned()),
            b"state[]" => request.remember(value),
            b"url" => return Err(Malformed::Url(number)),
            _ => {}
        }
    }
    request.protocol = protocol.unwrap_or_default();
    request.host = host.unwrap_or_default();
    if request.protocol.is_empty() {
        return Err(Malformed::NoProtocol);
    }
    // The place of a certificate's key is a path alone.
    if request.host.is_empty() && !request.is_foreign() {
        return Err(Malformed::NoHost);
    }
    Ok(request)
}

struct Line<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Line<'a> {
    fn read(number: usize, line: &'a [u8]) -> Result<Self, Malformed> {
        if line.len() > MAX_LINE {
            return Err(Malformed::LineTooLong(number));
        }
        // Also where git would shrug: CVE-2024-52006 was a carriage return.
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\0')) {
            return Err(Malformed::Control(number));
        }
        let equals = line.iter().position(|byte| *byte == b'=').ok_or(Malformed::NoEquals(number))?;
        Ok(Self { key: &line[..equals], value: &line[equals + 1..] })
    }
}

fn text(number: usize, value: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(value).map_err(|_| Malformed::NotUtf8(number))?;
    if text.chars().any(char::is_control) { Err(Malformed::Control(number)) } else { Ok(text.to_owned()) }
}

fn once(slot: &mut Option<String>, value: String) -> Result<(), ()> {
    if slot.as_ref().is_some_and(|before| *before != value) {
        return Err(());
    }
    *slot = Some(value);
    Ok(())
}

fn secret(text: String) -> Option<SecretString> {
    (!text.is_empty()).then(|| SecretString::from(text))
}

/// What git takes for true.
fn is_true(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    matches!(text.as_str(), "true" | "yes" | "on") || text.parse().is_ok_and(|number: i64| number != 0)
}

/// Zero and what is no number are no expiry: so does git have it.
fn expiry(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok().filter(|at| *at > 0)
}

impl Request {
    fn capability(&mut self, value: &[u8]) {
        match value {
            b"" => (self.takes_authtype, self.takes_state) = (false, false),
            b"authtype" => self.takes_authtype = true,
            b"state" => self.takes_state = true,
            _ => {}
        }
    }

    /// Other helpers have states of their own.
    fn remember(&mut self, value: &[u8]) {
        if value.is_empty() {
            self.state = None;
        } else if let Some(state) = State::read(value) {
            self.state = Some(state);
        }
    }

    /// Whether it is of a place that is not reached by HTTP: a mail server (`smtp`), a key's file (`cert`). What is no
    /// scheme's name (RFC 3986 section 3.1) is none of those.
    pub fn is_foreign(&self) -> bool {
        let is_scheme =
            self.protocol.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        is_scheme && !["https", "http"].iter().any(|http| self.protocol.eq_ignore_ascii_case(http))
    }

    /// Whether whoever gives our state back was refused: the server has said what it wants, or git, which a server may
    /// refuse without a word, says what it had from us. git-lfs begins each time with the place alone.
    pub fn is_refusal(&self) -> bool {
        !self.wwwauth.is_empty()
            || !self.authtype.is_empty()
            || self.ephemeral
            || self.password_expiry_utc.is_some()
    }

    /// Whether the server takes `scheme`, as far as it has said what it takes, now or before our last answer.
    pub fn accepts(&self, scheme: &str) -> bool {
        match self.state {
            _ if !self.wwwauth.is_empty() => self.asks_for(scheme),
            Some(State::Gave(Scheme::Basic, _)) => !scheme.eq_ignore_ascii_case("Bearer"),
            _ => true,
        }
    }

    /// Whether the server has asked for `scheme`.
    pub fn asks_for(&self, scheme: &str) -> bool {
        // One header may hold several challenges.
        let mut names = self.wwwauth.iter().flat_map(|header| challenge::schemes(header));
        names.any(|name| name.eq_ignore_ascii_case(scheme))
    }
}

//! Reads curl's arguments as curl does, and writes them out again one by one, so that usher and curl cannot
//! understand them differently.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use super::options::{Kind, by_letter, by_name};
use crate::error::Error;

/// One thing on curl's command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An option, and its value if it takes one.
    Option(OsString, Option<OsString>),
    /// Where to send the request.
    Url(String),
}

/// What the caller wants of curl.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) parts: Vec<Part>,
    /// curl is to print the request.
    pub(super) verbose: bool,
    /// curl is to take an address from the command line.
    pub(super) resolves: bool,
}

impl Parsed {
    pub(super) fn urls(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Url(url) => Some(url.as_str()),
            Part::Option(..) => None,
        })
    }
}

/// Reads `args`, curl's without its name.
pub(super) fn parse(args: Vec<OsString>) -> Result<Parsed, Error> {
    let mut parsed = Parsed::default();
    let mut args = args.into_iter();
    let mut only_urls = false;
    while let Some(arg) = args.next() {
        match arg.as_bytes() {
            bytes if only_urls || !bytes.starts_with(b"-") => parsed.url(arg)?,
            b"--" => only_urls = true,
            [b'-', b'-', ..] => parsed.long(&arg, &mut args)?,
            [_, letters @ ..] => parsed.cluster(letters, &mut args)?,
            [] => {}
        }
    }
    Ok(parsed)
}

impl Parsed {
    /// `--name`, whose value is the next argument: curl takes no `--name=value`.
    fn long(&mut self, arg: &OsStr, rest: &mut impl Iterator<Item = OsString>) -> Result<(), Error> {
        let shown = arg.to_string_lossy();
        if let Some((name, value)) = shown.split_once('=')
            && by_name(&name[2..]).is_some()
        {
            return Err(Error::usage(
                format!("curl takes no {name}=VALUE"),
                format!("write its value as the next argument: {name} {value}"),
            ));
        }
        let known = arg.to_str().and_then(|text| by_name(&text[2..]));
        let (_, _, kind) = known.ok_or_else(|| unknown(&shown))?;
        let value = if takes_value(*kind) { Some(value(&shown, rest.next())?) } else { None };
        self.option(&shown, *kind, value)
    }

    /// `-sSfo file`, `-XPOST`: flags, until one takes the rest of the argument or else the next one.
    fn cluster(&mut self, letters: &[u8], rest: &mut impl Iterator<Item = OsString>) -> Result<(), Error> {
        if letters.is_empty() {
            return Err(unknown("-"));
        }
        for (at, byte) in letters.iter().enumerate() {
            let shown = format!("-{}", byte.escape_ascii());
            let (_, _, kind) = by_letter(char::from(*byte)).ok_or_else(|| unknown(&shown))?;
            if takes_value(*kind) {
                let attached = &letters[at + 1..];
                let given = if attached.is_empty() {
                    rest.next()
                } else {
                    Some(OsString::from_vec(attached.to_vec()))
                };
                return self.option(&shown, *kind, Some(value(&shown, given)?));
            }
            self.option(&shown, *kind, None)?;
        }
        Ok(())
    }

    fn option(&mut self, shown: &str, kind: Kind, value: Option<OsString>) -> Result<(), Error> {
        match (kind, &value) {
            (Kind::Refused(reason), _) => return Err(refused(shown, reason)),
            (Kind::Url, Some(url)) => return self.url(url.clone()),
            // Said twice it has newer versions of curl print more, in pieces that hide a token from redaction.
            (Kind::Verbose, _) if std::mem::replace(&mut self.verbose, true) => return Ok(()),
            (Kind::Header, Some(text)) => header(text)?,
            (Kind::Line, Some(text)) => line(shown, text)?,
            (Kind::Method, Some(text)) => method(text)?,
            _ => {}
        }
        self.resolves |= shown == "--resolve";
        self.parts.push(Part::Option(shown.into(), value));
        Ok(())
    }

    fn url(&mut self, url: OsString) -> Result<(), Error> {
        let url = url.into_string().map_err(|url| Error::Usage {
            message: format!("{} is no URL: it is not UTF-8", url.display()),
            hint: None,
        })?;
        if url.is_empty() {
            return Err(Error::usage("one of the URLs is empty", "is a variable unset?"));
        }
        self.parts.push(Part::Url(url));
        Ok(())
    }
}

fn takes_value(kind: Kind) -> bool {
    match kind {
        Kind::Value | Kind::Line | Kind::Header | Kind::Method | Kind::Url => true,
        Kind::Flag | Kind::Verbose | Kind::Refused(_) => false,
    }
}

/// A header must not replace what usher checked or adds.
fn header(text: &OsStr) -> Result<(), Error> {
    line("-H", text)?;
    let bytes = text.as_bytes();
    if bytes.starts_with(b"@") {
        let reason = "usher cannot see the headers in that file; give each with its own -H";
        return Err(refused("-H @...", reason));
    }
    let end = bytes.iter().position(|byte| matches!(byte, b':' | b';')).unwrap_or(bytes.len());
    let name = bytes[..end].trim_ascii();
    if name.eq_ignore_ascii_case(b"authorization") {
        return Err(refused("-H Authorization", "usher adds the Authorization header"));
    }
    if name.eq_ignore_ascii_case(b"host") {
        let reason = "it could carry the token to another site than the one that was checked";
        return Err(refused("-H Host", reason));
    }
    if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding") {
        let reason = "curl knows how long the body is; a wrong length would smuggle in another request";
        return Err(refused("-H Content-Length or Transfer-Encoding", reason));
    }
    Ok(())
}

/// A method is a token (RFC 9110 section 5.6.2): a space in it would begin the request's target.
fn method(text: &OsStr) -> Result<(), Error> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if text.is_empty() || !text.as_bytes().iter().all(is_token) {
        return Err(refused("-X", "its value is no request method, and could name another target"));
    }
    Ok(())
}

/// A line break would begin another header, or another request.
fn line(shown: &str, text: &OsStr) -> Result<(), Error> {
    if text.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(refused(shown, "its value holds a line break, which would begin another header"));
    }
    Ok(())
}

fn value(shown: &str, given: Option<OsString>) -> Result<OsString, Error> {
    given.ok_or_else(|| Error::Usage { message: format!("curl's {shown} needs a value"), hint: None })
}

fn refused(shown: &str, reason: &str) -> Error {
    Error::Usage { message: format!("curl's {shown} is refused: {reason}"), hint: None }
}

fn unknown(shown: &str) -> Error {
    Error::usage(
        format!(
            "curl's {shown} is refused: usher does not know it, so cannot tell whether it takes a value or could \
             carry the token elsewhere"
        ),
        "write options of curl in full; usher's own come before curl's. For anything else: \
         curl -H @<(usher header PROFILE) ...",
    )
}

#[cfg(test)]
mod tests;

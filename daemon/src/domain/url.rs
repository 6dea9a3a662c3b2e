//! Where a token may be presented: URLs in one canonical form, and prefixes to hold them against.
//!
//! A URL that two programs could read differently is refused rather than understood: what usher checks
//! must be what the caller's HTTP client then connects to.

use std::fmt;

use url::{Host, Origin, Url};

/// The longest URL, in bytes: servers take no longer ones.
pub const MAX_LEN: usize = 8192;

/// Why a URL is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not absolute, or not parsable at all.
    #[error("is not an absolute URL such as https://api.example.com/v1")]
    NotAbsolute,
    /// Neither https nor, where that is allowed, http.
    #[error("must begin with https://")]
    NotHttps,
    /// http to something that is not an IP address of the loopback.
    #[error("may be http only for a loopback address such as 127.0.0.1; use https://")]
    HttpBeyondLoopback,
    /// http to the loopback, which the profile does not allow.
    #[error("is http: that needs allow_loopback_http = true in the profile, and is for tests only")]
    LoopbackHttpNotAllowed,
    /// `user:password@host`.
    #[error("has a user name or password in it")]
    UserInfo,
    /// More than [`MAX_LEN`].
    #[error("is longer than 8192 bytes")]
    TooLong,
    /// Characters that programs disagree about.
    #[error("has {0}")]
    Ambiguous(&'static str),
}

/// Parses `text` into the one form that is checked, sent to and shown.
///
/// Refused: control bytes, spaces and backslashes, also percent-encoded line ends; user names; hosts
/// outside ASCII (look-alikes) or ending in a dot; dot segments that hide behind percent-encoding.
pub fn canonical(text: &str, allow_loopback_http: bool) -> Result<Url, UrlError> {
    if text.len() > MAX_LEN {
        return Err(UrlError::TooLong);
    }
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err(UrlError::Ambiguous("a space or a control character"));
    }
    if !text.is_ascii() {
        return Err(UrlError::Ambiguous("a character outside ASCII"));
    }
    if text.contains('\\') {
        return Err(UrlError::Ambiguous("a backslash"));
    }
    let lower = text.to_ascii_lowercase();
    if hides_line_end(&lower) {
        return Err(UrlError::Ambiguous("a percent-encoded line end or NUL"));
    }
    let after_scheme = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let Some(after_scheme) = after_scheme else {
        return Err(if lower.contains("://") { UrlError::NotHttps } else { UrlError::NotAbsolute });
    };
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(UrlError::NotAbsolute);
    }
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    if authority.contains('%') {
        return Err(UrlError::Ambiguous("a percent sign in the host"));
    }
    let url = Url::parse(text).map_err(|_| UrlError::NotAbsolute)?;
    let Some(host) = url.host_str().filter(|host| !host.is_empty() && !host.ends_with('.')) else {
        return Err(UrlError::Ambiguous("no host, or one that ends in a dot"));
    };
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)) {
        return Err(UrlError::Ambiguous(
            "something else in its host than letters, digits, '.', '-' and '_' (there are no wildcards)",
        ));
    }
    if !is_written(host, url.port_or_known_default(), authority) {
        return Err(UrlError::Ambiguous("an IP address or a port that is not in its usual form"));
    }
    if hides_dot_segments(url.path()) {
        return Err(UrlError::Ambiguous("a percent-encoded dot segment"));
    }
    if url.scheme() == "http" {
        if !is_loopback(&url) {
            return Err(UrlError::HttpBeyondLoopback);
        }
        if !allow_loopback_http {
            return Err(UrlError::LoopbackHttpNotAllowed);
        }
    }
    Ok(url)
}

/// Whether `authority` has host and port as they were understood: `0x7f.1` and `127.0.0.1` are the same to some programs
/// only.
fn is_written(host: &str, port: Option<u16>, authority: &str) -> bool {
    let Some(rest) = authority.strip_prefix(host) else { return false };
    rest.is_empty() || port.is_some_and(|port| rest == format!(":{port}"))
}

/// A literal IP address of the loopback. Not "localhost": that is what a resolver makes of it.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    }
}

/// Whether some program could read a line end or NUL out of `text`, by decoding it.
pub(super) fn hides_line_end(text: &str) -> bool {
    ["%00", "%0a", "%0d", "%0A", "%0D"].iter().any(|code| text.contains(code))
}

/// Whether some server could read a `.` or `..` segment out of `path`: by decoding `%2f`, `%5c` and `%2e`
/// first, also when they are encoded twice, or by cutting off a segment's parameters (`..;x`).
fn hides_dot_segments(path: &str) -> bool {
    let mut path = path.to_ascii_lowercase();
    while path.contains("%25") {
        path = path.replace("%25", "%");
    }
    let path = path.replace("%2f", "/").replace("%5c", "/").replace("%2e", ".").replace("%3b", ";");
    let mut names = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    names.any(|name| matches!(name, "." | ".."))
}

/// Scheme, host, port and the beginning of a path, on the boundary of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPrefix(Url);

impl UrlPrefix {
    /// A prefix. It has no query and no fragment.
    pub fn new(text: &str, allow_loopback_http: bool) -> Result<Self, UrlError> {
        let url = canonical(text, allow_loopback_http)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError::Ambiguous("a query or a fragment"));
        }
        Ok(Self(url))
    }

    /// Whether `url` lies below this prefix.
    pub fn covers(&self, url: &Url) -> bool {
        let own = self.0.path().trim_end_matches('/');
        self.0.origin() == url.origin()
            && url.path().strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The same for two prefixes that cover the same URLs, and different for any others.
    pub fn key(&self) -> (Origin, &str) {
        (self.0.origin(), self.0.path().trim_end_matches('/'))
    }

    /// The longer of two prefixes that cover a URL is the closer one.
    pub fn path_len(&self) -> usize {
        self.0.path().trim_end_matches('/').len()
    }

    /// How a client that knows hosts and no schemes names what is below it: `host[:port][/path]`.
    pub fn server(&self) -> String {
        let text = self.0.as_str();
        let server = text.split_once("://").map_or(text, |(_, server)| server);
        server.trim_end_matches('/').to_owned()
    }

    /// The URL below this prefix that `path` names, as text: `path` begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Display for UrlPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_what_means_the_same() {
        for (given, canonical_form) in [
            ("https://API.example.com:443/a/../b", "https://api.example.com/b"),
            ("HTTPS://api.example.com", "https://api.example.com/"),
            ("https://api.example.com/%2e%2e/b?q=1", "https://api.example.com/b?q=1"),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ] {
            assert_eq!(canonical(given, true).unwrap().as_str(), canonical_form);
        }
    }

    #[test]
    fn what_programs_read_differently_is_refused() {
        for bad in [
            "https://good.example\\@evil.example/",
            "https://user@good.example/",
            "https://user:pw@good.example/",
            "https://good.example/a b",
            "https://good.example/\r\nX: y",
            "https://good.example/%0d%0a",
            "https://good.example./",
            "https://b\u{fc}cher.example/",
            "https://go%6fd.example/",
            "https://*.good.example/",
            "https://good.example,evil.example/",
            "https://'good.example/",
            "https://good.example/a%2f..%2fadmin",
            "https://good.example/a/%2e%2e%2fadmin",
            "https://good.example/a/..;/admin",
            "https://good.example/a/..%3bx/admin",
            "https://good.example/a/%252e%252e/admin",
            "https://good.example/a/%25252e%2e/admin",
            "https:///x",
            "https://",
            "https:good.example",
            "//good.example/",
            "good.example/x",
            "ftp://good.example/",
            "file:///etc/passwd",
            "http://good.example/",
            "http://localhost:8080/",
            "http://127.0.0.1.evil.example/",
            "https://127.1/",
            "https://good.example:/",
            "https://good.example:0443/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://[::0001]/",
        ] {
            assert!(canonical(bad, true).is_err(), "{bad:?} was taken as {:?}", canonical(bad, true));
        }
        assert_eq!(canonical("http://127.0.0.1/", false), Err(UrlError::LoopbackHttpNotAllowed));
    }

    #[test]
    fn a_prefix_ends_on_a_segment() {
        let prefix = UrlPrefix::new("https://gw.example/frontdoor", false).unwrap();
        let covers = |text: &str| prefix.covers(&canonical(text, true).unwrap());
        assert!(covers("https://gw.example/frontdoor"));
        assert!(covers("https://gw.example/frontdoor/1/shares?x=/../"));
        assert!(covers("https://GW.example:443/frontdoor/"));
        for other in [
            "https://gw.example/frontdoorx",
            "https://gw.example/frontdoor/../core",
            "https://gw.example/",
            "https://gw.example:444/frontdoor/",
            "https://gw.example.evil/frontdoor/",
            "https://evil.example/frontdoor/",
        ] {
            assert!(!covers(other), "{other}");
        }
        let host = UrlPrefix::new("https://gw.example", false).unwrap();
        assert!(host.covers(&canonical("https://gw.example/any", false).unwrap()));
    }

    #[test]
    fn prefixes_that_cover_the_same_are_equal_however_they_are_written() {
        let prefix = |text: &str| UrlPrefix::new(text, true).unwrap();
        for (one, other, equal) in [
            ("https://gw.example", "https://GW.example:443/", true),
            ("https://gw.example/a", "https://gw.example/a/", true),
            ("https://gw.example/a", "https://gw.example/A", false),
            ("https://gw.example/a", "https://gw.example:444/a", false),
            ("https://127.0.0.1/a", "http://127.0.0.1/a", false),
        ] {
            assert_eq!(prefix(one).key() == prefix(other).key(), equal, "{one} {other}");
        }
        assert_eq!(prefix("https://gw.example:5000/").server(), "gw.example:5000");
        assert_eq!(prefix("http://127.0.0.1/a/").server(), "127.0.0.1/a");
    }

    #[test]
    fn a_path_is_joined_below_the_base() {
        let base = UrlPrefix::new("https://gw.example/frontdoor/1/", false).unwrap();
        assert_eq!(base.join("/shares?page=0"), "https://gw.example/frontdoor/1/shares?page=0");
    }
}

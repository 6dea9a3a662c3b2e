//! Where a credential is presented, as credential helpers are told it, in the one form that is compared.
//!
//! A place that two programs could read differently is refused, not understood: what is looked up here must be where
//! the tool then sends it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::Url;

use super::url::{UrlError, canonical, hides_line_end};

/// The longest path, in bytes, before it is encoded.
const MAX_PATH: usize = 2048;
/// The longest server, in bytes.
const MAX_SERVER: usize = 512;
/// What of a path is written as it is (RFC 3986 section 3.3). Not `%`: what is given is not encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A place that means the same to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where the credential may be sent, by all that is known: more than one where the scheme is not.
    pub urls: Vec<Url>,
    /// What is stored under.
    pub site: Site,
    /// Whoever is on the way can read what is sent: only a profile can allow that, and only on the loopback.
    pub needs_leave: bool,
    /// Its clients know one user there.
    pub has_one_user: bool,
}

/// What a stored credential belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Scheme, host and port; or a server by its name, if that is all that its clients know.
    pub host: String,
    /// The path below it; none: all of it.
    pub path: Option<String>,
}

/// The place that git describes (gitcredentials(7)): `path` is not encoded, and empty for the whole host. None: nothing
/// that is reached by HTTP.
pub fn of_parts(protocol: &str, host: &str, path: &str) -> Result<Option<Place>, UrlError> {
    if protocol.is_empty() || host.is_empty() && matches!(protocol, "https" | "http") {
        return Err(UrlError::NotAbsolute);
    }
    if [protocol, host, path].iter().any(|part| part.chars().any(char::is_control)) {
        return Err(UrlError::Ambiguous("a control character"));
    }
    if !matches!(protocol, "https" | "http") {
        return Ok(None);
    }
    if hides_line_end(path) {
        return Err(UrlError::Ambiguous("a percent-encoded line end or NUL"));
    }
    if host.contains(['/', '?', '#']) {
        return Err(UrlError::Ambiguous("a host with a path, query or fragment"));
    }
    if path.len() > MAX_PATH {
        return Err(UrlError::TooLong);
    }
    if path.starts_with('/') || has_dot_segment(path) {
        return Err(UrlError::Ambiguous("a dot segment, or a second slash"));
    }
    let path = percent_encode(path.as_bytes(), ENCODED);
    let url = canonical(&format!("{protocol}://{host}/{path}"), true)?;
    let site = Site {
        host: url.origin().ascii_serialization(),
        path: Some(url.path().trim_matches('/').to_owned()).filter(|path| !path.is_empty()),
    };
    Ok(Some(Place::new(vec![url], site, false)))
}

/// The place that docker names: `host[:port][/path]`, with or without `https://` before it. It is stored under just
/// this name.
pub fn of_server(server: &str) -> Result<Place, UrlError> {
    if server.len() > MAX_SERVER {
        return Err(UrlError::TooLong);
    }
    if server.contains(['?', '#']) || has_dot_segment(server) {
        return Err(UrlError::Ambiguous("a query, a fragment or a dot segment"));
    }
    let urls = if server.contains("://") {
        vec![canonical(server, true)?]
    } else {
        let https = canonical(&format!("https://{server}"), true)?;
        // Its clients try http as well, on the loopback.
        let http = canonical(&format!("http://{server}"), true).ok();
        [Some(https), http].into_iter().flatten().collect()
    };
    let site = Site { host: server.to_owned(), path: None };
    Ok(Place::new(urls, site, true))
}

fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

impl Place {
    fn new(urls: Vec<Url>, site: Site, has_one_user: bool) -> Self {
        let needs_leave = urls.iter().all(|url| url.scheme() == "http");
        Self { urls, site, needs_leave, has_one_user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(protocol: &str, host: &str, path: &str) -> (String, String, Option<String>) {
        let place = of_parts(protocol, host, path).unwrap().unwrap();
        (place.urls[0].to_string(), place.site.host, place.site.path)
    }

    #[test]
    fn what_means_the_same_is_the_same_place() {
        for (given, url, host, path) in [
            (
                ("https", "Git.Example.com:443", ""),
                "https://git.example.com/",
                "https://git.example.com",
                None,
            ),
            (
                ("https", "git.example.com:8443", "a/b.git"),
                "https://git.example.com:8443/a/b.git",
                "https://git.example.com:8443",
                Some("a/b.git"),
            ),
            (
                ("https", "git.example.com", "a b/"),
                "https://git.example.com/a%20b/",
                "https://git.example.com",
                Some("a%20b"),
            ),
            (
                ("https", "git.example.com", "a?b#c"),
                "https://git.example.com/a%3Fb%23c",
                "https://git.example.com",
                Some("a%3Fb%23c"),
            ),
            (
                ("https", "git.example.com", "\u{e4}"),
                "https://git.example.com/%C3%A4",
                "https://git.example.com",
                Some("%C3%A4"),
            ),
            (("https", "[::1]:3000", ""), "https://[::1]:3000/", "https://[::1]:3000", None),
            (("http", "127.0.0.1:3000", ""), "http://127.0.0.1:3000/", "http://127.0.0.1:3000", None),
        ] {
            let expected = (url.to_owned(), host.to_owned(), path.map(str::to_owned));
            assert_eq!(parts(given.0, given.1, given.2), expected, "{given:?}");
        }
        assert_eq!(of_parts("smtp", "mail.example.com:587", ""), Ok(None));
        assert_eq!(of_parts("cert", "", "/etc/key.pem"), Ok(None));
    }

    #[test]
    fn what_programs_read_differently_is_no_place() {
        for (protocol, host, path) in [
            ("", "good.example", ""),
            ("https", "", ""),
            ("https", "", "x"),
            ("https", "good.example/evil", ""),
            ("https", "evil.example?good.example", ""),
            ("https", "evil.example#good.example", ""),
            ("https", "good.example@evil.example", ""),
            ("https", "good.example\\evil.example", ""),
            ("https", "good.example.", ""),
            ("https", "good example", ""),
            ("https", "g\u{43e}od.example", ""),
            ("https", "go%6fd.example", ""),
            ("https", "good.example:port", ""),
            ("https", "127.1", ""),
            ("https", "good.example\n", ""),
            ("https", "good.example", "a\nhost=evil.example"),
            ("https", "good.example", "a\rb"),
            ("https", "good.example", "a\0"),
            ("https", "good.example", "a\u{7f}"),
            ("https", "good.example", "a\u{85}"),
            ("https", "good.example", "../b"),
            ("https", "good.example", "a/./b"),
            ("https", "good.example", "a/%2e%2e/b"),
            ("https", "good.example", "a/..;/b"),
            ("https", "good.example", "/evil"),
            ("https", "good.example", "a%0ab"),
            ("http", "good.example", ""),
            ("http", "localhost", ""),
            ("https\n", "good.example", ""),
            ("smtp", "good.example\r", ""),
        ] {
            assert!(of_parts(protocol, host, path).is_err(), "{protocol:?} {host:?} {path:?}");
        }
    }

    #[test]
    fn a_server_is_stored_under_its_name_and_stands_for_its_urls() {
        for (server, urls) in [
            ("registry.example.com", &["https://registry.example.com/"][..]),
            ("registry.example.com:5000/team", &["https://registry.example.com:5000/team"]),
            ("https://index.docker.io/v1/", &["https://index.docker.io/v1/"]),
            ("127.0.0.1:5000", &["https://127.0.0.1:5000/", "http://127.0.0.1:5000/"]),
            ("localhost:5000", &["https://localhost:5000/"]),
            ("http://127.0.0.1:5000", &["http://127.0.0.1:5000/"]),
        ] {
            let place = of_server(server).unwrap();
            let found: Vec<_> = place.urls.iter().map(Url::as_str).collect();
            assert_eq!((found.as_slice(), place.site.host.as_str()), (urls, server));
            assert_eq!(place.needs_leave, server.starts_with("http:"));
        }
        for bad in [
            "",
            "ftp://registry.example.com",
            "http://registry.example.com",
            "https://",
            "user@registry.example.com",
            "registry.example.com?x",
            "registry.example.com\nx",
            "registry.example.com.",
            "registry.example.com/a/../b",
            "registry.example.com/a/b%2f..",
            "reg\u{131}stry.example.com",
        ] {
            assert!(of_server(bad).is_err(), "{bad:?}");
        }
    }
}

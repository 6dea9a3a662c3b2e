//! The options of curl that usher knows: what each takes, and which it refuses and why.
//!
//! An allow-list: an option that is not here could take a value (so that a URL would be taken for one, or
//! a value for a URL) or could carry the token elsewhere.

use Kind::{Flag, Header, Line, Method, Refused, Url, Value, Verbose};

/// What an option means to usher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Takes nothing.
    Flag,
    /// Takes a value that is passed on as it is.
    Value,
    /// Takes a value that becomes part of a line of the request.
    Line,
    /// Takes a request header.
    Header,
    /// Takes a request method.
    Method,
    /// Takes a URL.
    Url,
    /// Prints the request, and with it the token.
    Verbose,
    /// Is refused, for this reason.
    Refused(&'static str),
}

/// An option: its letter if it has one, its name, what it means.
type Entry = (Option<char>, &'static str, Kind);

const ELSEWHERE: &str = "it could carry the token to another server than the one that was checked";
const TO_FILE: &str = "it would write the token where -v cannot be redacted";
const OURS: &str = "usher adds the Authorization header";
const UNCHECKED: &str =
    "the token would go to a server whose certificate nobody checked; --cacert names a CA";
const OPERATION: &str =
    "what follows would be another request, which usher does not follow; run usher curl twice";
const USHERS: &str =
    "it is usher's own: write it first, and its value as an argument of its own, as in -p NAME";
const SET: &str = "usher sets it itself";

/// Sorted by what the options are about, as curl's manual groups them.
const TABLE: &[Entry] = &[
    // The request
    (Some('G'), "get", Flag),
    (Some('I'), "head", Flag),
    (Some('X'), "request", Method),
    (Some('H'), "header", Header),
    (Some('A'), "user-agent", Line),
    (Some('e'), "referer", Line),
    (Some('b'), "cookie", Line),
    (Some('c'), "cookie-jar", Value),
    (Some('r'), "range", Line),
    (Some('z'), "time-cond", Value),
    (None, "url", Url),
    (None, "url-query", Value),
    (Some('g'), "globoff", Flag),
    (None, "compressed", Flag),
    // Its body
    (Some('d'), "data", Value),
    (None, "data-ascii", Value),
    (None, "data-binary", Value),
    (None, "data-raw", Value),
    (None, "data-urlencode", Value),
    (None, "json", Value),
    (Some('F'), "form", Value),
    (None, "form-string", Value),
    (Some('T'), "upload-file", Value),
    (Some('C'), "continue-at", Value),
    // The answer
    (Some('o'), "output", Value),
    (Some('O'), "remote-name", Flag),
    (Some('J'), "remote-header-name", Flag),
    (Some('R'), "remote-time", Flag),
    (None, "output-dir", Value),
    (None, "create-dirs", Flag),
    (Some('i'), "include", Flag),
    (None, "show-headers", Flag),
    (Some('D'), "dump-header", Value),
    (Some('w'), "write-out", Value),
    (Some('f'), "fail", Flag),
    (None, "fail-with-body", Flag),
    (None, "max-filesize", Value),
    // What people see
    (Some('s'), "silent", Flag),
    (Some('S'), "show-error", Flag),
    (Some('v'), "verbose", Verbose),
    (Some('#'), "progress-bar", Flag),
    (None, "no-progress-meter", Flag),
    (Some('N'), "no-buffer", Flag),
    // Time and patience
    (Some('m'), "max-time", Value),
    (None, "connect-timeout", Value),
    (None, "retry", Value),
    (None, "retry-delay", Value),
    (None, "retry-max-time", Value),
    (None, "retry-all-errors", Flag),
    (None, "retry-connrefused", Flag),
    (None, "rate", Value),
    (None, "limit-rate", Value),
    // The connection
    (Some('0'), "http1.0", Flag),
    (None, "http1.1", Flag),
    (None, "http2", Flag),
    (Some('4'), "ipv4", Flag),
    (Some('6'), "ipv6", Flag),
    (None, "interface", Value),
    (None, "resolve", Value),
    (Some('x'), "proxy", Value),
    (None, "noproxy", Value),
    (None, "cacert", Value),
    (None, "capath", Value),
    (Some('E'), "cert", Value),
    (None, "key", Value),
    (None, "tlsv1.2", Flag),
    (None, "tlsv1.3", Flag),
    // ~/.curlrc is never read
    (Some('q'), "disable", Flag),
    // Refused
    (Some('L'), "location", Refused("a redirect could carry the token to another server; ask its target")),
    (None, "location-trusted", Refused("a redirect would carry the token to another server")),
    (None, "follow", Refused("a redirect could carry the token to another server; ask its target")),
    (Some('k'), "insecure", Refused(UNCHECKED)),
    (Some('K'), "config", Refused("usher cannot see the options in that file; give them as arguments")),
    (None, "trace", Refused(TO_FILE)),
    (None, "trace-ascii", Refused(TO_FILE)),
    (None, "trace-config", Refused(TO_FILE)),
    (None, "trace-ids", Refused(TO_FILE)),
    (None, "trace-time", Refused(TO_FILE)),
    (None, "libcurl", Refused(TO_FILE)),
    (None, "stderr", Refused(TO_FILE)),
    (Some(':'), "next", Refused(OPERATION)),
    (Some('Z'), "parallel", Refused("usher follows one request after another; start several usher curl")),
    (None, "oauth2-bearer", Refused(OURS)),
    (Some('u'), "user", Refused(OURS)),
    (Some('n'), "netrc", Refused(OURS)),
    (None, "netrc-file", Refused(OURS)),
    (None, "netrc-optional", Refused(OURS)),
    (None, "aws-sigv4", Refused(OURS)),
    (None, "anyauth", Refused(OURS)),
    (None, "basic", Refused(OURS)),
    (None, "digest", Refused(OURS)),
    (None, "ntlm", Refused(OURS)),
    (None, "negotiate", Refused(OURS)),
    (None, "connect-to", Refused(ELSEWHERE)),
    (None, "unix-socket", Refused(ELSEWHERE)),
    (None, "abstract-unix-socket", Refused(ELSEWHERE)),
    (None, "request-target", Refused("the request would not be for the URL that was checked")),
    (None, "path-as-is", Refused("the URL would not be the one that was checked")),
    // usher's own, which clap takes only while nothing of curl's has come
    (Some('p'), "profile", Refused(USHERS)),
    (None, "scope", Refused(USHERS)),
    (None, "audience", Refused(USHERS)),
    (None, "min-ttl", Refused(USHERS)),
    (None, "timeout", Refused(USHERS)),
    (None, "proto", Refused(SET)),
    (None, "proto-default", Refused(SET)),
    (None, "proto-redir", Refused(SET)),
];

/// The option of this name, without its dashes. Abbreviations are no names.
pub(super) fn by_name(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|(_, known, _)| *known == name)
}

/// The option of this letter.
pub(super) fn by_letter(letter: char) -> Option<&'static Entry> {
    TABLE.iter().find(|(known, _, _)| *known == Some(letter))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_option_is_there_twice() {
        let (mut names, mut letters) = (HashSet::new(), HashSet::new());
        for (letter, name, _) in TABLE {
            assert!(names.insert(name), "{name}");
            assert!(letter.is_none_or(|letter| letters.insert(letter)), "{name}");
        }
    }
}

//! Whether curl can make its request once more, as if the first had not been: one request, whose body is still
//! there, and whose answer goes nowhere but to stdout and stderr, where it can be withheld.
//!
//! An allow-list again: an option that is not here could leave traces, or take what is there only once.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use super::{
    options::{by_letter, by_name},
    parse::{Parsed, Part},
};

/// What leaves no trace, whatever its value.
const HARMLESS: [&str; 47] = [
    "get",
    "head",
    "request",
    "header",
    "user-agent",
    "referer",
    "range",
    "time-cond",
    "globoff",
    "compressed",
    "data-raw",
    "form-string",
    "include",
    "show-headers",
    "fail",
    "fail-with-body",
    "max-filesize",
    "silent",
    "show-error",
    "no-progress-meter",
    "max-time",
    "connect-timeout",
    "limit-rate",
    "http1.0",
    "http1.1",
    "http2",
    "ipv4",
    "ipv6",
    "interface",
    "resolve",
    "proxy",
    "noproxy",
    "capath",
    "tlsv1.2",
    "tlsv1.3",
    "disable",
    // Depending on the value
    "cacert",
    "cert",
    "key",
    "cookie",
    "data",
    "data-ascii",
    "data-binary",
    "json",
    "data-urlencode",
    "url-query",
    "write-out",
];

/// Whether the request can be made once more.
pub(super) fn is_possible(parsed: &Parsed) -> bool {
    !parsed.verbose
        && parsed.urls().count() == 1
        && parsed.parts.iter().all(|part| match part {
            Part::Url(_) => true,
            Part::Option(typed, value) => {
                name(typed).is_some_and(|name| is_harmless(name, value.as_deref().unwrap_or_default()))
            }
        })
}

/// The name of an option, however it was typed.
fn name(typed: &OsStr) -> Option<&'static str> {
    let typed = typed.to_str()?;
    let entry = match typed.strip_prefix("--") {
        Some(name) => by_name(name),
        None => by_letter(typed.chars().nth(1)?),
    };
    entry.map(|(_, name, _)| *name)
}

fn is_harmless(name: &str, value: &OsStr) -> bool {
    let bytes = value.as_bytes();
    match name {
        "data" | "data-ascii" | "data-binary" | "json" => bytes.strip_prefix(b"@").is_none_or(is_file),
        // The certificate's file may be followed by its password.
        "cert" => is_file(bytes) || bytes.split(|byte| *byte == b':').next().is_some_and(is_file),
        "cacert" | "key" => is_file(bytes),
        // What has no = may name a file.
        "data-urlencode" | "url-query" => bytes.contains(&b'=') || !bytes.contains(&b'@'),
        "cookie" => bytes.contains(&b'='),
        "write-out" => !bytes.starts_with(b"@") && !contains(bytes, b"%output{"),
        "output" => bytes == b"/dev/null",
        // A part that is read from a file or from stdin.
        "form" => !bytes.iter().any(|byte| matches!(byte, b'@' | b'<')),
        _ => HARMLESS.contains(&name),
    }
}

/// A file can be read again; a pipe, as of `-d @<(...)`, or stdin cannot.
fn is_file(path: &[u8]) -> bool {
    std::fs::metadata(OsStr::from_bytes(path)).is_ok_and(|metadata| metadata.is_file())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{super::parse::parse, *};

    fn possible(args: &[&str]) -> bool {
        is_possible(&parse(args.iter().map(OsString::from).collect()).unwrap())
    }

    #[test]
    fn what_is_listed_exists() {
        for name in HARMLESS {
            assert!(by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_plain_request_can_be_made_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let body = format!("@{path}");
        for args in [
            &["/s"][..],
            &["-sSf", "/s"],
            &["-X", "POST", "--json", "{\"mail\":\"a@b\"}", "-H", "A: b", "/s"],
            &["-d", &body, "/s"],
            &["--data-raw", "@x", "/s"],
            &["--data-urlencode", "a=@b", "-G", "/s"],
            &["-so", "/dev/null", "-w", "%{http_code}", "/s"],
            &["-F", "a=b", "/s"],
            &["-b", "a=b", "-i", "--cacert", path, "--cert", &format!("{path}:password"), "-m", "5", "/s"],
        ] {
            assert!(possible(args), "{args:?}");
        }
    }

    #[test]
    fn what_leaves_traces_or_comes_only_once_cannot() {
        for args in [
            &["/a", "/b"][..],
            &["-v", "/s"],
            &["-o", "file", "/s"],
            &["-O", "/s"],
            &["-D", "-", "/s"],
            &["-c", "jar", "/s"],
            &["-T", "file", "/s"],
            &["-d", "@-", "/s"],
            &["-d", "@/dev/fd/0", "/s"],
            &["-d", "@/no/such/file", "/s"],
            &["--json", "@-", "/s"],
            &["--data-urlencode", "a@-", "/s"],
            &["--url-query", "@-", "/s"],
            &["-F", "a=@-", "/s"],
            &["-F", "a=<x", "/s"],
            &["-b", "-", "/s"],
            &["-w", "@-", "/s"],
            &["-w", "%output{file}x", "/s"],
            &["-N", "/s"],
            &["-#", "/s"],
            &["--retry", "3", "/s"],
        ] {
            assert!(!possible(args), "{args:?}");
        }
    }
}

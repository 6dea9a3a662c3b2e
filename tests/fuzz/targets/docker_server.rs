//! What docker's family writes to `get` and `erase`: a registry that means the same to everybody, or an error.
//!
//! An input is the helper's stdin.

#![no_main]

use libfuzzer_sys::fuzz_target;
use usher_cli::helper::docker::parse_server;
use usher_daemon::domain::place;

fuzz_target!(|input: &[u8]| {
    match parse_server(input) {
        Ok(server) => {
            let written = input.strip_prefix(server.as_bytes()).expect("it begins with what was taken");
            let behind = std::str::from_utf8(written).expect("it is text");
            assert!(behind.trim().is_empty(), "{behind:?} has been passed over");
            assert!(!server.contains(|c: char| c.is_control() || c.is_whitespace()), "{server:?}");
            let (scheme, rest) = server.split_once("://").unwrap_or(("https", &server));
            assert!(matches!(&*scheme.to_ascii_lowercase(), "https" | "http"), "{server:?}");
            assert!(!rest.is_empty() && !rest.starts_with(['/', ':']), "{server:?} has no host");
            assert_eq!(parse_server(server.as_bytes()).ok().as_ref(), Some(&server));
            // usherd judges what is left.
            if let Ok(place) = place::of_server(&server) {
                assert_eq!(place.site.host, server);
            }
        }
        Err(malformed) => {
            let text = malformed.to_string();
            assert!(text.len() < 120 && text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
});

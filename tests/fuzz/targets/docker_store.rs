//! What docker's family writes to `store`: a login as it was meant, or an error that quotes nothing of it.
//!
//! An input is the helper's stdin.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use usher_cli::helper::docker::{parse_server, parse_store};

fuzz_target!(|input: &[u8]| {
    match parse_store(input) {
        Ok(login) => {
            assert!(!login.username.is_empty());
            assert!(
                !login.server.contains(|c: char| c.is_control() || c.is_whitespace()),
                "{:?}",
                login.server
            );
            // Members that are not known may be what no text can be: they are not looked at.
            let Ok(told) = serde_json::from_slice::<Value>(input) else { return };
            let member = |at: usize, name: &str| {
                let value = if told.is_array() { &told[at] } else { &told[name] };
                value.as_str().unwrap_or_default().to_owned()
            };
            assert_eq!(parse_server(member(0, "ServerURL").as_bytes()).ok(), Some(login.server.clone()));
            assert_eq!(member(1, "Username"), login.username);
            let secret = login.secret.expose_secret();
            assert_eq!(member(2, "Secret"), secret, "another secret");
            let rest = login.server.len() + login.username.len();
            assert!(
                secret.len() <= rest + 40 || !format!("{login:?}").contains(secret),
                "Debug shows the secret"
            );
        }
        Err(malformed) => {
            let text = malformed.to_string();
            assert!(text.len() < 160 && text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
});

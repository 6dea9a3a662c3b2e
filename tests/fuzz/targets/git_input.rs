//! What git writes to a helper: nothing that is taken holds a control character, and all of it can be said back.
//!
//! An input is the helper's stdin.

#![no_main]

use std::mem;

use libfuzzer_sys::{Corpus, fuzz_target};
use secrecy::{ExposeSecret as _, SecretString};
use usher_cli::helper::git::{Answer, Given, Malformed, Request, State, parse, render};

fuzz_target!(|input: &[u8]| -> Corpus {
    match parse(input) {
        Ok(mut request) => {
            debug_shows_no_secret(&mut request);
            holds_no_control(&request);
            is_what_was_written(&request, input);
            can_be_said_back(request);
        }
        Err(malformed) => quotes_nothing(malformed),
    }
    Corpus::Keep
});

fn secret(secret: Option<&SecretString>) -> &str {
    secret.map(SecretString::expose_secret).unwrap_or_default()
}

fn holds_no_control(request: &Request) {
    let Request { protocol, host, path, username, authtype, .. } = request;
    let secrets = [&request.password, &request.credential, &request.oauth_refresh_token];
    let secrets = secrets.map(|value| secret(value.as_ref()));
    for value in [&**protocol, host, path, username, authtype].into_iter().chain(secrets) {
        assert!(!value.chars().any(char::is_control), "a control character was taken");
    }
    for value in &request.wwwauth {
        assert!(!value.contains(['\n', '\r', '\0']), "{value:?} is more than a line");
    }
    if let Some(State::Gave(_, id)) = &request.state {
        assert!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    }
    assert!(request.password_expiry_utc.is_none_or(|at| at > 0));
}

/// Whatever the secrets are, it is the same.
fn debug_shows_no_secret(request: &mut Request) {
    let shown = format!("{request:?}");
    let secrets = [&mut request.password, &mut request.credential, &mut request.oauth_refresh_token];
    let real = secrets.map(|secret| secret.as_mut().map(|secret| mem::replace(secret, "x".into())));
    assert!(shown == format!("{request:?}"), "Debug depends on a secret");
    [request.password, request.credential, request.oauth_refresh_token] = real;
}

/// Each line before the first blank one has been read, and no other: read here again, in the simplest way.
fn is_what_was_written(request: &Request, input: &[u8]) {
    let lines = || input.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let last = |key: &str| lines().filter_map(|line| line.strip_prefix(key.as_bytes())).last();
    for (key, value) in [
        ("protocol=", &*request.protocol),
        ("host=", &request.host),
        ("path=", &request.path),
        ("username=", &request.username),
        ("password=", secret(request.password.as_ref())),
        ("credential=", secret(request.credential.as_ref())),
    ] {
        assert_eq!(last(key).unwrap_or_default(), value.as_bytes(), "{key} is another");
    }
    for key in ["protocol=", "host="] {
        let mut values = lines().filter_map(|line| line.strip_prefix(key.as_bytes()));
        let first = values.next();
        assert!(values.all(|value| Some(value) == first), "two of {key} were taken");
    }
}

/// An answer with the same values is read as just these.
fn can_be_said_back(request: Request) {
    let (expires_at, path) = (request.password_expiry_utc, request.path);
    let given = match (request.credential, request.password) {
        (Some(credential), _) => {
            Given::Header { authtype: request.authtype, credential, ephemeral: request.ephemeral }
        }
        (None, Some(password)) => Given::Password { username: request.username, password },
        (None, None) => return,
    };
    let oauth_refresh_token = request.oauth_refresh_token;
    let answer = Answer { given, expires_at, oauth_refresh_token, state: None, goes_on: false };
    let text = render(&answer).expect("what was read can be written");
    // git says with it for whom it is.
    let text = [b"protocol=https\nhost=said-back\n", text.as_slice()].concat();
    let again = parse(&text).expect("what was written can be read");
    match &answer.given {
        Given::Header { authtype, credential, ephemeral } => {
            assert_eq!(secret(again.credential.as_ref()), credential.expose_secret());
            assert_eq!((&again.authtype, again.ephemeral), (authtype, *ephemeral));
        }
        Given::Password { username, password } => {
            assert_eq!(secret(again.password.as_ref()), password.expose_secret());
            assert_eq!(&again.username, username);
        }
        Given::Nothing => unreachable!("there was a secret"),
    }
    assert_eq!(again.password_expiry_utc, answer.expires_at);
    assert_eq!(
        (again.protocol.as_str(), again.host.as_str(), again.path.as_str()),
        ("https", "said-back", "")
    );
    // What usherd has may hold anything: no path leads a line end to git.
    let hostile = Given::Password { username: path.replace('%', "\n"), password: "p".into() };
    let hostile = render(&Answer { given: hostile, ..Answer::default() });
    assert_eq!(hostile.is_err(), path.contains('%'), "{path:?}");
}

fn quotes_nothing(malformed: Malformed) {
    let text = malformed.to_string();
    assert!(text.len() < 120 && text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
}

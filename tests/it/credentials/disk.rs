//! A store whose key does not come, or comes late.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use usher_testkit::{PATIENCE, ca::Ca, idp::FakeIdp};

use super::*;

/// A daemon with a credential on disk whose next start has to ask this program for the key.
fn with_program(text: &str) -> (Sandbox, FakeIdp, Ca) {
    let world = world();
    store(&world.usherd, at("other.example.com", ""), "CANARY", true).unwrap();
    let World { usherd, idp, ca } = world;
    let sandbox = Sandbox::clone(&usherd);
    let path = sandbox.file("bin/key", &format!("#!/bin/sh\necho >>\"$HOME/runs\"\n{text}\n"));
    sandbox.chmod(&path, 0o700);
    let config = fs::read_to_string(sandbox.config_path()).unwrap();
    sandbox.config(&format!("{config}\n[store]\nkey = {{ command = [\"{}\"] }}\n", path.display()));
    drop(usherd.stop());
    (sandbox, idp, ca)
}

fn runs(home: &Path) -> usize {
    let runs: PathBuf = home.join("home/runs");
    fs::read_to_string(runs).map_or(0, |runs| runs.lines().count())
}

fn within<T>(message: T, patience: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}

/// Whoever asks for it, for so long, and what becomes of it.
fn ask(usherd: &Usherd, patience: Duration) -> [Status; 3] {
    let (collection, place) = ("git".to_owned(), at("other.example.com", ""));
    let credential =
        Some(Credential { username: "alice".into(), password: "p".into(), ..Default::default() });
    calling(usherd, async |connection| {
        let get = GetCredentialRequest {
            collection: collection.clone(),
            place: place.clone(),
            persist: true,
            ..Default::default()
        };
        let store = StoreCredentialRequest {
            collection: collection.clone(),
            place: place.clone(),
            credential,
            persist: true,
            ..Default::default()
        };
        let erase = EraseCredentialRequest { collection, place, persist: true, ..Default::default() };
        let mut credentials = connection.credentials();
        [
            credentials.get(within(get, patience)).await.map(drop).unwrap_err(),
            credentials.store(within(store, patience)).await.map(drop).unwrap_err(),
            credentials.erase(within(erase, patience)).await.map(drop).unwrap_err(),
        ]
    })
}

#[test]
fn a_key_that_does_not_come_keeps_nobody_waiting_beyond_their_deadline() {
    let (sandbox, _idp, _ca) = with_program("exec tail -f /dev/null");
    let usherd = sandbox.start();
    let begun = Instant::now();
    for refused in ask(&usherd, Duration::from_millis(500)) {
        let failure = Failure::from(&refused);
        assert_eq!(failure.reason, ErrorReason::DeadlineExceeded, "{refused:?}");
        assert!(failure.message.contains("the store did not answer"), "{failure:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "the program is given ten seconds");
    issued(&usherd, at("git.example.com", ""));
    assert_eq!(store(&usherd, at("new.example.com", ""), "CANARY", false).unwrap(), StoreOutcome::Stored);
}

#[test]
fn a_key_that_cannot_be_had_is_not_asked_for_by_each_who_wants_it() {
    let (sandbox, _idp, _ca) = with_program("exit 1");
    let begun = Instant::now();
    let usherd = sandbox.start();
    for _ in 0..20 {
        for refused in ask(&usherd, PATIENCE) {
            assert_eq!(reason(&refused), ErrorReason::StoreUnavailable, "{refused:?}");
        }
    }
    // For credentials at once and then every five seconds; for tokens at once, and then after pauses that double.
    let seconds = begun.elapsed().as_secs();
    let allowed = usize::try_from(1 + seconds / 5 + 1 + u64::from((seconds + 1).ilog2())).unwrap();
    let runs = runs(usherd.dir());
    assert!((1..=allowed).contains(&runs), "{runs} of {allowed} in {seconds} s");
}

//! `CredentialService` on the wire: what a profile answers, what is stored, and what is never.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a panic is the failure of the test; and how long one takes is no matter of suspend"
)]

use std::fs;

use serde_json::json;
use tonic::{Request, Status};
use usher_proto::{
    client::Connection,
    error::{ErrorReason, Failure},
    v1::{
        Credential, CredentialPlace, EraseCredentialRequest, EraseCredentialResponse, GetCredentialRequest,
        GetTokenRequest, IssuedCredential, ListCredentialsRequest, StoreCredentialRequest, StoreOutcome,
        credential_place::{Form, Parts},
        get_credential_response::Answer,
    },
};
use usher_testkit::{idp::FakeIdp, sandbox::Sandbox, usherd::Usherd};

use crate::support::{World, frontdoor, named, sandbox, status};

mod disk;
mod newest;

/// A daemon whose profile owns one host, and a part of another.
fn world() -> World {
    World::new(
        "urls = [\"https://git.example.com\", \"https://shared.example.com/team\"]\nusername = \"oauth2\"",
    )
}

fn calling<T>(usherd: &Usherd, work: impl AsyncFnOnce(Connection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { work(usherd.connect().await).await })
}

#[expect(clippy::unnecessary_wraps, reason = "as the field of a message is")]
fn at(host: &str, path: &str) -> Option<CredentialPlace> {
    let (protocol, host) = host.split_once("://").unwrap_or(("https", host));
    let parts = Parts { protocol: protocol.into(), host: host.into(), path: path.into() };
    Some(CredentialPlace { form: Some(Form::Parts(parts)) })
}

#[expect(clippy::unnecessary_wraps, reason = "as the field of a message is")]
fn server(name: &str) -> Option<CredentialPlace> {
    Some(CredentialPlace { form: Some(Form::Server(name.into())) })
}

fn get(usherd: &Usherd, request: GetCredentialRequest) -> Result<Option<Answer>, Status> {
    let request = GetCredentialRequest { collection: "git".into(), ..request };
    let answer = calling(usherd, async |connection| connection.credentials().get(request).await);
    answer.map(|answer| answer.into_inner().answer)
}

fn issued(usherd: &Usherd, place: Option<CredentialPlace>) -> IssuedCredential {
    match get(usherd, GetCredentialRequest { place, ..Default::default() }) {
        Ok(Some(Answer::Issued(issued))) => issued,
        other => panic!("{other:?}"),
    }
}

/// The user and the password that are stored for a place.
fn stored(usherd: &Usherd, place: Option<CredentialPlace>) -> Option<(String, String)> {
    match get(usherd, GetCredentialRequest { place, persist: true, ..Default::default() }) {
        Ok(Some(Answer::Stored(stored))) => Some((stored.username, stored.password)),
        Ok(None) => None,
        other => panic!("{other:?}"),
    }
}

fn store(
    usherd: &Usherd,
    place: Option<CredentialPlace>,
    password: &str,
    persist: bool,
) -> Result<StoreOutcome, Status> {
    let username = "alice".to_owned();
    let credential = Some(Credential { username, password: password.into(), ..Default::default() });
    let collection = "git".to_owned();
    let request = StoreCredentialRequest { collection, place, credential, persist, ..Default::default() };
    let answer = calling(usherd, async |connection| connection.credentials().store(request).await);
    answer.map(|answer| answer.into_inner().outcome())
}

fn erase(usherd: &Usherd, place: Option<CredentialPlace>, secret: &str) -> EraseCredentialResponse {
    let (collection, secret) = ("git".to_owned(), secret.to_owned());
    let request = EraseCredentialRequest { collection, place, secret, ..Default::default() };
    let answer = calling(usherd, async |connection| connection.credentials().erase(request).await);
    answer.unwrap().into_inner()
}

fn reason(status: &Status) -> ErrorReason {
    Failure::from(status).reason
}

/// The same daemon once more.
fn restart(world: World) -> World {
    let World { usherd, idp, ca } = world;
    let sandbox = Sandbox::clone(&usherd);
    drop(usherd.stop());
    World { usherd: sandbox.start(), idp, ca }
}

#[test]
fn a_profile_answers_for_its_urls_and_for_nothing_else() {
    let world = world();
    let usherd = &world.usherd;
    for place in [
        at("git.example.com", ""),
        at("GIT.example.com:443", "any/repo.git"),
        at("shared.example.com", "team/repo.git"),
        server("git.example.com"),
        server("https://shared.example.com/team/image"),
    ] {
        let issued = issued(usherd, place.clone());
        assert_eq!(issued.username, "oauth2", "{place:?}");
        assert_eq!(issued.token.unwrap().access_token, world.idp.issued()[0]);
    }
    for place in [
        at("git.example.com:8443", ""),
        at("shared.example.com", ""),
        at("shared.example.com", "teams"),
        at("git.example.com.evil.example", ""),
        at("smtp://git.example.com", ""),
        server("shared.example.com"),
    ] {
        let answer = get(usherd, GetCredentialRequest { place: place.clone(), ..Default::default() });
        assert_eq!(answer.unwrap(), None, "{place:?}");
    }
    for place in [
        at("http://git.example.com", ""),
        at("http://127.0.0.1", ""),
        at("git.example.com@evil.example", ""),
        at("git.example.com.", ""),
        at("git.example.com\n", ""),
        at("git.example.com", "a\nhost=evil.example"),
        at("git.example.com", "team/../x"),
        at("g\u{131}t.example.com", ""),
        server("ftp://git.example.com"),
        server(""),
        None,
    ] {
        let refused = get(usherd, GetCredentialRequest { place: place.clone(), ..Default::default() });
        assert_eq!(reason(&refused.unwrap_err()), ErrorReason::RequestInvalid, "{place:?}");
        assert!(store(usherd, place.clone(), "p", false).is_err(), "{place:?}");
    }
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_named_profile_answers_for_its_own_urls_alone() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let urls = "urls = [\"https://git.example.com\"]";
        frontdoor(sandbox, ca, idp, urls)
            + &named("bot", sandbox, ca, idp, &format!("{urls}\nby_name_only = true"))
    });
    let by = |profile: &str, host: &str| {
        let request =
            GetCredentialRequest { place: at(host, ""), profile: profile.into(), ..Default::default() };
        get(&world.usherd, request).map(|answer| match answer {
            Some(Answer::Issued(issued)) => Some(issued.token.unwrap().profile),
            other => other.map(|stored| panic!("{stored:?}")),
        })
    };
    assert_eq!(by("", "git.example.com").unwrap().as_deref(), Some("frontdoor"));
    assert_eq!(by("bot", "git.example.com").unwrap().as_deref(), Some("bot"));
    assert_eq!(by("bot", "other.example.com").unwrap(), None);
    assert_eq!(reason(&by("bat", "git.example.com").unwrap_err()), ErrorReason::ProfileUnknown);
    // What is somebody else's is not nobody's.
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, "urls = [\"https://git.example.com\"]")
            + &named("other", sandbox, ca, idp, "urls = [\"https://other.example.com\"]")
    });
    let credential = Credential { username: "alice".into(), password: "CANARY".into(), ..Default::default() };
    let request = StoreCredentialRequest {
        collection: "git".into(),
        place: at("git.example.com", ""),
        credential: Some(credential),
        profile: "other".into(),
        ..Default::default()
    };
    let stored = calling(&world.usherd, async |connection| connection.credentials().store(request).await);
    let stored = stored.unwrap().into_inner();
    assert_eq!((stored.outcome(), stored.profile.as_str()), (StoreOutcome::Owned, "frontdoor"));
    let request = GetCredentialRequest {
        place: at("git.example.com", ""),
        profile: "other".into(),
        ..Default::default()
    };
    assert_eq!(get(&world.usherd, request).unwrap(), None);
}

#[test]
fn a_profile_beats_what_is_stored_and_fails_rather_than_give_way_to_it() {
    let world = World::new("");
    assert_eq!(
        store(&world.usherd, at("git.example.com", ""), "CANARY", true).unwrap(),
        StoreOutcome::Stored
    );
    let config = frontdoor(&world.usherd, &world.ca, &world.idp, "urls = [\"https://git.example.com\"]");
    world.usherd.config(&config);
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    let token = issued(&world.usherd, at("git.example.com", "")).token.unwrap();
    assert_eq!(token.access_token, world.idp.issued()[0]);
    fs::remove_file(world.usherd.secret("frontdoor", world.idp.client_secret())).unwrap();
    let _ = world.usherd.usher(&["forget", "frontdoor"]).expect_ok();
    let request = GetCredentialRequest { place: at("git.example.com", ""), ..Default::default() };
    let failed = get(&world.usherd, request).unwrap_err();
    assert_eq!(reason(&failed), ErrorReason::SecretUnavailable);
    assert_eq!(Failure::from(&failed).facts["profile"], "frontdoor");
}

#[test]
fn what_usherd_issues_and_what_a_profile_owns_is_never_stored() {
    let world = world();
    let usherd = &world.usherd;
    let token = issued(usherd, at("git.example.com", "")).token.unwrap().access_token;
    assert_eq!(store(usherd, at("git.example.com", ""), &token, false).unwrap(), StoreOutcome::Issued);
    assert_eq!(store(usherd, at("git.example.com", "x"), "own", false).unwrap(), StoreOutcome::Owned);
    assert_eq!(store(usherd, at("other.example.com", ""), &token, true).unwrap(), StoreOutcome::Issued);
    assert_eq!(store(usherd, server("git.example.com"), "own", true).unwrap(), StoreOutcome::Owned);
    assert_eq!(stored(usherd, at("other.example.com", "")), None);
    assert_eq!(status(usherd, &[])["credentials"], json!({"in_memory": 0, "on_disk": 0, "store": null}));
    assert!(!usherd.dir().join("state/usher/store").exists());
}

#[test]
fn a_token_is_known_for_one_of_ushers_after_it_was_forgotten_and_when_it_is_a_static_one() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let token = sandbox.api_token("account", "CANARY-account-token");
        let account = format!(
            "[profile.account]\npreset = \"netfoundry-api-token\"\naccount_id = \"acct\"\n\
             api_token = {{ file = \"{}\" }}\nurls = [\"https://account.example.com\"]\n",
            token.display()
        );
        frontdoor(sandbox, ca, idp, "urls = [\"https://git.example.com\"]") + &account
    });
    let usherd = &world.usherd;
    let token = issued(usherd, at("git.example.com", "")).token.unwrap().access_token;
    let _ = usherd.usher(&["forget", "frontdoor"]).expect_ok();
    issued(usherd, at("git.example.com", ""));
    assert_eq!(store(usherd, at("other.example.com", ""), &token, true).unwrap(), StoreOutcome::Issued);
    let answer = issued(usherd, at("account.example.com", ""));
    assert_eq!(answer.username, "acct");
    let token = answer.token.unwrap();
    let header = token.authorization.split_once(' ').unwrap().1;
    for secret in [&token.access_token, header] {
        assert_eq!(store(usherd, at("other.example.com", ""), secret, true).unwrap(), StoreOutcome::Issued);
    }
    assert_eq!(stored(usherd, at("other.example.com", "")), None);
    assert_eq!(store(usherd, at("git.example.com", ""), "typed", true).unwrap(), StoreOutcome::Owned);
}

#[test]
fn what_was_stored_before_a_profile_took_the_place_can_be_erased() {
    let world = World::new("");
    store(&world.usherd, at("git.example.com", ""), "CANARY", true).unwrap();
    let config = fs::read_to_string(world.usherd.config_path()).unwrap();
    let owning = frontdoor(&world.usherd, &world.ca, &world.idp, "urls = [\"https://git.example.com\"]");
    world.usherd.config(&owning);
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    assert_eq!(erase(&world.usherd, at("git.example.com", ""), "CANARY").erased, 1);
    world.usherd.config(&config);
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    assert_eq!(stored(&world.usherd, at("git.example.com", "")), None);
}

#[test]
fn a_server_has_one_user_and_a_host_may_have_several() {
    let mut world = World::new("");
    let log_in = |usherd: &Usherd, place: Option<CredentialPlace>, username: &str| {
        let (collection, password) = ("git".to_owned(), format!("CANARY-{username}"));
        let credential = Some(Credential { username: username.into(), password, ..Default::default() });
        let request =
            StoreCredentialRequest { collection, place, credential, persist: true, ..Default::default() };
        calling(usherd, async |connection| connection.credentials().store(request).await).unwrap();
    };
    for username in ["zed", "amy"] {
        log_in(&world.usherd, server("registry.example.com"), username);
        log_in(&world.usherd, at("git.example.com", ""), username);
    }
    for _ in 0..2 {
        let amy = Some(("amy".to_owned(), "CANARY-amy".to_owned()));
        assert_eq!(stored(&world.usherd, server("registry.example.com")), amy);
        assert_eq!(stored(&world.usherd, at("git.example.com", "")), amy);
        assert_eq!(status(&world.usherd, &[])["credentials"]["on_disk"], 3);
        world = restart(world);
    }
}

#[test]
fn a_refused_token_is_dropped_by_its_value_and_a_newer_one_stays() {
    let world = world();
    let token = || issued(&world.usherd, at("git.example.com", "")).token.unwrap().access_token;
    let first = token();
    assert!(!erase(&world.usherd, at("git.example.com", ""), "another").token_dropped);
    assert_eq!(token(), first);
    assert!(erase(&world.usherd, at("git.example.com", ""), &first).token_dropped);
    let second = token();
    assert_ne!(first, second);
    assert!(!erase(&world.usherd, at("git.example.com", ""), &first).token_dropped);
    assert_eq!((token(), world.idp.token_requests()), (second, 2));
}

#[test]
fn what_is_stored_on_disk_needs_no_store_in_the_configuration_and_survives_a_restart() {
    let mut world = world();
    let place = || at("other.example.com", "");
    assert_eq!(store(&world.usherd, place(), "CANARY-lasting", true).unwrap(), StoreOutcome::Stored);
    assert_eq!(
        store(&world.usherd, at("memory.example.com", ""), "CANARY-fleeting", false).unwrap(),
        StoreOutcome::Stored
    );
    issued(&world.usherd, at("git.example.com", ""));
    let held = &status(&world.usherd, &[])["credentials"];
    assert_eq!((&held["in_memory"], &held["on_disk"]), (&json!(1), &json!(1)), "{held}");
    assert_eq!(held["store"]["weak_key"], true, "{held}");
    assert!(held["store"]["key_source"].as_str().unwrap().ends_with("config/usher/store.key"), "{held}");
    world = restart(world);
    assert_eq!(stored(&world.usherd, place()), Some(("alice".into(), "CANARY-lasting".into())));
    assert_eq!(stored(&world.usherd, at("memory.example.com", "")), None);
    issued(&world.usherd, at("git.example.com", ""));
    assert_eq!(world.idp.token_requests(), 2, "tokens are kept only where the configuration says so");
    assert_eq!(erase(&world.usherd, place(), "other").erased, 0);
    assert_eq!(erase(&world.usherd, place(), "CANARY-lasting").erased, 1);
    world = restart(world);
    assert_eq!(stored(&world.usherd, place()), None);
    // The same directory and the same key, once the configuration has a store.
    assert_eq!(store(&world.usherd, place(), "CANARY-again", true).unwrap(), StoreOutcome::Stored);
    let config = fs::read_to_string(world.usherd.config_path()).unwrap();
    world.usherd.config(&(config + "\n[store]\nkey = { file = \"store.key\" }\n"));
    world = restart(world);
    assert_eq!(stored(&world.usherd, place()), Some(("alice".into(), "CANARY-again".into())));
}

#[test]
fn a_store_that_cannot_be_read_fails_those_who_want_it_and_nobody_else() {
    let world = world();
    store(&world.usherd, at("other.example.com", ""), "CANARY", true).unwrap();
    let key = world.usherd.dir().join("config/usher/store.key");
    fs::write(&key, "x".repeat(64)).unwrap();
    let world = restart(world);
    let ask = |persist| {
        let place = at("other.example.com", "");
        get(&world.usherd, GetCredentialRequest { place, persist, ..Default::default() })
    };
    let failed = Failure::from(&ask(true).unwrap_err());
    assert_eq!(failed.reason, ErrorReason::StoreUnavailable);
    assert!(failed.message.contains("made with another key"), "{failed:?}");
    let told = status(&world.usherd, &[])["credentials"]["store"]["degraded"].to_string();
    assert!(told.contains("made with another key"), "{told}");
    let told = world.usherd.usher(&["status"]).expect_ok().stdout;
    assert!(told.contains("DEGRADED: credentials"), "{told}");
    assert_eq!(ask(false).unwrap(), None);
    let failed = store(&world.usherd, at("new.example.com", ""), "p", true).unwrap_err();
    assert_eq!(reason(&failed), ErrorReason::StoreUnavailable);
    assert_eq!(store(&world.usherd, at("new.example.com", ""), "p", false).unwrap(), StoreOutcome::Stored);
    issued(&world.usherd, at("git.example.com", ""));
}

#[test]
fn without_a_configuration_credentials_are_stored_and_a_profile_can_be_added() {
    let sandbox = sandbox();
    let usherd = sandbox.start();
    usherd.wait_for_log("there are no profiles", usher_testkit::PATIENCE);
    assert_eq!(store(&usherd, at("other.example.com", ""), "CANARY", true).unwrap(), StoreOutcome::Stored);
    assert_eq!(stored(&usherd, at("other.example.com", "")), Some(("alice".into(), "CANARY".into())));
    let refused = usherd.usher(&["token", "frontdoor"]).expect_code(78);
    assert!(refused.stderr.contains("the configuration has no profile yet"), "{}", refused.stderr);
    let ca = usher_testkit::ca::Ca::new();
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    usherd.config(&frontdoor(&usherd, &ca, &idp, ""));
    let _ = usherd.usher(&["reload"]).expect_ok();
    let request = GetTokenRequest { profile: "frontdoor".into(), ..Default::default() };
    let answer = calling(&usherd, async |connection| connection.tokens().get_token(request).await);
    assert_eq!(answer.unwrap().into_inner().access_token, idp.issued()[0]);
}

#[test]
fn a_daemon_that_would_end_stays_for_what_is_in_memory() {
    let world = World::new("");
    let credential =
        Some(Credential { username: "alice".into(), password: "CANARY".into(), ..Default::default() });
    let timeout = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let request = StoreCredentialRequest {
        collection: "git".into(),
        place: at("other.example.com", ""),
        credential,
        timeout,
        ..Default::default()
    };
    let begun = std::time::Instant::now();
    calling(&world.usherd, async |connection| connection.credentials().store(request).await).unwrap();
    let config = fs::read_to_string(world.usherd.config_path()).unwrap();
    world.usherd.config(&format!("idle_exit = \"10ms\"\n{config}"));
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    assert_eq!(world.usherd.wait_exit(usher_testkit::PATIENCE).code(), Some(0));
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "it ended with somebody's password");
}

#[test]
fn a_collection_is_its_own_and_the_list_has_profiles_that_name_a_user() {
    let world = world();
    let usherd = &world.usherd;
    store(usherd, at("other.example.com", "a b"), "CANARY", false).unwrap();
    store(usherd, server("registry.example.com:5000"), "CANARY", true).unwrap();
    let list = |collection: &str| {
        let request = ListCredentialsRequest { collection: collection.into(), persist: true };
        let answer = calling(usherd, async |connection| connection.credentials().list(request).await);
        answer.map(|answer| {
            let listed = answer.into_inner().credentials.into_iter();
            let name = |place: Option<CredentialPlace>| match place.unwrap().form {
                Some(Form::Server(name)) => name,
                other => panic!("{other:?}"),
            };
            let mut all: Vec<_> =
                listed.map(|one| (name(one.place), one.username, one.profile, one.persistent)).collect();
            all.sort();
            all
        })
    };
    let of = |place: &str, username: &str, profile: &str, persistent| {
        (place.to_owned(), username.to_owned(), profile.to_owned(), persistent)
    };
    let profiles = [
        of("git.example.com", "oauth2", "frontdoor", false),
        of("shared.example.com/team", "oauth2", "frontdoor", false),
    ];
    assert_eq!(list("docker").unwrap(), profiles);
    let expected = [
        profiles[0].clone(),
        of("https://other.example.com/a%20b", "alice", "", false),
        of("registry.example.com:5000", "alice", "", true),
        profiles[1].clone(),
    ];
    assert_eq!(list("git").unwrap(), expected);
    for bad in ["", "Git", "a b", "x".repeat(33).as_str()] {
        assert_eq!(reason(&list(bad).unwrap_err()), ErrorReason::RequestInvalid, "{bad}");
    }
}

#[test]
fn sizes_are_bounded() {
    let world = world();
    let with = |credential: Credential| {
        let (collection, place) = ("git".to_owned(), at("other.example.com", ""));
        let request =
            StoreCredentialRequest { collection, place, credential: Some(credential), ..Default::default() };
        calling(&world.usherd, async |connection| connection.credentials().store(Request::new(request)).await)
            .map_err(|status| reason(&status))
    };
    let text = |length: usize| "x".repeat(length);
    let good = Credential { username: text(1024), password: text(32 * 1024), ..Default::default() };
    assert!(with(good.clone()).is_ok());
    for bad in [
        Credential { username: text(1025), ..good.clone() },
        Credential { username: "a\nb".into(), ..good.clone() },
        Credential { password: text(32 * 1024 + 1), ..good.clone() },
        Credential { oauth_refresh_token: text(32 * 1024 + 1), ..Default::default() },
        Credential { username: "alice".into(), ..Default::default() },
        Credential { credential: "token".into(), ..Default::default() },
    ] {
        assert_eq!(with(bad.clone()).unwrap_err(), ErrorReason::RequestInvalid, "{bad:?}");
    }
}

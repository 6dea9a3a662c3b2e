//! Many keys at once, and keys that nobody configured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use tokio::task::JoinSet;
use tonic::{Code, Status};
use usher_proto::{
    client::Connection,
    error::{ErrorReason, Failure},
    v1::{GetTokenRequest, GetTokenResponse, StatusRequest},
};
use usher_testkit::{
    PATIENCE,
    ca::Ca,
    idp::{FakeIdp, Reply},
    usherd::Usherd,
};

use crate::support::{facts, frontdoor, health::Baseline, random::Random, sandbox, status};

const CONNECTIONS: usize = 20;
/// Of the daemon: so many requests to one IdP at a time, and so many that wait.
const AT_A_TIME: usize = 8;
const WAITING: usize = 1024;

/// A daemon with so many profiles of one IdP.
pub(crate) fn many(profiles: usize, scopes: &str) -> (Usherd, FakeIdp, Ca) {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    let one = frontdoor(&sandbox, &ca, &idp, scopes);
    let mut config = String::new();
    for number in 0..profiles {
        write!(config, "{}", one.replacen("profile.frontdoor", &format!("profile.p{number}"), 1)).unwrap();
    }
    sandbox.config(&config);
    let usherd = sandbox.launch().log_level("info").start().unwrap();
    (usherd, idp, ca)
}

pub(crate) async fn ask(
    connection: Connection,
    request: GetTokenRequest,
) -> Result<GetTokenResponse, Status> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(60));
    connection.tokens().get_token(request).await.map(tonic::Response::into_inner)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A call of each profile, all at the same time.
pub(crate) async fn ask_all(usherd: &Usherd, profiles: usize) -> JoinSet<Result<GetTokenResponse, Status>> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(usherd.connect().await);
    }
    let mut calls = JoinSet::new();
    for number in 0..profiles {
        let request = GetTokenRequest { profile: format!("p{number}"), ..Default::default() };
        calls.spawn(ask(connections[number % CONNECTIONS].clone(), request));
    }
    calls
}

/// Waits until so many keys have been asked for.
#[allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]
pub(crate) async fn wait_for_calls(usherd: &Usherd, count: usize) {
    let connection = usherd.connect().await;
    let begun = std::time::Instant::now();
    loop {
        let status = connection.admin().status(StatusRequest::default()).await.unwrap();
        let profiles = status.into_inner().profiles;
        let asked =
            profiles.iter().filter(|profile| profile.tokens.iter().any(|token| token.last_used_at.is_some()));
        if asked.count() >= count {
            return;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn five_hundred_cold_keys_at_once_all_get_their_token_eight_at_a_time() {
    let (usherd, idp, _ca) = many(501, "");
    facts(&usherd, &["p500"]);
    let baseline = Baseline::of(&usherd);
    let (reply, gate) = Reply::token().hold();
    idp.set_default(reply);
    let answers = runtime().block_on(async {
        let calls = ask_all(&usherd, 500).await;
        wait_for_calls(&usherd, 501).await;
        gate.wait_for(AT_A_TIME, PATIENCE);
        assert_eq!(idp.token_requests(), 1 + AT_A_TIME);
        gate.release();
        calls.join_all().await
    });
    let tokens: BTreeSet<_> = answers.into_iter().map(|answer| answer.unwrap().access_token).collect();
    assert_eq!((tokens.len(), idp.token_requests()), (500, 501));
    assert!(idp.max_in_flight() <= AT_A_TIME, "{} at a time", idp.max_in_flight());
    baseline.holds(&usherd, "p0");
}

#[test]
fn a_cold_key_too_many_is_told_at_once_and_the_others_have_their_turn() {
    let profiles = AT_A_TIME + WAITING + 60;
    let (usherd, idp, _ca) = many(profiles, "");
    let (reply, gate) = Reply::token().hold();
    idp.set_default(reply);
    runtime().block_on(async {
        let mut calls = ask_all(&usherd, profiles).await;
        for _ in 0..60 {
            let told = tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("at once");
            let refused = told.unwrap().unwrap().unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted);
            let failure = Failure::from(&refused);
            assert_eq!(failure.reason, ErrorReason::RateLimited);
            assert_eq!(failure.retry_after, Some(Duration::from_secs(1)));
            assert!(failure.message.contains("1024 more requests wait"), "{}", failure.message);
        }
        gate.wait_for(AT_A_TIME, PATIENCE);
        assert_eq!(idp.token_requests(), AT_A_TIME);
        gate.release();
        let answers = calls.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), AT_A_TIME + WAITING);
    });
    assert_eq!((idp.max_in_flight(), idp.token_requests()), (AT_A_TIME, AT_A_TIME + WAITING));
}

#[test]
fn scopes_and_audiences_that_nobody_configured_make_no_key_and_cost_no_request() {
    let (usherd, idp, _ca) = many(1, "audiences = [\"https://other.example\"]");
    let mut random = Random::new();
    runtime().block_on(async {
        let connection = usherd.connect().await;
        let mut calls = JoinSet::new();
        for number in 0..3000 {
            let word = || format!("x{:x}", random.below(u64::MAX));
            let mut words = std::iter::repeat_with(word);
            let (scopes, audience) = match number % 3 {
                0 => (words.by_ref().take(1 + number % 4).collect(), String::new()),
                1 => (Vec::new(), words.next().unwrap()),
                _ => (vec!["frontdoor.read".to_owned(), words.next().unwrap()], words.next().unwrap()),
            };
            let request =
                GetTokenRequest { profile: "p0".to_owned(), scopes, audience, ..Default::default() };
            calls.spawn(ask(connection.clone(), request));
            if calls.len() == 100 {
                refuse_all(&mut calls).await;
            }
        }
        refuse_all(&mut calls).await;
        // What is configured is had, in any order and however often, and is no more than these keys.
        for number in 0..300 {
            let mut scopes = vec!["frontdoor.read".to_owned(), "frontdoor.write".to_owned()];
            scopes.rotate_left(number % 2);
            scopes.truncate(1 + number / 2 % 2);
            let audience = if number % 3 == 0 { "https://other.example".to_owned() } else { String::new() };
            let request =
                GetTokenRequest { profile: "p0".to_owned(), scopes, audience, ..Default::default() };
            ask(connection.clone(), request).await.unwrap();
        }
    });
    // Each of the scopes, and both together; for each of two audiences.
    assert_eq!(idp.token_requests(), 6);
    assert_eq!(status(&usherd, &["p0"])["profiles"][0]["tokens"].as_array().unwrap().len(), 6);
}

async fn refuse_all(calls: &mut JoinSet<Result<GetTokenResponse, Status>>) {
    while let Some(answer) = calls.join_next().await {
        let refused = answer.unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
}

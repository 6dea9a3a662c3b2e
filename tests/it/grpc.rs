//! The contract on the wire, as a program in any language meets it: answers, errors it can branch on,
//! and what becomes of callers who break the rules.
//!
//! - `discovery`: versions, health, reflection
//! - `selection`: which profile answers, and for which URLs

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, SystemTime},
};

use prost::Message;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status, codegen::http};
use usher_proto::{
    client::Connection,
    error::{ErrorReason, Failure},
    v1::{GetTokenRequest, GetTokenResponse, TokenSource},
};
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Reply, dead_address},
    usherd::Usherd,
};

use crate::support::{World, facts, frontdoor, named};

mod discovery;
mod selection;

/// Runs `work` on a connection, which is gone when this returns.
fn calling<T>(usherd: &Usherd, work: impl AsyncFnOnce(Connection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { work(usherd.connect().await).await })
}

fn ask(profile: &str) -> GetTokenRequest {
    GetTokenRequest { profile: profile.to_owned(), ..Default::default() }
}

fn get(usherd: &Usherd, request: GetTokenRequest) -> Result<GetTokenResponse, Status> {
    calling(usherd, async |connection| connection.tokens().get_token(request).await)
        .map(tonic::Response::into_inner)
}

fn failure(usherd: &Usherd, request: GetTokenRequest) -> (Code, Failure) {
    let status = get(usherd, request).unwrap_err();
    usherd.leaks().note("a gRPC status", format!("{status:?}"));
    (status.code(), Failure::from(&status))
}

/// What a Unix socket has for an authority.
fn origin() -> http::Uri {
    http::Uri::from_static("http://localhost")
}

#[test]
fn an_answer_has_everything_there_is_to_know() {
    let world = World::new("base_url = \"https://api.example.com/front\"");
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let before = now();
    let request = GetTokenRequest { url: "/shares?page=2".into(), ..ask("frontdoor") };
    let first = get(&world.usherd, request).unwrap();
    let token = &world.idp.issued()[0];
    assert_eq!((&first.access_token, first.token_type.as_str()), (token, "Bearer"));
    assert_eq!(first.authorization, format!("Bearer {token}"));
    let expires_at = u64::try_from(first.expires_at.unwrap().seconds).unwrap();
    assert!((before + 3599..=now() + 3600).contains(&expires_at), "{before} {expires_at}");
    assert_eq!(first.scopes, ["frontdoor.read", "frontdoor.write"]);
    assert_eq!((first.profile.as_str(), first.source()), ("frontdoor", TokenSource::Fetched));
    assert!(!first.token_id.is_empty() && !token.contains(&first.token_id));
    assert_eq!(first.url, "https://api.example.com/front/shares?page=2");
    assert!(!first.below_min_ttl);
    let second = get(&world.usherd, ask("frontdoor")).unwrap();
    assert_eq!((second.source(), second.url.as_str()), (TokenSource::Cache, ""));
    assert_eq!((second.access_token, second.token_id), (first.access_token, first.token_id));
}

#[test]
fn errors_carry_a_reason_to_branch_on() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, "") + &named("other", sandbox, ca, idp, "")
    });
    let frontdoor = || ask("frontdoor");
    let minute = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for (request, code, reason, profile) in [
        (ask("nope"), Code::NotFound, ErrorReason::ProfileUnknown, None),
        (ask(""), Code::FailedPrecondition, ErrorReason::ProfileAmbiguous, None),
        (
            GetTokenRequest { scopes: vec!["admin".into()], ..frontdoor() },
            Code::PermissionDenied,
            ErrorReason::ScopeNotAllowed,
            Some("frontdoor"),
        ),
        (
            GetTokenRequest { audience: "https://elsewhere.example".into(), ..frontdoor() },
            Code::PermissionDenied,
            ErrorReason::AudienceNotAllowed,
            Some("frontdoor"),
        ),
        (
            GetTokenRequest { min_ttl: minute(-1), ..frontdoor() },
            Code::InvalidArgument,
            ErrorReason::RequestInvalid,
            None,
        ),
        (
            GetTokenRequest { scopes: vec!["a b".into()], ..frontdoor() },
            Code::InvalidArgument,
            ErrorReason::RequestInvalid,
            None,
        ),
    ] {
        let shown = format!("{request:?}");
        let (found, failure) = failure(&world.usherd, request);
        assert_eq!((found, failure.reason), (code, reason), "{shown}: {failure:?}");
        assert_eq!(failure.facts.get("profile").map(String::as_str), profile, "{shown}: {failure:?}");
        assert_eq!(failure.retry_after, None, "{shown}");
    }
    let (_, unknown) = failure(&world.usherd, ask("nope"));
    assert!(unknown.message.contains("there are frontdoor, other"), "{unknown:?}");
    assert_eq!(world.idp.token_requests(), 0);
}

#[test]
fn what_the_idp_said_comes_as_facts_and_when_to_try_again() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let dead = format!("token_url = \"https://{}/oauth/token\"", dead_address());
        frontdoor(sandbox, ca, idp, "") + &named("dead", sandbox, ca, idp, &dead)
    });
    let seconds = |failure: &Failure| failure.retry_after.unwrap().as_secs_f32();

    let (code, unreachable) = failure(&world.usherd, ask("dead"));
    assert_eq!((code, unreachable.reason), (Code::Unavailable, ErrorReason::IdpUnreachable));
    assert!((0.1..=1.5).contains(&seconds(&unreachable)), "{unreachable:?}");

    world.idp.push(Reply::oauth_error(401, "invalid_client", "who are you?"));
    let (code, refused) = failure(&world.usherd, ask("frontdoor"));
    assert_eq!((code, refused.reason), (Code::FailedPrecondition, ErrorReason::IdpRefused));
    assert_eq!(refused.facts["oauth_error"], "invalid_client");
    assert_eq!(refused.facts["http_status"], "401");
    assert_eq!(refused.facts["profile"], "frontdoor");
    assert!((20.0..=30.0).contains(&seconds(&refused)), "{refused:?}");
}

#[test]
fn unknown_fields_in_a_request_are_ignored() {
    /// A `GetTokenRequest` of some later version.
    #[derive(Clone, PartialEq, Message)]
    struct Later {
        #[prost(string, tag = "1")]
        profile: String,
        #[prost(string, tag = "999")]
        novelty: String,
        #[prost(fixed64, tag = "1000")]
        number: u64,
    }
    let world = World::new("");
    let request = Later { profile: "frontdoor".into(), novelty: "!".into(), number: 7 };
    let answer = calling(&world.usherd, async |connection| {
        let mut client = tonic::client::Grpc::with_origin(connection, origin());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Later, GetTokenResponse>::default();
        let path = http::uri::PathAndQuery::from_static("/usher.v1.TokenService/GetToken");
        client.unary(Request::new(request), path, codec).await.unwrap().into_inner()
    });
    assert_eq!(answer.profile, "frontdoor");
    assert_eq!(answer.access_token, world.idp.issued()[0]);
}

#[test]
fn a_request_of_more_than_64_kib_is_refused_and_the_connection_lives_on() {
    let world = World::new("");
    calling(&world.usherd, async |connection| {
        let mut tokens = connection.tokens();
        for len in [64 * 1024, 1024 * 1024] {
            let status = tokens.get_token(ask(&"x".repeat(len))).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{len}: {status:?}");
            assert_eq!(Failure::from(&status).reason, ErrorReason::RequestInvalid, "{len}: {status:?}");
        }
        tokens.get_token(ask("frontdoor")).await.unwrap();
    });
}

#[test]
fn what_is_not_http2_is_hung_up_on_and_others_are_served() {
    let world = World::new("");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    let noise: Vec<u8> =
        (0..4096_u32).map(|i| 0x80 | i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for (what, bytes) in [
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("noise", noise.clone()),
        ("noise after the preface", [preface, &noise].concat()),
        (
            "a frame larger than allowed",
            [preface, b"\xff\xff\xff\x00\x00\x00\x00\x00\x01".as_slice()].concat(),
        ),
        ("nothing but an end", Vec::new()),
    ] {
        let mut stream = UnixStream::connect(world.usherd.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // It may be hung up on before all is said.
        let _ = stream.write_all(&bytes);
        if bytes.is_empty() {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "{what}: the connection stays open");
        facts(&world.usherd, &["frontdoor"]);
    }
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn two_hundred_calls_at_once_on_one_connection_are_all_answered() {
    let world = World::new("");
    let (reply, gate) = Reply::token().hold();
    world.idp.push(reply);
    let answers = calling(&world.usherd, async |connection| {
        let mut calls = JoinSet::new();
        for _ in 0..200 {
            let mut tokens = connection.tokens();
            calls.spawn(async move { tokens.get_token(ask("frontdoor")).await });
        }
        // The calls go out while this waits.
        tokio::task::spawn_blocking(move || {
            gate.wait_arrived(PATIENCE);
            gate.release();
        })
        .await
        .unwrap();
        calls.join_all().await
    });
    let token = &world.idp.issued()[0];
    let answered = answers.iter().filter(|answer| &answer.as_ref().unwrap().get_ref().access_token == token);
    assert_eq!(answered.count(), 200);
    assert_eq!(world.idp.token_requests(), 1);
}

//! Any number of callers share one token request.

#![expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]

use std::{collections::BTreeSet, time::Duration};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::{JoinSet, yield_now};
use usher_proto::v1::{GetTokenRequest, GetTokenResponse, StatusRequest, TokenSource};
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Gate, Reply},
    usherd::Usherd,
};

use crate::support::{World, facts, frontdoor, refusal, status};

const CONNECTIONS: usize = 20;

/// `calls` calls of `GetToken` at the same time, on [`CONNECTIONS`] connections. Once usherd has them all
/// and a request is at the gate, does `then` and opens the gate.
fn crowd(usherd: &Usherd, calls: usize, gate: &Gate, then: impl FnOnce()) -> Vec<GetTokenResponse> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut crowd = JoinSet::new();
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let connection = usherd.connect().await;
            for _ in 0..calls / CONNECTIONS {
                let mut client = connection.tokens();
                let request = GetTokenRequest { profile: "frontdoor".to_owned(), ..Default::default() };
                crowd.spawn(async move { client.get_token(request).await });
            }
            connections.push(connection);
        }
        for connection in &connections {
            yield_now().await;
            // Sent after the calls on the same connection, and so received after them.
            connection.admin().status(StatusRequest::default()).await.expect("status");
        }
        // Blocks the runtime: the crowd is at usherd, nothing here has to go on.
        gate.wait_arrived(PATIENCE);
        then();
        gate.release();
        let answers = crowd.join_all().await;
        answers.into_iter().map(|answer| answer.expect("a token").into_inner()).collect()
    })
}

/// Most of the crowd waited for the fetch: those who came before it ended did.
fn assert_shared(answers: &[GetTokenResponse], world: &World) {
    let issued = world.idp.issued();
    assert_eq!((world.idp.token_requests(), issued.len()), (1, 1));
    assert!(answers.iter().all(|answer| answer.access_token == issued[0]));
    let waited = answers.iter().filter(|answer| answer.source() == TokenSource::Fetched).count();
    assert!(waited > answers.len() / 2, "only {waited} of {} calls came before the token", answers.len());
}

fn held(world: &World) -> Gate {
    let (reply, gate) = Reply::token().hold();
    world.idp.push(reply);
    gate
}

#[test]
fn a_thousand_cold_calls_cost_one_request() {
    let world = World::new("");
    let gate = held(&world);
    let answers = crowd(&world.usherd, 1000, &gate, || ());
    assert_eq!(answers.len(), 1000);
    assert_shared(&answers, &world);
    let entry = &status(&world.usherd, &["frontdoor"])["profiles"][0]["tokens"][0];
    assert_eq!((&entry["served"], &entry["fetched"], &entry["failed"]), (&json!(1000), &json!(1), &json!(0)));
}

#[test]
fn a_thousand_cold_calls_survive_the_first_caller() {
    let world = World::new("");
    let gate = held(&world);
    // The one whose call sent the request off, ...
    let first = world.usherd.spawn_usher(&["token", "frontdoor"]);
    gate.wait_arrived(PATIENCE);
    // ... killed while the others wait for its result.
    let mut first = Some(first);
    let answers = crowd(&world.usherd, 1000, &gate, || {
        let first = first.take().expect("it is killed once");
        assert!(first.is_running());
        first.signal(Signal::SIGKILL);
        assert_eq!(first.wait().code(), None);
    });
    assert_shared(&answers, &world);
    assert_eq!(facts(&world.usherd, &["frontdoor"])["source"], "cache");
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn the_only_caller_is_killed_and_its_token_kept() {
    let world = World::new("");
    let gate = held(&world);
    let only = world.usherd.spawn_usher(&["token", "frontdoor"]);
    gate.wait_arrived(PATIENCE);
    only.signal(Signal::SIGKILL);
    assert_eq!(only.wait().code(), None);
    gate.release();
    let token = facts(&world.usherd, &["frontdoor"]);
    assert_eq!(token["access_token"], world.idp.issued()[0]);
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_hundred_processes_cost_one_request() {
    let world = World::new("");
    let gate = held(&world);
    let all: Vec<_> = (0..100).map(|_| world.usherd.spawn_usher(&["token", "frontdoor"])).collect();
    gate.wait_arrived(PATIENCE);
    gate.release();
    let answers: BTreeSet<_> = all.into_iter().map(|one| one.wait().expect_ok().stdout).collect();
    assert_eq!(answers, BTreeSet::from([format!("{}\n", world.idp.issued()[0])]));
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_set_of_scopes_costs_one_request_in_whatever_order() {
    let world = World::new("");
    let wishes: [(&[&str], &[&str]); 6] = [
        (&[], &["frontdoor.read", "frontdoor.write"]),
        (&["--scope", "frontdoor.write frontdoor.read"], &["frontdoor.read", "frontdoor.write"]),
        (
            &["--scope", "frontdoor.read", "--scope", "frontdoor.write", "--scope", "frontdoor.read"],
            &["frontdoor.read", "frontdoor.write"],
        ),
        (&["--scope", "frontdoor.read"], &["frontdoor.read"]),
        (&["--scope", "frontdoor.write"], &["frontdoor.write"]),
        (&["--scope", "frontdoor.write,frontdoor.write"], &["frontdoor.write"]),
    ];
    let mut all = Vec::new();
    for (wish, granted) in wishes.iter().cycle().take(3 * wishes.len()) {
        let args = [&["token", "frontdoor", "--json"], *wish].concat();
        all.push((granted, world.usherd.spawn_usher(&args)));
    }
    let mut tokens = BTreeSet::new();
    for (granted, one) in all {
        let answer: serde_json::Value =
            serde_json::from_str(&one.wait().expect_ok().stdout).expect("JSON on stdout");
        assert_eq!(answer["scopes"], json!(granted));
        tokens.insert((answer["scopes"].to_string(), answer["access_token"].to_string()));
    }
    assert_eq!((tokens.len(), world.idp.token_requests()), (3, 3));
    let asked: BTreeSet<_> =
        world.idp.requests().iter().map(|request| request.json()["scope"].to_string()).collect();
    let expected = ["frontdoor.read frontdoor.write", "frontdoor.read", "frontdoor.write"];
    assert_eq!(asked, expected.iter().map(|scope| json!(scope).to_string()).collect());
}

#[test]
fn two_profiles_share_nothing() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let one = frontdoor(sandbox, ca, idp, "");
        let other = one.replace("[profile.frontdoor]", "[profile.other]");
        format!("{one}{other}")
    });
    let one = facts(&world.usherd, &["frontdoor"]);
    let other = facts(&world.usherd, &["other"]);
    assert_eq!((&one["source"], &other["source"]), (&json!("fetched"), &json!("fetched")));
    assert_ne!(one["access_token"], other["access_token"]);
    // What happens to one leaves the other alone.
    assert_eq!(world.usherd.usher(&["forget", "frontdoor"]).code(), Some(0));
    assert_eq!(facts(&world.usherd, &["other"])["access_token"], other["access_token"]);
    assert_eq!(world.idp.token_requests(), 2);
    assert_ne!(facts(&world.usherd, &["frontdoor"])["access_token"], one["access_token"]);
    assert_eq!(world.idp.token_requests(), 3);
}

#[test]
fn a_caller_who_cannot_wait_leaves_the_fetch_running() {
    let world = World::new("");
    let gate = held(&world);
    for _ in 0..2 {
        let error = refusal(&world.usherd, &["frontdoor", "--timeout", "500ms"], 75);
        assert_eq!(error["reason"], "DEADLINE_EXCEEDED");
        assert!(error["hint"].as_str().expect("a hint").contains("ask again"), "{error}");
    }
    gate.wait_for(1, Duration::ZERO);
    gate.release();
    let token = facts(&world.usherd, &["frontdoor"]);
    assert_eq!(token["access_token"], world.idp.issued()[0]);
    assert_eq!(world.idp.token_requests(), 1);
}

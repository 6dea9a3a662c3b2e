//! Identity providers that are away, busy or refuse: how usher tells, how long it leaves them alone, and
//! what still works meanwhile.

#![expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use usher_testkit::{
    ca::Ca,
    idp::{FakeIdp, Reply, dead_address},
    sandbox::Sandbox,
    tokens::canary,
};

use crate::support::{World, facts, frontdoor, refusal, sandbox, status};

/// How the one key of the profile fares.
fn key(sandbox: &Sandbox) -> Value {
    status(sandbox, &["frontdoor"])["profiles"][0]["tokens"][0].clone()
}

fn assert_within(value: &Value, expected: RangeInclusive<i64>) {
    let number = value.as_i64().expect("a number");
    assert!(expected.contains(&number), "{number} is not within {expected:?}");
}

#[test]
fn an_idp_that_is_not_there_is_named() {
    let dead = dead_address().to_string();
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, "").replace(&idp.host(), &dead)
    });
    let error = refusal(&world.usherd, &["frontdoor"], 69);
    assert_eq!((&error["reason"], &error["retry_after_seconds"]), (&json!("IDP_UNREACHABLE"), &json!(1)));
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(&format!("cannot connect to the IdP {dead}")), "{message}");
    assert!(message.contains("refused"), "{message}");

    let told = world.usherd.usher(&["header", "frontdoor"]).expect_code(69);
    assert!(told.stderr.starts_with("usher: frontdoor: cannot connect"), "{}", told.stderr);
    assert!(told.stderr.contains("hint: try again in "), "{}", told.stderr);
    assert_eq!(key(&world.usherd)["last_error_reason"], "IDP_UNREACHABLE");
}

#[test]
fn a_wrong_secret_is_tried_once_and_a_corrected_one_at_once() {
    let world = World::new("");
    let right = canary("RIGHT-SECRET");
    world.idp.set_client(world.idp.client_id(), &right);
    for _ in 0..20 {
        let error = refusal(&world.usherd, &["frontdoor"], 77);
        assert_eq!(
            (&error["reason"], &error["facts"]["oauth_error"]),
            (&json!("IDP_REFUSED"), &json!("invalid_client"))
        );
        assert_within(&error["retry_after_seconds"], 1..=30);
    }
    assert_eq!(world.idp.token_requests(), 1, "no account is locked by a loop");

    let refused = key(&world.usherd);
    assert_eq!((&refused["failed"], &refused["last_error_reason"]), (&json!(1), &json!("IDP_REFUSED")));
    assert_within(&refused["retry_in"], 1..=30);
    let text = world.usherd.usher(&["status"]).expect_ok().stdout;
    assert!(text.contains("backing off") && text.contains("the IdP is asked again in "), "{text}");
    assert!(text.contains("[IDP_REFUSED]"), "{text}");

    // No reload, no waiting: the file alone is corrected.
    world.usherd.secret("frontdoor", &right);
    assert_eq!(facts(&world.usherd, &["frontdoor"])["source"], "fetched");
    assert_eq!(world.idp.token_requests(), 2);
    let healed = key(&world.usherd);
    assert_eq!((&healed["retry_in"], &healed["last_error"]), (&Value::Null, &Value::Null));
}

#[test]
fn another_wrong_secret_is_tried_once_more_and_no_oftener() {
    let world = World::new("");
    world.idp.set_client(world.idp.client_id(), &canary("RIGHT-SECRET"));
    for requests in 1..=2 {
        for _ in 0..3 {
            assert_eq!(refusal(&world.usherd, &["frontdoor"], 77)["reason"], "IDP_REFUSED");
            assert_eq!(world.idp.token_requests(), requests);
        }
        world.usherd.secret("frontdoor", &canary("ANOTHER-WRONG-SECRET"));
    }
}

#[test]
fn retry_after_is_honoured() {
    let world = World::new("");
    world.idp.push(Reply::status(503).header("Retry-After", "5"));
    for _ in 0..2 {
        let error = refusal(&world.usherd, &["frontdoor"], 69);
        assert_eq!(error["reason"], "IDP_UNAVAILABLE");
        assert_within(&error["retry_after_seconds"], 4..=6);
    }
    let told = world.usherd.usher(&["token", "frontdoor"]).expect_code(69).stderr;
    assert!(["4s", "5s", "6s"].iter().any(|left| told.contains(&format!("try again in {left}"))), "{told}");
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_rate_limits_reset_is_honoured() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let profile = frontdoor(sandbox, ca, idp, "");
        format!("{profile}{}", profile.replace("[profile.frontdoor]", "[profile.other]"))
    });
    let now = status(&world.usherd, &[])["started_at"].as_i64().expect("epoch seconds");
    for (profile, reset) in [("frontdoor", "30".to_owned()), ("other", (now + 30).to_string())] {
        world.idp.push(
            Reply::oauth_error(429, "too_many_requests", "slow down").header("x-ratelimit-reset", &reset),
        );
        for _ in 0..2 {
            let error = refusal(&world.usherd, &[profile], 69);
            assert_eq!(
                (&error["reason"], &error["facts"]["http_status"]),
                (&json!("IDP_UNAVAILABLE"), &json!("429"))
            );
            assert_within(&error["retry_after_seconds"], 20..=33);
        }
    }
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn a_token_that_is_still_valid_outlives_a_failed_refresh() {
    let world =
        World::with(FakeIdp::builder().expires_in(6), |sandbox, ca, idp| frontdoor(sandbox, ca, idp, ""));
    // An hour is more than is promised: it counts as three quarters of the six seconds.
    let args = ["token", "frontdoor", "--min-ttl", "1h"];
    let first = world.usherd.usher(&args).expect_ok().stdout;
    assert_eq!(world.usherd.usher(&args).expect_ok().stdout, first);
    assert_eq!(world.idp.token_requests(), 1, "asking for more than there is burns no requests");

    world.idp.push(Reply::status(503));
    let answer = loop {
        let answer = world.usherd.usher(&args).expect_ok();
        if world.idp.token_requests() > 1 {
            break answer;
        }
    };
    assert_eq!(answer.stdout, first, "the refresh failed and the token is still valid");
    assert!(answer.stderr.starts_with("usher: warning: the token of frontdoor is valid for"));
    assert!(answer.stderr.contains("not for the 1h of --min-ttl"), "{}", answer.stderr);
    let marked = facts_with_warning(&world.usherd, &["token", "frontdoor", "--min-ttl", "1h", "--json"]);
    assert_eq!((&marked["below_min_ttl"], &marked["source"]), (&json!(true), &json!("cache")));
    assert_eq!(key(&world.usherd)["last_error_reason"], "IDP_UNAVAILABLE");
    assert_eq!(world.idp.token_requests(), 2, "the IdP is left alone for a second");

    // Nor does one failed refresh keep the next from coming.
    let next = loop {
        let answer = world.usherd.usher(&args).expect_ok().stdout;
        if answer != first {
            break answer;
        }
    };
    assert_eq!(next, format!("{}\n", world.idp.issued()[1]));
    assert_eq!(world.idp.token_requests(), 3);
}

/// Like [`facts`], with a warning on stderr.
fn facts_with_warning(sandbox: &Sandbox, args: &[&str]) -> Value {
    let output = sandbox.usher(args).expect_ok();
    let warning: Value = serde_json::from_str(&output.stderr).expect("JSON on stderr");
    assert!(warning["warning"].is_string(), "{warning}");
    serde_json::from_str(&output.stdout).expect("JSON on stdout")
}

#[test]
fn a_certificate_that_cannot_be_trusted_is_named() {
    let ca = Ca::new();
    let sandbox = sandbox();
    let bad = [
        ("expired", ca.expired(), "has expired, or the clock here is wrong"),
        ("wrong-name", ca.wrong_name(), "is for another name"),
        ("self-signed", ca.self_signed(), "is not signed by a CA in ca_file"),
        ("ca-true", ca.of_an_authority(), "says that it is a CA's (CA:TRUE)"),
        ("foreign", Ca::new().server().clone(), "is not signed by a CA in ca_file"),
    ];
    let mut config = String::new();
    let mut idps = Vec::new();
    for (name, identity, why) in bad {
        let idp = FakeIdp::builder().identity(identity).start(&ca);
        sandbox.watch(&idp);
        let profile = frontdoor(&sandbox, &ca, &idp, "");
        config += &profile.replace("[profile.frontdoor]", &format!("[profile.{name}]"));
        idps.push((name, idp, why));
    }
    sandbox.config(&config);
    let usherd = sandbox.start();
    for (name, idp, why) in &idps {
        let error = refusal(&usherd, &[name], 69);
        let message = error["message"].as_str().expect("a message");
        assert_eq!(error["reason"], "IDP_UNREACHABLE", "{message}");
        assert!(message.contains("certificate of the IdP") && message.contains(why), "{name}: {message}");
        assert!(message.contains(&idp.host()), "{name}: {message}");
        assert!(idp.requests().is_empty(), "the secret went to {name}");
    }
}

#[test]
fn a_budget_is_never_exceeded() {
    let world = World::with(FakeIdp::builder().expires_in(0), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, "max_token_requests = \"2/1h\"")
    });
    for _ in 0..2 {
        facts(&world.usherd, &["frontdoor"]);
    }
    for _ in 0..3 {
        let error = refusal(&world.usherd, &["frontdoor"], 75);
        assert_eq!(error["reason"], "RATE_LIMITED");
        assert!(error["message"].as_str().expect("a message").contains("max_token_requests"), "{error}");
        assert_within(&error["retry_after_seconds"], 3500..=3600);
    }
    assert_eq!(world.idp.token_requests(), 2);
    assert_eq!(key(&world.usherd)["budget_left"], 0);
    // Forgetting the tokens gives nothing of it back.
    assert_eq!(world.usherd.usher(&["forget", "frontdoor"]).code(), Some(0));
    assert_eq!(refusal(&world.usherd, &["frontdoor"], 75)["reason"], "RATE_LIMITED");
}

#[test]
fn status_tells_until_when_a_used_up_budget_holds() {
    let world = World::with(FakeIdp::builder().expires_in(0), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, "max_token_requests = \"1/1h\"")
    });
    facts(&world.usherd, &["frontdoor"]);
    assert_within(&refusal(&world.usherd, &["frontdoor"], 75)["retry_after_seconds"], 3500..=3600);
    assert!(key(&world.usherd)["retry_in"].is_i64(), "retry_at: no request to the IdP before this time");
}

#[test]
fn a_rejected_token_is_replaced_exactly_once() {
    let world = World::new("");
    let first = facts(&world.usherd, &["frontdoor"]);
    let old = first["token_id"].as_str().expect("a name");
    let second = facts(&world.usherd, &["frontdoor", "--rejected", old]);
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!((&second["source"], world.idp.token_requests()), (&json!("refreshed"), 2));
    // Those who still complain of the old one get the new one, as everybody does.
    let late = facts(&world.usherd, &["frontdoor", "--rejected", old]);
    assert_eq!((&late["access_token"], &late["source"]), (&second["access_token"], &json!("cache")));
    assert_eq!(facts(&world.usherd, &["frontdoor"])["access_token"], second["access_token"]);
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn an_api_that_rejects_every_token_does_not_drain_the_idp() {
    let world = World::new("");
    let first = facts(&world.usherd, &["frontdoor"]);
    let id = first["token_id"].as_str().expect("a name");
    let second = facts(&world.usherd, &["frontdoor", "--rejected", id]);
    let id = second["token_id"].as_str().expect("a name");
    let error = refusal(&world.usherd, &["frontdoor", "--rejected", id], 75);
    assert_eq!((&error["reason"], &error["retry_after_seconds"]), (&json!("RATE_LIMITED"), &json!(1)));
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn many_who_reject_the_same_token_share_one_request() {
    let world = World::new("");
    let first = facts(&world.usherd, &["frontdoor"]);
    let id = first["token_id"].as_str().expect("a name");
    let all: Vec<_> =
        (0..20).map(|_| world.usherd.spawn_usher(&["token", "frontdoor", "--rejected", id])).collect();
    for one in all {
        assert_eq!(one.wait().expect_ok().stdout, format!("{}\n", world.idp.issued()[1]));
    }
    assert_eq!(world.idp.token_requests(), 2);
}

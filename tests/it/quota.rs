//! IdPs that meter: how a limit that is hit is told from a refusal, and what they say of their quotas.

#![expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]

use serde_json::{Value, json};
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Reply},
};

use crate::support::{World, contains_all, facts, frontdoor, refusal, status};

/// The profile as `status` has it.
fn profile(world: &World) -> Value {
    status(&world.usherd, &["frontdoor"])["profiles"][0].clone()
}

fn seconds(value: &Value) -> i64 {
    value.as_i64().expect("seconds")
}

/// As Vertex answers the eleventh request in eight hours.
fn vertex() -> Reply {
    Reply::oauth_error(
        400,
        "invalid_request",
        "Client abc audience verx://migration-api has exceeded the rate limit of 10 tokens/28800 seconds",
    )
}

#[test]
fn a_400_that_means_slow_down_is_waited_out_as_told() {
    let quota = "b=per_hour;q=10;r=0;t=30,b=per_day;q=50;r=3;t=3000";
    for (reply, oauth_error, http_status, words) in [
        (vertex().header("Retry-After", "30"), json!("invalid_request"), "400", "10 tokens/28800 seconds"),
        (vertex().header("x-ratelimit-reset", "30"), json!("invalid_request"), "400", "as Vertex says it"),
        (vertex().header("Auth0-Client-Quota-Limit", quota), json!("invalid_request"), "400", "rate limit"),
        (
            Reply::oauth_error(400, "slow_down", "").header("RateLimit", r#""default";r=0;t=30"#),
            json!("slow_down"),
            "400",
            "RFC 8628",
        ),
        (Reply::status(403).header("Retry-After", "30"), Value::Null, "403", "when to come back"),
    ] {
        let world = World::new("");
        world.idp.push(reply);
        for _ in 0..3 {
            let error = refusal(&world.usherd, &["frontdoor"], 69);
            assert_eq!(
                (&error["reason"], &error["facts"]["oauth_error"], &error["facts"]["http_status"]),
                (&json!("IDP_UNAVAILABLE"), &oauth_error, &json!(http_status)),
                "{error}"
            );
            assert!((20..=33).contains(&seconds(&error["retry_after_seconds"])), "{error}");
            contains_all(error["message"].as_str().expect("a message"), &[words]);
        }
        assert_eq!(world.idp.token_requests(), 1);
    }
}

#[test]
fn a_valid_token_outlives_a_slow_down_and_the_next_one_comes_after_the_wait() {
    let world =
        World::with(FakeIdp::builder().expires_in(8), |sandbox, ca, idp| frontdoor(sandbox, ca, idp, ""));
    // An hour is more than is promised: it counts as three quarters of the eight seconds.
    let args = ["token", "frontdoor", "--min-ttl", "1h"];
    let first = world.usherd.usher(&args).expect_ok().stdout;
    world.idp.push(vertex().header("Retry-After", "1"));
    let served = loop {
        let answer = world.usherd.usher(&args).expect_ok();
        if world.idp.token_requests() > 1 {
            break answer.stdout;
        }
    };
    assert_eq!(served, first, "the refresh was put off and the token is still valid");
    let key = &profile(&world)["tokens"][0];
    assert_eq!((&key["failed"], &key["last_error_reason"]), (&json!(1), &json!("IDP_UNAVAILABLE")));
    assert!(seconds(&key["retry_in"]) <= 2, "{key}");
    let next = loop {
        let answer = world.usherd.usher(&args).expect_ok().stdout;
        if answer != first {
            break answer;
        }
    };
    assert_eq!((next, world.idp.token_requests()), (format!("{}\n", world.idp.issued()[1]), 3));
    assert_eq!(profile(&world)["tokens"][0]["refreshed"], 1);
}

#[test]
fn a_wrong_secret_is_no_rate_limit_whatever_else_is_said() {
    let world = World::new("");
    world.idp.push(
        Reply::oauth_error(401, "invalid_client", "too many requests: exceeded the rate limit")
            .header("Retry-After", "1"),
    );
    for _ in 0..3 {
        let error = refusal(&world.usherd, &["frontdoor"], 77);
        assert_eq!(error["reason"], "IDP_REFUSED");
        assert!(seconds(&error["retry_after_seconds"]) > 20, "{error}");
    }
    assert_eq!(world.idp.token_requests(), 1, "it would lock the account");
}

#[test]
fn what_an_idp_says_of_its_quota_shows_and_is_warned_about() {
    let world = World::new("");
    let quota = |hour: u32, day: u32| {
        Reply::token().header(
            "Auth0-Client-Quota-Limit",
            &format!("b=per_hour;q=10;r={hour};t=3540,b=per_day;q=50;r={day};t=43200"),
        )
    };
    world.idp.push(quota(7, 47));
    facts(&world.usherd, &["frontdoor"]);
    let quotas = profile(&world)["quotas"].clone();
    let [day, hour] = &quotas.as_array().expect("a list")[..] else { panic!("{quotas}") };
    assert_eq!((&day["name"], &hour["name"]), (&json!("client per_day"), &json!("client per_hour")));
    assert_eq!((&hour["limit"], &hour["remaining"]), (&json!(10), &json!(7)));
    assert!((3500..=3540).contains(&seconds(&hour["resets_in"])), "{hour}");
    assert!(seconds(&hour["learnt_at"]) < seconds(&hour["resets_at"]), "{hour}");
    let shown = world.usherd.usher(&["status"]).expect_ok().stdout;
    contains_all(&shown, &["IdP's client per_hour", "7 of 10", "usher's budget, 1h", "29 of 30"]);
    assert!(!world.usherd.stderr_so_far().contains("nearly runs out"));

    // Errors tell of it, too; each bucket is warned about once.
    for (remaining, scope) in [(1, "frontdoor.read"), (0, "frontdoor.write")] {
        world.idp.push(
            Reply::oauth_error(400, "slow_down", "")
                .header("Auth0-Client-Quota-Limit", &format!("b=per_hour;q=10;r={remaining};t=3540")),
        );
        refusal(&world.usherd, &["frontdoor", "--scope", scope], 69);
    }
    world.usherd.wait_for_log("nearly runs out", PATIENCE);
    let log = world.usherd.stderr_so_far();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("nearly runs out")).collect();
    let [warning] = warnings[..] else { panic!("{warnings:#?}") };
    contains_all(
        warning,
        &[
            "WARN",
            "frontdoor",
            "client per_hour",
            "left=1",
            "limit=10",
            "resets_in_seconds=35",
            "larger quota",
        ],
    );
    assert_eq!(profile(&world)["quotas"][1]["remaining"], 0);
}

#[test]
fn the_other_ways_to_tell_of_a_quota_are_understood() {
    let now = |world: &World| seconds(&status(&world.usherd, &[])["started_at"]);
    for (headers, name, limit, remaining) in [
        (
            &[("RateLimit-Policy", r#""default";q=100;w=60"#), ("RateLimit", r#""default";r=50;t=30"#)][..],
            "default",
            json!(100),
            50,
        ),
        (
            &[("RateLimit-Limit", "20"), ("RateLimit-Remaining", "19"), ("RateLimit-Reset", "30")],
            "requests",
            json!(20),
            19,
        ),
        (&[("X-RateLimit-Remaining", "4"), ("X-RateLimit-Reset", "EPOCH")], "requests", Value::Null, 4),
    ] {
        let world = World::new("");
        let epoch = (now(&world) + 30).to_string();
        let reply = headers.iter().fold(Reply::token(), |reply, (header, value)| {
            reply.header(header, &value.replace("EPOCH", &epoch))
        });
        world.idp.push(reply);
        facts(&world.usherd, &["frontdoor"]);
        let quota = profile(&world)["quotas"][0].clone();
        assert_eq!(
            (&quota["name"], &quota["limit"], &quota["remaining"]),
            (&json!(name), &limit, &json!(remaining)),
            "{headers:?}"
        );
        assert!((20..=33).contains(&seconds(&quota["resets_in"])), "{quota}");
    }
}

//! Token endpoints that answer what they should not: a clear error or the careful reading, and nothing of
//! the answer's body in any text.

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use usher_testkit::{ca::Ca, idp::FakeIdp, idp::Reply, sandbox::Sandbox, tokens::canary};

use crate::support::{World, facts, frontdoor, refusal};

/// A daemon with `count` profiles `case0`, `case1`, ... of one IdP: what one meets is not held against the
/// next.
pub(crate) fn cases(count: usize, extra: &str) -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| profiles(sandbox, ca, idp, count, extra))
}

fn profiles(sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp, count: usize, extra: &str) -> String {
    let profile = frontdoor(sandbox, ca, idp, extra);
    (0..count).map(|case| profile.replace("[profile.frontdoor]", &format!("[profile.case{case}]"))).collect()
}

/// The error of `usher token case<CASE> --json` when the IdP's next answer is `reply`.
pub(crate) fn error_after(world: &World, case: usize, reply: Reply, code: i32) -> Value {
    let before = world.idp.token_requests();
    world.idp.push(reply);
    let error = refusal(&world.usherd, &[&format!("case{case}")], code);
    assert_eq!(world.idp.token_requests(), before + 1, "case {case}");
    error
}

/// A token answer whose `expires_in` is this text.
pub(crate) fn lasting(world: &World, expires_in: &str) -> Reply {
    let token = canary("TOKEN");
    world.usherd.leaks().token(expires_in, &token);
    let member = if expires_in.is_empty() { String::new() } else { format!(",\"expires_in\":{expires_in}") };
    Reply::raw(200, format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\"{member}}}"))
        .header("Content-Type", "application/json")
}

#[test]
fn lifetimes_are_read_with_care() {
    let table: [(&str, RangeInclusive<i64>); 10] = [
        ("3600", 3590..=3600),
        ("\"3600\"", 3590..=3600),
        ("1e3", 990..=1000),
        ("1000.0", 990..=1000),
        ("null", 50..=60),
        ("", 50..=60),
        ("86401", 86_390..=86_400),
        ("9223372036854775808", 86_390..=86_400),
        ("\"9223372036854775808\"", 86_390..=86_400),
        ("1e300", 86_390..=86_400),
    ];
    let world = cases(table.len(), "");
    for (case, (expires_in, expected)) in table.iter().enumerate() {
        world.idp.push(lasting(&world, expires_in));
        let profile = format!("case{case}");
        let token = facts(&world.usherd, &[&profile]);
        let left = token["expires_in"].as_i64().expect("a number");
        assert!(expected.contains(&left), "{expires_in:?} became {left}");
        // Which is kept: the next call costs nothing.
        assert_eq!(facts(&world.usherd, &[&profile])["token_id"], token["token_id"], "{expires_in:?}");
    }
    assert_eq!(world.idp.token_requests(), table.len());
}

#[test]
fn a_missing_lifetime_is_the_profiles_default() {
    let world = cases(1, "default_lifetime = \"10m\"");
    world.idp.push(lasting(&world, ""));
    let left = facts(&world.usherd, &["case0"])["expires_in"].as_i64().expect("a number");
    assert!((590..=600).contains(&left), "{left}");
}

#[test]
fn a_token_without_a_future_is_answered_once_and_not_kept() {
    let table = ["0", "-1", "\"0\"", "\"-1\"", "-1e9", "0.0"];
    let world = cases(table.len(), "");
    for (case, expires_in) in table.iter().enumerate() {
        let profile = format!("case{case}");
        let mut ids = Vec::new();
        for _ in 0..2 {
            world.idp.push(lasting(&world, expires_in));
            let token = facts(&world.usherd, &[&profile]);
            assert_eq!(token["expires_at"], Value::Null, "{expires_in}");
            ids.push(token["token_id"].clone());
        }
        assert_ne!(ids[0], ids[1], "{expires_in}");
    }
    assert_eq!(world.idp.token_requests(), 2 * table.len());
}

#[test]
fn a_lifetime_that_is_none_is_an_error() {
    let table = [
        "\"abc\"",
        "\"\"",
        "\"1h\"",
        "\"1e3\"",
        "1.5",
        "3600.5",
        "true",
        "{}",
        "[3600]",
        "1,\"expires_in\":2",
    ];
    let world = cases(table.len(), "");
    for (case, expires_in) in table.iter().enumerate() {
        let error = error_after(&world, case, lasting(&world, expires_in), 69);
        assert_eq!(error["reason"], "IDP_ANSWER_INVALID", "{expires_in}");
    }
}

#[test]
fn what_is_no_token_answer_is_named_and_not_shown() {
    let body = |text: &str| Reply::raw(200, text).header("Content-Type", "application/json");
    let table = [
        (Reply::html200(), "text/html"),
        (Reply::status(200), "not JSON"),
        (Reply::status(204), "not JSON"),
        (body("null"), "no token response"),
        (body("[]"), "no token response"),
        (body("{\"access_token\":"), "not JSON"),
        (Reply::raw(200, [0xff, 0xfe, 0x00]), "not JSON"),
        (Reply::token().without("access_token"), "without access_token"),
        (Reply::token().field("access_token", json!(null)), "without access_token"),
        (Reply::token().field("access_token", json!(12345)), "wrong type"),
        (Reply::token().field("access_token", json!("")), "is empty"),
        (Reply::token().field("access_token", json!("CANARY-token\r\nX-Injected: yes")), "visible ASCII"),
        (Reply::token().field("access_token", json!("CANARY token")), "visible ASCII"),
        (Reply::token().field("access_token", json!("CANARY-t\u{f6}ken")), "visible ASCII"),
        (Reply::token().without("token_type"), "without token_type"),
        (Reply::token().field("token_type", json!("mac")), "token_type other than Bearer"),
        (Reply::raw(200, vec![b' '; 10 << 20]), "256 KiB"),
        (Reply::gzip_bomb(8), "256 KiB"),
        (Reply::endless(), "256 KiB"),
    ];
    let world = cases(table.len(), "");
    for (case, (reply, needle)) in table.into_iter().enumerate() {
        let error = error_after(&world, case, reply, 69);
        let message = error["message"].as_str().expect("a message");
        assert_eq!(error["reason"], "IDP_ANSWER_INVALID", "{message}");
        assert!(message.contains(needle), "case {case}, {needle:?}: {message}");
        assert!(message.contains(&world.idp.host()), "{message}");
    }
}

#[test]
fn a_broken_off_answer_is_a_failed_connection() {
    let table = [Reply::truncate(), Reply::reset(), Reply::close()];
    let world = cases(table.len(), "");
    for (case, reply) in table.into_iter().enumerate() {
        // On a connection that has served before, where HTTP clients like to try again by themselves.
        world.idp.push(lasting(&world, "0"));
        facts(&world.usherd, &[&format!("case{case}")]);
        let error = error_after(&world, case, reply, 69);
        assert_eq!(error["reason"], "IDP_UNREACHABLE", "case {case}: {error}");
        assert_eq!(error["retry_after_seconds"], 1, "case {case}");
    }
}

#[test]
fn an_oauth_error_reaches_the_caller_by_its_code() {
    let table = [
        (Reply::oauth_error(401, "invalid_client", "who?"), "IDP_REFUSED", 77, "401", "client_auth"),
        (Reply::oauth_error(400, "invalid_scope", "no"), "IDP_REFUSED", 77, "400", "check scopes"),
        (Reply::oauth_error(200, "invalid_grant", "no"), "IDP_REFUSED", 77, "200", "invalid_grant: no"),
        (Reply::oauth_error(400, "acme:locked", "no"), "IDP_REFUSED", 77, "400", "acme:locked"),
        (Reply::oauth_error(400, "temporarily_unavailable", "later"), "IDP_UNAVAILABLE", 69, "400", "later"),
        (Reply::oauth_error(200, "server_error", "oops"), "IDP_UNAVAILABLE", 69, "200", "oops"),
    ];
    let world = cases(table.len(), "");
    let codes = [
        "invalid_client",
        "invalid_scope",
        "invalid_grant",
        "acme:locked",
        "temporarily_unavailable",
        "server_error",
    ];
    for (case, (reply, reason, exit, status, needle)) in table.into_iter().enumerate() {
        let error = error_after(&world, case, reply, exit);
        assert_eq!(error["reason"], reason);
        let profile = format!("case{case}");
        let facts = json!({ "profile": profile, "oauth_error": codes[case], "http_status": status });
        assert_eq!(error["facts"], facts);
        assert!(error["message"].as_str().expect("a message").contains(needle), "{error}");
    }
}

#[test]
fn a_status_without_an_oauth_error_tells_enough() {
    let table = [
        (Reply::status(400), "IDP_REFUSED", 77),
        (Reply::status(404), "IDP_REFUSED", 77),
        (Reply::json(403, &json!({ "error": 7 })), "IDP_REFUSED", 77),
        (Reply::raw(429, "slow down"), "IDP_UNAVAILABLE", 69),
        (Reply::raw(500, "<html>"), "IDP_UNAVAILABLE", 69),
        (Reply::status(503), "IDP_UNAVAILABLE", 69),
    ];
    let statuses = ["400", "404", "403", "429", "500", "503"];
    let world = cases(table.len(), "");
    for (case, (reply, reason, exit)) in table.into_iter().enumerate() {
        let error = error_after(&world, case, reply, exit);
        assert_eq!(
            (error["reason"].as_str(), error["facts"]["http_status"].as_str()),
            (Some(reason), Some(statuses[case]))
        );
        assert_eq!(error["facts"]["oauth_error"], Value::Null);
    }
}

#[test]
fn a_description_is_cleaned_cut_and_freed_of_the_secret() {
    let world = cases(3, "");
    let long = format!("\u{1b}[31mred\r\n\u{7}{}", "x".repeat(300));
    let error = error_after(&world, 0, Reply::oauth_error(400, "invalid_request", &long), 77);
    let message = error["message"].as_str().expect("a message");
    assert!(!message.chars().any(char::is_control), "{message:?}");
    let kept = format!(": [31mred{};", "x".repeat(200 - "[31mred".len()));
    assert!(message.contains(&kept), "{message}");

    world.idp.push(Reply::oauth_error(400, "invalid_request", "\u{1b}]0;title\u{7}bell"));
    let told = world.usherd.usher(&["token", "case1"]).expect_code(77);
    assert!(told.stderr.contains("]0;titlebell"), "{}", told.stderr);
    assert!(!told.stderr.chars().any(|letter| letter.is_control() && letter != '\n'), "{:?}", told.stderr);

    let quoting = format!("client_secret {} is wrong", world.idp.client_secret());
    let error = error_after(&world, 2, Reply::oauth_error(401, "invalid_client", &quoting), 77);
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("invalid_client") && message.contains("withheld"), "{message}");
}

#[test]
fn an_error_code_that_quotes_the_secret_is_not_passed_on() {
    let world = cases(1, "");
    let quoted = world.idp.client_secret().to_owned();
    let error = error_after(&world, 0, Reply::oauth_error(400, &quoted, "that is your secret"), 77);
    assert!(!error.to_string().contains(&quoted), "usher passes the secret on");
    assert_eq!(error["reason"], "IDP_REFUSED");
}

#[test]
fn bodies_reach_nobody() {
    let canary = canary("BODY");
    let odd = json!({
        "error": "invalid_request", "error_uri": canary, "debug": { "trace": canary }, canary.as_str(): canary,
    });
    let table = [
        (Reply::raw(200, format!("<html>{canary}</html>")), 69),
        (Reply::raw(200, canary.clone()), 69),
        (Reply::token().field("expires_in", json!(canary)), 69),
        (Reply::token().field("token_type", json!(canary)), 69),
        (Reply::token().without("access_token").field(&canary, json!(canary)), 69),
        (Reply::json(400, &odd), 77),
        (Reply::json(400, &json!({ "error": format!("two words {canary}") })), 77),
        (Reply::raw(400, canary.clone()), 77),
        (Reply::raw(500, format!("Traceback: {canary}")), 69),
    ];
    let world = cases(table.len() + 1, "");
    world.usherd.leaks().secret("what the body holds", &canary);
    for (case, (reply, exit)) in table.iter().enumerate() {
        let error = error_after(&world, case, reply.clone(), *exit);
        assert!(!error.to_string().contains(&canary), "case {case}");
    }
    // A refresh token that comes with client credentials is dropped, too.
    world.idp.push(Reply::token().field("refresh_token", json!(canary)));
    let token = facts(&world.usherd, &[&format!("case{}", table.len())]);
    assert!(!token.to_string().contains(&canary));
    let status = world.usherd.usher(&["status", "--json"]).expect_ok().stdout;
    assert!(status.contains("IDP_ANSWER_INVALID") && !status.contains(&canary));
}

#[test]
fn a_narrower_grant_is_answered_unless_the_missing_scope_was_asked_for() {
    let world = World::new("");
    world.idp.push(Reply::token().field("scope", json!("frontdoor.read")));
    let token = facts(&world.usherd, &["frontdoor"]);
    assert_eq!(token["scopes"], json!(["frontdoor.read"]));

    let both = ["frontdoor", "--scope", "frontdoor.read", "--scope", "frontdoor.write"];
    for _ in 0..2 {
        let error = refusal(&world.usherd, &both, 77);
        assert_eq!(error["reason"], "SCOPE_NOT_GRANTED");
        assert!(error["message"].as_str().expect("a message").contains("frontdoor.write"), "{error}");
    }
    assert_eq!(world.idp.token_requests(), 1, "the IdP has said what it grants");

    world.idp.push(Reply::token().field("scope", json!("")));
    let write = ["frontdoor", "--scope", "frontdoor.write"];
    for _ in 0..2 {
        assert_eq!(refusal(&world.usherd, &write, 77)["reason"], "SCOPE_NOT_GRANTED");
    }
    assert_eq!(world.idp.token_requests(), 2);
    // More than was asked for is no harm.
    world.idp.push(Reply::token().field("scope", json!("frontdoor.read openid")));
    let read = facts(&world.usherd, &["frontdoor", "--scope", "frontdoor.read"]);
    assert_eq!(read["scopes"], json!(["frontdoor.read", "openid"]));
}

//! Whatever an IdP does: a token that is still valid is served, an error says what to do and holds nothing of the
//! answer, and the next good answer is taken.

#![expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    ops::RangeInclusive,
    time::Duration,
};

use serde_json::{Value, json};
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Reply},
    old_tls::OldTls,
    tokens::canary,
};

use crate::{
    bad_answers::{cases, error_after, lasting},
    support::{World, contains_all, facts, named, refusal, sandbox, status, unreachable, wait_until_fetched},
};

fn case(number: usize) -> String {
    format!("case{number}")
}

fn message(error: &Value) -> &str {
    error["message"].as_str().expect("a message")
}

// --- The way there ---------------------------------------------------------------------------------

#[test]
fn no_redirect_is_followed_wherever_it_leads() {
    let statuses = [300, 301, 302, 303, 307, 308];
    let world = cases(6 * statuses.len() + 1, "");
    let plain = FakeIdp::builder().plain_http().start(&world.ca);
    let other = FakeIdp::start(&world.ca);
    let place = canary("LOCATION");
    world.usherd.leaks().secret("where the redirect leads", &place);
    let targets = [
        other.token_url(),
        plain.token_url(),
        format!("https://{}/elsewhere", world.idp.host()),
        format!("//{}/oauth/token", other.host()),
        "/oauth/token".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for (row, status) in statuses.iter().enumerate() {
        for (column, target) in targets.iter().enumerate() {
            let reply = Reply::redirect(*status, &format!("{target}?{place}"));
            let error = error_after(&world, row * targets.len() + column, reply, 77);
            assert_eq!(error["reason"], "IDP_REFUSED", "{target}");
            contains_all(
                message(&error),
                &[&format!("answered {status}"), "follows no redirect", "token_url"],
            );
        }
    }
    for trap in [&plain, &other] {
        assert_eq!((trap.connections(), trap.requests().len()), (0, 0));
    }
    assert!(world.idp.requests().iter().all(|request| request.path == "/oauth/token"));
    facts(&world.usherd, &[&case(6 * statuses.len())]);
}

/// Where something answers by http, as web servers answer what they cannot read.
fn http_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            // Any of it will do, and whoever has hung up hears nothing.
            let _ = tcp.read(&mut [0; 1024]);
            let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    host
}

#[test]
fn a_server_of_tls_1_1_or_of_none_gets_no_secret_and_one_of_tls_1_2_does() {
    let (ca, sandbox) = (usher_testkit::ca::Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    let (old, new) = (OldTls::start(ca.server(), "tls1_1"), OldTls::start(ca.server(), "tls1_2"));
    let plain = http_server();
    let at = |name, host: &str| named(name, &sandbox, &ca, &idp, "").replace(&idp.host(), host);
    let profiles =
        [at("old", old.host()), at("plain", &plain), at("new", new.host()), at("good", &idp.host())];
    sandbox.config(&profiles.concat());
    let usherd = sandbox.start();
    contains_all(
        &unreachable(&usherd, "old"),
        &[&format!("cannot connect to the IdP {}", old.host()), "speaks neither TLS 1.2 nor TLS 1.3"],
    );
    assert!(!old.said().contains("grant_type"), "{}", old.said());
    // Nor does one that speaks none, which is told as that.
    let told = unreachable(&usherd, "plain");
    contains_all(&told, &[&format!("cannot connect to the IdP {plain}"), "does not answer in TLS"]);
    // It is the version that matters, and nothing else of that server.
    let answered = usherd.spawn_usher(&["token", "new"]);
    new.wait_for("grant_type");
    drop(new);
    let _ = answered.wait().expect_code(69);
    facts(&usherd, &["good"]);
}

// --- Outages ---------------------------------------------------------------------------------------

#[test]
fn whatever_a_refresh_meets_the_valid_token_is_served() {
    // An answer that has nothing of an outage after each that has: the circuit stays closed.
    let table = [
        (Reply::status(500), "IDP_UNAVAILABLE"),
        (Reply::html200(), "IDP_ANSWER_INVALID"),
        (Reply::status(502), "IDP_UNAVAILABLE"),
        (Reply::status(200), "IDP_ANSWER_INVALID"),
        (Reply::status(503).header("Retry-After", "5"), "IDP_UNAVAILABLE"),
        (Reply::redirect(302, "https://evil.example.com/"), "IDP_REFUSED"),
        (Reply::status(504), "IDP_UNAVAILABLE"),
        (Reply::oauth_error(400, "invalid_grant", "no"), "IDP_REFUSED"),
        (Reply::reset(), "IDP_UNREACHABLE"),
        (Reply::oauth_error(401, "invalid_client", "no"), "IDP_REFUSED"),
        (Reply::close(), "IDP_UNREACHABLE"),
        (Reply::gzip_bomb(8), "IDP_ANSWER_INVALID"),
        (Reply::truncate(), "IDP_UNREACHABLE"),
        (Reply::token().field("token_type", json!("mac")), "IDP_ANSWER_INVALID"),
        (Reply::token().field("scope", json!("")).field("expires_in", json!("abc")), "IDP_ANSWER_INVALID"),
    ];
    let probe = case(table.len());
    let world = cases(table.len() + 2, "");
    world.idp.set_default(Reply::token().field("expires_in", json!(16)));
    let mut held = Vec::new();
    for number in 0..=table.len() {
        held.push(facts(&world.usherd, &[&case(number)])["access_token"].clone());
    }
    // An hour counts as three quarters of the sixteen seconds: after four of them a refresh is waited for. When the
    // youngest token has come so far, all have.
    let first = held[table.len()].as_str().expect("a token");
    while world.usherd.usher(&["token", &probe, "--min-ttl", "1h"]).expect_ok().stdout.trim_end() == first {}
    for (number, (reply, _)) in table.iter().enumerate() {
        let before = world.idp.token_requests();
        world.idp.push(reply.clone());
        let output = world.usherd.usher(&["token", &case(number), "--min-ttl", "1h", "--json"]).expect_ok();
        assert_eq!((world.idp.token_requests(), world.idp.pending()), (before + 1, 0), "case {number}");
        let answer: Value = serde_json::from_str(&output.stdout).expect("JSON on stdout");
        assert_eq!(
            (&answer["access_token"], &answer["below_min_ttl"], &answer["source"]),
            (&held[number], &json!(true), &json!("cache")),
            "case {number}"
        );
        assert!(output.stderr.contains("warning"), "{}", output.stderr);
    }
    for (number, (_, reason)) in table.iter().enumerate() {
        let key = status(&world.usherd, &[&case(number)])["profiles"][0]["tokens"][0].clone();
        assert_eq!((&key["last_error_reason"], &key["failed"]), (&json!(reason), &json!(1)), "case {number}");
        assert!(key["retry_in"].is_i64(), "case {number}: {key}");
    }
    facts(&world.usherd, &[&case(table.len() + 1)]);
}

#[test]
fn an_outage_without_a_token_is_told_with_when_to_try_again() {
    let table = [
        (Reply::status(500), "IDP_UNAVAILABLE"),
        (Reply::status(502), "IDP_UNAVAILABLE"),
        (Reply::status(503), "IDP_UNAVAILABLE"),
        (Reply::status(504), "IDP_UNAVAILABLE"),
        (Reply::status(429), "IDP_UNAVAILABLE"),
        (Reply::reset(), "IDP_UNREACHABLE"),
        (Reply::close(), "IDP_UNREACHABLE"),
    ];
    let world = cases(2 * table.len(), "");
    for (row, (reply, reason)) in table.into_iter().enumerate() {
        let error = error_after(&world, 2 * row, reply, 69);
        assert_eq!((&error["reason"], &error["retry_after_seconds"]), (&json!(reason), &json!(1)), "{error}");
        assert!(message(&error).contains(&world.idp.host()), "{error}");
        facts(&world.usherd, &[&case(2 * row + 1)]);
    }
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let good = named("good", sandbox, ca, idp, "");
        named("lost", sandbox, ca, idp, "").replace(&idp.host(), "idp.invalid") + &good
    });
    contains_all(&unreachable(&world.usherd, "lost"), &["cannot connect to the IdP idp.invalid: "]);
    assert_eq!(world.idp.connections(), 0);
    facts(&world.usherd, &["good"]);
}

#[test]
fn what_the_idp_says_of_when_to_come_again_is_read_with_care() {
    let again = |status, value: &str| Reply::status(status).header("Retry-After", value);
    let table: [(Reply, RangeInclusive<i64>); 18] = [
        (again(429, "5"), 4..=6),
        (again(503, "5"), 4..=6),
        (again(429, "0"), 1..=2),
        (again(429, "1000000000000"), 590..=600),
        // More than a number can hold, and what is none: as if nothing had been said.
        (again(429, "99999999999999999999999"), 1..=1),
        (again(429, "-1"), 1..=1),
        (again(503, "soon"), 1..=1),
        (again(429, ""), 1..=1),
        (again(429, "1e3"), 1..=1),
        (again(429, "1.5"), 1..=1),
        // Dates: past, far, and by the IdP's own clock.
        (again(429, "Fri, 15 Jan 2021 08:00:00 GMT"), 1..=2),
        (again(503, "Fri, 31 Dec 2100 23:59:59 GMT"), 590..=600),
        (
            again(429, "Fri, 15 Jan 2027 09:01:00 GMT").header("Date", "Fri, 15 Jan 2027 09:00:00 GMT"),
            50..=66,
        ),
        (again(429, "Fri, 32 Jan 2100 09:01:00 GMT"), 1..=1),
        // What cannot be read leaves the word to the other header.
        (again(429, "soon").header("x-ratelimit-reset", "30"), 20..=33),
        (Reply::status(429).header("x-ratelimit-reset", "99999999999"), 590..=600),
        // A page that is too long, or breaks off, takes nothing from what its head says.
        (Reply::endless().answering(429).header("Retry-After", "120"), 110..=132),
        (Reply::truncate().answering(503).header("Retry-After", "120"), 110..=132),
    ];
    let world = cases(table.len() + 1, "");
    for (number, (reply, expected)) in table.into_iter().enumerate() {
        let error = error_after(&world, number, reply, 69);
        assert_eq!(error["reason"], "IDP_UNAVAILABLE", "case {number}: {error}");
        let left = error["retry_after_seconds"].as_i64().expect("seconds");
        assert!(expected.contains(&left), "case {number}: {left} is not within {expected:?}");
        if *expected.start() > 1 {
            let before = world.idp.token_requests();
            refusal(&world.usherd, &[&case(number)], 69);
            assert_eq!(world.idp.token_requests(), before, "case {number}");
        }
    }
    facts(&world.usherd, &[&case(18)]);
}

// --- Answers ---------------------------------------------------------------------------------------

#[test]
fn answers_that_take_their_time_are_given_up_after_ten_seconds_all_at_once() {
    let world = cases(4, "");
    let token = canary("SLOW-TOKEN");
    world.usherd.leaks().secret("a token that was too slow", &token);
    let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }).to_string();
    let second = Duration::from_secs(1);
    let (silent, _gate) = Reply::token().hold();
    let replies = [Reply::drip(body.clone(), second), silent, Reply::drip(body, second).answering(503)];
    let waiting: Vec<_> = replies
        .into_iter()
        .enumerate()
        .map(|(number, reply)| {
            world.idp.push(reply);
            let waiting = world.usherd.spawn_usher(&["token", &case(number), "--json"]);
            world.idp.wait_for_requests(number + 1, PATIENCE);
            waiting
        })
        .collect();
    // Meanwhile others are served.
    facts(&world.usherd, &[&case(3)]);
    let errors: Vec<Value> = waiting
        .into_iter()
        .map(|usher| serde_json::from_str(&usher.wait().expect_code(69).stderr).expect("JSON on stderr"))
        .map(|told: Value| told["error"].clone())
        .collect();
    for error in &errors[..2] {
        assert_eq!(error["reason"], "IDP_UNREACHABLE");
        contains_all(message(error), &["did not answer within 10 s"]);
    }
    // How it ends was said in the beginning.
    assert_eq!(
        (&errors[2]["reason"], &errors[2]["facts"]["http_status"]),
        (&json!("IDP_UNAVAILABLE"), &json!("503"))
    );
    wait_until_fetched(&world.usherd, "case0");
}

#[test]
fn an_answer_without_a_length_counts_if_its_end_is_no_accident() {
    let world = cases(2, "");
    let token = canary("TOKEN");
    world.usherd.leaks().token("of an answer without a length", &token);
    let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }).to_string();
    world.idp.push(Reply::until_close(body.clone()));
    assert_eq!(facts(&world.usherd, &["case0"])["access_token"], token);
    // A connection that was cut may have cut anything.
    let error = error_after(&world, 1, Reply::cut_off(body), 69);
    assert_eq!(error["reason"], "IDP_UNREACHABLE");
    wait_until_fetched(&world.usherd, "case1");
}

#[test]
fn what_is_not_quite_json_gives_no_token_and_shows_nowhere() {
    let secret = canary("BODY");
    let token = format!("\"access_token\":\"{secret}\",\"token_type\":\"Bearer\"");
    let nest = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let table = [
        (format!("{{{token},\"access_token\":\"{secret}\"}}"), "a member is doubled"),
        (format!("{{{token},\"expires_in\":1,\"expires_in\":2}}"), "a member is doubled"),
        (format!("\u{feff}{{{token}}}"), "not JSON"),
        (format!("{{{token}}} {{{token}}}"), "not JSON"),
        (format!("{{{token},\"expires_in\":NaN}}"), "not JSON"),
        (format!("{{{token},\"expires_in\":Infinity}}"), "not JSON"),
        (format!("{{{token},\"expires_in\":{nest}}}"), "no whole number"),
        (nest.clone(), "no token response"),
        (format!("{{{token}"), "not JSON"),
        (format!("{{'access_token':'{secret}'}}"), "not JSON"),
        (format!("access_token={secret}&token_type=Bearer&expires_in=3600"), "not JSON"),
        (format!("{{{token},\"error\":{{\"code\":7}}}}"), "an error that is no text"),
        (format!("{{{token},\"error\":\"a\",\"error\":\"b\"}}"), "a member is doubled"),
    ];
    let world = cases(table.len() + 2, "");
    world.usherd.leaks().secret("what the body holds", &secret);
    for (number, (body, words)) in table.iter().enumerate() {
        let reply = Reply::raw(200, body.clone()).header("Content-Type", "application/json");
        let error = error_after(&world, number, reply, 69);
        assert_eq!(error["reason"], "IDP_ANSWER_INVALID", "{words}");
        assert!(message(&error).contains(words), "case {number}, {words:?}: {}", message(&error));
    }
    // An error counts whatever stands beside it.
    let reply = Reply::raw(200, format!("{{{token},\"error\":\"invalid_grant\"}}"));
    assert_eq!(error_after(&world, table.len(), reply, 77)["facts"]["oauth_error"], "invalid_grant");
    // What usher does not read may be as deep as it likes.
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).expect("JSON");
    world.idp.push(Reply::token().field("debug", deep));
    facts(&world.usherd, &[&case(table.len() + 1)]);
}

#[test]
fn bearer_is_bearer_in_any_case_and_nothing_else_is() {
    let other = ["DPoP", "mac", "N_A", "", "Bearer ", "Bearer, DPoP"];
    let world = cases(other.len() + 3, "");
    for (number, kind) in other.iter().enumerate() {
        let error = error_after(&world, number, Reply::token().field("token_type", json!(kind)), 69);
        assert_eq!(error["reason"], "IDP_ANSWER_INVALID", "{kind}");
        contains_all(message(&error), &["token_type other than Bearer"]);
    }
    for (number, kind) in ["BEARER", "bearer", "bEaReR"].iter().enumerate() {
        world.idp.push(Reply::token().field("token_type", json!(kind)));
        let answer = facts(&world.usherd, &[&case(other.len() + number)]);
        let token = answer["access_token"].as_str().expect("a token");
        let header = world.usherd.usher(&["header", &case(other.len() + number)]).expect_ok().stdout;
        assert_eq!(header, format!("Authorization: Bearer {token}\n"), "{kind}");
    }
}

#[test]
fn a_token_may_be_long_but_not_without_end() {
    let world = cases(3, "");
    let long = |length: usize| canary("LONG") + &"L".repeat(length);
    let token = long(200 << 10);
    world.idp.push(Reply::token().field("access_token", json!(token)));
    assert_eq!(facts(&world.usherd, &["case0"])["access_token"], token);
    let body = json!({ "access_token": long(1 << 20), "token_type": "Bearer", "expires_in": 3600 });
    let error = error_after(&world, 1, Reply::json(200, &body), 69);
    assert_eq!(error["reason"], "IDP_ANSWER_INVALID");
    contains_all(message(&error), &["256 KiB"]);
    facts(&world.usherd, &["case2"]);
}

#[test]
fn whom_a_token_is_for_is_not_ushers_to_judge_and_shown_by_inspect() {
    let world = cases(1, "");
    // {"alg":"none"} and {"iss":"https://other.example/","aud":"another"}
    let token = format!(
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL290aGVyLmV4YW1wbGUvIiwiYXVkIjoiYW5vdGhlciJ9.{}",
        canary("SIG")
    );
    world.idp.push(Reply::token().field("access_token", json!(token)));
    assert_eq!(facts(&world.usherd, &["case0"])["access_token"], token);
    let shown = world.usherd.usher(&["inspect", "case0"]).expect_ok().stdout;
    contains_all(&shown, &["iss       https://other.example/", "aud       another"]);
    assert_eq!(world.idp.token_requests(), 1);
}

// --- Refusals --------------------------------------------------------------------------------------

#[test]
fn a_refusal_costs_one_request_in_half_a_minute_and_is_forgiven_by_a_reload() {
    let table = [
        (400, "invalid_grant", false),
        (401, "invalid_client", true),
        (400, "unauthorized_client", true),
        (400, "unsupported_grant_type", false),
    ];
    let world = cases(table.len(), "");
    for (number, (status_code, code, concerns_the_client)) in table.into_iter().enumerate() {
        let profile = case(number);
        error_after(&world, number, Reply::oauth_error(status_code, code, "no"), 77);
        let before = world.idp.token_requests();
        for _ in 0..5 {
            let error = refusal(&world.usherd, &[&profile], 77);
            assert_eq!(
                (&error["reason"], &error["facts"]["oauth_error"]),
                (&json!("IDP_REFUSED"), &json!(code))
            );
            let left = error["retry_after_seconds"].as_i64().expect("seconds");
            assert!((15..=30).contains(&left), "{code}: {left}");
        }
        let told = status(&world.usherd, &[&profile])["profiles"][0]["tokens"][0].clone();
        assert_eq!((&told["failed"], &told["last_error_reason"]), (&json!(1), &json!("IDP_REFUSED")));
        assert_eq!(world.idp.token_requests(), before, "{code}");
        // A client that is not wanted is not wanted with fewer scopes, either.
        let fewer = world.usherd.usher(&["token", &profile, "--scope", "frontdoor.read"]);
        assert_eq!(fewer.status.success(), !concerns_the_client, "{code}: {}", fewer.stderr);
    }
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    for number in 0..table.len() {
        facts(&world.usherd, &[&case(number)]);
    }
}

#[test]
fn a_token_of_other_scopes_is_for_nobody_who_named_theirs() {
    let world = cases(1, "");
    let read = ["case0", "--scope", "frontdoor.read"];
    world.idp.push(Reply::token().field("scope", json!("frontdoor.write")));
    for _ in 0..3 {
        let error = refusal(&world.usherd, &read, 77);
        assert_eq!(error["reason"], "SCOPE_NOT_GRANTED");
        contains_all(message(&error), &["frontdoor.read"]);
    }
    assert_eq!(world.idp.token_requests(), 1);
    // Nor is it answered to those who asked for what it happens to be for.
    let write = facts(&world.usherd, &["case0", "--scope", "frontdoor.write"]);
    assert_eq!((&write["source"], &write["scopes"]), (&json!("fetched"), &json!(["frontdoor.write"])));
}

/// Of a lifetime that was answered for a token, as the table of E58 has it, no number is too large and none
/// for ever.
#[test]
fn no_lifetime_is_for_ever() {
    let table =
        ["2147483648", "9223372036854775807", "18446744073709551616", "1e308", "\"99999999999999999999\""];
    let world = cases(table.len(), "");
    for (number, expires_in) in table.iter().enumerate() {
        world.idp.push(lasting(&world, expires_in));
        let left = facts(&world.usherd, &[&case(number)])["expires_in"].as_i64().expect("a number");
        assert!((86_390..=86_400).contains(&left), "{expires_in}: {left}");
    }
}

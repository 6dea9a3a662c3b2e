//! Every rule and every kind of reply, seen from the other end of the wire.

use std::{io, process::Command, thread};

use super::*;
use crate::{
    PATIENCE,
    client::{self, Response, guide_request},
};

fn params(idp: &FakeIdp) -> Value {
    json!({
        "grant_type": "client_credentials",
        "client_id": idp.client_id(),
        "client_secret": idp.client_secret(),
        "scope": "frontdoor.read",
    })
}

fn ask(ca: &Ca, idp: &FakeIdp) -> io::Result<Response> {
    guide_request(ca, &idp.token_url(), &params(idp))
}

/// What the client gets when the IdP's next reply is this.
fn after(reply: Reply) -> io::Result<Response> {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    idp.push(reply);
    let answer = ask(&ca, &idp);
    assert_eq!((idp.token_requests(), idp.pending()), (1, 0));
    answer
}

#[test]
fn the_guides_request_gets_a_token() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let answer = ask(&ca, &idp).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let token = &idp.issued()[0];
    let expected =
        json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "frontdoor.read"});
    assert_eq!(answer.json(), expected);
    assert!(token.starts_with("CANARY-TOKEN-1-"));
    let second = ask(&ca, &idp).unwrap().json()["access_token"].clone();
    assert_eq!((idp.token_requests(), idp.issued()[1].as_str()), (2, second.as_str().unwrap()));
}

#[test]
fn violations_are_refused() {
    let ca = Ca::new();
    let idp =
        FakeIdp::builder().audience(Audience::Required("https://api.example.com".to_owned())).start(&ca);
    let url = idp.token_url();
    let json_type = ("Content-Type", "application/json");
    let accept = ("Accept", "application/json");
    let mut good = params(&idp);
    good["audience"] = json!("https://api.example.com");
    let raw =
        |headers: &[(&str, &str)]| client::post(&ca, &url, headers, good.to_string().as_bytes()).unwrap();
    assert_eq!(raw(&[json_type, accept]).status, 200);
    assert_eq!(raw(&[("Content-Type", "application/json; charset=utf-8"), accept]).status, 415);
    assert_eq!(raw(&[json_type, ("Accept", "*/*")]).status, 406);
    assert_eq!(raw(&[json_type]).status, 406);
    assert_eq!(client::get(&ca, &url, &[accept]).unwrap().status, 405);

    let with = |name: &str, value: Value| {
        let mut params = good.clone();
        params[name] = value;
        let answer = guide_request(&ca, &url, &params).unwrap();
        assert!(answer.json()["error_description"].is_string());
        (answer.status, answer.json()["error"].as_str().unwrap().to_owned())
    };
    let cases = [
        ("client_secret", json!("wrong"), 401, "invalid_client"),
        ("client_id", json!("nobody"), 401, "invalid_client"),
        ("audience", json!("https://elsewhere.example.com"), 400, "invalid_request"),
        ("audience", Value::Null, 400, "invalid_request"),
        ("scope", json!("frontdoor.read admin"), 400, "invalid_scope"),
        ("scope", json!(""), 400, "invalid_request"),
        ("grant_type", json!("password"), 400, "unsupported_grant_type"),
        ("surprise", json!("x"), 400, "invalid_request"),
    ];
    for (name, value, status, error) in cases {
        assert_eq!(with(name, value.clone()), (status, error.to_owned()), "{name}={value}");
    }
    assert_eq!(idp.issued().len(), 1);
}

#[test]
fn forms_and_basic_authentication() {
    let ca = Ca::new();
    let idp = FakeIdp::builder().client("an id", "a+b c").body(BodyFormat::Form).basic_auth().start(&ca);
    // base64 of "an+id:a%2Bb+c", encoded as RFC 6749, section 2.3.1, wants.
    let headers = |authorization| {
        [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
            ("Authorization", authorization),
        ]
    };
    let body = b"grant_type=client_credentials&scope=frontdoor.read+frontdoor.write";
    let good = client::post(&ca, &idp.token_url(), &headers("Basic YW4raWQ6YSUyQmIrYw=="), body).unwrap();
    assert_eq!((good.status, good.json()["scope"].as_str()), (200, Some("frontdoor.read frontdoor.write")));
    let bad = client::post(&ca, &idp.token_url(), &headers("Basic YW4gaWQ6YStiIGM="), body).unwrap();
    assert_eq!((bad.status, bad.header("www-authenticate")), (401, Some("Basic realm=\"idp\"")));
}

#[test]
fn a_rotated_secret_counts_at_once() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    idp.set_client(idp.client_id(), "the next secret");
    assert_eq!(ask(&ca, &idp).unwrap().status, 401);
}

#[test]
fn scripted_answers_come_first_and_in_order() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    idp.push(Reply::status(503).header("Retry-After", "5"));
    idp.push(Reply::oauth_error(400, "invalid_grant", "no"));
    idp.push(Reply::redirect(307, "https://elsewhere.example.com/"));
    idp.set_default(Reply::html200());
    let answers: Vec<Response> = (0..4).map(|_| ask(&ca, &idp).unwrap()).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [503, 400, 307, 200]);
    assert_eq!(answers[0].header("retry-after"), Some("5"));
    assert_eq!(answers[1].json()["error"], "invalid_grant");
    assert_eq!(answers[2].header("location"), Some("https://elsewhere.example.com/"));
    assert!(answers[3].body.starts_with(b"<!DOCTYPE html>"));
    assert!(idp.issued().is_empty());
}

#[test]
fn token_fields_can_be_replaced_and_left_out() {
    let answer = after(Reply::token().field("expires_in", json!("3600")).without("scope")).unwrap().json();
    assert_eq!(answer["expires_in"], "3600");
    assert!(answer.get("scope").is_none() && answer["access_token"].is_string());
}

#[test]
fn resets_and_early_ends() {
    assert_eq!(after(Reply::reset()).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(after(Reply::close()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(after(Reply::truncate()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn slow_endless_and_compressed_bodies() {
    let dripped = after(Reply::drip(b"{\"a\":1}", Duration::from_millis(1))).unwrap();
    assert_eq!(dripped.json(), json!({ "a": 1 }));
    // The client gives up after a mebibyte.
    assert!(after(Reply::endless()).unwrap().body.len() > 1 << 20);
    let small = after(Reply::gzip("{}")).unwrap();
    assert_eq!((small.header("content-encoding"), &small.body[..2]), (Some("gzip"), &[0x1f, 0x8b][..]));
    assert!(after(Reply::gzip_bomb(4)).unwrap().body.len() < 64 << 10);
}

#[test]
fn real_curl_unpacks_the_bomb_and_trusts_the_ca() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    idp.set_default(Reply::gzip_bomb(2));
    let output = Command::new("curl")
        .args(["-sS", "--compressed", "--cacert"])
        .arg(ca.pem())
        .args(["-H", "Content-Type: application/json", "-H", "Accept: application/json"])
        .args(["-d", &params(&idp).to_string(), &idp.token_url()])
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.len() > 2 << 20);
}

#[test]
fn a_held_reply_waits_for_its_release() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let (reply, gate) = Reply::token().hold();
    idp.set_default(reply);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..3).map(|_| scope.spawn(|| ask(&ca, &idp).unwrap())).collect();
        gate.wait_for(3, PATIENCE);
        assert!(callers.iter().all(|caller| !caller.is_finished()));
        gate.release();
        for caller in callers {
            assert_eq!(caller.join().unwrap().status, 200);
        }
    });
    idp.wait_for_requests(3, PATIENCE);
    assert_eq!((idp.max_in_flight(), idp.connections(), idp.token_requests()), (3, 3, 3));
}

#[test]
fn plain_http_works_and_a_dead_address_does_not() {
    let ca = Ca::new();
    let idp = FakeIdp::builder().plain_http().expires_in(60).start(&ca);
    assert!(idp.token_url().starts_with("http://127.0.0.1:"));
    assert_eq!(ask(&ca, &idp).unwrap().json()["expires_in"], 60);
    let dead = format!("http://{}/", dead_address());
    assert_eq!(client::get(&ca, &dead, &[]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

//! `usher inspect`: what a token says about itself, never the token. That it shows nowhere is for the scanner to
//! see: no output here is declared to hold one.

#![allow(clippy::unwrap_used, reason = "a panic is the failure of the test")]

use serde_json::{Value, json};
use usher_testkit::{idp::Reply, tokens::canary};

use crate::support::World;

/// `{"alg":"RS256","typ":"JWT"}`, and `{"iss":"https://idp.example/","aud":["a","b"],"exp":1764003600}`.
const HEADER: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9";
const CLAIMS: &str = "eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLyIsImF1ZCI6WyJhIiwiYiJdLCJleHAiOjE3NjQwMDM2MDB9";

#[test]
fn a_jwts_claims_are_shown_and_its_signature_is_not() {
    let world = World::new("");
    let signature = canary("SIGNATURE");
    world.usherd.leaks().secret("the signature", &signature);
    let token = format!("{HEADER}.{CLAIMS}.{signature}");
    world.idp.push(Reply::token().field("access_token", json!(token)));
    let shown = world.usherd.usher(&["inspect", "frontdoor"]).expect_ok();
    assert_eq!(shown.stderr, "");
    for part in
        ["NOT checked", "alg       RS256", "iss       https://idp.example/", "aud       a b", "(1764003600)"]
    {
        assert!(shown.stdout.contains(part), "no {part} in: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains(HEADER) && !shown.stdout.contains(CLAIMS));

    let told = world.usherd.usher(&["inspect", "frontdoor", "--json"]).expect_ok().stdout;
    let facts: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&facts["format"], &facts["signature_checked"]), (&json!("jwt"), &json!(false)));
    assert_eq!(facts["header"], json!({ "alg": "RS256", "typ": "JWT" }));
    assert_eq!(facts["claims"]["exp"], 1_764_003_600);
    assert_eq!((&facts["length"], world.idp.token_requests()), (&json!(token.len()), 1));
}

#[test]
fn an_opaque_token_says_nothing_and_what_is_known_is_told() {
    let world = World::new("");
    let shown = world.usherd.usher(&["inspect", "-p", "frontdoor"]).expect_ok().stdout;
    assert!(shown.starts_with("frontdoor: no JWT, but an opaque token of "), "{shown}");
    assert!(
        shown.contains("scopes    frontdoor.read frontdoor.write") && shown.contains("expires   in "),
        "{shown}"
    );
    let told = world.usherd.usher(&["inspect", "--json"]).expect_ok().stdout;
    let facts: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&facts["format"], &facts["claims"]), (&json!("opaque"), &Value::Null));
    assert_eq!(facts["length"], world.idp.issued()[0].len());
    assert!(facts["expires_in"].as_u64().is_some_and(|left| (3590..=3600).contains(&left)), "{facts}");
    assert_eq!(world.usherd.usher(&["inspect", "nope"]).expect_code(78).stdout, "");
}

//! Who gets in, and what they get.

use super::*;
use crate::client::{self, guide_request};

#[test]
fn issued_tokens_get_in_until_they_are_revoked() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let api = FakeApi::start(&ca, &idp);
    let params = json!({
        "grant_type": "client_credentials", "client_id": idp.client_id(), "client_secret": idp.client_secret(),
    });
    let token = guide_request(&ca, &idp.token_url(), &params).unwrap().json()["access_token"].clone();
    let token = token.as_str().unwrap();
    let shares = format!("{}/shares?page=0&size=2", api.base_url());
    let get = |authorization: &str| client::get(&ca, &shares, &[("Authorization", authorization)]).unwrap();

    let page = get(&format!("Bearer {token}")).json();
    assert_eq!(page["content"].as_array().unwrap().len(), 2);
    assert_eq!(page["pageable"], json!({ "pageNumber": 0, "pageSize": 2 }));
    let refused = get("Bearer made-up");
    assert_eq!(
        (refused.status, refused.json()),
        (401, json!({"error": "unauthorized", "message": "Bearer token is missing or invalid"}))
    );
    api.revoke(token);
    assert_eq!(get(&format!("Bearer {token}")).status, 401);
    assert_eq!(api.requests().len(), 3);
    assert_eq!(api.requests()[1].header("authorization"), Some("Bearer made-up"));
}

#[test]
fn an_account_gets_in_raw_or_encoded() {
    let ca = Ca::new();
    let (raw, encoded) =
        ("Basic an-id:a-token".to_owned(), format!("Basic {}", STANDARD.encode("an-id:a-token")));
    for (api, good, bad) in [
        (FakeApi::builder().account("an-id", "a-token").start(&ca), &raw, &encoded),
        (FakeApi::builder().account("an-id", "a-token").base64().start(&ca), &encoded, &raw),
    ] {
        let status = |authorization: &str| {
            let url = format!("{}/environments", api.base_url());
            client::get(&ca, &url, &[("Authorization", authorization)]).unwrap().status
        };
        assert_eq!((status(good), status(bad)), (200, 401));
    }
}

#[test]
fn it_redirects_where_it_is_told() {
    let ca = Ca::new();
    let api = FakeApi::builder().start(&ca);
    let answer = client::get(&ca, &api.redirect_url("https%3A%2F%2Felsewhere.example.com%2Fx"), &[]).unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://elsewhere.example.com/x")));
}

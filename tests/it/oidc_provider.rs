//! Against a real OpenID provider: npm's oidc-provider.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use serde_json::json;
use usher_testkit::{
    ca::Ca,
    client,
    oidc::{OidcProvider, RESOURCE, claims},
    tokens::canary,
    usherd::Usherd,
};

use crate::support::{facts, refusal, sandbox};

/// A daemon whose profile `real` is the provider's client with this secret and these scopes.
fn start(ca: &Ca, provider: &OidcProvider, secret: &str, scopes: &str) -> Usherd {
    let sandbox = sandbox();
    let file = sandbox.secret("real", secret);
    sandbox.config(&format!(
        "[profile.real]\npreset = \"oauth2\"\ntoken_url = \"{}\"\nclient_auth = \"body\"\n\
         client_id = \"{}\"\nclient_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\nscopes = [{scopes}]\n",
        provider.token_url(),
        provider.client_id(),
        file.display(),
        ca.pem().display(),
    ));
    sandbox.start()
}

#[test]
fn it_gives_one_token_to_two_callers() {
    let ca = Ca::new();
    let provider = OidcProvider::start(&ca);
    let usherd = start(&ca, &provider, provider.client_secret(), "\"api:read\"");
    let token = facts(&usherd, &["real"]);
    let value = token["access_token"].as_str().unwrap();
    usherd.leaks().token("the provider's token", value);
    assert!(value.len() > 20);
    assert_eq!((&token["token_type"], &token["scopes"]), (&json!("Bearer"), &json!(["api:read"])));
    assert!((290..=300).contains(&token["expires_in"].as_i64().unwrap()), "{}", token["expires_in"]);
    assert_eq!(token["source"], "fetched");
    let again = facts(&usherd, &["real"]);
    assert_eq!((again["access_token"].as_str(), &again["source"]), (Some(value), &json!("cache")));
    assert_eq!(provider.token_requests(&ca), 1);
}

#[test]
fn it_refuses_a_wrong_secret_once() {
    let ca = Ca::new();
    let provider = OidcProvider::start(&ca);
    let usherd = start(&ca, &provider, &canary("WRONG-SECRET"), "\"api:read\"");
    for _ in 0..3 {
        let error = refusal(&usherd, &["real"], 77);
        assert_eq!(error["reason"], "IDP_REFUSED");
        let facts = json!({ "profile": "real", "oauth_error": "invalid_client", "http_status": "401" });
        assert_eq!(error["facts"], facts);
    }
    assert_eq!(provider.token_requests(&ca), 1);
}

#[test]
fn it_grants_less_than_was_asked_for() {
    let ca = Ca::new();
    let provider = OidcProvider::start(&ca);
    let usherd = start(&ca, &provider, provider.client_secret(), "\"api:read\", \"api:unheard-of\"");
    let token = facts(&usherd, &["real"]);
    usherd.leaks().token("the provider's token", token["access_token"].as_str().unwrap());
    assert_eq!(token["scopes"], json!(["api:read"]), "what was granted is answered");
    let error = refusal(&usherd, &["real", "--scope", "api:read api:unheard-of"], 77);
    assert_eq!(error["reason"], "SCOPE_NOT_GRANTED");
    assert!(error["message"].as_str().unwrap().contains("api:unheard-of"), "{error}");
    assert_eq!(provider.token_requests(&ca), 1);
}

/// A daemon whose profile `real` is the provider's other client, the one with HTTP Basic, and has these lines.
fn start_basic(ca: &Ca, provider: &OidcProvider, lines: &str) -> Usherd {
    let sandbox = sandbox();
    let file = sandbox.secret("real", provider.basic_client_secret());
    sandbox.config(&format!(
        "[profile.real]\nclient_id = \"{}\"\nclient_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n\
         scopes = [\"api:read\", \"api:write\"]\n{lines}\n",
        provider.basic_client_id(),
        file.display(),
        ca.pem().display(),
    ));
    sandbox.start()
}

fn token(usherd: &Usherd, args: &[&str]) -> String {
    let token = facts(usherd, args)["access_token"].as_str().unwrap().to_owned();
    usherd.leaks().token("the provider's token", &token);
    token
}

#[test]
fn basic_is_urlencoded_first() {
    let ca = Ca::new();
    let provider = OidcProvider::start(&ca);
    let token_url = format!("token_url = \"{}\"\n", provider.token_url());
    let usherd = start_basic(&ca, &provider, &format!("{token_url}preset = \"oauth2\""));
    token(&usherd, &["real"]);
    // Or as parameters, which this server takes from either client.
    token(&start_basic(&ca, &provider, &format!("{token_url}client_auth = \"body\"")), &["real"]);
    let bare = start_basic(&ca, &provider, &format!("{token_url}client_auth = \"basic-bare\""));
    let error = refusal(&bare, &["real"], 77);
    assert_eq!(error["facts"]["oauth_error"], "invalid_request", "{error}");
    assert_eq!(provider.token_requests(&ca), 3, "no other way is probed");
}

#[test]
fn an_issuer_is_enough() {
    let ca = Ca::new();
    let provider = OidcProvider::start(&ca);
    let usherd =
        start_basic(&ca, &provider, &format!("preset = \"oidc\"\nissuer = \"{}\"", provider.issuer()));
    let all = token(&usherd, &["real"]);
    let some = token(&usherd, &["real", "--scope", "api:read"]);
    let others = token(&usherd, &["real", "--scope", "api:write"]);
    assert!(all != some && some != others);
    assert_eq!((provider.token_requests(&ca), provider.metadata_requests(&ca)), (3, 1));
}

#[test]
fn an_issuer_that_has_no_basic_gets_parameters() {
    let ca = Ca::new();
    let provider = OidcProvider::start_with_post_only(&ca);
    let sandbox = sandbox();
    let file = sandbox.secret("real", provider.client_secret());
    sandbox.config(&format!(
        "[profile.real]\npreset = \"oidc\"\nissuer = \"{}\"\nclient_id = \"{}\"\n\
         client_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n",
        provider.issuer(),
        provider.client_id(),
        file.display(),
        ca.pem().display(),
    ));
    token(&sandbox.start(), &["real"]);
    let metadata = format!("{}/.well-known/openid-configuration", provider.issuer());
    let metadata = client::get(&ca, &metadata, &[]).unwrap().json();
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["client_secret_post"]));
}

#[test]
fn a_resource_becomes_the_tokens_audience() {
    let ca = Ca::new();
    let provider = OidcProvider::start(&ca);
    let with = |resources: &str| {
        let issuer = provider.issuer();
        start_basic(
            &ca,
            &provider,
            &format!("preset = \"oidc\"\nissuer = \"{issuer}\"\nresource = [{resources}]"),
        )
    };
    let token = token(&with(&format!("\"{RESOURCE}\"")), &["real"]);
    let claims = claims(&token);
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!(RESOURCE), &json!(provider.issuer())));

    for unknown in
        ["\"https://api.example.com/unheard-of\"", &format!("\"{RESOURCE}\", \"https://other.example.com\"")]
    {
        let error = refusal(&with(unknown), &["real"], 77);
        assert_eq!(
            (&error["reason"], &error["facts"]["oauth_error"]),
            (&json!("IDP_REFUSED"), &json!("invalid_target"))
        );
    }
}

//! Against a real OpenID provider: npm's oidc-provider.

use serde_json::json;
use usher_testkit::{ca::Ca, oidc::OidcProvider, tokens::canary, usherd::Usherd};

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

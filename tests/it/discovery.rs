//! What an issuer says about itself, and what of it is believed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use serde_json::{Value, json};
use usher_testkit::{
    ca::Ca,
    idp::{FakeIdp, Reply},
    proxy::Proxy,
    sandbox::Sandbox,
};

use crate::support::{World, contains_all, facts, refusal, sandbox, unreachable, wait_until_fetched};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// A profile that finds its token endpoint by what the IdP says about itself.
fn discovered(name: &str, sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp) -> String {
    format!(
        "[profile.{name}]\npreset = \"oidc\"\nissuer = \"https://{}\"\nclient_id = \"{}\"\n\
         client_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n",
        idp.host(),
        idp.client_id(),
        sandbox.secret(name, idp.client_secret()).display(),
        ca.pem().display(),
    )
}

fn metadata(idp: &FakeIdp) -> Value {
    json!({
        "issuer": format!("https://{}", idp.host()),
        "token_endpoint": idp.token_url(),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    })
}

fn form_idp() -> usher_testkit::idp::Builder {
    FakeIdp::builder().body(usher_testkit::idp::BodyFormat::Form)
}

fn discovering() -> World {
    World::with(form_idp(), |sandbox, ca, idp| discovered("found", sandbox, ca, idp))
}

#[test]
fn metadata_are_read_once_and_from_either_place() {
    for place in [OPENID, OAUTH] {
        let world = discovering();
        world.idp.page(place, Reply::json(200, &metadata(&world.idp)));
        facts(&world.usherd, &["found"]);
        let first = world.idp.requests().len();
        let _ = world.usherd.usher(&["forget", "found"]).expect_ok();
        facts(&world.usherd, &["found"]);
        assert_eq!(world.idp.requests().len(), first + 1, "they are remembered");
        assert_eq!(world.idp.token_requests(), 2);
    }
}

#[test]
fn an_endpoint_that_has_moved_is_found_again() {
    let world = discovering();
    world.idp.page(OPENID, Reply::json(200, &metadata(&world.idp)));
    facts(&world.usherd, &["found"]);
    let asked = || world.idp.requests().iter().filter(|request| request.method == "GET").count();
    let before = asked();
    let _ = world.usherd.usher(&["forget", "found"]).expect_ok();
    world.idp.push(Reply::status(404));
    refusal(&world.usherd, &["found"], 77);
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    facts(&world.usherd, &["found"]);
    assert_eq!(asked(), before + 1, "the metadata are read again");
}

/// What the IdP says when it is asked about itself.
type Answer = fn(&FakeIdp) -> Reply;

#[test]
fn bad_metadata_get_no_secret() {
    // What is not the issuer's own word may be gone in a minute; what is its word will not.
    let (passing, lasting) = ((69, "IDP_ANSWER_INVALID"), (77, "IDP_REFUSED"));
    let cases: [(&str, (i32, &str), Answer, &str); 6] = [
        (
            "issuer",
            lasting,
            |idp| changed(idp, "issuer", "https://evil.example.com"),
            "names another issuer, \"https://evil.example.com\"",
        ),
        ("http", lasting, |idp| changed(idp, "token_endpoint", &plain(idp)), "token_endpoint that"),
        (
            "no-http",
            lasting,
            |idp| changed(idp, "token_endpoint", "http://idp.example.com/t"),
            "token_endpoint that",
        ),
        ("html", passing, |_| Reply::html200(), "is no JSON with issuer and token_endpoint"),
        (
            "methods",
            lasting,
            |idp| {
                let mut metadata = metadata(idp);
                metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
                Reply::json(200, &metadata)
            },
            "supports neither client_secret_basic nor client_secret_post",
        ),
        ("redirect", passing, |_| Reply::redirect(302, "https://evil.example.com/"), "it answered 302"),
    ];
    for (name, (code, reason), reply, words) in cases {
        let world = discovering();
        world.idp.page(OPENID, reply(&world.idp));
        let error = refusal(&world.usherd, &["found"], code);
        assert_eq!(error["reason"], reason, "{name}: {error}");
        let message = error["message"].as_str().unwrap();
        contains_all(message, &["issuer", &world.idp.host(), words]);
        assert_eq!(world.idp.token_requests(), 0, "{name}");
        assert!(world.idp.requests().iter().all(|request| request.method == "GET"), "{name}");
    }
}

fn changed(idp: &FakeIdp, key: &str, value: &str) -> Reply {
    let mut metadata = metadata(idp);
    metadata[key] = json!(value);
    Reply::json(200, &metadata)
}

fn plain(idp: &FakeIdp) -> String {
    idp.token_url().replace("https://", "http://")
}

#[test]
fn an_issuer_without_metadata_is_refused_and_a_busy_one_asked_again() {
    let world = discovering();
    let error = refusal(&world.usherd, &["found"], 77);
    assert_eq!((&error["reason"], &error["facts"]["http_status"]), (&json!("IDP_REFUSED"), &json!("404")));
    contains_all(
        error["message"].as_str().unwrap(),
        &["has no metadata", "it answered 404", "check issuer", "token_url"],
    );

    let busy = discovering();
    for place in [OPENID, OAUTH] {
        busy.idp.page(place, Reply::status(503));
    }
    assert_eq!(refusal(&busy.usherd, &["found"], 69)["reason"], "IDP_UNAVAILABLE");
    busy.idp.page(OPENID, Reply::json(200, &metadata(&busy.idp)));
    wait_until_fetched(&busy.usherd, "found");
}

#[test]
fn an_issuer_whose_certificate_cannot_be_trusted_is_not_believed() {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let bad = [
        ("expired", ca.expired(), "has expired, or the clock here is wrong"),
        ("wrong-name", ca.wrong_name(), "is for another name"),
        ("self-signed", ca.self_signed(), "is not signed by a CA in ca_file"),
    ];
    let idps = bad.map(|(name, identity, why)| (name, form_idp().identity(identity).start(&ca), why));
    sandbox
        .config(&idps.iter().map(|(name, idp, _)| discovered(name, &sandbox, &ca, idp)).collect::<String>());
    let usherd = sandbox.start();
    for (name, idp, why) in &idps {
        sandbox.watch(idp);
        idp.page(OPENID, Reply::json(200, &metadata(idp)));
        contains_all(&unreachable(&usherd, name), &["the certificate of the IdP", &idp.host(), why]);
        assert!(idp.requests().is_empty(), "{name}");
    }
}

#[test]
fn metadata_are_fetched_through_the_proxy_too() {
    let proxy = Proxy::start();
    let world = World::with(form_idp(), |sandbox, ca, idp| {
        format!("{}proxy = \"{}\"\n", discovered("found", sandbox, ca, idp), proxy.url())
    });
    world.idp.page(OPENID, Reply::json(200, &metadata(&world.idp)));
    facts(&world.usherd, &["found"]);
    assert!(!proxy.requests().is_empty());
    assert_eq!(world.idp.connections(), proxy.requests().len(), "nothing goes past it");
}

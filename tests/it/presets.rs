//! Presets against a second real server, which shares no code with the first: npm's
//! @node-oauth/oauth2-server. And discovery against issuers that are not what they should be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use serde_json::{Value, json};
use usher_testkit::{
    ca::Ca,
    idp::{BodyFormat, FakeIdp, Reply},
    issuer::FakeIssuer,
    oidc::OAuth2Server,
    usherd::Usherd,
};

use crate::support::{World, facts, refusal, sandbox};

fn start(ca: &Ca, server: &OAuth2Server, client_auth: &str) -> Usherd {
    let sandbox = sandbox();
    let file = sandbox.secret("second", server.client_secret());
    sandbox.config(&format!(
        "[profile.second]\npreset = \"oauth2\"\ntoken_url = \"{}\"\nclient_id = \"{}\"\n\
         client_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\nscopes = [\"api:read\"]\n{client_auth}\n",
        server.token_url(),
        server.client_id(),
        file.display(),
        ca.pem().display(),
    ));
    sandbox.start()
}

/// A token, and the same from the cache.
fn two_callers(usherd: &Usherd) -> Value {
    let token = facts(usherd, &["second"]);
    let value = token["access_token"].as_str().unwrap();
    usherd.leaks().token("the server's token", value);
    assert_eq!((&token["token_type"], &token["scopes"]), (&json!("Bearer"), &json!(["api:read"])));
    assert!((290..=300).contains(&token["expires_in"].as_i64().unwrap()), "{}", token["expires_in"]);
    let again = facts(usherd, &["second"]);
    assert_eq!((&again["access_token"], &again["source"]), (&token["access_token"], &json!("cache")));
    token
}

#[test]
fn a_second_implementation_gives_one_token_to_two_callers() {
    let ca = Ca::new();
    let server = OAuth2Server::start(&ca, false);
    let usherd = start(&ca, &server, "");
    assert_eq!(two_callers(&usherd)["source"], "fetched");
    assert_eq!(server.token_requests(&ca), 1);
}

#[test]
fn a_server_that_does_not_decode_basic_wants_it_bare() {
    let ca = Ca::new();
    let server = OAuth2Server::start(&ca, true);
    let by_the_rfc = start(&ca, &server, "client_auth = \"basic\"");
    let error = refusal(&by_the_rfc, &["second"], 77);
    assert_eq!(error["facts"]["oauth_error"], "invalid_client", "{error}");
    assert!(error["message"].as_str().unwrap().contains("client_auth"), "{error}");
    assert_eq!(server.token_requests(&ca), 1, "no other way is probed");
    for client_auth in ["client_auth = \"basic-bare\"", "client_auth = \"body\""] {
        two_callers(&start(&ca, &server, client_auth));
    }
    assert_eq!(server.token_requests(&ca), 3);
}

/// A daemon whose profile `found` has this issuer, and the IdP that the issuer may name.
fn discovering(issuer: impl FnOnce(&Ca) -> FakeIssuer) -> (World, FakeIssuer) {
    let mut fake = None;
    let idp = FakeIdp::builder().body(BodyFormat::Form).basic_auth();
    let world = World::with(idp, |sandbox, ca, idp| {
        let issuer = fake.insert(issuer(ca));
        let secret = sandbox.secret("found", idp.client_secret());
        format!(
            "[profile.found]\npreset = \"oidc\"\nissuer = \"{}\"\nclient_id = \"{}\"\n\
             client_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n",
            issuer.url(),
            idp.client_id(),
            secret.display(),
            ca.pem().display(),
        )
    });
    (world, fake.unwrap())
}

#[test]
fn the_endpoint_that_an_issuer_names_is_asked() {
    let (world, issuer) = discovering(FakeIssuer::start);
    issuer.say(&format!("{}/", issuer.url()), &world.idp.token_url());
    assert_eq!(facts(&world.usherd, &["found"])["access_token"], world.idp.issued()[0]);
    assert_eq!((issuer.requests().len(), world.idp.token_requests()), (1, 1));
    let request = &issuer.requests()[0];
    assert_eq!((request.method.as_str(), request.header("authorization")), ("GET", None));
    assert_eq!(request.header("accept"), Some("application/json"));
}

#[test]
fn metadata_of_another_issuer_are_refused_before_the_secret_is_sent() {
    let (world, issuer) = discovering(FakeIssuer::start);
    for other in ["https://idp.example.com", "https://127.0.0.1", &format!("{}/tenant", issuer.url())] {
        issuer.say(other, &world.idp.token_url());
        let error = refusal(&world.usherd, &["found"], 77);
        assert_eq!(error["reason"], "IDP_REFUSED", "{error}");
        assert!(error["message"].as_str().unwrap().contains("names another issuer"), "{error}");
        let _ = world.usherd.usher(&["forget", "found"]).expect_ok();
    }
    assert_eq!(world.idp.requests().len(), 0);
}

#[test]
fn an_endpoint_without_tls_is_refused() {
    let (world, issuer) = discovering(FakeIssuer::start);
    issuer.say(&issuer.url(), &world.idp.token_url().replacen("https:", "http:", 1));
    let error = refusal(&world.usherd, &["found"], 77);
    assert!(error["message"].as_str().unwrap().contains("has a token_endpoint that"), "{error}");
    assert_eq!(world.idp.requests().len(), 0);
}

#[test]
fn an_issuer_without_metadata_is_told_from_one_that_is_down() {
    let (world, issuer) = discovering(FakeIssuer::start);
    let error = refusal(&world.usherd, &["found"], 77);
    assert!(error["message"].as_str().unwrap().contains("has no metadata"), "{error}");
    assert_eq!(issuer.requests().len(), 2, "OpenID's place and RFC 8414's");

    let (world, issuer) = discovering(FakeIssuer::start);
    issuer.answer(Reply::status(503).header("Retry-After", "600"));
    let error = refusal(&world.usherd, &["found"], 69);
    assert_eq!(
        (&error["reason"], &error["facts"]["http_status"]),
        (&json!("IDP_UNAVAILABLE"), &json!("503"))
    );
    assert_eq!(issuer.requests().len(), 1, "it is not asked elsewhere");
}

#[test]
fn a_redirect_of_the_metadata_is_not_followed() {
    let (world, issuer) = discovering(FakeIssuer::start);
    issuer.answer(Reply::redirect(302, &format!("{}/other", issuer.url())));
    refusal(&world.usherd, &["found"], 69);
    assert!(issuer.requests().iter().all(|request| request.route() != "/other"));
}

/// A preset, its keys where `HOST` is the server, the documented path, and how body and client go.
const OVER_THE_WIRE: [(&str, &str, &str, BodyFormat, bool); 9] = [
    (
        "auth0",
        "domain = \"HOST\"\naudience = \"https://api.example.com/\"",
        "/oauth/token",
        BodyFormat::Json,
        false,
    ),
    (
        "entra",
        "authority = \"HOST\"\ntenant = \"common\"\nscopes = [\"read\"]",
        "/common/oauth2/v2.0/token",
        BodyFormat::Form,
        false,
    ),
    (
        "keycloak",
        "base = \"HOST\"\nrealm = \"demo\"",
        "/realms/demo/protocol/openid-connect/token",
        BodyFormat::Form,
        true,
    ),
    (
        "keycloak",
        "base = \"HOST/auth\"\nrealm = \"demo\"",
        "/auth/realms/demo/protocol/openid-connect/token",
        BodyFormat::Form,
        true,
    ),
    ("netfoundry", "token_url = \"https://HOST/oauth2/token\"", "/oauth2/token", BodyFormat::Form, true),
    ("okta", "domain = \"HOST\"\nscopes = [\"read\"]", "/oauth2/default/v1/token", BodyFormat::Form, true),
    ("pingfederate", "base = \"HOST\"", "/as/token.oauth2", BodyFormat::Form, true),
    (
        "pingone",
        "domain = \"HOST\"\nenvironment = \"abfba8f6\"",
        "/abfba8f6/as/token",
        BodyFormat::Form,
        true,
    ),
    ("zitadel", "domain = \"HOST\"\nscopes = [\"openid\"]", "/oauth/v2/token", BodyFormat::Form, true),
];

/// What may be asked for there; the third is what NetFoundry's own tools send.
const SCOPES: [&str; 3] = ["read", "openid", "https://gateway.production.netfoundry.io//ignore-scope"];

#[test]
fn presets_reach_the_documented_path_in_the_documented_way() {
    for (preset, keys, path, body, basic) in OVER_THE_WIRE {
        let idp = FakeIdp::builder().path(path).body(body).scopes(&SCOPES);
        let idp = if basic { idp.basic_auth() } else { idp };
        let world = World::with(idp, |sandbox, ca, idp| {
            let secret = sandbox.secret("api", idp.client_secret());
            format!(
                "[profile.api]\npreset = \"{preset}\"\nclient_id = \"{}\"\nclient_secret = {{ file = \"{}\" }}\n\
                 ca_file = \"{}\"\n{}\n",
                idp.client_id(),
                secret.display(),
                ca.pem().display(),
                keys.replace("HOST", &idp.host()),
            )
        });
        assert_eq!(facts(&world.usherd, &["api"])["access_token"], world.idp.issued()[0], "{preset}");
        let requests = world.idp.requests();
        assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", path));
    }
}

//! Tokens that are taken back at the IdP: by a real server, and by one that misbehaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use serde_json::{Value, json};
use usher_testkit::{
    PATIENCE,
    ca::Ca,
    idp::{BodyFormat, FakeIdp, Reply, dead_address},
    oidc::OidcProvider,
    sandbox::Sandbox,
    tokens::canary,
};

use crate::support::{World, contains_all, facts, frontdoor, sandbox, status};

/// A daemon whose profile knows where its IdP revokes.
fn revoking() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, &format!("revocation_url = \"{}\"", idp.revocation_url()))
    })
}

fn token(world: &World, args: &[&str]) -> String {
    facts(&world.usherd, args)["access_token"].as_str().unwrap().to_owned()
}

/// What `usher forget frontdoor --revoke --json` answers.
fn forget(world: &World, code: i32) -> Value {
    let output = world.usherd.usher(&["forget", "frontdoor", "--revoke", "--json"]).expect_code(code);
    serde_json::from_str(&output.stdout).unwrap()
}

fn profile(world: &World) -> Value {
    status(&world.usherd, &["frontdoor"])["profiles"][0].clone()
}

#[test]
fn a_real_server_takes_the_token_back() {
    let ca = Ca::new();
    let provider = OidcProvider::start(&ca);
    let token_url = provider.token_url();
    for lines in [
        format!(
            "token_url = \"{token_url}\"\nrevocation_url = \"{token_url}/revocation\"\nclient_auth = \"body\""
        ),
        format!("preset = \"oidc\"\nissuer = \"{}\"", provider.issuer()),
    ] {
        let sandbox = sandbox();
        sandbox.config(&format!(
            "[profile.real]\nclient_id = \"{}\"\nclient_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n\
             scopes = [\"api:read\"]\n{lines}\n",
            provider.client_id(),
            sandbox.secret("real", provider.client_secret()).display(),
            ca.pem().display(),
        ));
        let usherd = sandbox.start();
        let token = facts(&usherd, &["real"])["access_token"].as_str().unwrap().to_owned();
        usherd.leaks().token("the provider's token", &token);
        assert!(provider.is_active(&ca, &token));
        let said = usherd.usher(&["forget", "real", "--revoke"]).expect_ok();
        assert_eq!(said.stdout, "forgot 1 token of real; it is revoked at the IdP\n");
        assert_eq!(said.stderr, "");
        assert!(!provider.is_active(&ca, &token));
        let next = facts(&usherd, &["real"])["access_token"].as_str().unwrap().to_owned();
        usherd.leaks().token("the provider's next token", &next);
        assert!(next != token && provider.is_active(&ca, &next));
    }
}

#[test]
fn all_tokens_of_a_profile_are_revoked_at_once() {
    let world = revoking();
    let mut tokens =
        [&["frontdoor"][..], &["frontdoor", "--scope", "frontdoor.read"]].map(|args| token(&world, args));
    let answer = forget(&world, 0);
    assert_eq!((&answer["forgotten"], &answer["profile"]), (&json!(2), &json!("frontdoor")));
    for revocation in answer["revocations"].as_array().unwrap() {
        assert_eq!((&revocation["state"], &revocation["message"]), (&json!("revoked"), &Value::Null));
    }
    let mut revoked = world.idp.revoked();
    revoked.sort_unstable();
    tokens.sort_unstable();
    assert_eq!(revoked, tokens);
    let said = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_ok();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("frontdoor held no token\n", ""));
}

#[test]
fn an_endpoint_that_is_down_wipes_here_first_and_is_tried_again_until_it_is_done() {
    let world = revoking();
    let first = token(&world, &["frontdoor"]);
    for reply in [Reply::reset(), Reply::close()] {
        world.idp.push_revocation(reply);
    }
    let said = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_ok();
    assert_eq!(said.stdout, "forgot 1 token of frontdoor; it is not revoked at the IdP\n");
    contains_all(&said.stderr, &["frontdoor: 1 token not revoked yet: the IdP", "usherd tries again in 1s"]);
    assert!(world.idp.revoked().is_empty());
    let next = facts(&world.usherd, &["frontdoor"]);
    assert_eq!(next["source"], "fetched", "the old one is gone here, and no token request waits");
    world.usherd.wait_for_log("token revoked", PATIENCE);
    assert_eq!((world.idp.revoked(), world.idp.revocations()), (vec![first], 3));
    let profile = profile(&world);
    assert_eq!((&profile["revocations_pending"], &profile["revocation_error"]), (&json!(0), &Value::Null));
}

#[test]
fn a_busy_endpoint_is_left_alone_for_as_long_as_it_says_and_status_shows_what_waits() {
    let world = revoking();
    token(&world, &["frontdoor"]);
    world.idp.push_revocation(Reply::status(503).header("Retry-After", "600"));
    let answer = forget(&world, 0);
    let revocation = &answer["revocations"][0];
    assert_eq!(revocation["state"], "queued");
    assert!(revocation["message"].as_str().unwrap().ends_with("answered 503"), "{revocation}");
    let now = status(&world.usherd, &[])["started_at"].as_i64().unwrap();
    assert!((now + 590..now + 700).contains(&revocation["retry_at"].as_i64().unwrap()), "{revocation}");
    let waiting = profile(&world);
    assert_eq!(waiting["revocations_pending"], 1);
    assert!(waiting["revocation_error"].as_str().unwrap().contains("503"), "{waiting}");
    let text = world.usherd.usher(&["status"]).expect_ok().stdout;
    contains_all(
        &text,
        &["frontdoor: 1 token waits to be revoked; the last try failed: the IdP", "; tried again in "],
    );
    // One more token of the same client waits with it.
    token(&world, &["frontdoor"]);
    assert_eq!(forget(&world, 0)["revocations"][0]["state"], "queued");
    assert_eq!((profile(&world)["revocations_pending"].as_i64(), world.idp.revocations()), (Some(2), 1));
    // What is not done when usherd ends is told.
    let log = world.usherd.stop().stderr;
    contains_all(&log, &["tokens that were to be revoked stay valid until they expire", "pending=2"]);
}

#[test]
fn what_the_idp_does_not_revoke_is_told_and_not_tried_again() {
    let world = revoking();
    let unsupported = Reply::oauth_error(400, "unsupported_token_type", "not this kind");
    let redirect = Reply::redirect(307, "https://elsewhere.example.com/revoke");
    for (reply, code, state, said) in [
        (unsupported, 69, "not_possible", "unsupported_token_type: not this kind"),
        (redirect, 77, "failed", "usher follows no redirect with a token in hand"),
    ] {
        token(&world, &["frontdoor"]);
        let before = world.idp.revocations();
        world.idp.push_revocation(reply);
        let answer = forget(&world, code);
        let revocation = &answer["revocations"][0];
        assert_eq!(revocation["state"], state);
        assert!(revocation["message"].as_str().unwrap().contains(said), "{revocation}");
        let profile = profile(&world);
        assert_eq!(profile["revocations_pending"], 0);
        assert!(profile["revocation_error"].as_str().unwrap().contains(said), "{profile}");
        assert_eq!(world.idp.revocations(), before + 1);
    }
    assert!(world.idp.revoked().is_empty());
    let text = world.usherd.usher(&["status"]).expect_ok().stdout;
    contains_all(&text, &["frontdoor: 2 tokens were NOT revoked, valid until expiry; the reason: the IdP"]);
}

#[test]
fn a_client_that_is_refused_tries_one_of_its_tokens() {
    let world = revoking();
    token(&world, &["frontdoor"]);
    token(&world, &["frontdoor", "--scope", "frontdoor.read"]);
    world.idp.set_client(world.idp.client_id(), &canary("ANOTHER-SECRET"));
    let said = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_ok();
    assert_eq!(said.stdout, "forgot 2 tokens of frontdoor; 0 of 2 are revoked at the IdP\n");
    contains_all(&said.stderr, &["2 tokens not revoked yet: ", "invalid_client", "usherd tries again in "]);
    assert_eq!(world.idp.revocations(), 1, "no account is locked by its own tokens");
}

#[test]
fn what_is_queued_outlives_the_profile_and_is_shown_until_it_is_done() {
    let world = revoking();
    let first = token(&world, &["frontdoor"]);
    world.idp.push_revocation(Reply::status(503).header("Retry-After", "2"));
    let said = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_ok();
    contains_all(&said.stderr, &["answered 503", "usherd tries again in "]);
    world.usherd.config("");
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    let status = status(&world.usherd, &[]);
    assert_eq!(status["removed_profiles"][0]["name"], "frontdoor");
    assert_eq!(status["removed_profiles"][0]["revocations_pending"], 1);
    let text = world.usherd.usher(&["status"]).expect_ok().stdout;
    contains_all(&text, &["frontdoor (no longer in the configuration): 1 token waits to be revoked"]);
    world.usherd.wait_for_log("token revoked", PATIENCE);
    assert_eq!(world.idp.revoked(), [first]);
}

#[test]
fn an_endpoint_that_is_not_there_is_named_and_what_stays_valid_is_told_at_the_end() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let extra = format!("revocation_url = \"https://{}/revoke\"", dead_address());
        frontdoor(sandbox, ca, idp, &extra)
    });
    token(&world, &["frontdoor"]);
    let said = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_ok();
    contains_all(&said.stderr, &["cannot connect to the IdP", "usherd tries again in "]);
    let log = world.usherd.stop().stderr;
    contains_all(&log, &["token not revoked yet", "stay valid until they expire", "pending=1"]);
}

#[test]
fn where_nothing_can_be_revoked_the_answer_says_what_to_do() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let file = sandbox.api_token("automation", &canary("API-TOKEN"));
        format!(
            "{}\n[profile.automation]\npreset = \"netfoundry-api-token\"\naccount_id = \"a\"\n\
             api_token = {{ file = \"{}\" }}\n",
            frontdoor(sandbox, ca, idp, ""),
            file.display()
        )
    });
    token(&world, &["frontdoor"]);
    let said = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_code(69);
    assert_eq!(said.stdout, "forgot 1 token of frontdoor; it is not revoked at the IdP\n");
    contains_all(&said.stderr, &["cannot be revoked", "if it has one, write revocation_url"]);
    let said = world.usherd.usher(&["forget", "automation"]).expect_ok();
    contains_all(&said.stderr, &["usher cannot revoke the long-lived token of automation"]);
    let said = world.usherd.usher(&["forget", "automation", "--revoke"]).expect_code(69);
    contains_all(
        &said.stderr,
        &["usher cannot revoke the long-lived token of automation", "NetFoundry console"],
    );
}

#[test]
fn an_issuers_endpoint_that_is_not_https_is_not_used_and_a_profile_can_name_another() {
    let idp = FakeIdp::builder().body(BodyFormat::Form);
    let world = World::with(idp, |sandbox, ca, idp| issuer(sandbox, ca, idp, ""));
    let host = world.idp.host();
    let metadata = json!({
        "issuer": format!("https://{host}"),
        "token_endpoint": world.idp.token_url(),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "revocation_endpoint": format!("http://{host}/oauth/revoke"),
    });
    world.idp.page("/.well-known/openid-configuration", Reply::json(200, &metadata));
    token(&world, &["frontdoor"]);
    let said = world.usherd.usher(&["forget", "frontdoor", "--revoke"]).expect_code(69);
    contains_all(&said.stderr, &["cannot be revoked", "has a revocation_endpoint that "]);
    assert_eq!(world.idp.revocations(), 0);

    let extra = format!("revocation_url = \"{}\"", world.idp.revocation_url());
    world.usherd.config(&issuer(&world.usherd, &world.ca, &world.idp, &extra));
    // Nothing of this decides which token comes back.
    let held = token(&world, &["frontdoor"]);
    let _ = world.usherd.usher(&["reload"]).expect_ok();
    assert_eq!(token(&world, &["frontdoor"]), held);
    assert_eq!(forget(&world, 0)["revocations"][0]["state"], "revoked");
    assert_eq!(world.idp.revoked(), [held]);
}

/// The profile `frontdoor` by what the IdP says about itself.
fn issuer(sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp, extra: &str) -> String {
    format!(
        "[profile.frontdoor]\npreset = \"oidc\"\nissuer = \"https://{}\"\nclient_id = \"{}\"\n\
         client_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n{extra}\n",
        idp.host(),
        idp.client_id(),
        sandbox.secret("frontdoor", idp.client_secret()).display(),
        ca.pem().display(),
    )
}

//! What NetFoundry's authentication guide shows, done with usher: an OAuth token, calls with it, and the
//! API account's token.

use serde_json::{Value, json};
use usher_testkit::{
    api::{ACCOUNT, FakeApi},
    ca::Ca,
    client,
    http::Recorded,
    idp::FakeIdp,
    sandbox::Sandbox,
    tokens::canary,
};

use crate::support::{World, facts, frontdoor, refusal, sandbox, status};

/// The audience of the guide's example.
const AUDIENCE: &str = "https://gateway.production.netfoundry.io/frontdoor";

/// The guide's second way: an API account's token, sent as it is.
fn automation(sandbox: &Sandbox, name: &str, api: &FakeApi, extra: &str) -> String {
    let token = sandbox.api_token(name, api.api_token());
    format!(
        "[profile.{name}]\npreset = \"netfoundry-api-token\"\naccount_id = \"{ACCOUNT}\"\n\
         api_token = {{ file = \"{}\" }}\nbase_url = \"{}\"\n{extra}\n",
        token.display(),
        api.base_url(),
    )
}

#[test]
fn the_token_request_is_the_guides_byte_for_byte() {
    let world = World::new("");
    let output = world.usherd.usher(&["token", "frontdoor"]).expect_ok();
    assert_eq!((output.stdout, output.stderr.as_str()), (format!("{}\n", world.idp.issued()[0]), ""));

    let requests = world.idp.requests();
    let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/oauth/token"));
    for name in ["content-type", "accept"] {
        let all = request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        assert_eq!(all.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["application/json"], "{name}");
    }
    assert_eq!(request.header("authorization"), None);
    let (id, secret) = (world.idp.client_id(), world.idp.client_secret());
    let body = format!(
        "{{\"grant_type\":\"client_credentials\",\"client_id\":\"{id}\",\"client_secret\":\"{secret}\",\
         \"audience\":\"{AUDIENCE}\",\"scope\":\"frontdoor.read frontdoor.write\"}}"
    );
    assert_eq!(request.text(), body);
}

#[test]
fn audience_and_scope_are_sent_only_if_the_profile_has_them() {
    let audience = format!("audience = \"{AUDIENCE}\"");
    let scopes = "scopes = [\"frontdoor.read\"]";
    let cases: [(&str, Vec<&str>, Value); 4] = [
        ("neither", vec![], json!({})),
        ("audience", vec![&audience], json!({ "audience": AUDIENCE })),
        ("scope", vec![scopes], json!({ "scope": "frontdoor.read" })),
        ("both", vec![&audience, scopes], json!({ "audience": AUDIENCE, "scope": "frontdoor.read" })),
    ];
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let secret = sandbox.secret("client", idp.client_secret());
        let profile = |(name, lines, _): &(&str, Vec<&str>, Value)| {
            format!(
                "[profile.{name}]\ntoken_url = \"{}\"\nbody = \"json\"\nclient_auth = \"body\"\n\
                 client_id = \"{}\"\nclient_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n{}\n",
                idp.token_url(),
                idp.client_id(),
                secret.display(),
                ca.pem().display(),
                lines.join("\n"),
            )
        };
        cases.iter().map(profile).collect()
    });
    for (name, _, extra) in &cases {
        facts(&world.usherd, &[name]);
        let mut expected = json!({
            "grant_type": "client_credentials",
            "client_id": world.idp.client_id(),
            "client_secret": world.idp.client_secret(),
        });
        for (key, value) in extra.as_object().into_iter().flatten() {
            expected[key] = value.clone();
        }
        assert_eq!(world.idp.requests().last().map(Recorded::json), Some(expected), "{name}");
    }
}

#[test]
fn the_header_opens_the_api() {
    let world = World::new("");
    let api = FakeApi::start(&world.ca, &world.idp);
    let output = world.usherd.usher(&["header", "frontdoor"]).expect_ok();
    assert_eq!(output.stdout, format!("Authorization: Bearer {}\n", world.idp.issued()[0]));
    let (name, value) = output.stdout.trim_end().split_once(": ").unwrap();
    let url = format!("{}/shares?page=0&size=20", api.base_url());
    assert_eq!(client::get(&world.ca, &url, &[(name, value)]).unwrap().status, 200);
}

#[test]
fn curl_makes_the_guides_call() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let api = FakeApi::start(&ca, &idp);
    let sandbox = sandbox();
    sandbox.watch(&idp);
    sandbox.config(&frontdoor(&sandbox, &ca, &idp, &format!("base_url = \"{}\"", api.base_url())));
    let usherd = sandbox.start();
    let pem = ca.pem().display().to_string();
    let accept = ["-H", "Accept: application/json"];
    let args =
        [&["curl", "-p", "frontdoor", "-s", "--cacert", &pem], &accept[..], &["/shares?page=0&size=20"]];
    let output = usherd.usher(&args.concat()).expect_ok();
    let answer: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(answer["pageable"], json!({ "pageNumber": 0, "pageSize": 20 }));
    assert_eq!(answer["content"][0]["name"], "demo-web");

    let request = &api.requests()[0];
    assert!(request.path.ends_with("/shares?page=0&size=20"), "{}", request.path);
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {}", idp.issued()[0]).as_str()));
}

#[test]
fn an_api_account_token_is_sent_as_basic() {
    let ca = Ca::new();
    let api = FakeApi::builder().start(&ca);
    let rfc = FakeApi::builder().base64().start(&ca);
    let sandbox = sandbox();
    let raw = automation(&sandbox, "raw", &api, "");
    let base64 = automation(&sandbox, "base64", &rfc, "encoding = \"base64\"");
    sandbox.config(&format!("{raw}{base64}"));
    let usherd = sandbox.start();
    let header = |name: &str| usherd.usher(&["header", name]).expect_ok().stdout;
    assert_eq!(header("raw"), format!("Authorization: Basic {ACCOUNT}:{}\n", api.api_token()));
    let encoded = header("base64").strip_prefix("Authorization: Basic ").unwrap().trim_end().to_owned();
    assert!(!encoded.contains(':') && !encoded.contains(' '));
    assert_eq!(usherd.usher(&["token", "raw"]).expect_ok().stdout, format!("{}\n", api.api_token()));

    let pem = ca.pem().display().to_string();
    for (name, api) in [("raw", &api), ("base64", &rfc)] {
        let path = "/environments?page=0&size=20";
        let output = usherd.usher(&["curl", "-p", name, "-sSf", "--cacert", &pem, path]).expect_ok();
        let answer: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(answer["content"][0]["name"], "lab");
        assert_eq!(api.requests().len(), 1, "{name}");
    }
    assert_eq!(rfc.requests()[0].header("authorization"), Some(format!("Basic {encoded}").as_str()));
}

#[test]
fn an_api_key_and_secret_are_exchanged_by_the_same_flow() {
    let idp = FakeIdp::builder().client("api-key-of-the-account", &canary("API-SECRET"));
    let world = World::with(idp, |sandbox, ca, idp| frontdoor(sandbox, ca, idp, ""));
    let token = facts(&world.usherd, &["frontdoor"]);
    assert_eq!((&token["token_type"], &token["expires_at"].is_i64()), (&json!("Bearer"), &true));
    let request = world.idp.requests()[0].json();
    assert_eq!(request["client_id"], "api-key-of-the-account");
    assert_eq!(request["client_secret"], world.idp.client_secret());
}

#[test]
fn json_says_all_that_is_known_of_a_token() {
    let world = World::new("");
    let fetched = facts(&world.usherd, &["frontdoor"]);
    let token = &world.idp.issued()[0];
    let (expires_at, expires_in) = (&fetched["expires_at"], &fetched["expires_in"]);
    let (id, left) = (fetched["token_id"].as_str().unwrap(), expires_in.as_i64().unwrap());
    assert!((3590..=3600).contains(&left), "{left}");
    let now = expires_at.as_i64().unwrap() - left;
    let started = status(&world.usherd, &[])["started_at"].as_i64().unwrap();
    assert!((started..started + 60).contains(&now), "{now} is not just after {started}");
    assert!(!id.is_empty() && !token.contains(id));
    let expected = json!({
        "access_token": token, "token_type": "Bearer", "authorization": format!("Bearer {token}"),
        "expires_at": expires_at, "expires_in": expires_in,
        "scopes": ["frontdoor.read", "frontdoor.write"], "profile": "frontdoor",
        "token_id": id, "source": "fetched", "below_min_ttl": false,
    });
    assert_eq!(fetched, expected);

    let cached = facts(&world.usherd, &["frontdoor"]);
    assert_eq!((&cached["source"], &cached["token_id"]), (&json!("cache"), &json!(id)));
    assert_eq!((&cached["access_token"], &cached["expires_at"]), (&json!(token), expires_at));
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_narrower_scope_is_asked_for_by_itself() {
    let world = World::new("");
    facts(&world.usherd, &["frontdoor"]);
    let narrow = facts(&world.usherd, &["frontdoor", "--scope", "frontdoor.read"]);
    assert_eq!((&narrow["scopes"], &narrow["source"]), (&json!(["frontdoor.read"]), &json!("fetched")));
    assert_eq!(world.idp.requests()[1].json()["scope"], "frontdoor.read");
    let again = facts(&world.usherd, &["frontdoor", "--scope", "frontdoor.read"]);
    assert_eq!(again["access_token"], narrow["access_token"]);
    assert_eq!(world.idp.token_requests(), 2);

    let error = refusal(&world.usherd, &["frontdoor", "--scope", "frontdoor.admin"], 77);
    assert_eq!(
        (&error["reason"], &error["facts"]["profile"]),
        (&json!("SCOPE_NOT_ALLOWED"), &json!("frontdoor"))
    );
    assert_eq!(world.idp.token_requests(), 2, "what the profile does not list is not asked for");
}

#[test]
fn another_audience_can_be_asked_for_if_the_profile_lists_it() {
    let world = World::new("audiences = [\"https://api.example.com\"]");
    facts(&world.usherd, &["frontdoor"]);
    facts(&world.usherd, &["frontdoor", "--audience", "https://api.example.com"]);
    let asked: Vec<_> =
        world.idp.requests().iter().map(|request| request.json()["audience"].clone()).collect();
    assert_eq!(asked, [AUDIENCE, "https://api.example.com"]);
    let error = refusal(&world.usherd, &["frontdoor", "--audience", "https://elsewhere.example.com"], 77);
    assert_eq!(error["reason"], "AUDIENCE_NOT_ALLOWED");
    assert_eq!(world.idp.token_requests(), 2);
}

#[test]
fn status_marks_an_account_token_as_long_lived() {
    let ca = Ca::new();
    let api = FakeApi::builder().start(&ca);
    let sandbox = sandbox();
    sandbox.config(&automation(&sandbox, "automation", &api, ""));
    let usherd = sandbox.start();
    let token = facts(&usherd, &["automation"]);
    assert_eq!((&token["expires_at"], &token["token_type"]), (&Value::Null, &json!("Basic")));
    assert_eq!(token["source"], "cache");
    let profile = &status(&usherd, &["automation"])["profiles"][0];
    assert_eq!((&profile["long_lived"], &profile["grant"]), (&json!(true), &json!("static")));
    let text = usherd.usher(&["status"]).expect_ok().stdout;
    assert!(text.contains("automation: hands out the long-lived account token") && text.contains("exchange"));
}

#[test]
fn a_rejected_account_token_is_never_fetched_anew() {
    let ca = Ca::new();
    let api = FakeApi::builder().start(&ca);
    let sandbox = sandbox();
    sandbox.config(&automation(&sandbox, "automation", &api, ""));
    let usherd = sandbox.start();
    let first = facts(&usherd, &["automation"]);
    let id = first["token_id"].as_str().unwrap();
    for _ in 0..2 {
        let error = refusal(&usherd, &["automation", "--rejected", id], 77);
        assert_eq!(error["reason"], "TOKEN_REJECTED");
        assert!(error["message"].as_str().unwrap().contains("make a new one"), "{error}");
    }
    // Whoever has not been refused still gets it, and a replaced one is handed out at once.
    assert_eq!(facts(&usherd, &["automation"]), first);
    let replacement = canary("NEW-API-TOKEN");
    usherd.api_token("automation", &replacement);
    assert_eq!(facts(&usherd, &["automation", "--rejected", id])["access_token"], replacement);
}

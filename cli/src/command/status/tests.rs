//! Both renderings of one answer, at a fixed time.

use prost_types::Timestamp;
use usher_proto::v1::{ErrorReason, ProfileStatus, StatusResponse, TokenState, TokenStatus};

use super::{facts, human};

const NOW: i64 = 1_764_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn answer() -> StatusResponse {
    let frontdoor = ProfileStatus {
        name: "frontdoor".into(),
        preset: "netfoundry-frontdoor".into(),
        grant: "client_credentials".into(),
        token_url: "https://idp.example/oauth/token".into(),
        scopes: vec!["a".into(), "b".into()],
        tokens: vec![TokenStatus {
            scopes: vec!["a".into()],
            state: TokenState::Fresh.into(),
            expires_at: Some(at(NOW + 3130)),
            token_id: "k1".into(),
            fetched: 1,
            served: 200,
            ..Default::default()
        }],
        ..Default::default()
    };
    let broken = ProfileStatus {
        name: "broken".into(),
        grant: "client_credentials".into(),
        tokens: vec![TokenStatus {
            state: TokenState::None.into(),
            failed: 3,
            last_error: "no answer from idp.example".into(),
            last_error_reason: ErrorReason::IdpUnreachable.into(),
            retry_at: Some(at(NOW + 28)),
            ..Default::default()
        }],
        ..Default::default()
    };
    let automation = ProfileStatus {
        name: "automation".into(),
        grant: "static".into(),
        long_lived: true,
        ..Default::default()
    };
    let locked = ProfileStatus {
        name: "locked".into(),
        grant: "client_credentials".into(),
        secret_error: "/run/secrets/x: no such file".into(),
        allows_loopback_http: true,
        ..Default::default()
    };
    StatusResponse {
        version: "0.1.0".into(),
        pid: 42,
        started_at: Some(at(NOW - 7384)),
        config_path: "/home/u/.config/usher/config.toml".into(),
        profiles: vec![frontdoor, broken, automation, locked],
        ..Default::default()
    }
}

#[test]
fn people_see_a_table_and_what_needs_attention() {
    let expected = "\
usherd 0.1.0, pid 42, started 2h 3m ago (1763992616), config /home/u/.config/usher/config.toml

NAME        GRANT               STATE         EXPIRES                  SCOPES  SERVED  FETCHED  FAILED
frontdoor   client_credentials  fresh         in 52m 10s (1764003130)  a          200        1       0
broken      client_credentials  backing off   -                        -            0        0       3
automation  static              static        -                        -            0        0       0
locked      client_credentials  secret error  -                        -            0        0       0

broken: no answer from idp.example [IDP_UNREACHABLE]; the IdP is asked again in 28s (1764000028)
automation: hands out the long-lived account token itself; exchange it for a short-lived one if your IdP can: see the README
locked: the secret cannot be read: /run/secrets/x: no such file
locked: may speak http, unencrypted, to this machine (allow_loopback_http)
";
    assert_eq!(human::render(&answer(), NOW), expected);
}

#[test]
fn a_refused_configuration_is_loud() {
    let answer = StatusResponse {
        config_error: "config.toml:3: unknown key `scope`\nconfig.toml:9: no secret\n".into(),
        config_loaded_at: Some(at(NOW - 60)),
        profiles: vec![],
        ..answer()
    };
    let text = human::render(&answer, NOW);
    assert!(text.contains("\nCONFIGURATION REFUSED: the one before, read 1m ago (1763999940), is"), "{text}");
    assert!(text.contains("\n  config.toml:3: unknown key `scope`\n  config.toml:9: no secret\n"), "{text}");
    assert!(text.contains("no profiles"), "{text}");
}

#[test]
fn a_token_that_is_still_good_is_shown_beside_the_trouble() {
    let mut answer = answer();
    answer.profiles[0].tokens[0].state = TokenState::Ageing.into();
    answer.profiles[0].tokens[0].retry_at = Some(at(NOW + 5));
    assert!(human::render(&answer, NOW).contains("ageing, backing off"));
    // Once the time has come it no longer backs off.
    assert!(!human::render(&answer, NOW + 5).contains("ageing, backing off"));
}

#[test]
fn what_an_idp_said_does_not_steer_the_terminal() {
    let mut answer = answer();
    answer.profiles[1].tokens[0].last_error = "bad\x1b]0;title\x07".into();
    let text = human::render(&answer, NOW);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn programs_see_everything() {
    let value = serde_json::to_value(facts::Daemon::of(&answer(), NOW)).unwrap();
    assert_eq!(value["started_at"], NOW - 7384);
    assert_eq!(value["config_error"], serde_json::Value::Null);
    let profile = &value["profiles"][0];
    assert_eq!(profile["preset"], "netfoundry-frontdoor");
    assert_eq!(
        profile["tokens"][0],
        serde_json::json!({
            "audience": null, "scopes": ["a"], "state": "fresh", "expires_at": NOW + 3130,
            "expires_in": 3130, "token_id": "k1", "last_used_at": null, "fetched": 1, "failed": 0,
            "served": 200, "last_error": null, "last_error_reason": null, "retry_at": null,
            "retry_in": null, "budget_left": 0,
        })
    );
    let token = &value["profiles"][1]["tokens"][0];
    assert_eq!(token["last_error_reason"], "IDP_UNREACHABLE");
    assert_eq!(token["retry_in"], 28);
    assert_eq!(value["profiles"][2]["long_lived"], true);
    assert_eq!(value["profiles"][3]["secret_error"], "/run/secrets/x: no such file");
}

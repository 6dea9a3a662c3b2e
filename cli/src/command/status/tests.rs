//! Both renderings of one answer, at a fixed time.

use prost_types::Timestamp;
use usher_proto::v1::{
    CredentialsStatus, ErrorReason, ProfileStatus, Quota, RemovedProfile, StatusResponse, StoreStatus,
    TokenState, TokenStatus,
};

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
            last_used_at: Some(at(NOW - 192)),
            fetched: 2,
            refreshed: 1,
            served: 200,
            budget_left: 28,
            budget_limit: 30,
            budget_window_seconds: 3600,
            ..Default::default()
        }],
        quotas: vec![
            Quota {
                name: "client per_hour".into(),
                limit: Some(10),
                remaining: 7,
                resets_at: Some(at(NOW + 3540)),
                learnt_at: Some(at(NOW - 60)),
            },
            Quota { name: "requests".into(), remaining: 3, ..Default::default() },
        ],
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
        revocations_pending: 2,
        revocation_error: "the IdP idp.example answered 503".into(),
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
fn what_helpers_have_stored_is_counted() {
    let store = StoreStatus {
        directory: "/s".into(),
        key_source: "file /k".into(),
        weak_key: true,
        ..Default::default()
    };
    let line = |credentials| {
        let answer = StatusResponse { credentials: Some(credentials), ..Default::default() };
        let text = human::render(&answer, NOW, None);
        text.lines().find(|line| line.starts_with("credentials")).map(str::to_owned)
    };
    assert_eq!(line(CredentialsStatus::default()), None);
    let in_memory = CredentialsStatus { in_memory: 2, ..Default::default() };
    assert_eq!(line(in_memory.clone()).unwrap(), "credentials stored by helpers: 2 in memory");
    let both = CredentialsStatus { on_disk: 1, store: Some(store), ..in_memory };
    assert_eq!(
        line(both).unwrap(),
        "credentials stored by helpers: 2 in memory, 1 in /s, key: file /k (weak: whoever can read your files has both)"
    );
}

#[test]
fn people_see_a_table_and_what_needs_attention() {
    let expected = "\
usherd 0.1.0, pid 42, started 2h 3m ago (1763992616), config /home/u/.config/usher/config.toml

NAME        STATE         EXPIRES                  USED    SCOPES  SERVED  FETCHED  REFRESHED  FAILED
frontdoor   fresh         in 52m 10s (1764003130)  3m ago  a          200        2          1       0
broken      backing off   -                        -       -            0        0          0       3
automation  static        -                        -       -            0        0          0       0
locked      secret error  -                        -       -            0        0          0       0

NAME       LIMIT                  LEFT      FULL AGAIN
frontdoor  usher's budget, 1h     28 of 30  -
frontdoor  IdP's client per_hour  7 of 10   in 59m (1764003540)
frontdoor  IdP's requests         3         -

broken: no answer from idp.example [IDP_UNREACHABLE]; the IdP is asked again in 28s (1764000028)
automation: hands out the long-lived account token itself; exchange it for a short-lived one if your IdP can: see the README
locked: the secret cannot be read: /run/secrets/x: no such file
locked: 2 tokens wait to be revoked; the last try failed: the IdP idp.example answered 503
locked: may speak http, unencrypted, to this machine (allow_loopback_http)
";
    assert_eq!(human::render(&answer(), NOW, None), expected);
}

#[test]
fn a_terminal_of_eighty_columns_has_room_for_five_profiles_in_every_state() {
    let mut answer = answer();
    let second = TokenStatus {
        scopes: vec!["frontdoor.read".into(), "frontdoor.write".into()],
        state: TokenState::Ageing.into(),
        expires_at: Some(at(NOW + 65)),
        last_used_at: Some(at(NOW - 3)),
        retry_at: Some(at(NOW + 5)),
        last_error: "the IdP idp.example answered 429".into(),
        last_error_reason: ErrorReason::IdpUnavailable.into(),
        served: 7,
        fetched: 3,
        refreshed: 2,
        failed: 1,
        ..Default::default()
    };
    answer.profiles[0].tokens.push(second);
    answer.profiles.push(ProfileStatus { name: "idle".into(), ..Default::default() });
    let text = human::render(&answer, NOW, Some(80));
    assert_eq!(
        text,
        "\
usherd 0.1.0, pid 42, started 2h 3m ago (1763992616), config
  /home/u/.config/usher/config.toml

NAME             STATE         EXPIRES  USED    SERVED FETCHED REFRESHED FAILED
frontdoor        fresh         52m 10s  3m ago     200       2         1      0
  frontdoor.re\u{2026}  ageing!       1m 5s    3s ago       7       3         2      1
broken           backing off   -        -            0       0         0      3
automation       static        -        -            0       0         0      0
locked           secret error  -        -            0       0         0      0
idle             none          -        -            0       0         0      0

NAME       LIMIT                  LEFT      FULL AGAIN
frontdoor  usher's budget, 1h     28 of 30  -
frontdoor  IdP's client per_hour  7 of 10   in 59m (1764003540)
frontdoor  IdP's requests         3         -

frontdoor: the IdP idp.example answered 429 [IDP_UNAVAILABLE]; the IdP is asked
  again in 5s (1764000005)
broken: no answer from idp.example [IDP_UNREACHABLE]; the IdP is asked again in
  28s (1764000028)
automation: hands out the long-lived account token itself; exchange it for a
  short-lived one if your IdP can: see the README
locked: the secret cannot be read: /run/secrets/x: no such file
locked: 2 tokens wait to be revoked; the last try failed: the IdP idp.example
  answered 503
locked: may speak http, unencrypted, to this machine (allow_loopback_http)
"
    );
    for width in 20..200 {
        let narrow = human::render(&answer, NOW, Some(width));
        let longest = narrow.lines().map(|line| line.chars().count()).max();
        // Below this the terminal has to cut: a number that is missing would be worse.
        assert!(longest <= Some(usize::from(width).max(80)), "{width}\n{narrow}");
    }
}

#[test]
fn a_refused_configuration_is_loud() {
    let answer = StatusResponse {
        config_error: "config.toml:3: unknown key `scope`\nconfig.toml:9: no secret\n".into(),
        config_loaded_at: Some(at(NOW - 60)),
        profiles: vec![],
        ..answer()
    };
    let text = human::render(&answer, NOW, None);
    assert!(text.contains("\nCONFIGURATION REFUSED: the one before, read 1m ago (1763999940), is"), "{text}");
    assert!(text.contains("\n  config.toml:3: unknown key `scope`\n  config.toml:9: no secret\n"), "{text}");
    assert!(text.contains("no profiles"), "{text}");
}

#[test]
fn a_token_that_is_still_good_is_shown_beside_the_trouble() {
    let mut answer = answer();
    answer.profiles[0].tokens[0].state = TokenState::Ageing.into();
    answer.profiles[0].tokens[0].retry_at = Some(at(NOW + 5));
    assert!(human::render(&answer, NOW, None).contains("ageing, backing off"));
    // Once the time has come it no longer backs off.
    assert!(!human::render(&answer, NOW + 5, None).contains("ageing, backing off"));
}

#[test]
fn a_quota_that_is_used_up_needs_attention() {
    let mut answer = answer();
    answer.profiles[0].quotas[0].remaining = 0;
    let text = human::render(&answer, NOW, None);
    let mark = "frontdoor: the IdP's quota client per_hour is used up; until it is full again, in 59m (1764003540), \
                tokens are refreshed in their last minute only\n";
    assert!(text.contains(mark), "{text}");
    assert_eq!(text.matches("is used up").count(), 1, "the others are not");
}

#[test]
fn what_was_not_revoked_is_said_also_of_a_profile_that_is_gone() {
    let mut answer = answer();
    answer.profiles.truncate(1);
    answer.profiles[0].revocations_given_up = 1;
    answer.profiles[0].revocation_error = "the IdP does not".into();
    answer.removed_profiles.push(RemovedProfile {
        name: "gone".into(),
        revocations_pending: 1,
        revocation_error: "busy".into(),
        revocation_retry_at: Some(at(NOW + 5)),
        ..Default::default()
    });
    let text = human::render(&answer, NOW, None);
    for line in [
        "frontdoor: 1 token was NOT revoked, valid until expiry; the reason: the IdP does not\n",
        "gone (no longer in the configuration): 1 token waits to be revoked; the last try failed: busy; tried again in 5s",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn what_an_idp_said_does_not_steer_the_terminal() {
    let mut answer = answer();
    answer.profiles[1].tokens[0].last_error = "bad\x1b]0;title\x07".into();
    let text = human::render(&answer, NOW, None);
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
            "expires_in": 3130, "token_id": "k1", "last_used_at": NOW - 192, "fetched": 2, "refreshed": 1, "failed": 0,
            "served": 200, "last_error": null, "last_error_reason": null, "retry_at": null,
            "retry_in": null, "budget_left": 28, "budget_limit": 30, "budget_window_seconds": 3600,
        })
    );
    assert_eq!(
        profile["quotas"],
        serde_json::json!([
            {
                "name": "client per_hour", "limit": 10, "remaining": 7, "resets_at": NOW + 3540,
                "resets_in": 3540, "learnt_at": NOW - 60,
            },
            {
                "name": "requests", "limit": null, "remaining": 3, "resets_at": null, "resets_in": null,
                "learnt_at": null,
            },
        ])
    );
    let token = &value["profiles"][1]["tokens"][0];
    assert_eq!(token["last_error_reason"], "IDP_UNREACHABLE");
    assert_eq!(token["retry_in"], 28);
    assert_eq!(value["profiles"][2]["long_lived"], true);
    assert_eq!(value["profiles"][0]["revocation_error"], serde_json::Value::Null);
    assert_eq!(value["profiles"][3]["revocations_pending"], 2);
    assert_eq!(value["profiles"][3]["revocation_error"], "the IdP idp.example answered 503");
    assert_eq!(value["profiles"][3]["secret_error"], "/run/secrets/x: no such file");
}

//! What a configuration's author sees.

use std::time::Duration;

use super::*;
use crate::domain::{
    profile::{BasicEncoding, Body, ClientAuth, Grant},
    secret::SecretRef,
    settings::{IdleExit, Settings, StoreSettings},
};

fn check(text: &str) -> Result<Profiles, String> {
    let context = Context {
        directory: "/etc/usher".into(),
        home: Some("/home/u".into()),
        uid_of: |name| (name == "alice").then_some(1000),
        network: Network::default(),
    };
    parse(text, Path::new("/etc/usher/config.toml"), &context).map_err(|report| report.to_string())
}

fn problems(text: &str) -> String {
    check(text).expect_err("this configuration is wrong")
}

#[test]
fn a_store_has_a_key_elsewhere() {
    let store = |text: &str| check(text).map(|config| config.settings.store);
    assert_eq!(store(""), Ok(None));
    assert_eq!(
        store("[store]\nkey = { file = \"~/k\" }\ndirectory = \"d\""),
        Ok(Some(StoreSettings {
            key: SecretRef::File("/home/u/k".into()),
            directory: Some("/etc/usher/d".into())
        }))
    );
    for (text, expected) in [
        ("store = true", "line 1: store: is no table; write [store]"),
        ("[store]", "line 1: store.key: is missing"),
        ("[store]\nkey = \"abc\"", "line 2: store.key: holds a value where a reference belongs"),
        ("[store]\nkey = { env = \"K\" }\npath = \"/x\"", "line 3: store.path: is not a key here"),
        (
            "[store]\nkey = { file = \"/s/k\" }\ndirectory = \"/s\"",
            "line 2: store.key: lies in the store's own",
        ),
    ] {
        let problems = problems(text);
        assert!(problems.contains(expected), "{text}: {problems}");
        assert!(!problems.contains("abc"), "{problems}");
    }
}

#[test]
fn the_guides_oauth_client_needs_four_lines() {
    let config = check(
        r#"
        [profile.frontdoor]
        preset = "netfoundry-frontdoor"
        idp = "acme.example.com"
        client_id = "id"
        client_secret = { file = "/run/secrets/frontdoor" }
        "#,
    )
    .unwrap();
    let profile = &config.by_name["frontdoor"];
    let Grant::ClientCredentials(grant) = &profile.grant else { panic!("{:?}", profile.grant) };
    assert_eq!(grant.token_endpoint.configured().as_str(), "https://acme.example.com/oauth/token");
    assert_eq!((grant.body, grant.client_auth), (Body::Json, Some(ClientAuth::Body)));
    assert_eq!(grant.client_secret, SecretRef::File("/run/secrets/frontdoor".into()));
    assert_eq!(profile.audience.as_deref(), Some("https://gateway.production.netfoundry.io/frontdoor"));
    assert_eq!(profile.default_scopes.to_string(), "frontdoor.read frontdoor.write");
}

#[test]
fn the_profile_wins_over_its_preset() {
    let config = check(
        r#"
        default_profile = "a"
        [profile.a]
        preset = "netfoundry-frontdoor"
        token_url = "https://idp.example.com/t"
        client_id = "id"
        client_secret = { env = "SECRET" }
        scopes = ["a", "b"]
        default_scopes = ["b"]
        base_url = "https://api.example.com/v1"
        max_token_requests = "10/8h"
        default_lifetime = "5m"
        revoke_unused_after = "30m"
        ca_file = "ca.pem"
        [profile.b]
        preset = "netfoundry-api-token"
        account_id = "acc"
        api_token = { file = "~/token" }
        encoding = "base64"
        "#,
    )
    .unwrap();
    let profile = &config.by_name["a"];
    let Grant::ClientCredentials(grant) = &profile.grant else { panic!("{:?}", profile.grant) };
    assert_eq!(grant.token_endpoint.configured().as_str(), "https://idp.example.com/t");
    assert_eq!(grant.client_secret, SecretRef::Env("SECRET".into()));
    assert_eq!(grant.network.ca_file.as_deref(), Some(Path::new("/etc/usher/ca.pem")));
    assert_eq!(grant.default_lifetime, Duration::from_secs(300));
    assert_eq!(grant.revoke_unused_after, Some(Duration::from_secs(1800)));
    let limit = grant.max_token_requests.unwrap();
    assert_eq!((limit.requests, limit.window), (10, Duration::from_secs(8 * 3600)));
    assert_eq!(profile.default_scopes.to_string(), "b");
    assert_eq!(profile.urls.len(), 1, "urls default to base_url, not to the preset's");
    assert_eq!(profile.urls[0].to_string(), "https://api.example.com/v1");
    let Grant::Static(grant) = &config.by_name["b"].grant else { panic!("not static") };
    assert_eq!(grant.encoding, BasicEncoding::Base64);
    assert_eq!(grant.api_token, SecretRef::File("/home/u/token".into()));
}

#[test]
fn every_mistake_is_in_one_report_with_line_and_key() {
    let report = problems(
        r#"default_profile = "frontdor"
[profile.frontdoor]
preset = "netfoundry-frontdoor"
idp = "https://acme.example.com"
client_secret = "hunter2-CANARY"
scope = ["frontdoor.read"]
default_scopes = ["other"]
body = "xml"
max_token_requests = 10
"#,
    );
    for expected in [
        "/etc/usher/config.toml has 8 problems:",
        "line 1: default_profile: there is no [profile.frontdor]",
        "line 2: profile.frontdoor.client_id: is missing",
        "line 4: profile.frontdoor.idp: is no domain; write it alone, such as \"acme.example.com\"",
        "line 5: profile.frontdoor.client_secret: holds a value where a reference belongs",
        "client_secret = { file = \"/path/to/it\" }",
        "line 6: profile.frontdoor.scope: is not a key here; did you mean scopes?",
        "line 7: profile.frontdoor.default_scopes: \"other\" is not one of the profile's scopes",
        "line 8: profile.frontdoor.body: must be \"json\" or \"form\"",
        "line 9: profile.frontdoor.max_token_requests: is an integer; write a string in quotes",
    ] {
        assert!(report.contains(expected), "{expected:?} is not in\n{report}");
    }
    assert!(!report.contains("CANARY"), "{report}");
}

#[test]
fn a_syntax_error_names_its_line_and_quotes_nothing() {
    let report = problems("[profile.a]\npreset = \"oauth2\"\nclient_secret = \"CANARY\nclient_id = \"x\"\n");
    assert!(report.contains("line 3: "), "{report}");
    assert!(!report.contains("CANARY"), "{report}");
    let report = problems("[profile.a]\nclient_id = \"x\"\nclient_id = \"CANARY\"\n");
    assert!(report.contains("line 3: is a key that this table has already"), "{report}");
    assert!(!report.contains("CANARY"), "{report}");
}

#[test]
fn what_cannot_be_safe_is_refused() {
    let with =
        |line: &str| format!("[profile.a]\nclient_id = \"x\"\nclient_secret = {{ env = \"S\" }}\n{line}\n");
    for (line, expected) in [
        (
            "token_url = \"http://idp.example.com/t\"",
            "line 4: profile.a.token_url: may be http only for a loopback",
        ),
        ("token_url = \"http://127.0.0.1/t\"", "needs allow_loopback_http = true"),
        ("token_url = \"https://u:p@idp.example.com/t\"", "has a user name or password in it"),
        (
            "token_url = \"https://idp.example.com/t\"\nurls = [\"http://api.example.com\"]",
            "may be http only",
        ),
        (
            "token_url = \"https://i.example/t\"\nbase_url = \"https://a.example/\"\nurls = [\"https://b.example/\"]",
            "base_url: lies outside of urls",
        ),
        ("token_url = \"https://i.example/t\"\nmax_token_requests = \"0/1h\"", "is no limit"),
        ("token_url = \"https://i.example/t\"\ndefault_lifetime = \"25h\"", "at most 24h"),
        ("token_url = \"https://i.example/t\"\nrevoke_unused_after = \"59s\"", "must be at least 1m"),
        ("token_url = \"https://i.example/t\"\nrevoke_unused_after = \"366d 1s\"", "at most 366d"),
        ("token_url = \"https://i.example/t\"\nrevoke_unused_after = \"soon\"", "such as \"30m\""),
        (
            "token_url = \"https://i.example/t\"\nrevocation_url = \"http://i.example/r\"",
            "line 5: profile.a.revocation_url: may be http only for a loopback",
        ),
        (
            "token_url = \"https://i.example/t\"\nrevocation_url = \"http://127.0.0.1/r\"",
            "needs allow_loopback_http = true",
        ),
        ("grant = \"static\"\nrevoke_unused_after = \"1h\"", "revoke_unused_after: is not a key here"),
        ("preset = \"netfoundry-frontdor\"", "is not a preset; did you mean \"netfoundry-frontdoor\"?"),
        ("preset = \"netfoundry-frontdor\"", "line 1: profile.a.idp: is missing"),
        ("preset = \"other\"", "is not a preset; there are auth0, cognito, "),
    ] {
        let report = problems(&with(line));
        assert!(report.contains(expected), "{expected:?} is not in\n{report}");
    }
    let both = problems(
        "[profile.a]\ntoken_url = \"https://i.example/t\"\nclient_id = \"x\"\nclient_secret = { env = \"S\", file = \"/f\" }\n",
    );
    assert!(both.contains("must name exactly one source"), "{both}");
}

#[test]
fn a_url_leads_to_one_profile() {
    let profile = |name: &str, lines: &str| {
        format!(
            "[profile.{name}]\ntoken_url = \"https://i.example/t\"\nclient_id = \"x\"\n\
             client_secret = {{ env = \"S\" }}\n{lines}\n"
        )
    };
    let one = profile("one", "urls = [\"https://git.example/a\", \"https://git.example/a/\"]");
    for (line, taken) in [
        ("urls = [\"https://other.example\", \"https://GIT.example:443/a/\"]", false),
        ("base_url = \"https://git.example/a\"", false),
        ("base_url = \"https://git.example/a\"\nby_name_only = true", true),
        ("urls = [\"https://git.example/a/b\", \"https://git.example\"]", true),
    ] {
        let text = one.clone() + &profile("two", line);
        match check(&text) {
            Ok(config) => assert!(taken, "{line}: {config:?}"),
            Err(report) => {
                assert!(!taken, "{line}: {report}");
                let key = line.split(' ').next().unwrap();
                let expected = format!("line 10: profile.two.{key}: https://git.example/a");
                assert!(report.contains(&expected), "{report}");
                assert!(
                    report.contains("of the profile one, too") && report.contains("by_name_only"),
                    "{report}"
                );
            }
        }
    }
    let preset = |name: &str, line: &str| {
        format!(
            "[profile.{name}]\npreset = \"netfoundry-api-token\"\naccount_id = \"x\"\n\
             api_token = {{ env = \"S\" }}\n{line}\n"
        )
    };
    let base = "base_url = \"https://gateway.production.netfoundry.io/frontdoor\"";
    assert!(check(&(preset("a", "") + &preset("b", ""))).is_ok(), "nobody says that either is for it");
    assert!(check(&(preset("a", base) + &preset("b", ""))).is_ok());
    assert!(
        problems(&(preset("a", base) + &preset("b", base)))
            .contains("line 10: profile.b.base_url: https://gateway")
    );
}

#[test]
fn a_user_name_fits_before_a_colon() {
    let with = |name: &str| {
        format!(
            "[profile.a]\ntoken_url = \"https://i.example/t\"\nclient_id = \"x\"\n\
             client_secret = {{ env = \"S\" }}\nusername = \"{name}\"\n"
        )
    };
    for name in ["oauth2", "<token>", "_json_key", "caf\u{e9}"] {
        assert_eq!(check(&with(name)).unwrap().by_name["a"].username.as_deref(), Some(name));
    }
    for bad in ["", "a:b", "a\\nb", &"x".repeat(257)] {
        assert!(problems(&with(bad)).contains("line 5: profile.a.username: is no user name"), "{bad}");
    }
}

#[test]
fn keys_of_another_grant_are_unknown() {
    let report = problems(
        "[profile.a]\npreset = \"netfoundry-api-token\"\naccount_id = \"x\"\napi_token = { env = \"T\" }\nclient_id = \"y\"\n",
    );
    assert!(report.contains("line 5: profile.a.client_id: is not a key here"), "{report}");
}

#[test]
fn an_empty_file_has_no_profiles() {
    assert_eq!(check(""), Ok(Profiles::default()));
}

#[test]
fn no_profile_is_left_out_without_a_word() {
    for (preset, grant, expected) in [
        ("oauth2", "static", "line 1: profile.a.encoding: is missing: write \"raw\" or \"base64\""),
        (
            "netfoundry-api-token",
            "client_credentials",
            "line 1: profile.a.body: is missing: write \"json\" or",
        ),
    ] {
        let report = problems(&format!(
            "[profile.a]\npreset = \"{preset}\"\ngrant = \"{grant}\"\naccount_id = \"x\"\nclient_id = \"x\"\n\
             token_url = \"https://i.example/\"\nclient_secret = {{ env = \"S\" }}\napi_token = {{ env = \"S\" }}\n"
        ));
        assert!(report.contains(expected), "{expected:?} is not in\n{report}");
    }
}

#[test]
fn a_syntax_error_comes_without_what_only_follows_from_it() {
    let report =
        problems("[profile.a]\nclient_id = \"x\"\nclient_secret = { file: \"x\" }\nbody = \"xml\"\n");
    assert!(report.contains("line 3: ") && report.contains("line 4: profile.a.body: must be"), "{report}");
    assert!(!report.contains("is not a key") && !report.contains("is missing"), "{report}");
}

#[test]
fn a_name_that_is_none_is_told_by_its_name() {
    let report = problems("[profile.\"my prof\"]\nclient_id = \"x\"\n");
    assert!(report.contains("line 1: profile.my prof: a profile's name is up to 64 letters"), "{report}");
}

#[test]
fn a_file_of_nothing_but_mistakes_is_not_read_for_ever() {
    let junk: Vec<_> = (0..50_000).map(|number| format!("junk{number} = 1\n")).collect();
    let report = problems(&junk.concat());
    assert!(report.contains("has 100 problems or more:"), "{report}");
}

#[test]
fn the_daemon_itself_has_settings() {
    let settings = check(
        "allowed_users = [\"alice\", 1001, \"1002\"]\nshutdown_timeout = \"1m\"\nidle_exit = \"10m\"\n",
    )
    .unwrap()
    .settings;
    assert_eq!(settings.allowed_users.into_iter().collect::<Vec<_>>(), [1000, 1001, 1002]);
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(60));
    assert_eq!(settings.idle_exit, Some(IdleExit::After(Duration::from_secs(600))));
    assert_eq!(check("idle_exit = \"never\"").unwrap().settings.idle_exit, Some(IdleExit::Never));
    assert_eq!(check("").unwrap().settings, Settings::default());
    let settings = check("allowed_users = [\"bob\", -1, 1001]").unwrap().settings;
    assert_eq!(settings.allowed_users.into_iter().collect::<Vec<_>>(), [1001]);
    assert_eq!(settings.unknown_users, ["bob", "-1"], "nobody is let in in their place");
}

#[test]
fn what_is_no_setting_is_told_with_its_line() {
    for (line, words) in [
        ("allowed_users = \"alice\"", "is no list of names and numbers"),
        ("allowed_users = [0x10]", "is no list of names and numbers"),
        ("shutdown_timeout = \"2h\"", "must be at most 1h"),
        ("shutdown_timeout = 5", "write a string in quotes"),
        ("idle_exit = \"0s\"", "line 1: idle_exit: is no duration"),
        ("idle_exit = \"18446744073709551615s\"", "must be at most 366d"),
        ("idle_exit = \"soon\"", "or \"never\""),
    ] {
        let problems = problems(line);
        assert!(problems.contains(words), "{problems}");
    }
}

#[test]
fn what_is_there_twice_is_told_once() {
    let profile = "[profile.a]\npreset = \"oauth2\"\ntoken_url = \"https://idp.example.com/t\"\nclient_id = \"id\"\n\
                   client_secret = { env = \"A\" }\n";
    let told = problems(&format!("{profile}{profile}"));
    assert!(told.contains("line 6: is a table that is there already, above"), "{told}");
    assert_eq!(told.matches("line ").count(), 1, "{told}");
    let again = problems(&format!("{profile}client_id = \"other\"\n"));
    assert!(again.contains("line 6: is a key that this table has already, above"), "{again}");
}

#[test]
fn what_is_quoted_from_the_file_steers_no_terminal() {
    for (text, told) in [
        ("\"\\u001b]0;x\\u0007\" = 1", "line 1: \\u{1b}]0;x\\u{7}: is not a key here"),
        ("default_profile = \"a\\nline 9: b\"", "there is no [profile.a\\nline 9: b]"),
    ] {
        let problems = problems(text);
        assert!(problems.contains(told) && !problems.contains(char::is_control), "{problems:?}");
    }
}

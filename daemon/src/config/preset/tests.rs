//! What the presets' files say, and what a profile that uses one may get wrong.

mod page;
mod requests;

use std::path::Path;

use super::*;
use crate::{
    config::{self, Context},
    domain::profile::{Grant, Network, Profile, Profiles},
};

fn check(text: &str) -> Result<Profiles, String> {
    let context = Context {
        directory: "/etc/usher".into(),
        home: Some("/home/u".into()),
        uid_of: |name| (name == "alice").then_some(1000),
        network: Network::default(),
    };
    config::parse(text, Path::new("/etc/usher/config.toml"), &context).map_err(|report| report.to_string())
}

/// The one profile of this text.
fn profile(text: &str) -> Profile {
    let profiles = check(text).unwrap_or_else(|report| panic!("{report}\n{text}"));
    let [profile] = profiles.by_name.values().collect::<Vec<_>>()[..] else { panic!("one profile: {text}") };
    Profile::clone(profile)
}

/// The example of a preset with other values for some keys, or without them.
fn example(preset: &str, changed: &[(&str, Option<&str>)]) -> String {
    let lines = find(preset).unwrap().example.lines();
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let mut text: Vec<_> = lines
        .filter(|line| !changed.iter().any(|(changed, _)| key(line).as_deref() == Some(changed)))
        .map(str::to_owned)
        .collect();
    text.extend(changed.iter().filter_map(|(key, value)| Some(format!("{key} = {}", (*value)?))));
    text.join("\n")
}

/// Whether `{name}` is in one of the preset's values.
fn uses(preset: &Preset, name: &str) -> bool {
    let place = format!("{{{name}}}");
    let values = preset.strings.values().chain(preset.lists.values().flatten());
    values.chain(preset.maps.values().flat_map(BTreeMap::values)).any(|value| value.contains(&place))
}

#[test]
fn every_file_parses_in_the_order_of_names() {
    for (name, text) in FILES {
        if let Err(error) = parse(name, text) {
            panic!("{name}: {error}");
        }
    }
    assert_eq!(all().len(), FILES.len());
    assert!(FILES.is_sorted_by_key(|(name, _)| *name));
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/presets")).unwrap();
    assert_eq!(files.count(), FILES.len(), "a file that is no preset");
}

#[test]
fn every_file_is_a_page_of_facts() {
    for preset in all() {
        let sentences = [std::slice::from_ref(&preset.summary), &preset.sources, &preset.quirks].concat();
        assert!(!preset.sources.is_empty() && !preset.quirks.is_empty(), "{}", preset.name);
        assert!(sentences.iter().all(|text| !text.trim().is_empty()), "{}", preset.name);
        for quirk in &preset.quirks {
            assert!(quirk.ends_with('.'), "{}: no sentence: {quirk}", preset.name);
        }
        for name in preset.variables.keys() {
            assert!(uses(preset, name), "{}: nothing is filled in with {name}", preset.name);
        }
    }
}

#[test]
fn every_example_is_a_profile() {
    for preset in all() {
        let example = profile(&preset.example);
        assert_eq!(example.preset, preset.name);
        assert!(!example.urls.is_empty(), "{}: the token could be presented nowhere", preset.name);
        let filled = format!("{example:?}");
        assert!(!filled.contains("%7B") && !filled.contains("/{"), "{}: {filled}", preset.name);
        // With all variables said, too.
        let quoted: Vec<_> = preset
            .variables
            .iter()
            .map(|(name, variable)| (name.as_str(), format!("{:?}", variable.example)))
            .collect();
        let changed: Vec<_> = quoted.iter().map(|(name, value)| (*name, Some(value.as_str()))).collect();
        profile(&self::example(preset.name, &changed));
    }
}

#[test]
fn what_a_server_cannot_do_without_is_told_with_the_reason() {
    let mut checked = 0;
    for preset in all() {
        for (key, why) in &preset.required {
            let in_preset = preset.strings.contains_key(key) || preset.lists.contains_key(key);
            let told = format!("profile.{}.{key}: is missing: {why}", profile(&preset.example).name);
            match check(&example(preset.name, &[(key, None)])) {
                Ok(_) => assert!(in_preset, "{} does without {key}", preset.name),
                Err(report) => {
                    assert!(report.contains(&told), "{told:?} is not in\n{report}");
                    assert_eq!(report.lines().count(), 1, "more than that:\n{report}");
                }
            }
            for empty in ["\"\"", "[]"] {
                let report = check(&example(preset.name, &[(key, Some(empty))])).unwrap_err();
                assert!(
                    report.contains(&format!("{key}: is ")),
                    "{} with {key} = {empty}:\n{report}",
                    preset.name
                );
            }
            checked += 1;
        }
        for (name, variable) in &preset.variables {
            let told = format!("{name}: is missing: {}, such as {:?}", variable.about, variable.example);
            match check(&example(preset.name, &[(name, None)])) {
                Ok(_) => assert!(variable.default.is_some(), "{} does without {name}", preset.name),
                Err(report) => {
                    assert!(report.contains(&told), "{told:?} is not in\n{report}");
                    assert_eq!(report.lines().count(), 1, "more than that:\n{report}");
                }
            }
        }
    }
    assert!(checked >= 6, "{checked}");
}

#[test]
fn a_wrong_value_of_any_variable_is_told_at_its_line() {
    // Wrong for all kinds.
    let never = [
        "\"\"",
        "\" \"",
        "\"a b\"",
        "\"..\"",
        "\".\"",
        "\"a/../b\"",
        "\"https://idp.example.com\"",
        "\"https://idp.example.com/oauth/token\"",
        "\"user:password@idp.example.com\"",
        "\"user@idp.example.com\"",
        "\"idp.example.com?x=y\"",
        "\"idp.example.com#x\"",
        "\"idp.example.com/a%2fb\"",
        "\"idp.example.com\\\\evil\"",
        "\"{domain}\"",
        "\"b\\u00fccher\"",
        "\"idp\\nexample\"",
        "\"//idp.example.com\"",
        "7",
        "true",
        "[\"idp.example.com\"]",
    ];
    let no_host = [
        "\"idp.example.com/path\"",
        "\"a..b\"",
        "\".example.com\"",
        "\"a:\"",
        "\"a:b\"",
        "\"a:99999\"",
        "\"[::1\"",
        "\"-a\"",
    ];
    let no_segment = ["\"a/b\"", "\"a/\"", "\"/a\"", "\"a:1\""];
    for preset in all() {
        for (name, variable) in &preset.variables {
            let more: &[&str] = match variable.kind {
                VariableKind::Host => &no_host,
                VariableKind::Segment => &no_segment,
                VariableKind::Base => &["\"a..b/c\"", "\"idp.example.com//a\"", "\"/a\""],
            };
            for value in never.iter().chain(more) {
                let text = example(preset.name, &[(name, Some(value))]);
                let report = check(&text).expect_err(&text);
                let line = text.lines().count();
                let told = format!("line {line}: profile.{}.{name}: ", profile(&preset.example).name);
                assert!(report.contains(&told), "{told:?} is not in\n{report}\n{text}");
                assert_eq!(report.lines().count(), 1, "more than that:\n{report}");
                assert!(!report.contains("password"), "{report}");
            }
        }
    }
}

#[test]
fn a_variable_is_checked_even_where_nothing_is_filled_in() {
    let token_url = ("token_url", Some("\"https://idp.example.com/t\""));
    let text = example("okta", &[token_url, ("domain", Some("\"https://acme.okta.com\""))]);
    assert!(check(&text).unwrap_err().contains("domain: is no domain; write it alone"));
    // Nor is it missing there.
    profile(&example("okta", &[token_url, ("domain", None)]));
}

#[test]
fn resources_are_absolute_uris() {
    profile(&example(
        "oauth2",
        &[("resource", Some("[\"https://api.example.com/v1\", \"urn:example:api\"]"))],
    ));
    for wrong in ["api", "/v1", "https://api.example.com/#x", ""] {
        let resource = format!("[\"https://api.example.com/\", {wrong:?}]");
        let report = check(&example("oauth2", &[("resource", Some(&resource))])).unwrap_err();
        assert!(report.contains(&format!("resource: {wrong:?} is no absolute URI")), "{report}");
    }
}

#[test]
fn an_issuer_in_place_of_what_a_preset_knows() {
    let issuer = ("issuer", Some("\"https://acme.okta.com/oauth2/default\""));
    let profile = profile(&example("okta", &[issuer, ("domain", None)]));
    let text = format!("{:?}", profile.grant);
    assert!(text.contains("Discovered"), "{text}");
    for (wrong, told) in [
        ("\"http://idp.example.com\"", "issuer: may be http only for a loopback"),
        ("\"https://idp.example.com?tenant=a\"", "issuer: has a query"),
        ("\"https://idp.example.com#a\"", "issuer: has a fragment"),
        ("\"https://me@idp.example.com\"", "issuer: has a user name or password in it"),
        ("\"idp.example.com\"", "issuer: is not an absolute URL"),
    ] {
        let report = check(&example("oidc", &[("issuer", Some(wrong))])).unwrap_err();
        assert!(report.contains(told), "{told:?} is not in\n{report}");
    }
    let token_url = ("token_url", Some("\"https://idp.example.com/t\""));
    let report = check(&example("oidc", &[token_url])).unwrap_err();
    assert!(report.contains("token_url: is given beside issuer"), "{report}");
    let report = check(&example("oidc", &[token_url, ("issuer", None)])).unwrap_err();
    assert!(report.contains("client_auth: can be discovered only where issuer is given"), "{report}");
    assert!(report.contains("issuer: is missing: the issuer's URL"), "{report}");
}

/// Where the profile's tokens are revoked.
fn revocation_url(text: &str) -> Option<String> {
    let Grant::ClientCredentials(grant) = profile(text).grant else { panic!("a static one: {text}") };
    grant.revocation_url.map(String::from)
}

#[test]
fn a_preset_knows_where_its_server_revokes() {
    for (preset, expected) in [
        ("keycloak", "https://keycloak.example.com/realms/demo/protocol/openid-connect/revoke"),
        ("okta", "https://acme.okta.com/oauth2/default/v1/revoke"),
        ("pingfederate", "https://www.example.com:9031/as/revoke_token.oauth2"),
        ("zitadel", "https://acme-1a2b3c.zitadel.cloud/oauth/v2/revoke"),
    ] {
        assert_eq!(revocation_url(&example(preset, &[])).as_deref(), Some(expected));
        // What is asked for tokens in its place may be another server, which must not be shown one's tokens.
        let elsewhere = ("token_url", Some("\"https://idp.example.com/t\""));
        assert_eq!(revocation_url(&example(preset, &[elsewhere])), None);
        let own = ("revocation_url", Some("\"https://idp.example.com/r\""));
        let expected = Some("https://idp.example.com/r");
        assert_eq!(revocation_url(&example(preset, &[own])).as_deref(), expected);
        assert_eq!(revocation_url(&example(preset, &[elsewhere, own])).as_deref(), expected);
    }
    // Those whose endpoint takes no access tokens of this grant, or that have none.
    for preset in ["auth0", "cognito", "entra", "netfoundry", "netfoundry-auth0", "pingone"] {
        assert_eq!(revocation_url(&example(preset, &[])), None);
    }
}

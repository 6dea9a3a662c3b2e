//! A profile out of the environment, for jobs that have no configuration: `USHER_CLIENT_ID` is the key
//! `client_id`, and so on for every key of a profile.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use super::Failure;
use crate::{
    config::{self, Context, Problem, Report},
    domain::profile::Profiles,
    lifecycle::default_network,
};

/// The name of the profile.
const NAME: &str = "env";
/// Keys whose value is a list: words separated by spaces.
const LISTS: [&str; 6] = ["scopes", "default_scopes", "audiences", "resource", "urls", "no_proxy"];
/// Keys whose value is a secret: the variable is only referred to.
const SECRETS: [&str; 2] = ["client_secret", "api_token"];
/// Keys that are true or false.
const BOOLEANS: [&str; 2] = ["allow_loopback_http", "by_name_only"];
/// Variables that mean something else.
const OTHERS: [&str; 5] =
    ["USHER_SOCKET", "USHER_PROFILE", "USHER_SERVER_UID", "USHER_AUTOSTART", "USHER_TOKEN"];
/// NetFoundry's own names, all or none, for the preset `netfoundry`.
const NETFOUNDRY: [(&str, &str); 3] = [
    ("NETFOUNDRY_CLIENT_ID", "client_id"),
    ("NETFOUNDRY_PASSWORD", "client_secret"),
    ("NETFOUNDRY_OAUTH_URL", "token_url"),
];

/// The profile that the variables make. Empty ones count as unset: so a CI system passes on what it lacks.
pub(super) fn profiles(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Profiles, Failure> {
    let mut keys = BTreeMap::new();
    for (name, value) in variables {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        if value.is_empty() || OTHERS.contains(&name) {
            continue;
        }
        if let Some((_, key)) = NETFOUNDRY.iter().find(|(own, _)| *own == name) {
            // usher's own variable wins.
            keys.entry((*key).to_owned()).or_insert((name.to_owned(), value.to_owned()));
        } else if let Some(key) = name.strip_prefix("USHER_") {
            keys.insert(key.to_ascii_lowercase(), (name.to_owned(), value.to_owned()));
        }
    }
    let of_netfoundry = keys.values().any(|(variable, _)| variable.starts_with("NETFOUNDRY_"));
    if of_netfoundry {
        keys.entry("preset".to_owned()).or_insert((String::new(), "netfoundry".to_owned()));
    }
    let lines = keys.iter().map(|(key, (variable, value))| line(key, variable, value));
    let text = format!("[profile.{NAME}]\n{}", lines.collect::<Vec<_>>().concat());
    let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let context = Context { directory, home: None, uid_of: |_| None, network: default_network() };
    config::parse(&text, Path::new("the environment"), &context).map_err(|report| {
        let variable = |key: &str| match keys.get(key) {
            Some((variable, _)) => variable.clone(),
            None => variable_of(key, of_netfoundry),
        };
        Failure::config(in_variables(report, variable))
    })
}

/// The variable that is missing for a key.
fn variable_of(key: &str, of_netfoundry: bool) -> String {
    let own = NETFOUNDRY.iter().find(|(_, theirs)| of_netfoundry && *theirs == key);
    own.map_or_else(|| format!("USHER_{}", key.to_ascii_uppercase()), |(variable, _)| (*variable).to_owned())
}

fn line(key: &str, variable: &str, value: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let value = if SECRETS.contains(&key) {
        format!("{{ env = {} }}", quoted(variable))
    } else if LISTS.contains(&key) {
        let words: Vec<_> = value.split_whitespace().map(quoted).collect();
        format!("[{}]", words.join(", "))
    } else if BOOLEANS.contains(&key) && matches!(value, "true" | "false") {
        value.to_owned()
    } else {
        quoted(value)
    };
    format!("{} = {value}\n", quoted(key))
}

/// Says variables where the configuration would have keys and lines.
fn in_variables(report: Report, variable: impl Fn(&str) -> String) -> Report {
    let prefix = format!("profile.{NAME}");
    let problems = report.problems.into_iter().map(|problem| {
        let key = problem.key.strip_prefix(&prefix).unwrap_or(&problem.key).trim_start_matches('.');
        let message = if SECRETS.contains(&key) && problem.message.starts_with("is missing") {
            "is missing: it holds the secret".to_owned()
        } else {
            problem.message
        };
        Problem { line: None, key: variable(key), message }
    });
    Report { problems: problems.collect(), ..report }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{profile::Grant, secret::SecretRef};

    fn made(variables: &[(&str, &str)]) -> Result<Profiles, String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        profiles(variables).map_err(|failure| failure.message)
    }

    #[test]
    fn variables_are_keys() {
        let profiles = made(&[
            ("PATH", "/bin"),
            ("USHER_SOCKET", "/run/x"),
            ("USHER_TOKEN_URL", "https://idp.example/t"),
            ("USHER_CLIENT_ID", "a \"quoted\" id"),
            ("USHER_CLIENT_SECRET", "CANARY"),
            ("USHER_SCOPES", "read write"),
        ])
        .unwrap();
        let profile = &profiles.by_name["env"];
        assert_eq!(profile.scopes.to_string(), "read write");
        let Grant::ClientCredentials(grant) = &profile.grant else { panic!("{:?}", profile.grant) };
        assert_eq!(grant.client_id, "a \"quoted\" id");
        assert_eq!(grant.client_secret, SecretRef::Env("USHER_CLIENT_SECRET".into()));
    }

    #[test]
    fn netfoundrys_own_variables_do_and_ushers_win() {
        let netfoundry = [
            ("NETFOUNDRY_CLIENT_ID", "theirs"),
            ("NETFOUNDRY_PASSWORD", "CANARY"),
            (
                "NETFOUNDRY_OAUTH_URL",
                "https://netfoundry-production-x.auth.us-east-1.amazoncognito.com/oauth2/token",
            ),
            ("USHER_TOKEN", "of-usher-env"),
            ("USHER_AUDIENCE", ""),
        ];
        let profile = &made(&netfoundry).unwrap().by_name["env"];
        assert_eq!(
            (profile.preset.as_str(), profile.grant.secret().to_string().as_str()),
            ("netfoundry", "env NETFOUNDRY_PASSWORD")
        );
        let mixed =
            [&netfoundry[..], &[("USHER_CLIENT_ID", "ours"), ("USHER_PRESET", "netfoundry")]].concat();
        let Grant::ClientCredentials(grant) = made(&mixed).unwrap().by_name["env"].grant.clone() else {
            panic!("not client credentials")
        };
        assert_eq!(grant.client_id, "ours");
        let message = made(&netfoundry[..1]).unwrap_err();
        assert!(message.contains("NETFOUNDRY_PASSWORD: is missing: it holds the secret"), "{message}");
        assert!(message.contains("NETFOUNDRY_OAUTH_URL: is missing"), "{message}");
    }

    #[test]
    fn mistakes_are_told_by_variable_and_quote_nothing() {
        let message = made(&[("USHER_CLIENT_SECRET", "CANARY"), ("USHER_CLIENT_IDD", "x")]).unwrap_err();
        for expected in [
            "the environment has",
            "USHER_CLIENT_ID: is missing",
            "USHER_TOKEN_URL: is missing",
            "USHER_CLIENT_IDD: is not a key",
        ] {
            assert!(message.contains(expected), "{message}");
        }
        assert!(!message.contains("CANARY") && !message.contains("line "), "{message}");
    }
}

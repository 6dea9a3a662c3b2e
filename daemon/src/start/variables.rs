//! A profile out of the environment, for jobs that have no configuration: `USHER_CLIENT_ID` is the key
//! `client_id`, and so on for every key of a profile.

use std::{ffi::OsString, path::Path};

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
const BOOLEANS: [&str; 1] = ["allow_loopback_http"];
/// Variables that mean something else.
const OTHERS: [&str; 4] = ["USHER_SOCKET", "USHER_PROFILE", "USHER_SERVER_UID", "USHER_AUTOSTART"];
/// NetFoundry's own names, all or none, for the preset `netfoundry`.
const NETFOUNDRY: [(&str, &str); 3] = [
    ("NETFOUNDRY_CLIENT_ID", "client_id"),
    ("NETFOUNDRY_PASSWORD", "client_secret"),
    ("NETFOUNDRY_OAUTH_URL", "token_url"),
];

/// The profile that the variables make.
pub(super) fn profiles(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Profiles, Failure> {
    let mut text = format!("[profile.{NAME}]\n");
    let mut netfoundry = 0;
    for (name, value) in variables {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        if let Some((_, key)) = NETFOUNDRY.iter().find(|(own, _)| *own == name) {
            netfoundry += 1;
            text.push_str(&line(key, name, value));
        } else if let Some(key) = name.strip_prefix("USHER_").filter(|_| !OTHERS.contains(&name)) {
            text.push_str(&line(&key.to_ascii_lowercase(), name, value));
        }
    }
    if netfoundry > 0 {
        text.push_str("preset = \"netfoundry\"\n");
    }
    let context = Context { directory: "/".into(), home: None, network: default_network() };
    config::parse(&text, Path::new("the environment"), &context)
        .map_err(|report| Failure::config(in_variables(report)))
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
fn in_variables(report: Report) -> Report {
    let prefix = format!("profile.{NAME}");
    let problems = report.problems.into_iter().map(|problem| {
        let key = problem.key.strip_prefix(&prefix).unwrap_or(&problem.key);
        let key = key.trim_start_matches('.').to_ascii_uppercase();
        Problem { line: None, key: format!("USHER_{key}"), message: problem.message }
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

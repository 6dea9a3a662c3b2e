//! The configuration: any text is either a sound one, or a report that says where it is wrong.
//!
//! An input is the file's text.

#![no_main]

use std::{fmt::Display, path::Path};

use libfuzzer_sys::fuzz_target;
use url::Url;
use usher_daemon::{
    config::{Context, Report, parse},
    domain::{
        profile::{Grant, Network, Profile, Profiles},
        url::canonical,
    },
};

fuzz_target!(|text: &str| {
    let context = Context {
        directory: "/etc/usher".into(),
        home: Some("/home/u".into()),
        uid_of: |name| (name == "alice").then_some(1000),
        network: Network::default(),
    };
    match parse(text, Path::new("/etc/usher/config.toml"), &context) {
        Ok(profiles) => profiles_are_sound(&profiles),
        Err(report) => report_helps(&report, text),
    }
});

fn profiles_are_sound(profiles: &Profiles) {
    if let Some(name) = &profiles.default_profile {
        assert!(profiles.by_name.contains_key(name), "there is no profile {name:?}");
    }
    for (name, profile) in &profiles.by_name {
        assert_eq!(name, &profile.name);
        profile_is_sound(profile);
    }
}

fn profile_is_sound(profile: &Profile) {
    let beyond = profile.default_scopes.first_not_in(&profile.scopes);
    assert_eq!(beyond, None, "more scopes are asked for than anyone may ask for");
    for prefix in profile.urls.iter().chain(&profile.base_url) {
        may_be_sent_to(prefix, profile);
        let url = Url::parse(&prefix.to_string()).expect("a prefix is a URL");
        assert!(profile.base_url.as_ref() == Some(prefix) || profile.covers(&url).is_some(), "{prefix}");
    }
    if let Grant::ClientCredentials(grant) = &profile.grant {
        may_be_sent_to(grant.token_endpoint.configured(), profile);
        grant.revocation_url.iter().for_each(|url| may_be_sent_to(url, profile));
    }
    assert!(!profile.grant.fingerprint().is_empty());
}

/// A secret or a token may.
fn may_be_sent_to(url: &impl Display, profile: &Profile) {
    let text = url.to_string();
    let taken = canonical(&text, profile.allow_loopback_http);
    assert_eq!(taken.as_ref().map(Url::as_str), Ok(text.as_str()), "{}", profile.name);
}

fn report_helps(report: &Report, text: &str) {
    assert!(!report.problems.is_empty(), "it is wrong, and nobody says why");
    let lines = text.split('\n').count();
    for problem in &report.problems {
        assert!(!problem.message.is_empty(), "{problem:?}");
        assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?} of {lines} lines");
    }
    // A terminal shows it.
    let shown = report.problems.iter().flat_map(|problem| [&problem.key, &problem.message]);
    for part in shown {
        assert!(!part.contains(char::is_control), "{part:?}");
    }
    assert!(!report.summary().is_empty());
}

//! What is typed, and what is understood.

use std::time::Duration;

use clap::Parser as _;

use super::*;

fn curl(args: &[&str]) -> Curl {
    let all = ["usher", "curl"].iter().chain(args);
    match Args::try_parse_from(all).unwrap().command {
        Some(Command::Curl(curl)) => curl,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definitions_are_consistent() {
    use clap::CommandFactory as _;
    Args::command().debug_assert();
}

#[test]
fn curl_gets_everything_from_the_first_foreign_argument() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["-p", "f", "/shares"], &["/shares"]),
        (&["-p", "f", "-sSfo", "out", "/shares"], &["-sSfo", "out", "/shares"]),
        (&["-p", "f", "/shares", "-p"], &["/shares", "-p"]),
        (&["-p", "f", "--", "-X", "POST", "/s"], &["-X", "POST", "/s"]),
        (&["--profile", "f", "--json", "{}", "/s"], &["--json", "{}", "/s"]),
        (&["-p", "f", "-v", "--scope", "x", "/s"], &["-v", "--scope", "x", "/s"]),
        (&["-p", "f", "-s", "--", "/s"], &["-s", "--", "/s"]),
    ];
    for (given, passed) in cases {
        let parsed = curl(given);
        assert_eq!(parsed.profile.as_deref(), Some("f"), "{given:?}");
        assert_eq!(parsed.args, passed, "{given:?}");
    }
}

#[test]
fn curl_takes_ushers_options_first() {
    let parsed = curl(&["--scope", "a", "--scope=b", "--min-ttl", "5m", "--audience", "x", "/s"]);
    assert_eq!(parsed.wanted.scopes, ["a", "b"]);
    assert_eq!(parsed.wanted.min_ttl, Some(Duration::from_secs(300)));
    assert_eq!(parsed.wanted.audience.as_deref(), Some("x"));
    assert_eq!(parsed.args, ["/s"]);
}

#[test]
fn run_gives_the_command_everything_from_its_name_on() {
    for args in [
        &["-p", "f", "--env", "A", "--header-env=B", "--", "cmd", "-x", "--env", "C", "--", "y"][..],
        &["-p", "f", "--env", "A", "--header-env=B", "cmd", "-x", "--env", "C", "--", "y"],
    ] {
        let parsed = Args::try_parse_from(["usher", "run"].iter().chain(args)).unwrap();
        let Some(Command::Run(run)) = parsed.command else { panic!("{args:?}") };
        assert_eq!(run.command, ["cmd", "-x", "--env", "C", "--", "y"], "{args:?}");
        assert_eq!(
            (run.profile.as_deref(), run.variables.env.len(), run.variables.header_env.len()),
            (Some("f"), 1, 1)
        );
    }
    for args in [
        &["-p", "f"][..],
        &["-p", "f", "--"],
        &["--evn", "A", "cmd"],
        &["--env", "A-B", "cmd"],
        &["--env", "A=b", "cmd"],
    ] {
        assert!(Args::try_parse_from(["usher", "run"].iter().chain(args)).is_err(), "{args:?}");
    }
}

#[test]
fn what_would_be_ignored_is_refused() {
    for (line, named) in [
        ("token p --output f --follow --min-ttl 45m", "--min-ttl"),
        ("run -p p --refresh-file f --min-ttl 45m cmd", "--min-ttl"),
        ("token p --output f --format github", "--format"),
        ("token p --rejected id --format github", "--format"),
        ("token p --output f --from-env", "--from-env"),
        ("token p --format github", "--once"),
    ] {
        let error = Args::try_parse_from(["usher"].into_iter().chain(line.split(' '))).unwrap_err();
        assert!(error.to_string().contains(named), "{line}: {error}");
    }
    for line in ["token p --output f --min-ttl 45m", "token p --once --format github"] {
        assert!(Args::try_parse_from(["usher"].into_iter().chain(line.split(' '))).is_ok(), "{line}");
    }
}

//! `usher` as scripts and people meet it: the answer alone on stdout, words on stderr, an exit code for
//! each way to fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    fs::File,
    io,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use usher_proto::version::VERSION;
use usher_testkit::{
    PATIENCE,
    idp::{FakeIdp, Reply, dead_address},
    sandbox::Sandbox,
    tokens::canary,
};

use crate::support::{World, facts, frontdoor, named, refusal, sandbox};

#[test]
fn without_arguments_it_shows_its_help_as_an_error() {
    let output = sandbox().usher(&[]).expect_code(64);
    assert_eq!(output.stdout, "");
    for word in ["Usage: usher", "token", "header", "curl", "status", "reload", "forget", "Examples:"] {
        assert!(output.stderr.contains(word), "no {word} in: {}", output.stderr);
    }
}

#[test]
fn help_is_an_answer() {
    let sandbox = sandbox();
    for args in [&["--help"][..], &["-h"], &["token", "--help"], &["curl", "--help"], &["status", "-h"]] {
        let output = sandbox.usher(args).expect_ok();
        assert!(output.stdout.contains("Usage: usher"), "{args:?}: {}", output.stdout);
        assert_eq!(output.stderr, "", "{args:?}");
    }
    let help = sandbox.usher(&["--help"]).stdout;
    for code in ["64", "69", "70", "74", "75", "77", "78"] {
        assert!(help.contains(code), "the exit code {code} is not explained in: {help}");
    }
}

#[test]
fn wrong_use_is_64_and_says_what_is_wrong() {
    let sandbox = sandbox();
    for (args, words) in [
        (&["tokn", "frontdoor"][..], "'token'"),
        (&["token", "frontdoor", "--min-ttl", "soon"], "--min-ttl"),
        (&["token", "frontdoor", "--min-ttl=-5m"], "--min-ttl"),
        (&["token", "frontdoor", "--timeout", "0"], "--timeout"),
        (&["token", "frontdoor", "--scopes", "x"], "--scope"),
        (&["token", "frontdoor", "one too many"], "one too many"),
        (&["forget"], "PROFILE"),
        (&["--json"], "--json"),
    ] {
        let output = sandbox.usher(args).expect_code(64);
        assert!(output.stderr.contains(words), "{args:?}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{args:?}");
    }
}

/// Profiles that fail, each in its way.
fn trouble() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let named = |name, extra: &str| named(name, sandbox, ca, idp, extra);
        let dead = format!("token_url = \"https://{}/oauth/token\"", dead_address());
        let wrong = sandbox.secret("wrong", &canary("WRONG"));
        let right = sandbox.dir().join("secrets/frontdoor");
        let instead = |path: &std::path::Path, profile: String| {
            profile.replace(right.to_str().unwrap(), path.to_str().unwrap())
        };
        frontdoor(sandbox, ca, idp, "")
            + &named("dead", &dead)
            + &named("poor", "max_token_requests = \"1/1h\"")
            + &instead(&wrong, named("wrong", ""))
            + &instead(&sandbox.dir().join("nothing-here"), named("locked", ""))
    })
}

#[test]
fn each_way_to_fail_has_its_exit_code_and_says_what_to_do() {
    let world = trouble();
    let usherd = &world.usherd;
    facts(usherd, &["poor"]);
    let _ = usherd.usher(&["forget", "poor"]).expect_ok();
    for (args, code, hint) in [
        (&["token"][..], 64, "USHER_PROFILE"),
        (&["token", "dead"], 69, "try again in"),
        (&["token", "poor"], 75, "try again in"),
        (&["token", "frontdoor", "--scope", "admin"], 77, "usher status frontdoor --json"),
        (&["header", "frontdoor", "--audience", "https://x.example"], 77, "usher status frontdoor --json"),
        (&["token", "wrong"], 77, "usher reload"),
        (&["curl", "-p", "frontdoor", "https://elsewhere.example/"], 77, "usher status frontdoor --json"),
        (&["token", "nope"], 78, "usher status"),
        (&["header", "nope"], 78, "usher status"),
        (&["status", "nope"], 78, "usher status"),
        (&["forget", "nope"], 78, "usher status"),
        (&["token", "locked"], 78, "usher status locked"),
    ] {
        let output = usherd.usher(args).expect_code(code);
        assert_eq!(output.stdout, "", "{args:?}");
        assert!(output.stderr.starts_with("usher: "), "{args:?}: {}", output.stderr);
        let hints = output.stderr.split_once("\n  hint: ").map(|(_, hint)| hint.trim_end());
        assert!(hints.is_some_and(|told| told.contains(hint)), "{args:?}: {}", output.stderr);
    }
}

#[test]
fn a_deadline_that_passes_is_75() {
    let world = World::new("");
    let (reply, gate) = Reply::token().hold();
    world.idp.push(reply);
    let output = world.usherd.usher(&["token", "frontdoor", "--timeout", "200ms"]).expect_code(75);
    assert!(output.stderr.contains("ask again, or wait longer with --timeout"), "{}", output.stderr);
    gate.wait_arrived(PATIENCE);
    gate.release();
    // The request went on without its caller.
    facts(&world.usherd, &["frontdoor"]);
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn an_error_as_json_has_the_shape_that_programs_know() {
    let world = trouble();
    let error = refusal(&world.usherd, &["wrong"], 77);
    let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["facts", "hint", "message", "reason", "retry_after_seconds"]);
    assert_eq!(error["reason"], "IDP_REFUSED");
    let facts = json!({"profile": "wrong", "oauth_error": "invalid_client", "http_status": "401"});
    assert_eq!(error["facts"], facts);
    assert!(error["retry_after_seconds"].as_u64().is_some_and(|wait| (20..=30).contains(&wait)), "{error}");
    let error = refusal(&world.usherd, &["nope"], 78);
    assert_eq!((&error["reason"], &error["retry_after_seconds"]), (&json!("PROFILE_UNKNOWN"), &Value::Null));
    for args in [&["status", "nope", "--json"], &["forget", "nope", "--json"]] {
        let told: Value = serde_json::from_str(&world.usherd.usher(args).expect_code(78).stderr).unwrap();
        assert_eq!(told["error"]["reason"], "PROFILE_UNKNOWN", "{args:?}");
    }
}

#[test]
fn the_answer_stands_alone_on_stdout() {
    let world = World::new("");
    let usherd = &world.usherd;
    let token = usherd.usher(&["token", "frontdoor"]).expect_ok();
    let issued = world.idp.issued().remove(0);
    assert_eq!((token.stdout, token.stderr.as_str()), (format!("{issued}\n"), ""));
    let header = usherd.usher(&["header"]).expect_ok();
    assert_eq!((header.stdout, header.stderr.as_str()), (format!("Authorization: Bearer {issued}\n"), ""));
    let by_variable = usherd.command(&["token"]).env("USHER_PROFILE", "nope").run().expect_code(78);
    assert!(by_variable.stderr.contains("nope"), "{}", by_variable.stderr);
    let facts = facts(usherd, &["frontdoor"]);
    let keys: Vec<&String> = facts.as_object().unwrap().keys().collect();
    let expected = [
        "access_token",
        "authorization",
        "below_min_ttl",
        "expires_at",
        "expires_in",
        "profile",
        "scopes",
        "source",
        "token_id",
        "token_type",
    ];
    assert_eq!(keys, expected);
    assert!(facts["expires_in"].as_u64().is_some_and(|left| (3590..=3600).contains(&left)));
}

#[test]
fn version_tells_both_sides_whether_or_not_usherd_runs() {
    let world = World::new("");
    let running = format!("usher {VERSION}\nusherd {VERSION} (running, pid {})\n", world.usherd.pid());
    let output = world.usherd.usher(&["--version"]).expect_ok();
    assert_eq!((output.stdout, output.stderr.as_str()), (running, ""));
    assert_eq!(
        sandbox().usher(&["-V"]).expect_ok().stdout,
        format!("usher {VERSION}\nusherd: not running\n")
    );
    let usherd = sandbox().usherd(&["--version"]).expect_ok();
    assert_eq!(usherd.stdout, format!("usherd {VERSION}\n"));
}

#[test]
fn status_shows_people_a_table_and_what_needs_attention() {
    let world = trouble();
    facts(&world.usherd, &["frontdoor"]);
    facts(&world.usherd, &["frontdoor"]);
    refusal(&world.usherd, &["dead"], 69);
    let shown = world.usherd.usher(&["status"]).expect_ok().stdout;
    let row = |name: &str| -> Vec<&str> {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in: {shown}")).split_whitespace().collect()
    };
    assert!(shown.starts_with(&format!("usherd {VERSION}, pid {}", world.usherd.pid())), "{shown}");
    assert!(shown.contains(world.usherd.config_path().to_str().unwrap()), "{shown}");
    let headings = ["NAME", "STATE", "EXPIRES", "USED", "SCOPES", "SERVED", "FETCHED", "REFRESHED", "FAILED"];
    assert_eq!(row("NAME"), headings);
    let good = row("frontdoor");
    assert_eq!(good[..2], ["frontdoor", "fresh"], "{shown}");
    assert_eq!(good[good.len() - 6..], ["frontdoor.read", "frontdoor.write", "2", "1", "0", "0"], "{shown}");
    assert_eq!(row("dead").last(), Some(&"1"), "{shown}");
    assert!(shown.contains("[IDP_UNREACHABLE]"), "{shown}");
    assert!(shown.contains("locked: the secret cannot be read"), "{shown}");
    let one = world.usherd.usher(&["status", "frontdoor"]).expect_ok().stdout;
    assert!(one.contains("frontdoor") && !one.contains("dead"), "{one}");
}

/// `usher token frontdoor` with this stdout.
fn token_into(sandbox: &Sandbox, stdout: Stdio) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_usher"))
        .args(["token", "frontdoor"])
        .env_clear()
        .env("USHER_SOCKET", sandbox.socket())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap();
    sandbox.leaks().note("stderr of usher token", &output.stderr);
    output
}

#[test]
fn a_reader_who_has_gone_is_no_reason_to_complain() {
    let world = World::new("");
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = token_into(&world.usherd, writer.into());
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_disk_is_told() {
    let world = World::new("");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = token_into(&world.usherd, full.into());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.starts_with("usher: cannot write the answer: No space left"), "{said}");
}

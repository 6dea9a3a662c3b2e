//! The configuration as a user meets it: what is refused and with which words, and where secrets come from.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::PathBuf,
};

use usher_testkit::{PATIENCE, ca::Ca, idp::FakeIdp, process::Output, sandbox::Sandbox, tokens::canary};

use crate::support::{World, contains_all, facts, frontdoor, is_root, named, refusal, sandbox, status};

/// A configuration that would do if there were an IdP.
const PLAIN: &str = "[profile.x]\nidp = \"idp.example.com\"\npreset = \"netfoundry-frontdoor\"\n\
                     client_id = \"me\"\nclient_secret = { file = \"/nowhere\" }\n";

/// Neither `--check-config` nor a start takes this configuration; both say the same.
fn refused(sandbox: &Sandbox) -> String {
    let [checked, started] =
        [&["--check-config"][..], &[]].map(|args: &[&str]| sandbox.usherd(args).expect_code(78).stderr);
    assert_eq!(without_time(&checked), without_time(&started));
    assert!(!sandbox.socket().exists(), "it listens");
    checked
}

fn without_time(log: &str) -> Vec<&str> {
    log.lines().map(|line| line.split_once("ERROR").map_or(line, |(_, message)| message)).collect()
}

fn check(text: &str) -> Output {
    let sandbox = sandbox();
    sandbox.config(text);
    sandbox.usherd(&["--check-config"])
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let output = check(PLAIN).expect_ok();
    contains_all(&output.stderr, &["config.toml", "1 profile", "no mistakes, but see the warnings"]);
    let sandbox = sandbox();
    let secret = sandbox.secret("x", "a secret");
    let good = PLAIN.replace("/nowhere", secret.to_str().unwrap());
    sandbox.config(&good);
    contains_all(&sandbox.usherd(&["--check-config"]).expect_ok().stderr, &["1 profile, no problems"]);
}

#[test]
fn a_key_of_the_store_that_is_unfit_is_warned_about() {
    let sandbox = sandbox();
    let key = sandbox.file("config/usher/store.key", "short");
    for (mode, expected) in [(0o600, "is shorter than 32 characters"), (0o644, "chmod 600")] {
        sandbox.chmod(&key, mode);
        sandbox.config(&format!("{PLAIN}[store]\nkey = {{ file = \"store.key\" }}\n"));
        let told = sandbox.usherd(&["--check-config"]).expect_ok().stderr;
        contains_all(&told, &["the store's key is not usable", expected]);
    }
}

#[test]
fn three_mistakes_are_told_in_one_report_with_line_and_key() {
    let sandbox = sandbox();
    let mistakes = PLAIN.replace("\"me\"", "7") + "scopes = \"a b\"\nclient_atuh = \"body\"\n";
    sandbox.config(&mistakes);
    contains_all(
        &refused(&sandbox),
        &[
            sandbox.config_path().to_str().unwrap(),
            "3 problems",
            "line 4: profile.x.client_id: is an integer",
            "line 6: profile.x.scopes: is no list of strings",
            "line 7: profile.x.client_atuh: is not a key here; did you mean client_auth?",
        ],
    );
}

#[test]
fn a_literal_secret_is_refused_without_showing_it() {
    let sandbox = sandbox();
    let secret = canary("LITERAL");
    sandbox.leaks().secret("the literal secret", &secret);
    let literal = |value: &str| PLAIN.replace("{ file = \"/nowhere\" }", value);
    sandbox.config(&literal(&format!("\"{secret}\"")));
    contains_all(
        &refused(&sandbox),
        &["line 5: profile.x.client_secret", "chmod 600", "client_secret = { file = ", "{ env = "],
    );
    // Nor where the parser trips over it.
    for broken in
        [format!("\"{secret}"), format!("\"{secret}\\q\""), secret.clone(), format!("\"\" {secret}")]
    {
        sandbox.config(&literal(&broken));
        contains_all(&refused(&sandbox), &["line 5"]);
    }
}

#[test]
fn http_is_refused_wherever_the_token_endpoint_is() {
    for (url, flag, words) in [
        ("http://idp.example.com/token", false, "https://"),
        ("http://idp.example.com/token", true, "only for a loopback address"),
        ("http://localhost:8080/token", true, "only for a loopback address"),
        ("http://127.0.0.1:8080/token", false, "allow_loopback_http = true"),
        ("http://127.0.0.1.example.com/token", true, "only for a loopback address"),
        ("ftp://127.0.0.1/token", true, "https://"),
    ] {
        let config = format!(
            "[profile.x]\ntoken_url = \"{url}\"\nallow_loopback_http = {flag}\nclient_id = \"me\"\n\
             client_secret = {{ file = \"/nowhere\" }}\n"
        );
        let output = check(&config).expect_code(78);
        contains_all(&output.stderr, &["line 2: profile.x.token_url", words]);
    }
}

#[test]
fn http_to_this_machine_works_where_the_profile_allows_it_and_shows() {
    let world = World::with(FakeIdp::builder().plain_http(), |sandbox, ca, idp| {
        let url = format!("token_url = \"{}\"\nallow_loopback_http = true", idp.token_url());
        frontdoor(sandbox, ca, idp, &url)
    });
    facts(&world.usherd, &["frontdoor"]);
    assert_eq!(world.idp.token_requests(), 1);
    assert_eq!(status(&world.usherd, &[])["profiles"][0]["allows_loopback_http"], true);
    contains_all(&world.usherd.usher(&["status"]).expect_ok().stdout, &["allow_loopback_http"]);
}

#[test]
fn a_configuration_that_others_could_write_is_refused() {
    let sandbox = sandbox();
    let path = sandbox.config(PLAIN);
    for mode in [0o666, 0o620, 0o602] {
        sandbox.chmod(&path, mode);
        let said = format!("{} has mode {mode:04o}", path.display());
        contains_all(&refused(&sandbox), &[&said, &format!("chmod go-w {}", path.display())]);
    }
    sandbox.chmod(&path, 0o644);
    let _ = sandbox.usherd(&["--check-config"]).expect_ok();
    for (directory, mode) in [("config/usher", 0o777), ("config", 0o730)] {
        let directory = sandbox.dir().join(directory);
        sandbox.chmod(&directory, mode);
        let said = format!("{} has mode {mode:04o}", directory.display());
        contains_all(&refused(&sandbox), &[&said, &format!("chmod go-w {}", directory.display())]);
        sandbox.chmod(&directory, 0o700);
    }
    let _ = sandbox.usherd(&["--check-config"]).expect_ok();
}

#[test]
fn somebody_elses_configuration_is_refused() {
    if !is_root("a configuration that belongs to somebody else") {
        return;
    }
    let sandbox = sandbox();
    let path = sandbox.config(PLAIN);
    chown(&path, Some(65_534), None).unwrap();
    contains_all(&refused(&sandbox), &[path.to_str().unwrap(), "belongs to uid 65534"]);
}

#[test]
fn a_missing_configuration_says_where_it_belongs() {
    let sandbox = sandbox();
    let usherd = sandbox.start();
    usherd.wait_for_log(&format!("{} is not there yet", sandbox.config_path().display()), PATIENCE);
    let reloaded = usherd.usher(&["reload"]).expect_code(78).stderr;
    contains_all(&reloaded, &[sandbox.config_path().to_str().unwrap(), "[profile.NAME]"]);
    let given = sandbox.usherd(&["--config", "other.toml"]).expect_code(78);
    contains_all(&given.stderr, &[sandbox.dir().join("other.toml").to_str().unwrap()]);
}

#[test]
fn a_configuration_may_be_a_symbolic_link() {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    let real = sandbox.file("dotfiles/usher.toml", &frontdoor(&sandbox, &ca, &idp, ""));
    symlink(&real, sandbox.config_path()).unwrap();
    let usherd = sandbox.start();
    facts(&usherd, &["frontdoor"]);
    // The link is as safe as where it leads.
    sandbox.chmod(&real, 0o666);
    let report = usherd.usher(&["reload"]).expect_code(78).stderr;
    contains_all(&report, &["mode 0666"]);
}

/// A daemon with a good profile and `other`, whose secret is the file at this path.
pub(crate) fn with_other(make: impl FnOnce(&Sandbox, &FakeIdp) -> PathBuf) -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let good = frontdoor(sandbox, ca, idp, "");
        let place = format!("{}", sandbox.dir().join("secrets/frontdoor").display());
        let other = named("other", sandbox, ca, idp, "");
        let path = make(sandbox, idp);
        good + &other.replace(&place, path.to_str().unwrap())
    })
}

/// Only `other` suffers, and everybody is told why.
pub(crate) fn suffers_alone(world: &World, words: &[&str]) {
    let error = refusal(&world.usherd, &["other", "--timeout", "10s"], 78);
    assert_eq!(error["reason"], "SECRET_UNAVAILABLE");
    contains_all(error["message"].as_str().unwrap(), words);
    facts(&world.usherd, &["frontdoor"]);
    let status = status(&world.usherd, &[]);
    assert_eq!(status["profiles"][0]["secret_error"], serde_json::Value::Null);
    contains_all(status["profiles"][1]["secret_error"].as_str().unwrap(), words);
    contains_all(&world.usherd.usher(&["status"]).expect_ok().stdout, words);
    world.usherd.wait_for_log("secret unavailable", PATIENCE);
}

#[test]
fn a_secret_that_others_can_read_stops_its_own_profile_until_it_is_private() {
    let world = with_other(|sandbox, idp| {
        let path = sandbox.secret("other", idp.client_secret());
        sandbox.chmod(&path, 0o644);
        path
    });
    suffers_alone(&world, &["secrets/other has mode 0644", "chmod 600"]);
    let path = world.usherd.dir().join("secrets/other");
    for mode in [0o640, 0o604, 0o620] {
        world.usherd.chmod(&path, mode);
        let error = refusal(&world.usherd, &["other"], 78);
        contains_all(error["message"].as_str().unwrap(), &[&format!("has mode {mode:04o}"), "chmod"]);
    }
    world.usherd.chmod(&path, 0o600);
    facts(&world.usherd, &["other"]);
    assert_eq!(status(&world.usherd, &["other"])["profiles"][0]["secret_error"], serde_json::Value::Null);
}

#[test]
fn a_missing_secret_file_stops_its_own_profile() {
    let world = with_other(|sandbox, _| sandbox.dir().join("secrets/absent"));
    suffers_alone(&world, &["secrets/absent", "No such file"]);
}

#[test]
fn an_empty_secret_file_stops_its_own_profile() {
    let world = with_other(|sandbox, _| sandbox.file("secrets/empty", "\n"));
    suffers_alone(&world, &["secrets/empty is empty"]);
}

#[test]
fn a_fifo_for_a_secret_is_refused_and_not_waited_for() {
    let world = with_other(|sandbox, _| {
        let fifo = sandbox.dir().join("secrets/fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        fifo
    });
    suffers_alone(&world, &["secrets/fifo is a FIFO"]);
}

#[test]
fn the_line_end_after_a_secret_is_not_part_of_it() {
    for end in ["\n", "\r\n"] {
        let world = with_other(|sandbox, idp| {
            let path = sandbox.secret("other", idp.client_secret());
            fs::write(&path, format!("{}{end}", idp.client_secret())).unwrap();
            path
        });
        facts(&world.usherd, &["other"]);
        let requests = world.idp.requests();
        let body: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
        assert!(body["client_secret"] == world.idp.client_secret(), "something else was sent");
    }
}

#[test]
fn a_secret_in_the_environment_is_taken_out_of_it() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        sandbox.secret_env("FRONTDOOR_SECRET", idp.client_secret());
        let config = frontdoor(sandbox, ca, idp, "");
        let file = format!("file = \"{}\"", sandbox.dir().join("secrets/frontdoor").display());
        config.replace(&file, "env = \"FRONTDOOR_SECRET\"")
    });
    facts(&world.usherd, &["frontdoor"]);
    let path = format!("/proc/{}/environ", world.usherd.pid());
    match fs::read(&path) {
        Ok(environ) => {
            let environ = String::from_utf8_lossy(&environ);
            assert!(environ.contains("XDG_RUNTIME_DIR="), "this is not its environment: {environ:?}");
            assert!(!environ.contains(world.idp.client_secret()), "the secret is still in {path}");
        }
        // Not even its own user can read it: see lifecycle.
        Err(error) => assert!(!is_root(&format!("what {path} holds")), "root cannot read {path}: {error}"),
    }
}

#[test]
fn a_variable_that_was_not_set_needs_a_restart() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let config = frontdoor(sandbox, ca, idp, "");
        let file = format!("file = \"{}\"", sandbox.dir().join("secrets/frontdoor").display());
        config.replace(&file, "env = \"FRONTDOOR_SECRET\"")
    });
    let error = refusal(&world.usherd, &["frontdoor"], 78);
    assert_eq!(error["reason"], "SECRET_UNAVAILABLE");
    contains_all(
        error["message"].as_str().unwrap(),
        &["FRONTDOOR_SECRET", "start usherd yourself with it set"],
    );
    assert_eq!(world.idp.token_requests(), 0);
}

#[test]
fn json_logs_are_json_on_every_line() {
    let sandbox = sandbox();
    sandbox.config(PLAIN);
    let log = sandbox.try_start(&["--log-format", "json"]).unwrap().stop().expect_ok().stderr;
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let said = |word: &str| lines.iter().any(|line| line["fields"]["message"] == word);
    assert!(said("ready") && said("stopped"), "{log}");
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
    // A report of many lines, too.
    sandbox.config("x = 1\ny = 2\n");
    let report = sandbox.usherd(&["--log-format", "json"]).expect_code(78).stderr;
    let line: serde_json::Value = serde_json::from_str(report.trim_end()).unwrap();
    contains_all(line["fields"]["message"].as_str().unwrap(), &["line 1: x", "line 2: y"]);
}

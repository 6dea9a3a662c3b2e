//! Whatever a reload finds in the place of the configuration, and however often it is asked for: who has a
//! token keeps it, who asks is answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is the failure of the test, and figures are worth reading"
)]
#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::Value;
use usher_proto::v1::{GetTokenRequest, ReloadRequest, TokenSource};
use usher_testkit::{PATIENCE, idp::Reply, sandbox::Sandbox};

use crate::{
    keys::{ask, ask_all, many, wait_for_calls},
    support::{
        World, contains_all, facts,
        health::Baseline,
        is_root, refusal, status,
        users::{NOBODY, usher_as},
    },
};

/// What `status` says of the configuration, once it says something.
fn wait_for_config_error(sandbox: &Sandbox) -> String {
    let begun = Instant::now();
    loop {
        if let Value::String(error) = &status(sandbox, &[])["config_error"] {
            return error.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "the configuration is not refused");
    }
}

fn replace(path: &Path, with: impl FnOnce(&Path)) {
    fs::remove_file(path).unwrap();
    with(path);
}

/// Something in the place of the configuration, and what is said of it.
type Broken<'a> = (&'a str, Box<dyn Fn(&Path, &str) + 'a>, &'a [&'a str]);

#[test]
fn sighup_takes_no_configuration_that_is_broken_and_says_which_and_where() {
    let world = World::new("");
    let (usherd, path) = (&world.usherd, world.usherd.config_path());
    let good = fs::read_to_string(&path).unwrap();
    let before = facts(usherd, &["frontdoor"])["token_id"].clone();
    let baseline = Baseline::of(usherd);
    let write = |text: String| move |_: &Path, _: &str| _ = usherd.config(&text);
    let second = format!("line {}", good.lines().count() + 1);
    let cases: &[Broken] = &[
        ("syntax error", Box::new(write("[profile.frontdoor\n".to_owned())), &["line 1"]),
        ("unknown key", Box::new(write(format!("colour = 1\n{good}"))), &["line 1: colour: is not a key"]),
        (
            "the same profile twice",
            Box::new(write(format!("{good}{good}"))),
            &[&second, "a table that is there already"],
        ),
        ("no UTF-8", Box::new(|path, _| fs::write(path, b"# \xff\n").unwrap()), &["not UTF-8"]),
        ("missing", Box::new(|path, _| fs::remove_file(path).unwrap()), &["No such file"]),
        ("for all to write", Box::new(|path, _| usherd.chmod(path, 0o666)), &["mode 0666", "chmod go-w"]),
        (
            "a directory",
            Box::new(|path, _| replace(path, |path| fs::create_dir(path).unwrap())),
            &["is a directory"],
        ),
        (
            "a FIFO",
            Box::new(|path, _| replace(path, |path| mkfifo(path, Mode::S_IRWXU).unwrap())),
            &["is a FIFO"],
        ),
        (
            "a link to itself",
            Box::new(|path, _| replace(path, |path| symlink("config.toml", path).unwrap())),
            &["too many symbolic links"],
        ),
        (
            "too large by a byte",
            Box::new(|path, good| {
                fs::write(path, good.to_owned() + &"#".repeat(10 * 1024 * 1024 + 1 - good.len())).unwrap();
            }),
            &["more than 10485760 bytes"],
        ),
    ];
    for (what, make, words) in cases {
        make(&path, &good);
        let begun = Instant::now();
        usherd.signal(Signal::SIGHUP);
        let error = wait_for_config_error(usherd);
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
        contains_all(&error, &[&[path.to_str().unwrap()], *words].concat());
        let human = usherd.usher(&["status"]).expect_ok().stdout;
        contains_all(&human, &[&["CONFIGURATION REFUSED"], *words].concat());
        let after = facts(usherd, &["frontdoor"]);
        assert_eq!((&after["token_id"], &after["source"]), (&before, &"cache".into()), "{what}");
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        usherd.config(&good);
        let _ = usherd.usher(&["reload"]).expect_ok();
        assert_eq!(status(usherd, &[])["config_error"], Value::Null, "{what}");
    }
    assert_eq!(world.idp.token_requests(), 1);
    baseline.holds(usherd, "frontdoor");
}

#[test]
fn sighup_with_a_configuration_that_it_may_not_read_changes_nothing() {
    if !is_root("a daemon that may not read its own configuration") {
        return;
    }
    // Root may read everything, so that the daemon is somebody else.
    let (ca, sandbox) = (usher_testkit::ca::Ca::new(), crate::support::sandbox());
    let idp = usher_testkit::idp::FakeIdp::start(&ca);
    sandbox.watch(&idp);
    fs::copy(ca.pem(), sandbox.dir().join("ca.pem")).unwrap();
    let config = crate::support::frontdoor(&sandbox, &ca, &idp, "");
    let ours = sandbox.dir().join("ca.pem");
    sandbox.config(&config.replace(ca.pem().to_str().unwrap(), ours.to_str().unwrap()));
    let usherd = sandbox.launch().as_user(NOBODY).start().unwrap();
    let token = || {
        let output = usher_as(NOBODY, NOBODY, &usherd, &["token", "frontdoor"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    token();
    usherd.chmod(&usherd.config_path(), 0);
    usherd.signal(Signal::SIGHUP);
    usherd.wait_for_log("the configuration is not taken", PATIENCE);
    token();
    let told = usher_as(NOBODY, NOBODY, &usherd, &["status"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    contains_all(&told, &["CONFIGURATION REFUSED", "config.toml", "Permission denied"]);
    assert_eq!(idp.token_requests(), 1);
}

#[test]
fn a_thousand_sighups_at_once_cost_few_reloads_and_nobody_a_call() {
    let world = World::new("");
    let before = facts(&world.usherd, &["frontdoor"])["token_id"].clone();
    let baseline = Baseline::of(&world.usherd);
    let good = fs::read_to_string(world.usherd.config_path()).unwrap();
    let begun = Instant::now();
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = world.usherd.connect().await;
        for number in 0..1000 {
            if number == 999 {
                // The last one counts, whatever became of those before.
                world.usherd.config(&good.replace("profile.frontdoor", "profile.renamed"));
            }
            world.usherd.signal(Signal::SIGHUP);
            if number % 10 == 0 {
                let request = GetTokenRequest { profile: "frontdoor".to_owned(), ..Default::default() };
                let asked = Instant::now();
                let answer = ask(connection.clone(), request).await.unwrap();
                assert!(before == answer.token_id && answer.source() == TokenSource::Cache);
                slowest = slowest.max(asked.elapsed());
                calls += 1;
            }
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    world.usherd.wait_for_log("added=[\"renamed\"]", PATIENCE);
    let log = world.usherd.stderr_so_far();
    let reloads = log.lines().filter(|line| line.contains("configuration reloaded")).count();
    println!("{reloads} reloads, {calls} calls in {:?}, the slowest {slowest:?}", begun.elapsed());
    // Ten a second, the first one and the last one.
    let most = begun.elapsed().as_millis() / 100 + 2;
    assert!(reloads >= 2 && reloads as u128 <= most, "{reloads} reloads in {:?}", begun.elapsed());
    refusal(&world.usherd, &["frontdoor"], 78);
    facts(&world.usherd, &["renamed"]);
    assert_eq!(world.idp.token_requests(), 2);
    baseline.holds(&world.usherd, "renamed");
}

#[test]
fn a_reload_while_a_hundred_tokens_are_fetched_takes_none_from_a_profile_that_stays() {
    let (usherd, idp, _ca) = many(100, "");
    let (reply, gate) = Reply::token().hold();
    idp.set_default(reply);
    let config = fs::read_to_string(usherd.config_path()).unwrap();
    let half = config.find("[profile.p50]").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let calls = ask_all(&usherd, 100).await;
        let admin = usherd.connect().await;
        // All are there, and those whose turn it is are at the IdP.
        wait_for_calls(&usherd, 100).await;
        gate.wait_for(8, PATIENCE);
        usherd.config(&config[..half]);
        let changes = admin.admin().reload(ReloadRequest {}).await.unwrap().into_inner();
        assert_eq!((changes.unchanged, changes.removed.len()), (50, 50));
        gate.release();
        let mut answered = 0;
        for answer in calls.join_all().await.into_iter().flatten() {
            let number: usize = answer.profile.trim_start_matches('p').parse().unwrap();
            answered += usize::from(number < 50);
        }
        assert_eq!(answered, 50, "of those whose profile stayed");
        let requests = idp.token_requests();
        for number in 0..50 {
            let request = GetTokenRequest { profile: format!("p{number}"), ..Default::default() };
            assert_eq!(ask(admin.clone(), request).await.unwrap().source(), TokenSource::Cache);
        }
        assert!((50..=100).contains(&requests) && idp.token_requests() == requests, "{requests}");
    });
    assert_eq!(refusal(&usherd, &["p99"], 78)["reason"], "PROFILE_UNKNOWN");
}

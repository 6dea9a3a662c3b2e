//! Hosts that no profile owns: git's own passwords, kept for a while or for good.

#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::{fs, path::PathBuf, time::Instant};

use usher_testkit::{PATIENCE, ca::Ca, git_server::GitServer, idp::FakeIdp, programs::Age, tokens::canary};

use super::{Git, git_of, helper, run, value};
use crate::support::{World, frontdoor, sandbox};

/// What a daemon needs that keeps anything on disk.
const STORE: &str = "[store]\nkey = { file = \"store.key\" }\n";

/// A daemon whose only profile is for something else.
fn world() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| frontdoor(sandbox, ca, idp, "") + STORE)
}

/// Answers git's two questions for alice, and counts how often it is asked.
struct Person {
    askpass: PathBuf,
    asked: PathBuf,
    password: String,
}

impl Person {
    fn new(world: &World) -> Self {
        let password = canary("PASSWORD");
        let file = world.usherd.api_token("alice", &password);
        let asked = world.usherd.dir().join("asked");
        let script = format!(
            "#!/bin/sh\necho x >>'{}'\ncase $1 in User*) echo alice ;; *) cat '{}'; echo ;; esac\n",
            asked.display(),
            file.display(),
        );
        let askpass = world.usherd.file("askpass", &script);
        world.usherd.chmod(&askpass, 0o700);
        Self { askpass, asked, password }
    }

    fn times(&self) -> usize {
        fs::read_to_string(&self.asked).unwrap_or_default().lines().count()
    }
}

fn get(world: &World, args: &[&str], host: &str) -> Option<String> {
    let output = helper(
        &world.usherd,
        &[&["git"], args, &["get"]].concat(),
        format!("protocol=https\nhost={host}\n\n"),
    );
    let output = output.expect_ok();
    assert_eq!(output.stderr, "");
    value(&output.stdout, "password").map(str::to_owned)
}

fn store(world: &World, args: &[&str], host: &str, password: &str) {
    world.usherd.leaks().token("a stored password", password);
    let input = format!("protocol=https\nhost={host}\nusername=alice\npassword={password}\n\n");
    let output = helper(&world.usherd, &[&["git"], args, &["store"]].concat(), input).expect_ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
}

#[test]
fn a_person_is_asked_once_and_again_after_a_rejection() {
    for age in [Age::New, Age::Old] {
        let world = world();
        let person = Person::new(&world);
        let server = GitServer::builder()
            .user("alice", &person.password)
            .challenge("Basic realm=\"git\"")
            .start(&world.ca);
        server.repository("a");
        let Some(program) = git_of(age, "passwords that git stores") else { continue };
        let git = Git::new(&world.usherd, &world.ca, program, "");
        let list = |times: usize| {
            let mut command = git.command(&["ls-remote", &server.url("a")]);
            command.env("GIT_ASKPASS", &person.askpass);
            let _ = run(&world.usherd, command, "").expect_ok();
            assert_eq!(person.times(), times);
        };
        list(2);
        list(2);
        let place = format!("protocol=https\nhost={}\n", server.host());
        // Another password is not the one that is stored.
        let _ = git.credential("reject", &format!("{place}username=alice\npassword=other\n")).expect_ok();
        list(2);
        let described = format!("{place}username=alice\npassword={}\n", person.password);
        let _ = git.credential("reject", &described).expect_ok();
        list(4);
        list(4);
        assert_eq!(world.idp.token_requests(), 0);
    }
}

#[test]
fn a_timeout_ends_what_is_kept_and_nothing_else() {
    let world = world();
    let passwords = [canary("SHORT"), canary("LONG")];
    store(&world, &["--timeout", "1"], "short.example.com", &passwords[0]);
    store(&world, &[], "long.example.com", &passwords[1]);
    let begun = Instant::now();
    while get(&world, &[], "short.example.com").is_some() {
        assert!(begun.elapsed() < PATIENCE, "it is kept for longer than a second");
    }
    assert_eq!(get(&world, &[], "long.example.com"), Some(passwords[1].clone()));
}

#[test]
fn what_is_to_persist_survives_a_restart_and_the_rest_does_not() {
    let world = world();
    let passwords = [canary("ON-DISK"), canary("IN-MEMORY")];
    store(&world, &["--persist"], "disk.example.com", &passwords[0]);
    store(&world, &[], "memory.example.com", &passwords[1]);
    assert_eq!(get(&world, &["--persist"], "memory.example.com"), Some(passwords[1].clone()));
    let World { usherd, idp, ca } = world;
    let sandbox = usherd.sandbox().clone();
    drop(usherd.stop());
    let world = World { usherd: sandbox.start(), idp, ca };
    assert_eq!(get(&world, &["--persist"], "disk.example.com"), Some(passwords[0].clone()));
    assert_eq!(get(&world, &["--persist"], "memory.example.com"), None);
    let described = format!("protocol=https\nhost=disk.example.com\npassword={}\n\n", passwords[0]);
    let _ = helper(&world.usherd, &["git", "--persist", "erase"], described).expect_ok();
    assert_eq!(get(&world, &["--persist"], "disk.example.com"), None);
    let World { usherd, idp, ca } = world;
    drop(usherd.stop());
    let world = World { usherd: sandbox.start(), idp, ca };
    assert_eq!(get(&world, &["--persist"], "disk.example.com"), None, "what is erased stays so");
}

#[test]
fn a_token_that_was_stored_comes_back_as_it_was() {
    let world = world();
    let [credential, refresh] = [canary("CREDENTIAL"), canary("REFRESH")];
    world.usherd.leaks().token("a stored credential", &credential);
    world.usherd.leaks().token("a stored refresh token", &refresh);
    let place = "protocol=https\nhost=other.example.com\n";
    let ends = u64::from(u32::MAX);
    let stored = format!(
        "capability[]=authtype\n{place}authtype=Bearer\ncredential={credential}\n\
         password_expiry_utc={ends}\noauth_refresh_token={refresh}\n\n"
    );
    let _ = helper(&world.usherd, &["git", "store"], stored).expect_ok();
    let able =
        helper(&world.usherd, &["git", "get"], format!("capability[]=authtype\n{place}\n")).expect_ok();
    for (key, expected) in [
        ("authtype", "Bearer"),
        ("credential", &credential),
        ("password_expiry_utc", &ends.to_string()),
        ("oauth_refresh_token", &refresh),
    ] {
        assert_eq!(value(&able.stdout, key), Some(expected));
    }
    let unable = helper(&world.usherd, &["git", "get"], format!("{place}\n")).expect_ok();
    assert_eq!(unable.stdout, "", "it is no password");
    // What is over is not answered.
    let over = format!("{place}username=alice\npassword={credential}\npassword_expiry_utc=1000000000\n\n");
    let _ = helper(&world.usherd, &["git", "store"], over).expect_ok();
    assert_eq!(get(&world, &[], "other.example.com"), None);
}

#[test]
fn what_belongs_to_a_profile_or_is_ephemeral_is_never_stored() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let sandbox = sandbox();
    sandbox.watch(&idp);
    let owned = "[profile.frontdoor]";
    let config = super::owner(&sandbox, &ca, &idp, "https://owned.example.com/", "oauth2");
    sandbox.config(&config);
    let world = World { usherd: sandbox.start(), idp, ca };
    let foreign = canary("FOREIGN");
    store(&world, &[], "owned.example.com", &foreign);
    assert_eq!(get(&world, &[], "owned.example.com"), Some(world.idp.issued()[0].clone()));
    // Neither is it there once the profile is gone.
    store(&world, &[], "owned.example.com", &world.idp.issued()[0]);
    sandbox
        .config(&config.replace(owned, "[profile.other]").replace("owned.example.com", "other.example.com"));
    let _ = sandbox.usher(&["reload"]).expect_ok();
    assert_eq!(get(&world, &[], "owned.example.com"), None);
    for line in ["ephemeral=1", "ephemeral=true", "state[]=usher:1:bearer:0123456789abcdef"] {
        let input = format!(
            "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=third.example.com\n{line}\n\
             username=alice\npassword={foreign}\n\n"
        );
        let _ = helper(&world.usherd, &["git", "store"], input).expect_ok();
        assert_eq!(get(&world, &[], "third.example.com"), None, "{line}");
    }
}

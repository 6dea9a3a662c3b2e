//! Whom git asks in the end, whatever else stands in its configuration: as the real one does it.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use usher_testkit::{idp::FakeIdp, sandbox::Sandbox};

use super::{git, tree, usher};
use crate::support::{World, contains_all, named, sandbox};

/// A profile for a host, and one for a part of it.
fn world() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        named("forge", sandbox, ca, idp, "urls = [\"https://git.example.com/\"]\nby_name_only = true")
            + &named("third", sandbox, ca, idp, "urls = [\"https://git.example.com/x/\"]")
    })
}

/// `git credential VERB` about something.
fn credential(sandbox: &Sandbox, verb: &str, about: &str) -> Output {
    let mut child = Command::new("git")
        .args(["credential", verb])
        .env_clear()
        .envs(sandbox.env_of_usher())
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_TRACE", "1")])
        .current_dir(sandbox.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(about.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The helpers that git runs for `url`, until one answers.
fn asked(sandbox: &Sandbox, url: &str) -> Vec<String> {
    let said = credential(sandbox, "fill", &format!("url={url}\n\n")).stderr;
    let said = String::from_utf8(said).unwrap();
    let ran = said.lines().filter_map(|line| line.split_once("run_command: ")?.1.strip_suffix(" get'"));
    ran.map(|run| run.rsplit('/').next().unwrap().trim_start_matches('\'').to_owned()).collect()
}

#[test]
fn no_other_helper_is_asked_or_told_wherever_it_stands() {
    let world = world();
    let usherd = &world.usherd;
    let section = "[credential \"https://git.example.com\"]\n";
    let store = "[credential]\n\thelper = store\n";
    for before in [
        format!("{section}\tusername = me\n{store}"),
        format!("{store}{section}\thelper = cache\n\thelper = {} -p forge\n", "usher"),
        format!("{section}\thelper = cache\n[include]\n\tpath = more\n# end"),
        format!("[credential \"git.example.com\"]\n\thelper = store\n{section}\n[user]\n\tname = A\n{store}"),
        store.to_owned(),
    ] {
        let config = usherd.file("home/.gitconfig", &before);
        usherd.file("home/more", store);
        let untouched = tree(usherd);
        let told = usher(usherd, "install git forge --yes").expect_ok().stderr;
        assert!(!told.contains("warning"), "{told}");
        let url = "https://git.example.com/a";
        assert_eq!(asked(usherd, url), ["git-credential-usher --profile forge"], "{before}");
        let filled = credential(usherd, "fill", &format!("url={url}\n\n"));
        assert!(filled.status.success() && !filled.stdout.is_empty(), "{before}");
        let said = String::from_utf8(filled.stdout).unwrap();
        assert!(credential(usherd, "approve", &said).status.success());
        assert!(!usherd.dir().join("home/.git-credentials").exists(), "{before}");
        let installed = tree(usherd);
        let told = usher(usherd, "install git forge").expect_ok();
        contains_all(&told.stdout, &["nothing to do"]);
        assert_eq!(tree(usherd), installed);
        let _ = usher(usherd, "uninstall git forge --yes").expect_ok();
        assert_eq!(tree(usherd), untouched);
        fs::remove_file(config).unwrap();
    }
}

#[test]
fn a_helper_that_comes_later_is_put_off_by_the_next_install() {
    let world = world();
    let usherd = &world.usherd;
    let config = usherd.file("home/.gitconfig", "");
    let _ = usher(usherd, "install git forge --yes").expect_ok();
    let url = "https://git.example.com/a";
    for place in ["credential.helper", "credential.https://git.example.com.helper"] {
        let untouched = fs::read_to_string(&config).unwrap();
        git(usherd, &["config", "--global", "--add", place, "store"]);
        assert_ne!(fs::read_to_string(&config).unwrap(), untouched);
        let said = credential(usherd, "fill", &format!("url={url}\n\n")).stdout;
        let _ = credential(usherd, "approve", &String::from_utf8(said).unwrap());
        let stored = usherd.dir().join("home/.git-credentials");
        fs::remove_file(&stored).unwrap();
        let _ = usher(usherd, "install git forge --yes").expect_ok();
        let said = credential(usherd, "fill", &format!("url={url}\n\n")).stdout;
        let _ = credential(usherd, "approve", &String::from_utf8(said).unwrap());
        assert!(!stored.exists(), "{place}: {}", fs::read_to_string(&config).unwrap());
        assert_eq!(asked(usherd, url), ["git-credential-usher --profile forge"]);
    }
    let _ = usher(usherd, "uninstall git forge --yes").expect_ok();
    let left = git(usherd, &["config", "--global", "--list"]);
    assert_eq!(left, "credential.helper=store\ncredential.https://git.example.com.helper=store\n");
}

#[test]
fn others_beside_usher_are_told_each_time_and_so_is_what_hides_it() {
    let sandbox = sandbox();
    sandbox.file("home/more", "[credential]\n\thelper = cache\n");
    let config =
        sandbox.file("home/.gitconfig", "[credential]\n\thelper = store\n[include]\n\tpath = more\n");
    for line in ["install git --dry-run", "install git --yes", "install git"] {
        let told = usher(&sandbox, line).expect_ok().stderr;
        contains_all(
            &told,
            &[
                "git asks `store` before usher, and `cache` after usher",
                "store, too, what usher gives where that goes as a password",
                "`usher helper install git P`",
            ],
        );
    }
    fs::write(sandbox.dir().join("home/more"), "[credential]\n\thelper =\n").unwrap();
    let told = usher(&sandbox, "install git").expect_ok();
    contains_all(&told.stdout, &["nothing to do"]);
    contains_all(
        &told.stderr,
        &["usher will not be asked, because a line `helper =` behind it, in ", ".gitconfig"],
    );
    fs::write(&config, "").unwrap();
    let told = usher(&sandbox, "install git --yes").expect_ok().stderr;
    assert!(!told.contains("git asks"), "{told}");
}

#[test]
fn a_part_of_a_host_is_its_own_profiles_in_whatever_order_they_come() {
    let world = world();
    let usherd = &world.usherd;
    for before in ["", "[credential \"https://git.example.com/x\"]\n\tusername = me\n[user]\n\tname = A\n"] {
        usherd.file("home/.gitconfig", before);
        let untouched = tree(usherd);
        for order in [["third", "forge"], ["forge", "third"]] {
            for profile in order {
                let _ = usher(usherd, &format!("install git {profile} --by-name --yes")).expect_ok();
            }
            let of = |path: &str| asked(usherd, &format!("https://git.example.com/{path}"));
            assert_eq!(of("x/repository"), ["git-credential-usher --profile third"], "{order:?}");
            assert_eq!(of("y"), ["git-credential-usher --profile forge"], "{order:?}");
            let told = usher(usherd, "install git third --by-name").expect_ok().stdout;
            contains_all(&told, &["nothing to do"]);
            for profile in order {
                let _ = usher(usherd, &format!("uninstall git {profile} --yes")).expect_ok();
            }
            assert_eq!(tree(usherd), untouched, "{order:?}");
        }
    }
}

#[test]
fn a_path_with_odd_characters_is_matched_by_git() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        named("odd", sandbox, ca, idp, "urls = [\"https://git.example.com/a+b@c,d:e$(f);'g/\"]")
    });
    let usherd = &world.usherd;
    let _ = usher(usherd, "install git odd --yes").expect_ok();
    let encoded = "https://git.example.com/a%2Bb%40c%2Cd%3Ae%24%28f%29%3B%27g";
    let plain = "protocol=https\nhost=git.example.com\npath=a+b@c,d:e$(f);'g/repository.git\n\n";
    for about in [plain, &format!("url={encoded}/repository.git\n\n")] {
        let filled = credential(usherd, "fill", about);
        let (told, said) = (String::from_utf8_lossy(&filled.stdout), String::from_utf8_lossy(&filled.stderr));
        assert!(filled.status.success() && said.contains("git-credential-usher get"), "{said}");
        contains_all(&told, &["path=a+b@c,d:e$(f);'g/repository.git\n", "password="]);
    }
    let printed = usher(usherd, "print git odd").expect_ok().stdout;
    contains_all(&printed, &[&format!("[credential \"{encoded}\"]")]);
}

#[test]
fn docker_is_not_set_up_for_a_profile_that_it_cannot_name() {
    let world = world();
    let usherd = &world.usherd;
    let before = tree(usherd);
    for line in ["install docker forge --yes", "print docker forge"] {
        let told = usher(usherd, line).expect_code(78).stderr;
        contains_all(
            &told,
            &["the profile forge has `by_name_only`, and docker cannot name it", "usher reload"],
        );
    }
    assert_eq!(tree(usherd), before);
    let _ = usher(usherd, "print docker third").expect_ok();
}

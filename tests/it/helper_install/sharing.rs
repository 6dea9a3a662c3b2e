//! Several installs in one file: each goes without what the others need, and the last one leaves every byte.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use usher_testkit::{idp::FakeIdp, sandbox::Sandbox};

use super::{git, tree, usher};
use crate::support::{World, contains_all, named, sandbox};

/// With comments, other keys behind the helpers, and lines that look like those of usher.
const GITCONFIG: &str = "[credential \"https://git.example.com\"]\n  helper = one # why\n\thelper = \n\thelper = two\n\
                         \tusername = me ; who\n# below\n\n[credential]\n\thelper = store ; all\n\tuseHttpPath = no # x\n\
                         [credential \"https://code.example.com/team\"]\n\thelper = \n\thelper = three\n\tuseHttpPath=off\n\
                         # end";
const DOCKER: &str =
    "{ \"auths\": {},\n  \"credHelpers\" : {\"code.example.com\":\"pass\" , \"x.example.com\":\"y\"}\n}\n";

/// Three profiles: two of one URL and of one registry, and one beside them.
fn world() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let both = "\"https://git.example.com/\", \"https://code.example.com/team/\"";
        let first = format!("urls = [{both}]");
        let second = format!("urls = [{both}]\nby_name_only = true");
        named("first", sandbox, ca, idp, &first)
            + &named("second", sandbox, ca, idp, &second)
            + &named("third", sandbox, ca, idp, "urls = [\"https://code.example.com/other/\"]")
    })
}

#[test]
fn a_registry_of_two_profiles_goes_with_the_last_of_them() {
    let world = world();
    let usherd = &world.usherd;
    let config = usherd.file("home/.docker/config.json", DOCKER);
    let before = tree(usherd);
    let read =
        || -> serde_json::Value { serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap() };
    for (one, other) in [("first", "third"), ("third", "first")] {
        let _ = usher(usherd, "install docker first --yes").expect_ok();
        let _ = usher(usherd, "install docker third --yes").expect_ok();
        let told = usher(usherd, &format!("uninstall docker {one} --yes")).expect_ok().stderr;
        assert!(!told.contains("code.example.com"), "{told}");
        assert_eq!(read()["credHelpers"]["code.example.com"], "usher");
        assert_eq!(read()["credHelpers"].get("git.example.com").is_some(), other == "first");
        let told = usher(usherd, &format!("uninstall docker {other} --yes")).expect_ok().stderr;
        contains_all(&told, &["credHelpers code.example.com = pass again (was usher)"]);
        assert_eq!(tree(usherd), before);
    }
    // docker writes it anew in between: it is the same, but for the form.
    let _ = usher(usherd, "install docker first --yes").expect_ok();
    fs::write(&config, serde_json::to_string_pretty(&read()).unwrap()).unwrap();
    let _ = usher(usherd, "install docker third --yes").expect_ok();
    let _ = usher(usherd, "uninstall docker first --yes").expect_ok();
    assert_eq!(read()["credHelpers"]["code.example.com"], "usher");
    let _ = usher(usherd, "uninstall docker third --yes").expect_ok();
    assert_eq!(read(), serde_json::from_str::<serde_json::Value>(DOCKER).unwrap());
}

#[test]
fn git_names_the_profile_that_came_last_and_the_earlier_one_when_that_goes() {
    let world = world();
    let usherd = &world.usherd;
    let config = usherd.file("home/.gitconfig", GITCONFIG);
    let before = tree(usherd);
    let asked = || {
        let told =
            git(usherd, &["config", "--get-urlmatch", "credential.helper", "https://git.example.com/x"]);
        told.trim().rsplit(' ').next().unwrap().to_owned()
    };
    for (one, other) in [("first", "second"), ("second", "first")] {
        let _ = usher(usherd, "install git first --yes").expect_ok();
        let only_first = fs::read_to_string(&config).unwrap();
        assert_eq!(asked(), "first");
        let told = usher(usherd, "install git second --yes").expect_ok().stderr;
        contains_all(&told, &["--profile second (was ", "--profile first)"]);
        assert_eq!(asked(), "second");
        let told = usher(usherd, "install git second").expect_ok().stdout;
        assert_eq!(told, "nothing to do: git second is set up already\n");
        let told = usher(usherd, &format!("uninstall git {one} --yes")).expect_ok().stderr;
        assert_eq!(told.contains("--profile first (was "), one == "second", "{told}");
        assert_eq!(asked(), other);
        if other == "first" {
            assert_eq!(fs::read_to_string(&config).unwrap(), only_first);
        }
        let _ = usher(usherd, &format!("uninstall git {other} --yes")).expect_ok();
        assert_eq!(tree(usherd), before);
    }
}

#[test]
fn a_change_that_failed_leaves_nothing_behind_in_the_end() {
    let world = world();
    let usherd = &world.usherd;
    let config = usherd.file("home/.gitconfig", GITCONFIG);
    let before = tree(usherd);
    let locked = |line: &str| {
        let lock = usherd.file("home/.gitconfig.lock", "");
        let told = usher(usherd, line).expect_code(78).stderr;
        contains_all(&told, &[".gitconfig.lock is there"]);
        fs::remove_file(lock).unwrap();
    };
    let said = |line: &str| usher(usherd, line).expect_ok().stderr;
    // Somebody else's value changes: given up, gone on with, and tried twice.
    for (more, go) in [
        (None, ["second", "first"]),
        (None, ["first", "second"]),
        (Some("install git second --yes"), ["second", "first"]),
        (Some("install git first --by-name --yes"), ["first", "second"]),
    ] {
        let _ = said("install git first --yes");
        let only_first = fs::read_to_string(&config).unwrap();
        locked("install git second --yes");
        locked("install git second --yes");
        assert_eq!(fs::read_to_string(&config).unwrap(), only_first);
        let _ = more.map(said);
        for which in go {
            let told = said(&format!("uninstall git {which} --yes"));
            assert!(!told.contains("any more") && !told.contains("may differ"), "{told}");
        }
        assert_eq!(tree(usherd), before, "{more:?}, {go:?}");
    }
    let whole = format!("{GITCONFIG}\n");
    fs::write(&config, &whole).unwrap();
    // One's own changes, in a file that somebody writes to meanwhile.
    let _ = said("install git third --by-name --yes");
    locked("install git third --yes");
    git(usherd, &["config", "--global", "alias.last", "log"]);
    let _ = said("install git third --yes");
    assert!(!fs::read_to_string(&config).unwrap().contains("--profile third"));
    let _ = said("uninstall git third --yes");
    assert_eq!(fs::read_to_string(&config).unwrap(), whole + "[alias]\n\tlast = log\n");
    fs::write(&config, GITCONFIG).unwrap();
    assert_eq!(tree(usherd), before);
}

#[test]
fn all_of_them_come_and_go_in_any_order_and_leave_every_byte() {
    let world = world();
    let usherd = &world.usherd;
    usherd.file("home/.gitconfig", GITCONFIG);
    let before = tree(usherd);
    let said = |verb: &str, all: [&str; 3]| {
        for which in all {
            let _ = usher(usherd, &format!("{verb} git {which} --yes").replace("  ", " ")).expect_ok();
        }
    };
    for (come, go) in [
        (["first", "", "third"], ["first", "", "third"]),
        (["third", "first", ""], ["first", "third", ""]),
        (["", "third", "second"], ["third", "second", ""]),
    ] {
        said("install", come);
        // Once more changes nothing.
        let installed = tree(usherd);
        said("install", come);
        assert_eq!(tree(usherd), installed, "{come:?}");
        said("uninstall", go);
        assert_eq!(tree(usherd), before, "{come:?}, {go:?}");
    }
}

#[test]
fn what_somebody_else_writes_in_between_stays() {
    let world = world();
    let usherd = &world.usherd;
    let whole = format!("{GITCONFIG}\n");
    let config = usherd.file("home/.gitconfig", &whole);
    let _ = usher(usherd, "install git first --yes").expect_ok();
    let _ = usher(usherd, "install git third --yes").expect_ok();
    // Below all of ours: every byte of before comes back.
    git(usherd, &["config", "--global", "alias.last", "log"]);
    let _ = usher(usherd, "uninstall git first --yes").expect_ok();
    let told = usher(usherd, "uninstall git third --yes").expect_ok().stderr;
    assert!(!told.contains("may differ"), "{told}");
    let added = "[alias]\n\tlast = log\n";
    assert_eq!(fs::read_to_string(&config).unwrap(), whole + added);
    // Before all of ours, where lines are alike: all values are there, and it is said that lines may have moved.
    fs::write(&config, GITCONFIG).unwrap();
    let values = |text: &str| {
        let file = usherd.file("values", text);
        let told = git(usherd, &["config", "--file", file.to_str().unwrap(), "--list"]);
        let mut lines: Vec<_> = told.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let _ = usher(usherd, "install git first --yes").expect_ok();
    let installed = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("# new\n{installed}")).unwrap();
    let told = usher(usherd, "uninstall git first --yes").expect_ok().stderr;
    contains_all(&told, &[".gitconfig was changed by somebody else since install", "may differ from before"]);
    let left = fs::read_to_string(&config).unwrap();
    assert!(left.starts_with("# new\n"), "{left}");
    assert_eq!(values(&left), values(GITCONFIG));
}

/// `usher WORDS`, by another file of it.
fn by(program: &Path, sandbox: &Sandbox, line: &str) -> Output {
    let mut command = Command::new(program);
    command.arg("helper").args(line.split(' ')).env_clear().envs(sandbox.env_of_usher());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn the_link_to_an_usher_of_another_name_is_known_again() {
    let sandbox = sandbox();
    let before = tree(&sandbox);
    let versions = sandbox.dir().join("versions");
    fs::create_dir(&versions).unwrap();
    let version = |number: &str| -> PathBuf {
        let program = versions.join(format!("usher-{number}"));
        fs::copy(sandbox.usher_path(), &program).unwrap();
        fs::canonicalize(program).unwrap()
    };
    let (old, new) = (version("1.2"), version("1.3"));
    let link = sandbox.dir().join("home/.local/bin/git-credential-usher");
    by(&old, &sandbox, "install git --yes");
    assert_eq!(fs::read_link(&link).unwrap(), old);
    fs::remove_file(&old).unwrap();
    // The next version takes it over, and the one after that takes it away.
    let told = String::from_utf8(by(&new, &sandbox, "install git --yes").stdout).unwrap();
    assert!(told.contains("linked"), "{told}");
    assert_eq!(fs::read_link(&link).unwrap(), new);
    by(&version("1.4"), &sandbox, "uninstall git --yes");
    assert_eq!(tree(&sandbox), before);
    // One that has been made to lead elsewhere is somebody else's.
    by(&new, &sandbox, "install git --yes");
    fs::remove_file(&link).unwrap();
    symlink("/bin/true", &link).unwrap();
    let told = by(&new, &sandbox, "uninstall git --yes").stderr;
    contains_all(
        &String::from_utf8(told).unwrap(),
        &["git-credential-usher is not what install made any more"],
    );
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("/bin/true"));
}

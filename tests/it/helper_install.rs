//! `usher helper install`, `uninstall` and `print`, with the real git, and what is left behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is the failure of the test")]

mod odd;
mod order;
mod sharing;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::pty::openpty;
use usher_testkit::{idp::FakeIdp, sandbox::Sandbox};

use crate::support::{World, contains_all, is_root, named, sandbox, users::NOBODY};

const GITCONFIG: &str =
    "# mine, as it is\n[user]\n  name = Ada ; x\n[credential]\n\thelper = store\n[alias]\n\tx = log";
const DOCKER: &str = "{\n    \"auths\" : { \"r.example.com\": {\"auth\":\"eDp5\"}},\n    \"credsStore\":\"pass\",\n    \
                      \"z\": 1.50, \"a\": []\n}\n\n";

/// Two profiles: one for a whole host and a part of another, one for nowhere.
fn world() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let urls = "urls = [\"https://git.example.com/\", \"https://code.example.com:8443/team/\"]";
        named("work", sandbox, ca, idp, urls) + &named("nowhere", sandbox, ca, idp, "urls = []")
    })
}

fn git(sandbox: &Sandbox, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .env_clear()
        .envs(sandbox.env_of_usher())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(sandbox.dir())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// All files and links below the home and the state, with what is in them.
fn tree(sandbox: &Sandbox) -> BTreeMap<PathBuf, String> {
    fn walk(dir: &Path, into: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mode = meta.permissions().mode();
            if meta.is_symlink() {
                into.insert(path.clone(), format!("-> {}", fs::read_link(&path).unwrap().display()));
            } else if meta.is_dir() {
                walk(&path, into);
                into.insert(path, String::new());
            } else if meta.is_file() {
                into.insert(path.clone(), format!("{mode:o} {}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(&sandbox.dir().join("home"), &mut all);
    walk(&sandbox.dir().join("state"), &mut all);
    // It is usherd's as well.
    all.remove(&sandbox.dir().join("state/usher"));
    all
}

fn usher(sandbox: &Sandbox, line: &str) -> usher_testkit::process::Output {
    let words: Vec<&str> = ["helper"].into_iter().chain(line.split(' ')).collect();
    sandbox.usher(&words)
}

#[test]
fn git_asks_usher_for_every_host_until_that_is_taken_back() {
    let sandbox = sandbox();
    let config = sandbox.file("home/.gitconfig", GITCONFIG);
    sandbox.chmod(&config, 0o644);
    let before = tree(&sandbox);
    let told = usher(&sandbox, "install git --timeout 1h --yes").expect_ok();
    let link = sandbox.dir().join("home/.local/bin/git-credential-usher");
    contains_all(
        &told.stderr,
        &[
            &format!("{}: a link to {}", link.display(), sandbox.usher_path().display()),
            &format!("credential.helper = {} --timeout 3600 (new)", link.display()),
            "git asks `store` before usher",
        ],
    );
    contains_all(&told.stdout, &["wrote", "helpers.json", "linked", ".gitconfig"]);
    assert_eq!(fs::canonicalize(&link).unwrap(), fs::canonicalize(sandbox.usher_path()).unwrap());
    let helpers = git(&sandbox, &["config", "--get-all", "credential.helper"]);
    assert_eq!(helpers, format!("store\n{} --timeout 3600\n", link.display()));
    let installed = tree(&sandbox);
    assert!(installed[&sandbox.dir().join("state/usher/helpers.json")].starts_with("100600 "));

    let told = usher(&sandbox, "install git --timeout 1h").expect_ok();
    assert_eq!(told.stdout, "nothing to do: git is set up already\n");
    assert_eq!(tree(&sandbox), installed);
    let told = usher(&sandbox, "install git --persist --yes").expect_ok().stderr;
    contains_all(&told, &["--persist (was ", "--timeout 3600)"]);
    assert!(git(&sandbox, &["config", "--get-all", "credential.helper"]).ends_with("usher --persist\n"));

    let told = usher(&sandbox, "uninstall git --yes").expect_ok();
    contains_all(&told.stderr, &["credential.helper = ", "is taken out", "git-credential-usher: is removed"]);
    assert_eq!(tree(&sandbox), before);
    let told = usher(&sandbox, "uninstall git").expect_ok().stdout;
    assert_eq!(told, "nothing of `usher helper install git` is there\n");
}

#[test]
fn git_asks_usher_alone_where_a_profile_says_so() {
    let world = world();
    let usherd = &world.usherd;
    let before = tree(usherd);
    let _ = usher(usherd, "install git work --yes").expect_ok();
    let link = usherd.dir().join("home/.local/bin/git-credential-usher").display().to_string();
    let config = usherd.dir().join("home/.gitconfig");
    assert_eq!(
        fs::read_to_string(&config).unwrap(),
        format!(
            "[credential \"https://git.example.com\"]\n\thelper = \n\thelper = {link}\n\
             [credential \"https://code.example.com:8443/team\"]\n\thelper = \n\thelper = {link}\n\
             \tuseHttpPath = true\n"
        )
    );
    let matched = |key: &str, url: &str| git(usherd, &["config", "--get-urlmatch", key, url]);
    assert_eq!(matched("credential.helper", "https://git.example.com/a/b.git").trim(), link);
    assert_eq!(matched("credential.useHttpPath", "https://code.example.com:8443/team/x.git"), "true\n");
    assert_eq!(matched("credential.helper", "https://code.example.com:8443/other"), "");
    let installed = tree(usherd);
    let _ = usher(usherd, "install git work --yes").expect_ok();
    assert_eq!(tree(usherd), installed);

    // One that is for all comes and goes; the other's stays, and the link with it.
    let _ = usher(usherd, "install git --yes").expect_ok();
    let _ = usher(usherd, "uninstall git --yes").expect_ok();
    assert_eq!(tree(usherd), installed);
    // Whatever was first, in the end there is nothing.
    let _ = usher(usherd, "install git --yes").expect_ok();
    let _ = usher(usherd, "install git work --by-name --yes").expect_ok();
    assert!(fs::read_to_string(&config).unwrap().contains(&format!("{link} --profile work\n")));
    let told = usher(usherd, "uninstall git other").expect_ok();
    contains_all(&told.stderr, &["git work", "git"]);
    let _ = usher(usherd, "uninstall git work --yes").expect_ok();
    let _ = usher(usherd, "uninstall git --yes").expect_ok();
    assert_eq!(tree(usherd), before);

    // A host that the profile has no more is taken back with the next install.
    let _ = usher(usherd, "install git work --yes").expect_ok();
    let changed = fs::read_to_string(usherd.config_path()).unwrap();
    usherd.config(&changed.replace(", \"https://code.example.com:8443/team/\"", ""));
    let _ = usherd.usher(&["reload"]).expect_ok();
    let _ = usher(usherd, "install git work --yes").expect_ok();
    assert!(!fs::read_to_string(&config).unwrap().contains("8443"));

    let told = usher(usherd, "install git nobody --yes").expect_code(78).stderr;
    assert!(told.contains("nobody"), "{told}");
    let told = usher(usherd, "install git nowhere --yes").expect_code(78).stderr;
    assert!(told.contains("the profile nowhere has no `urls`"), "{told}");
}

#[test]
fn docker_asks_usher_until_that_is_taken_back() {
    let world = world();
    let usherd = &world.usherd;
    let config = usherd.file("home/.docker/config.json", DOCKER);
    usherd.chmod(&config, 0o640);
    let target = usherd.dir().join("home/real.json");
    fs::rename(&config, &target).unwrap();
    symlink("../real.json", &config).unwrap();
    let before = tree(usherd);
    let told = usher(usherd, "install docker --yes").expect_ok().stderr;
    contains_all(&told, &["credsStore = usher (was pass)", "is not in PATH", "print docker` has"]);
    let text = DOCKER.replace("\"pass\"", "\"usher\"");
    assert_eq!(fs::read_to_string(&target).unwrap(), text);
    let installed = tree(usherd);
    assert_eq!(
        usher(usherd, "install docker").expect_ok().stdout,
        "nothing to do: docker is set up already\n"
    );
    assert_eq!(tree(usherd), installed);

    let told = usher(usherd, "install docker work --yes").expect_ok().stderr;
    contains_all(&told, &["credHelpers git.example.com = usher (new)", "credHelpers code.example.com:8443"]);
    let read: serde_json::Value = serde_json::from_str(&fs::read_to_string(&target).unwrap()).unwrap();
    let helpers = serde_json::json!({ "git.example.com": "usher", "code.example.com:8443": "usher" });
    assert_eq!(read["credHelpers"], helpers);
    // docker writes the file anew, in its own form, with a login in it.
    let mut theirs = read;
    theirs["auths"]["new.example.com"] = serde_json::json!({});
    theirs["credHelpers"]["git.example.com"] = "else".into();
    fs::write(&target, serde_json::to_string_pretty(&theirs).unwrap()).unwrap();
    let told = usher(usherd, "uninstall docker work --yes").expect_ok().stderr;
    contains_all(&told, &["credHelpers git.example.com is not what install wrote any more"]);
    let read: serde_json::Value = serde_json::from_str(&fs::read_to_string(&target).unwrap()).unwrap();
    theirs["credHelpers"].as_object_mut().unwrap().remove("code.example.com:8443");
    assert_eq!(read, theirs);

    fs::write(&target, text).unwrap();
    let told = usher(usherd, "uninstall docker --yes").expect_ok().stderr;
    contains_all(&told, &["credsStore = pass again (was usher)"]);
    assert_eq!(tree(usherd), before);
}

#[test]
fn a_file_that_was_not_there_goes_again() {
    let world = world();
    let usherd = &world.usherd;
    let before = tree(usherd);
    let _ = usher(usherd, "install docker --yes").expect_ok();
    let config = usherd.dir().join("home/.docker/config.json");
    assert_eq!(fs::read_to_string(&config).unwrap(), "{\n\t\"credsStore\": \"usher\"\n}");
    let _ = usher(usherd, "install docker work --yes").expect_ok();
    let _ = usher(usherd, "uninstall docker --yes").expect_ok();
    let told = usher(usherd, "uninstall docker work --yes").expect_ok().stderr;
    assert!(told.contains("is removed, as nothing else is in it"), "{told}");
    assert_eq!(tree(usherd), before);
    // The directory of both links was made for the one, and is there for the other.
    for order in [["git", "docker"], ["docker", "git"]] {
        let _ = usher(usherd, "install git --yes").expect_ok();
        let _ = usher(usherd, "install docker --yes").expect_ok();
        for tool in order {
            let _ = usher(usherd, &format!("uninstall {tool} --yes")).expect_ok();
        }
        assert_eq!(tree(usherd), before);
    }
}

#[test]
fn what_is_in_the_way_or_broken_is_left_as_it_is() {
    let sandbox = sandbox();
    let link = sandbox.file("home/.local/bin/docker-credential-usher", "#!/bin/sh\n");
    let before = tree(&sandbox);
    let told = usher(&sandbox, "install docker --yes").expect_code(78).stderr;
    contains_all(&told, &[&link.display().to_string(), "is no link to usher", "--bin-dir"]);
    assert_eq!(tree(&sandbox), before);
    let elsewhere = sandbox.dir().join("home/bin");
    let command = format!("install docker --yes --bin-dir {}", elsewhere.display());
    let config = sandbox.file("home/.docker/config.json", "{\n\t\"auths\": {},\n\t\"credsStore\" \"x\"\n}");
    let before = tree(&sandbox);
    let told = usher(&sandbox, &command).expect_code(78).stderr;
    contains_all(&told, &[&config.display().to_string(), "line 3 column 15", "nothing was changed"]);
    fs::write(sandbox.dir().join("home/.gitconfig"), "[user\n").unwrap();
    let told = usher(&sandbox, "install git --yes").expect_code(78).stderr;
    contains_all(&told, &["bad config line 1 in file", "home/.gitconfig"]);
    fs::remove_file(sandbox.dir().join("home/.gitconfig")).unwrap();
    assert_eq!(tree(&sandbox), before);
    fs::write(&config, "{}").unwrap();
    let _ = usher(&sandbox, &command).expect_ok();
    assert!(elsewhere.join("docker-credential-usher").is_symlink());
    sandbox.file("state/usher/helpers.json", "{\"version\":");
    let told = usher(&sandbox, "uninstall docker --yes").expect_code(78).stderr;
    contains_all(&told, &["helpers.json", "line 1 column 11"]);
}

#[test]
fn what_ends_half_way_says_what_was_done_and_goes_on_from_there() {
    let sandbox = sandbox();
    let before = tree(&sandbox);
    let lock = sandbox.file("home/.gitconfig.lock", "");
    let told = usher(&sandbox, "install git --yes").expect_code(78).stderr;
    contains_all(
        &told,
        &[".gitconfig.lock is there", "done before that: wrote", "linked", "`usher helper uninstall git`"],
    );
    fs::remove_file(&lock).unwrap();
    let told = usher(&sandbox, "install git --yes").expect_ok().stdout;
    assert!(told.contains(".gitconfig") && !told.contains("linked"), "{told}");
    let _ = usher(&sandbox, "uninstall git --yes").expect_ok();
    assert_eq!(tree(&sandbox), before);
}

#[test]
fn nothing_is_changed_without_consent() {
    let sandbox = sandbox();
    sandbox.file("home/.gitconfig", GITCONFIG);
    let before = tree(&sandbox);
    let told = usher(&sandbox, "install git --dry-run").expect_ok();
    assert!(told.stdout.is_empty() && told.stderr.contains("credential.helper = "), "{}", told.stderr);
    let told = usher(&sandbox, "install git").expect_code(64).stderr;
    contains_all(&told, &["credential.helper = ", "nothing was changed: there is no terminal", "--yes"]);
    assert_eq!(tree(&sandbox), before);
    let (code, told) = on_a_terminal(&sandbox, &["helper", "install", "git"], "\n", || ());
    assert_eq!(code, Some(64), "{told}");
    contains_all(&told, &["Go on? [y/N]", "nothing was changed"]);
    assert_eq!(tree(&sandbox), before);
    let (code, told) = on_a_terminal(&sandbox, &["helper", "install", "git"], "y\n", || ());
    assert_eq!(code, Some(0), "{told}");
    assert!(git(&sandbox, &["config", "--get-all", "credential.helper"]).contains("git-credential-usher"));
}

/// Runs `usher ARGS` where somebody types `answer`, once they are asked and `meanwhile` is done: its exit code, and what
/// the terminal shows.
fn on_a_terminal(
    sandbox: &Sandbox,
    args: &[&str],
    answer: &str,
    meanwhile: impl FnOnce(),
) -> (Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let mut child = Command::new(sandbox.usher_path())
        .args(args)
        .env_clear()
        .envs(sandbox.env_of_usher())
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(Stdio::null())
        .stderr(pty.slave)
        .spawn()
        .unwrap();
    let mut master = File::from(pty.master);
    let (mut shown, mut chunk, mut meanwhile) = (Vec::new(), [0; 4096], Some(meanwhile));
    // EIO: the last who had the terminal open has gone.
    while let Ok(read @ 1..) = master.read(&mut chunk) {
        shown.extend_from_slice(&chunk[..read]);
        if shown.ends_with(b"[y/N] ")
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
            master.write_all(answer.as_bytes()).unwrap();
        }
    }
    (child.wait().unwrap().code(), String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn a_home_that_cannot_be_written_to_is_an_error_before_anything_is_changed() {
    let sandbox = sandbox();
    sandbox.file("home/.gitconfig", GITCONFIG);
    let home = sandbox.dir().join("home");
    let mut command;
    if is_root("a home that cannot be written to") {
        // Root can write everywhere: somebody else says it.
        let program = sandbox.dir().join("usher");
        fs::copy(sandbox.usher_path(), &program).unwrap();
        for path in [sandbox.dir(), &program, &home, &sandbox.dir().join("state")] {
            sandbox.chmod(path, 0o755);
        }
        chown(sandbox.dir().join("state"), Some(NOBODY), None).unwrap();
        sandbox.chmod(&home.join(".gitconfig"), 0o644);
        command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
    } else {
        sandbox.chmod(&home, 0o500);
        command = Command::new(sandbox.usher_path());
    }
    let before = tree(&sandbox);
    let output = command
        .args(["helper", "install", "git", "--yes"])
        .env_clear()
        .envs(sandbox.env_of_usher())
        .current_dir("/")
        .output()
        .unwrap();
    sandbox.chmod(&home, 0o700);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    contains_all(&told, &["git-credential-usher", "ermission denied", "nothing was changed"]);
    assert_eq!(tree(&sandbox), before);
}

#[test]
fn what_is_printed_can_be_pasted() {
    let world = world();
    let usherd = &world.usherd;
    let before = tree(usherd);
    let own = fs::canonicalize(usherd.usher_path()).unwrap().display().to_string();
    let printed = usher(usherd, "print git work").expect_ok().stdout;
    fs::write(usherd.dir().join("pasted"), &printed).unwrap();
    let read = git(usherd, &["config", "--file", "pasted", "--list"]);
    let expected = format!(
        "credential.https://git.example.com.helper=\n\
         credential.https://git.example.com.helper=!{own} helper git\n\
         credential.https://code.example.com:8443/team.helper=\n\
         credential.https://code.example.com:8443/team.helper=!{own} helper git\n\
         credential.https://code.example.com:8443/team.usehttppath=true\n"
    );
    assert_eq!(read, expected);
    let printed = usher(usherd, "print docker work").expect_ok().stdout;
    contains_all(&printed, &["\"git.example.com\": \"usher\"", "ln -s ", "auth.json", "registries.conf"]);
    let printed = usher(usherd, "print docker").expect_ok().stdout;
    contains_all(&printed, &["\"credsStore\": \"usher\"", "credential-helpers = ["]);
    let printed = usher(usherd, "print kubectl work").expect_ok().stdout;
    contains_all(
        &printed,
        &[
            "- name: \"work\"\n",
            "apiVersion: client.authentication.k8s.io/v1\n",
            &format!("command: \"{own}\"\n"),
            "args: [\"helper\",\"kubectl\",\"--profile\",\"work\"]\n",
            "interactiveMode: Never\n",
            "provideClusterInfo: true\n",
            "kubectl config set-credentials work ",
        ],
    );
    assert_eq!(tree(usherd), before);
}

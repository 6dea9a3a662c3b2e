//! `usher helper install` where something is odd: what is in the files, in the environment, in the names of places, and what
//! happens while somebody thinks.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use usher_testkit::sandbox::Sandbox;

use super::{git, on_a_terminal, tree, usher};
use crate::support::{contains_all, sandbox};

const INSTALL: [&str; 3] = ["helper", "install", "git"];
const UNINSTALL: [&str; 3] = ["helper", "uninstall", "git"];

/// `usher helper LINE` in another directory, with more variables.
fn with_env(sandbox: &Sandbox, directory: &Path, line: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(sandbox.usher_path());
    command.arg("helper").args(line.split(' ')).env_clear().envs(sandbox.env_of_usher());
    command.envs(env.iter().copied()).current_dir(directory).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_changes_while_somebody_thinks_is_not_overwritten() {
    let sandbox = sandbox();
    let home = sandbox.dir().join("home");
    let (config, link) = (home.join(".gitconfig"), home.join(".local/bin/git-credential-usher"));
    let book = sandbox.dir().join("state/usher/helpers.json");
    sandbox.file("home/.gitconfig", "[user]\n\tname = A\n");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::create_dir_all(book.parent().unwrap()).unwrap();
    let write = |path: &Path| fs::write(path, "[alias]\n\tx = log\n").unwrap();
    let relink = |path: &Path| {
        let _ = fs::remove_file(path);
        symlink("/bin/true", path).unwrap();
    };
    let refused = |args: &[&str], path: &Path, change: &dyn Fn(&Path)| {
        let before = tree(&sandbox);
        let kept = fs::read(path).ok();
        let was_link = fs::read_link(path).ok();
        let mut changed = None;
        let (code, said) = on_a_terminal(&sandbox, args, "y\n", || {
            change(path);
            changed = Some(tree(&sandbox));
        });
        assert_eq!(code, Some(78), "{said}");
        let name = path.file_name().unwrap().to_str().unwrap();
        contains_all(&said, &[name, "was changed by somebody else meanwhile", "nothing was changed"]);
        assert_eq!(Some(tree(&sandbox)), changed, "{name}");
        fs::remove_file(path).unwrap();
        match (was_link, kept) {
            (Some(target), _) => symlink(target, path).unwrap(),
            (None, Some(bytes)) => fs::write(path, bytes).unwrap(),
            (None, None) => {}
        }
        assert_eq!(tree(&sandbox).len(), before.len());
    };
    refused(&INSTALL, &config, &write);
    refused(&INSTALL, &book, &write);
    refused(&INSTALL, &link, &relink);
    let _ = usher(&sandbox, "install git --yes").expect_ok();
    refused(&UNINSTALL, &config, &write);
    refused(&UNINSTALL, &book, &write);
    refused(&UNINSTALL, &link, &relink);
    // What is not to be written is looked at as well: the link stays where it is.
    refused(&["helper", "install", "git", "--persist"], &link, &relink);
    let (code, said) = on_a_terminal(&sandbox, &UNINSTALL, "y\n", || ());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read_to_string(&config).unwrap(), "[user]\n\tname = A\n");
}

#[test]
fn a_helper_without_a_value_is_told_and_nothing_is_changed() {
    let sandbox = sandbox();
    let config = sandbox.file("home/.gitconfig", "[credential]\n\thelper\n");
    let before = tree(&sandbox);
    // git's own word on it.
    let asked = sandbox.file("asked", "protocol=https\nhost=a.example.com\n\n");
    let fill = Command::new("git")
        .args(["credential", "fill"])
        .env_clear()
        .envs(sandbox.env_of_usher())
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0")])
        .stdin(fs::File::open(asked).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(fill.stderr).unwrap();
    contains_all(&said, &["missing value", "credential.helper"]);
    let told = usher(&sandbox, "install git --yes").expect_code(78).stderr;
    contains_all(
        &told,
        &[".gitconfig: credential.helper has no value", "take the line out", "nothing was changed"],
    );
    assert_eq!(tree(&sandbox), before);
    // It is in nobody's way where it came later.
    fs::write(&config, "").unwrap();
    let _ = usher(&sandbox, "install git --yes").expect_ok();
    let ours = fs::read_to_string(&config).unwrap();
    fs::write(&config, ours + "\thelper\n").unwrap();
    let _ = usher(&sandbox, "uninstall git --yes").expect_ok();
    assert_eq!(fs::read_to_string(&config).unwrap(), "[credential]\n\thelper\n");
}

#[test]
fn what_docker_could_not_read_is_told_with_its_place_and_nothing_is_changed() {
    let sandbox = sandbox();
    let config = sandbox.file("home/.docker/config.json", "");
    for (text, place) in [
        ("{\n  \"credHelpers\": {\"x\": null}\n}", "credHelpers.x is no string, at line 2 column 24"),
        ("{\"credHelpers\": []}", "credHelpers is no object, at line 1 column 17"),
        ("{\n\"credsStore\": 3}", "credsStore is no string, at line 2 column 15"),
        ("{\"credsStore\": \"a\", \"CREDSSTORE\": \"b\"}", "credsStore is there twice"),
    ] {
        fs::write(&config, text).unwrap();
        let before = tree(&sandbox);
        let told = usher(&sandbox, "install docker --yes").expect_code(78).stderr;
        contains_all(&told, &["home/.docker/config.json: ", place, "nothing was changed"]);
        assert_eq!(tree(&sandbox), before);
    }
}

#[test]
fn names_that_could_steer_a_terminal_are_shown_and_do_not() {
    let sandbox = sandbox();
    let config = sandbox.dir().join("home/a\u{1b}[2J\nwrote b");
    let env = [("GIT_CONFIG_GLOBAL", config.to_str().unwrap())];
    let mut all = String::new();
    for line in ["install git --dry-run", "install git --yes", "install git", "uninstall git --yes"] {
        let output = with_env(&sandbox, sandbox.dir(), line, &env);
        assert!(output.status.success(), "{}", told(&output));
        all += &told(&output);
    }
    fs::write(&config, "[x\n").unwrap();
    all += &told(&with_env(&sandbox, sandbox.dir(), "install git --yes", &env));
    let shown = "home/a\u{fffd}[2J\u{fffd}wrote b";
    assert_eq!(all.matches(shown).count(), all.matches("[2J").count(), "{all}");
    contains_all(&all, &[&format!("wrote {}", sandbox.dir().display()), "bad config line 1", shown]);
    assert!(!all.contains('\u{1b}'), "{all}");
}

#[test]
fn git_works_with_the_global_configuration_whatever_else_the_environment_says() {
    let sandbox = sandbox();
    let repository = sandbox.dir().join("home/repository");
    git(&sandbox, &["init", "-q", repository.to_str().unwrap()]);
    let local = repository.join(".git/config");
    fs::write(&local, fs::read_to_string(&local).unwrap() + "[credential]\n\thelper = local\n").unwrap();
    let other = sandbox.file("home/other", "[credential]\n\thelper = other\n");
    let repo_dir = repository.join(".git");
    let env = [
        ("GIT_DIR", repo_dir.to_str().unwrap()),
        ("GIT_WORK_TREE", repository.to_str().unwrap()),
        ("GIT_CEILING_DIRECTORIES", "/"),
        ("GIT_CONFIG", other.to_str().unwrap()),
        ("GIT_CONFIG_PARAMETERS", "'credential.helper'='parameters'"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "credential.helper"),
        ("GIT_CONFIG_VALUE_0", "counted"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
    ];
    let before = tree(&sandbox);
    let said = told(&with_env(&sandbox, &repository, "install git --yes", &env));
    contains_all(&said, &["home/.gitconfig: a new file", "credential.helper = "]);
    assert!(!said.contains("before usher"), "{said}");
    let installed = git(&sandbox, &["config", "--global", "--get-all", "credential.helper"]);
    assert!(installed.ends_with("/git-credential-usher\n") && installed.lines().count() == 1, "{installed}");
    let again = told(&with_env(&sandbox, &repository, "install git", &env));
    assert!(again.contains("nothing to do"), "{again}");
    let gone = told(&with_env(&sandbox, &repository, "uninstall git --yes", &env));
    assert!(gone.contains("removed"), "{gone}");
    assert_eq!(tree(&sandbox), before);

    // The one that is named is the global one, from wherever.
    let env = [("GIT_CONFIG_GLOBAL", "../other"), ("GIT_CONFIG_NOSYSTEM", "1")];
    let said = told(&with_env(&sandbox, &repository, "install git --yes", &env));
    contains_all(&said, &["wrote ", "/../other", "git asks `other` before usher"]);
    assert!(!sandbox.dir().join("home/.gitconfig").exists());
    let _ = usher(&sandbox, "uninstall git --yes").expect_ok();
    assert_eq!(tree(&sandbox), before);
}

#[test]
fn a_configuration_that_is_named_from_here_is_found_from_everywhere() {
    let sandbox = sandbox();
    let config = sandbox.file("home/xdg/git/config", "[user]\n\tname = A\n");
    let before = tree(&sandbox);
    let said = told(&with_env(
        &sandbox,
        &sandbox.dir().join("home"),
        "install git --yes",
        &[("XDG_CONFIG_HOME", "xdg")],
    ));
    contains_all(&said, &["wrote ", "home/xdg/git/config"]);
    assert!(fs::read_to_string(&config).unwrap().contains("git-credential-usher"));
    let _ = usher(&sandbox, "uninstall git --yes").expect_ok();
    assert_eq!(tree(&sandbox), before);
}

#[test]
fn what_is_printed_has_no_line_of_somebody_elses() {
    let sandbox = sandbox();
    for tool in ["git", "docker", "kubectl"] {
        let output = sandbox.usher(&["helper", "print", tool, "x\nrm -rf y"]).expect_code(64);
        assert!(output.stdout.is_empty(), "{}", output.stdout);
        contains_all(&output.stderr, &["control character in the name of the profile", "usher status"]);
    }
}

#[test]
fn a_record_of_another_form_is_left_alone() {
    let sandbox = sandbox();
    let _ = usher(&sandbox, "install git --yes").expect_ok();
    let book = sandbox.dir().join("state/usher/helpers.json");
    let text = fs::read_to_string(&book).unwrap();
    for (version, whose) in [("1", "an older usher"), ("3", "a newer usher")] {
        fs::write(&book, text.replacen("\"version\": 2", &format!("\"version\": {version}"), 1)).unwrap();
        let before = tree(&sandbox);
        for line in ["install docker --yes", "uninstall git --yes"] {
            let told = usher(&sandbox, line).expect_code(78).stderr;
            contains_all(&told, &["helpers.json was written by", whose, "nothing was changed"]);
        }
        assert_eq!(tree(&sandbox), before);
    }
}

//! What git makes of its configuration, as the real one does it.

use std::ffi::OsString;

use super::*;
use crate::helper::install::{
    format::{put, take_back},
    record::Install,
};

const OURS: &str = "/opt/git-credential-usher";

fn with<T>(env: &[(&str, &Path)], work: impl FnOnce(&Caller<'_>) -> T) -> T {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let find = |name: &str| match env.iter().find(|(key, _)| *key == name) {
        Some((_, value)) => Some(OsString::from(value.as_os_str())),
        None => std::env::var_os(name).filter(|_| name == "PATH"),
    };
    work(&Caller::new(&mut out, &mut err, &find))
}

fn git() -> Git {
    with(&[], |caller| Git::new(Path::new("/home/a/.gitconfig"), caller)).unwrap()
}

fn install() -> Install {
    Install {
        tool: crate::args::Tool::Git,
        profile: None,
        file: "/home/a/.gitconfig".into(),
        created: false,
        directories: Vec::new(),
        link: OURS.into(),
        entries: Vec::new(),
    }
}

fn for_all(git: &Git, text: &str) -> Vec<Change> {
    changes(git, text, &[], |_| Ok(OURS.to_owned())).unwrap()
}

fn place(url: &str) -> Place {
    Place::read(url).unwrap()
}

/// Files as people have them, with `credential` sections or without.
const FILES: [&str; 7] = [
    "",
    "# mine\n[user]\n\tname = A",
    "[credential]\n# a comment\n\n[user]\n  name = A ; x\n",
    "[credential]\n\thelper = store\n\thelper = !f() { echo password=x; }; f\n[core]\n",
    "[credential]\n[credential \"https://a.example.com\"]\n\thelper =\n\thelper = store\n",
    "[CREDENTIAL \"https://a.example.com/x\"]\nUSEHTTPPATH = off # why\n",
    "[credential \"https://a.example.com\"]\n\thelper = \n\thelper = x\n\thelper = \n\thelper = y\n",
];

#[test]
fn what_is_put_there_can_be_taken_back_to_the_byte() {
    let git = git();
    let places = [place("https://a.example.com/"), place("https://a.example.com/x/")];
    for before in FILES {
        for places in [&places[..], &[]] {
            let mut install = install();
            let missing = changes(&git, before, places, |_| Ok(OURS.to_owned())).unwrap();
            let after = put(&git, before, &missing, &mut install).unwrap();
            assert!(changes(&git, &after, places, |_| Ok(OURS.to_owned())).unwrap().is_empty(), "{after}");
            assert_eq!(take_back(&git, &after, &install.entries).unwrap(), before, "{after}");
            // With something new around it, and below what was the end, nothing of that is lost.
            let around = format!("[a]\n\tb = c\n{after}\n\tlast = 1\n");
            let expected = git.facts(&format!("[a]\n\tb = c\n{before}\n")).unwrap();
            let left = git.facts(&take_back(&git, &around, &install.entries).unwrap()).unwrap();
            assert!(!left.contains(OURS), "{left:?}");
            for fact in expected.split('\0') {
                assert!(left.contains(fact), "{fact:?} is not in {left:?}");
            }
            assert!(left.contains(".last\n1\0"), "{left:?}");
        }
    }
}

#[test]
fn a_profiles_hosts_get_a_section_with_no_other_helper() {
    let git = git();
    let places = [place("https://a.example.com/"), place("https://b.example.com:8443/team/")];
    let missing = changes(&git, "", &places, |_| Ok(OURS.to_owned())).unwrap();
    let text = put(&git, "", &missing, &mut install()).unwrap();
    assert_eq!(
        text,
        "[credential \"https://a.example.com\"]\n\thelper = \n\thelper = /opt/git-credential-usher\n\
         [credential \"https://b.example.com:8443/team\"]\n\thelper = \n\
         \thelper = /opt/git-credential-usher\n\tuseHttpPath = true\n"
    );
}

#[test]
fn a_value_of_ours_is_replaced_and_nobody_elses() {
    let git = git();
    let before = "[credential]\n\thelper = store\n\thelper = /old/git-credential-usher --persist\n";
    let missing = for_all(&git, before);
    assert_eq!(missing[0].was.as_deref(), Some("/old/git-credential-usher --persist"));
    let mut install = install();
    let after = put(&git, before, &missing, &mut install).unwrap();
    assert_eq!(after, "[credential]\n\thelper = store\n\thelper = /opt/git-credential-usher\n");
    // Twice in a row it is one entry, and what was there first comes back.
    let value = format!("{OURS} --timeout 60");
    let more = changes(&git, &after, &[], |_| Ok(value.clone())).unwrap();
    let again = put(&git, &after, &more, &mut install).unwrap();
    assert_eq!(install.entries.len(), 1);
    assert_eq!(take_back(&git, &again, &install.entries).unwrap(), before);
    for value in ["usher --persist", "!/a\\ b/usher helper git --profile p", "/a/git-credential-usher"] {
        assert!(is_usher(value), "{value}");
    }
    for value in ["store", "", "/x/git-credential-usher2", "!echo usher helper git", "'"] {
        assert!(!is_usher(value), "{value}");
    }
}

#[test]
fn what_git_cannot_read_is_an_error_that_names_the_file_and_the_line() {
    let error = git().facts("[a]\n\tb = c\n[x\n").unwrap_err().to_string();
    assert!(error.contains("line 3 in file /home/a/.gitconfig"), "{error}");
}

#[test]
fn the_file_is_the_one_that_git_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (home, other) = (dir.path(), dir.path().join("other"));
    let own = home.join(".gitconfig");
    let of = |env: &[(&str, &Path)]| with(env, file);
    assert_eq!(of(&[("HOME", home)]).unwrap(), own);
    assert_eq!(of(&[("HOME", home), ("GIT_CONFIG_GLOBAL", &other)]).unwrap(), other);
    let xdg = home.join("config/git/config");
    fs::create_dir_all(xdg.parent().unwrap()).unwrap();
    fs::write(&xdg, "").unwrap();
    let both = [("HOME", home), ("XDG_CONFIG_HOME", &home.join("config"))];
    assert_eq!(of(&both).unwrap(), xdg);
    // The real one's word on it.
    let said = Command::new("git")
        .args(["config", "--global", "a.b", "c"])
        .envs(both)
        .env_remove("GIT_CONFIG_GLOBAL")
        .status();
    assert!(said.unwrap().success());
    assert_eq!(fs::read_to_string(&xdg).unwrap(), "[a]\n\tb = c\n");
    fs::write(&own, "").unwrap();
    assert_eq!(of(&both).unwrap(), own);
    assert!(of(&[]).unwrap_err().to_string().contains("set HOME"));
}

#[test]
fn the_shell_reads_a_path_as_it_is() {
    for path in ["/plain/git-credential-usher", "/with space/$x/'q\"/`;&|\\#~*", "/\u{e4}/b"] {
        let escaped = escaped(Path::new(path)).unwrap();
        assert!(escaped.starts_with('/'), "{escaped}");
        let told = Command::new("sh").args(["-c", &format!("printf %s {escaped}")]).output().unwrap();
        assert_eq!(String::from_utf8(told.stdout).unwrap(), path);
    }
    assert!(escaped(Path::new("/a\nb")).is_err());
}

#[test]
fn a_shell_command_among_other_helpers_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c");
    let text = "[credential]\nhelper = gone\nhelper =\nhelper = cache --timeout 1\nhelper = \"!echo secret\"\nhelper = usher\n";
    fs::write(&config, text).unwrap();
    let env = [("GIT_CONFIG_GLOBAL", config.as_path()), ("GIT_CONFIG_NOSYSTEM", Path::new("1"))];
    assert_eq!(with(&env, others).unwrap(), ["`cache`", "a shell command"]);
}

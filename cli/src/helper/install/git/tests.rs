//! What git makes of its configuration, as the real one does it.

use std::{ffi::OsString, process::Command};

use super::*;
use crate::helper::install::{
    record::Edited,
    settle::{Settled, Wishes, settle},
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
    with(&[], |caller| Git::alone(Path::new("/home/a/.gitconfig"), caller))
}

fn wants_of(places: &[Place]) -> Vec<Want> {
    wants(places, |_| Ok(OURS.to_owned())).unwrap()
}

fn helper(value: &str) -> Want {
    Want { key: vec![HELPER.to_owned()], value: value.to_owned() }
}

/// What was noted of the file.
fn done(entries: &[Entry], earlier: &[Entry]) -> Edited {
    let path = "/home/a/.gitconfig".into();
    Edited { path, created: false, entries: entries.to_vec(), earlier: earlier.to_vec() }
}

/// Has one install come, change or go that wanted `so_far` and wants `own`; `others` want something too.
fn settled(text: &str, entries: &[Entry], so_far: &[Want], own: &[Want], others: &[Want]) -> Settled {
    let all = [others, own].concat();
    let wishes = Wishes { so_far, own, all: &all };
    settle(&git(), text, &done(entries, &[]), wishes).unwrap()
}

fn place(url: &str) -> Place {
    Place::read(url).unwrap()
}

/// Files as people have them, with `credential` sections or without.
const FILES: [&str; 8] = [
    "",
    "# mine\n[user]\n\tname = A",
    "[credential]\n# a comment\n\n[user]\n  name = A ; x\n",
    "[credential]\n\thelper = store\n\thelper = !f() { echo password=x; }; f\n[core]\n",
    "[credential]\n[credential \"https://a.example.com\"]\n\thelper =\n\thelper = store\n",
    "[CREDENTIAL \"https://a.example.com/x\"]\nUSEHTTPPATH = off # why\n",
    "[credential \"https://a.example.com/x\"]\n\tuseHttpPath = no # one\n\tuseHttpPath = off # two\n",
    "[credential \"https://a.example.com\"]\n\thelper = \n\thelper = x\n\thelper = \n\thelper = y\n",
];

#[test]
fn what_is_put_there_can_be_taken_back_to_the_byte() {
    let git = git();
    let places = [place("https://a.example.com/"), place("https://a.example.com/x/")];
    for before in FILES {
        for places in [&places[..], &[]] {
            let wants = wants_of(places);
            let after = settled(before, &[], &[], &wants, &[]);
            for want in &wants {
                assert_eq!(git.missing(&after.text, want).unwrap(), None, "{}", after.text);
            }
            let gone = settled(&after.text, &after.entries, &wants, &[], &[]);
            assert_eq!(gone.text, before, "{}", after.text);
            assert!(gone.entries.is_empty() && gone.lost.is_empty() && !gone.is_rough);
            // With something new around it, and below what was the end, nothing of that is lost.
            let around = format!("[a]\n\tb = c\n{}\n\tlast = 1\n", after.text);
            let expected = git.list(&format!("[a]\n\tb = c\n{before}\n")).unwrap();
            let left = settled(&around, &after.entries, &wants, &[], &[]).text;
            assert!(!left.contains(OURS), "{left}");
            let left = git.list(&left).unwrap();
            for fact in expected {
                assert!(left.contains(&fact), "{fact:?} is not in {left:?}");
            }
            assert!(left.iter().any(|(key, _)| key.contains(".last")), "{left:?}");
        }
    }
}

#[test]
fn installs_come_and_go_in_any_order_and_leave_every_byte() {
    // Sections that are there already, so that what is put into one looks like what is put into the other.
    let section = |host: &str| {
        format!(
            "[credential \"https://{host}.example.com/x\"]\n\thelper = one # why\n\tuser = u ; who\n# end\n"
        )
    };
    let before = section("b") + &section("a");
    let of = |host: &str| wants_of(&[place(&format!("https://{host}.example.com/x/"))]);
    let (a, b, all) = (of("a"), of("b"), vec![helper(OURS)]);
    for (orders, gone) in
        [([&a, &b, &all], [0, 1, 2]), ([&b, &all, &a], [1, 0, 2]), ([&all, &b, &a], [2, 0, 1])]
    {
        let mut now = settled(&before, &[], &[], &[], &[]);
        for (at, own) in orders.iter().enumerate() {
            let others: Vec<Want> = orders[..at].iter().copied().flatten().cloned().collect();
            now = settled(&now.text, &now.entries, &[], own, &others);
        }
        assert_eq!(now.text.matches(OURS).count(), 3, "{}", now.text);
        let mut left = orders.map(|wants: &Vec<Want>| Some(wants.clone()));
        for at in gone {
            let going = left[at].take().unwrap();
            let others: Vec<Want> = left.iter().flatten().flatten().cloned().collect();
            now = settled(&now.text, &now.entries, &going, &[], &others);
            assert!(!now.is_rough && now.lost.is_empty());
            let alone = settled(&before, &[], &[], &others, &[]).text;
            assert_eq!(now.text, alone, "{gone:?}");
        }
        assert_eq!(now.text, before);
    }
}

#[test]
fn what_two_installs_want_goes_with_the_last_and_is_the_later_ones_meanwhile() {
    let before = "[credential]\n\thelper = usher --persist\n";
    let (first, second) = ([helper(OURS)], [helper(&format!("{OURS} --profile b"))]);
    let one = settled(before, &[], &[], &first, &[]);
    let both = settled(&one.text, &one.entries, &[], &second, &first);
    assert_eq!(both.text, format!("[credential]\n\thelper = {OURS} --profile b\n"));
    assert_eq!(both.entries[0].was.as_deref(), Some("usher --persist"));
    let told = format!("credential.helper = {OURS} --profile b (was {OURS})");
    assert_eq!(both.told, [told]);
    // The later one goes: it is the first one's again.
    let left = settled(&both.text, &both.entries, &second, &[], &first);
    assert_eq!(left.text, one.text);
    assert_eq!(left.told, [format!("credential.helper = {OURS} (was {OURS} --profile b)")]);
    // The first one goes: nothing changes.
    let left = settled(&both.text, &both.entries, &first, &[], &second);
    assert_eq!((&left.text, left.told.len()), (&both.text, 0));
    assert_eq!(settled(&left.text, &left.entries, &second, &[], &[]).text, before);
    // Somebody has put something before it: it is taken out by itself.
    let moved = format!("[a]\n\tb = c\n{}", both.text);
    let left = settled(&moved, &both.entries, &second, &[], &first);
    assert_eq!(left.text, format!("[a]\n\tb = c\n{}", one.text));
    let left = settled(&left.text, &left.entries, &first, &[], &[]);
    assert_eq!(left.text, format!("[a]\n\tb = c\n{before}"));
}

#[test]
fn what_somebody_else_has_changed_is_left_and_what_cannot_be_exact_is_told() {
    let wants = wants_of(&[place("https://a.example.com/")]);
    let before = "[credential \"https://a.example.com\"]\n\thelper =\n\thelper = x # why\n";
    let after = settled(before, &[], &[], &wants, &[]);
    let changed = after.text.replace(OURS, "theirs");
    let left = settled(&changed, &after.entries, &wants, &[], &[]);
    assert_eq!(left.lost.len(), 1);
    assert!(left.text.contains("theirs") && left.entries.is_empty(), "{}", left.text);
    // Two lines that are alike, and none in its place: values are kept, a comment is not.
    let moved = format!("[a]\n{}\thelper = \n\thelper = last\n", after.text);
    let left = settled(&moved, &after.entries, &wants, &[], &[]);
    assert!(left.is_rough, "{}", left.text);
    let values = git().values(&left.text, &wants[0].key).unwrap();
    assert_eq!(values, ["", "x", "", "last"]);
}

#[test]
fn a_profiles_hosts_get_a_section_with_no_other_helper() {
    let wants = wants_of(&[place("https://a.example.com/"), place("https://b.example.com:8443/team/")]);
    assert_eq!(
        settled("", &[], &[], &wants, &[]).text,
        "[credential \"https://a.example.com\"]\n\thelper = \n\thelper = /opt/git-credential-usher\n\
         [credential \"https://b.example.com:8443/team\"]\n\thelper = \n\
         \thelper = /opt/git-credential-usher\n\tuseHttpPath = true\n"
    );
}

#[test]
fn of_two_that_say_the_same_both_stay_when_a_third_comes() {
    let wants = wants_of(&[place("https://a.example.com/x/")]);
    let before =
        "[credential \"https://a.example.com/x\"]\n\tuseHttpPath = no # one\n\tuseHttpPath = off # two\n";
    let after = settled(before, &[], &[], &wants, &[]);
    assert!(
        after.text.starts_with(before) && after.text.ends_with("\tuseHttpPath = true\n"),
        "{}",
        after.text
    );
    let moved = format!("# new\n{}", after.text);
    let left = settled(&moved, &after.entries, &wants, &[], &[]);
    assert_eq!(left.text, format!("# new\n{before}"));
}

#[test]
fn a_value_of_ours_is_replaced_and_nobody_elses() {
    let git = git();
    let before = "[credential]\n\thelper = store\n\thelper = /old/git-credential-usher --persist\n";
    let wants = [helper(OURS)];
    let after = settled(before, &[], &[], &wants, &[]);
    assert_eq!(after.entries[0].was.as_deref(), Some("/old/git-credential-usher --persist"));
    assert_eq!(after.text, "[credential]\n\thelper = store\n\thelper = /opt/git-credential-usher\n");
    // Twice in a row it is one entry, and what was there first comes back.
    let more = [helper(&format!("{OURS} --timeout 60"))];
    let again = settled(&after.text, &after.entries, &wants, &more, &[]);
    assert_eq!(again.entries.len(), 1);
    assert_eq!(settled(&again.text, &again.entries, &more, &[], &[]).text, before);
    // git cannot replace one of two.
    let twice = "[credential]\n\thelper = usher\n\thelper = store\n\thelper = usher\n";
    let change = git.missing(twice, &wants[0]).unwrap().unwrap();
    assert_eq!(change.was, None);
    for value in ["usher --persist", "!/a\\ b/usher helper git --profile p", "/a/git-credential-usher"] {
        assert!(is_usher(value), "{value}");
    }
    for value in ["store", "", "/x/git-credential-usher2", "!echo usher helper git", "'"] {
        assert!(!is_usher(value), "{value}");
    }
}

#[test]
fn one_value_is_meant_whatever_it_looks_like_and_no_line_without_any() {
    let odd = "/a.b/git-credential-usher\\ [x](y){1}*+?|^$ !z";
    for value in [odd, "", "!f() { echo \"$1\"; }; f", "\u{e4}"] {
        let (wants, other) = ([helper(value)], helper("/aXb/git-credential-usher"));
        let before = "[credential]\n\thelper\n";
        let text = git().put(before, &Change::new(&other)).unwrap();
        let added = git().put(&text, &Change::new(&wants[0])).unwrap();
        let entry = Entry { want: wants[0].clone(), was: None, splices: Vec::new() };
        assert_eq!(git().take(&added, &entry).unwrap(), text, "{value:?}");
        let back = Entry { was: Some("x".to_owned()), ..entry };
        let expected = format!("{text}\thelper = x\n");
        assert_eq!(git().take(&added, &back).unwrap(), expected, "{value:?}");
    }
}

#[test]
fn a_line_without_a_value_is_an_error_only_where_git_fails_on_it() {
    let wants = wants_of(&[place("https://a.example.com/x/")]);
    for text in
        ["[credential]\n\thelper\n", "[credential \"https://a.example.com/x\"]\n\thelper = x\n\tHelper\n"]
    {
        let error = git().check(text, &wants).unwrap_err().to_string();
        assert!(error.contains("/home/a/.gitconfig: credential."), "{error}");
        assert!(error.contains("has no value"), "{error}");
    }
    for text in [
        "[credential]\n\thelper =\n",
        "[credential \"https://b.example.com\"]\n\thelper\n",
        "[credential \"https://a.example.com/x\"]\n\tuseHttpPath\n",
    ] {
        git().check(text, &wants).unwrap();
        // It is on already.
        assert_eq!(git().missing(text, &wants[2]).unwrap().is_none(), text.contains("useHttpPath"), "{text}");
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
    let text = "[credential]\nhelper = gone\nhelper =\nhelper = cache --timeout 1\nhelper = \"!echo secret\"\n\
                helper = usher\nhelper = last\n";
    let told = git().warnings(text, &[helper("usher")]).unwrap().concat();
    assert!(
        told.contains("git asks `cache` and a shell command before usher, and `last` after usher,"),
        "{told}"
    );
    assert!(!told.contains("secret") && !told.contains("gone"), "{told}");
}

//! Completions and manual pages, as the programs that read them understand them.

#![allow(clippy::unwrap_used, reason = "a panic is the failure of the test")]

use std::{
    fs,
    process::{Command, Output},
};

use crate::support::sandbox;

/// Runs a program that may not be there; `None` says that it is not.
fn run(program: &str, args: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.is_empty(), "{program}: {text}");
    Some(output)
}

#[test]
fn bash_completes_commands_and_options() {
    let sandbox = sandbox();
    let script = sandbox.usher(&["completions", "bash"]).expect_ok().stdout;
    let file = sandbox.file("usher.bash", &script);
    let complete = |words: &str, at: usize| {
        let words_of = words.split(' ').collect::<Vec<_>>();
        let line = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD={at}; _usher usher '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            file.display(),
            words_of[at],
            words_of[at - 1],
        );
        let output = run("bash", &["--norc", "-c", &line]).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("usher insp", 1), "inspect\n");
    assert_eq!(complete("usher token --min", 2), "--min-ttl\n");
    assert_eq!(complete("usher completions f", 2), "fish\n");
}

#[test]
fn zsh_and_fish_can_read_theirs() {
    let sandbox = sandbox();
    for (shell, options) in [("zsh", &["-f", "-n"][..]), ("fish", &["--no-config", "--no-execute"])] {
        let script = sandbox.usher(&["completions", shell]).expect_ok().stdout;
        assert!(script.contains("inspect") && script.contains("min-ttl"), "{shell}");
        let file = sandbox.file(&format!("completions.{shell}"), &script);
        run(shell, &[options, &[file.to_str().unwrap()]].concat());
    }
    let _ = sandbox.usher(&["completions", "csh"]).expect_code(64);
}

#[test]
fn every_command_has_its_manual_page() {
    let sandbox = sandbox();
    let dir = sandbox.dir().join("made/man1");
    let output = sandbox.usher(&["man", "--dir", dir.to_str().unwrap()]).expect_ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    let main = fs::read_to_string(dir.join("usher.1")).unwrap();
    assert_eq!(sandbox.usher(&["man"]).expect_ok().stdout, main);
    for command in [
        "token", "header", "curl", "run", "env", "use", "inspect", "status", "reload", "forget", "service",
        "helper", "man",
    ] {
        let page = dir.join(format!("usher-{command}.1"));
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains(".SH SYNOPSIS") && text.contains(".SH OPTIONS"), "{command}");
        assert!(main.contains(&format!("usher\\-{command}(1)")), "{command} is not in usher(1)");
        run("man", &["--warnings", "-l", page.to_str().unwrap()]);
    }
    let file = sandbox.file("in-the-way", "");
    let told = sandbox.usher(&["man", "--dir", file.to_str().unwrap()]).expect_code(74).stderr;
    assert!(told.contains("in-the-way"), "{told}");
}

//! The unit files: systemd understands every line, and what it says of their sandbox.

#![allow(clippy::panic, reason = "a panic is the failure of the test")]

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// `systemd-analyze ARGS`; none where there is no such program.
fn analyze<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>, runtime: &Path) -> Option<Output> {
    let output = Command::new("systemd-analyze").args(args).env("XDG_RUNTIME_DIR", runtime).output();
    if output.is_err() {
        super::skipped("the unit files", "systemd-analyze");
    }
    output.ok()
}

fn shipped(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(kind)
}

#[test]
fn systemd_has_nothing_to_say_about_any_line_of_the_units() {
    for (kind, place, whose) in [("user", "%h/.cargo/bin/", "--user"), ("system", "/usr/bin/", "--system")] {
        let dir = tempfile::tempdir().unwrap();
        // It looks for the programs, too.
        let bin = Path::new(env!("CARGO_BIN_EXE_usherd")).parent().unwrap().display().to_string() + "/";
        let mut args = vec![whose.into(), "verify".into(), "--man=no".into()];
        let own: &[&str] = if kind == "user" { &["usher-token@.service"] } else { &[] };
        for name in [&["usherd.socket", "usherd.service"], own].concat() {
            let text = fs::read_to_string(shipped(kind).join(name)).unwrap();
            let path = dir.path().join(name);
            fs::write(&path, text.replace(&format!("={place}"), &format!("={bin}"))).unwrap();
            args.push(path.into_os_string());
        }
        if kind == "user" {
            // It reads drop-ins beside the unit.
            fs::create_dir(dir.path().join("usherd.service.d")).unwrap();
            let strict = "usherd.service.d/strict.conf";
            fs::copy(shipped(kind).join(strict), dir.path().join(strict)).unwrap();
        }
        let Some(output) = analyze(args, dir.path()) else { return };
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.is_empty(), "{kind}: {told}");
    }
}

#[test]
fn the_sandbox_is_as_tight_as_the_documentation_says() {
    let dir = tempfile::tempdir().unwrap();
    let documented =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd.md")).unwrap();
    // A user's systemd can apply no more: see the unit's comments.
    for (kind, most) in [("system", 20), ("user", 60)] {
        let unit = shipped(kind).join("usherd.service").into_os_string();
        let args = ["security", "--offline=true", "--no-pager"].map(Into::into);
        let threshold = format!("--threshold={most}").into();
        let Some(output) = analyze(args.into_iter().chain([threshold, unit]), dir.path()) else { return };
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{kind}: {told}");
        let score = told.rsplit_once("usherd.service: ").unwrap().1.split(' ').next().unwrap();
        assert!(documented.contains(&format!("| {kind} unit | {score} |")), "{kind}: {score}");
    }
}

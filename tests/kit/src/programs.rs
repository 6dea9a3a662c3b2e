//! Where the real clients are: on this machine's `PATH`, or where `tests/run` puts what is not.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What is said when a program is not there.
const HOW: &str = "run tests/run once: it installs what the tests need";

/// Where the Google SDK keeps a kubectl of every version; that on the `PATH` may be one that chooses among them.
const SDK: &str = "/usr/lib/google-cloud-sdk/bin";

/// The first git that sends a Bearer token if a helper says so.
const BEARER: (u32, u32) = (2, 46);

/// The first git-lfs that does.
const LFS_BEARER: (u32, u32) = (3, 6);

/// Which git, or git-lfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// git from 2.46 on, git-lfs from 3.6 on: sends Bearer.
    New,
    /// Before: knows only user name and password.
    Old,
}

/// The program of that name; panics if there is none.
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let unpacked = clients().join("debs/usr/bin");
    std::env::split_paths(&path)
        .chain([unpacked])
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: {HOW}"))
}

/// A git of that age, if this machine has one.
pub fn git(age: Age) -> Option<PathBuf> {
    let built = if age == Age::New { "git-new/bin" } else { "git-old/bin" };
    of_age("git", built, |git| (version(git, "--version", "git version ") >= BEARER) == (age == Age::New))
}

/// A git-lfs of that age, if this machine has one.
pub fn git_lfs(age: Age) -> Option<PathBuf> {
    let unpacked = if age == Age::New { "git-lfs-new/usr/bin" } else { "git-lfs-old/usr/bin" };
    of_age("git-lfs", unpacked, |lfs| {
        (version(lfs, "version", "git-lfs/") >= LFS_BEARER) == (age == Age::New)
    })
}

fn of_age(name: &str, beside: &str, is_it: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([clients().join(beside)])
        .map(|dir| dir.join(name))
        .find(|program| program.is_file() && is_it(program))
}

/// The newest kubectl that is not itself a choice among others, and its version; panics if there is none.
pub fn kubectl() -> (PathBuf, (u32, u32)) {
    let versioned = |entry: std::fs::DirEntry| {
        let minor = entry.file_name().to_str()?.strip_prefix("kubectl.1.")?.parse().ok()?;
        Some((minor, entry.path()))
    };
    let of_sdk = std::fs::read_dir(SDK).into_iter().flatten().flatten().filter_map(versioned).max();
    of_sdk.map_or_else(
        || {
            let program = find("kubectl");
            let output = Command::new(&program).args(["version", "--client", "-o", "json"]).output();
            let output = output.expect("run kubectl").stdout;
            let version: serde_json::Value = serde_json::from_slice(&output).expect("kubectl's version");
            let version = version["clientVersion"]["gitVersion"].as_str().expect("a version").to_owned();
            (program, numbers(version.trim_start_matches('v')))
        },
        |(minor, program)| (program, (1, minor)),
    )
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients")
}

/// The version that a program tells behind `prefix`.
fn version(program: &Path, arg: &str, prefix: &str) -> (u32, u32) {
    let output = Command::new(program).arg(arg).output().expect("run a program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    numbers(text.trim().trim_start_matches(prefix))
}

/// The first two numbers of a version.
fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

//! The direction of dependencies, read off the sources: which module may name which, who alone may name
//! tonic's server, reqwest and nix, and where `unsafe` may stand. And that files stay small and say what
//! they are for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::source::{Named, Source};

mod source;

/// What each module of the daemon may name of the others; `token::ports` is that part of `token` alone.
/// `lib.rs` and `start` put everything together and may name all of it.
const ARROWS: [(&str, &[&str]); 11] = [
    ("access", &[]),
    ("domain", &[]),
    ("config", &["domain"]),
    ("token", &["domain"]),
    ("credential", &["domain", "token::ports"]),
    ("idp", &["domain", "os", "token::ports"]),
    ("secret", &["domain", "os", "token::ports"]),
    ("store", &["credential::ports", "domain", "os", "token::ports"]),
    ("os", &["domain", "token::ports"]),
    ("rpc", &["access", "config", "credential", "domain", "token"]),
    ("lifecycle", &["access", "config", "credential", "domain", "os", "rpc", "token"]),
];

/// In the daemon these crates are for these modules alone.
const OWNERS: [(&str, &str); 3] = [("tonic", "rpc"), ("reqwest", "idp"), ("nix", "os")];

/// What a crate may not name: its neighbours, and what it has no use for.
const BANNED: [(&str, &[&str]); 3] = [
    ("daemon", &["usher_cli", "usher_testkit"]),
    ("cli", &["usher_daemon", "usher_testkit", "reqwest", "rustls"]),
    ("proto", &["usher_daemon", "usher_cli", "usher_testkit", "reqwest", "rustls"]),
];

const MAX_LINES: usize = 500;

/// What is wrong with a file of `krate` that is the module `module`, and the test files it declares.
fn check(krate: &str, module: &[String], text: &str) -> (Vec<String>, Vec<String>) {
    let source = Source::read(text, module);
    let area = module.first().map_or("", String::as_str);
    let mut wrong = Vec::new();
    for Named { line, module, segments } in &source.named {
        let complaint = match resolve(module, segments) {
            Some(inside) if krate == "daemon" => forbidden_arrow(area, &inside),
            Some(_) => None,
            None => forbidden_crate(krate, area, segments),
        };
        wrong.extend(complaint.map(|complaint| format!("line {line}: {complaint}")));
    }
    let allowed = match (krate, area) {
        ("daemon", "os") => usize::MAX,
        // The environment is changed, while there is one thread.
        ("daemon", "start") => 2,
        _ => 0,
    };
    wrong.extend(source.unsafes.iter().skip(allowed).map(|line| format!("line {line}: unsafe")));
    (wrong, source.test_files)
}

/// A path within the crate, from its root; `None` for one that leads out of it (or is a name in scope).
fn resolve(module: &[String], segments: &[String]) -> Option<Vec<String>> {
    let mut at = module.to_vec();
    let mut rest = segments;
    match rest.first()?.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            while let Some((_, after)) = rest.split_first().filter(|(first, _)| *first == "super") {
                at.pop();
                rest = after;
            }
            return Some([&at, rest].concat());
        }
        _ => return None,
    }
    Some([&at, &rest[1..]].concat())
}

fn forbidden_arrow(area: &str, inside: &[String]) -> Option<String> {
    let target = inside.first()?;
    if matches!(area, "" | "main" | "start") || target == area {
        return None;
    }
    let path = inside.join("::");
    let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == area) else {
        return Some(format!("the module {area} has no place in the layering yet; it names {path}"));
    };
    let within =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|r| r.is_empty() || r.starts_with("::"));
    (!allowed.iter().any(|prefix| within(prefix))).then(|| format!("{area} -> {path}"))
}

fn forbidden_crate(krate: &str, area: &str, segments: &[String]) -> Option<String> {
    let [name, _, ..] = segments else { return None };
    let banned = BANNED.iter().any(|(of, names)| *of == krate && names.contains(&name.as_str()));
    let foreign = krate == "daemon"
        && OWNERS.iter().any(|(owned, owner)| {
            *owner != area && (name == owned || name.strip_prefix(owned).is_some_and(|r| r.starts_with('_')))
        });
    (banned || foreign).then(|| format!("{krate} {area} names {}", segments.join("::")))
}

/// The sources of a crate: each with its path and its module.
fn sources(krate: &str) -> Vec<(PathBuf, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(krate).join("src");
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                todo.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let inside = entry.strip_prefix(&root).unwrap().with_extension("");
                let mut module: Vec<_> =
                    inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                module.pop_if(|last| matches!(last.as_str(), "mod" | "lib"));
                found.push((entry, module));
            }
        }
    }
    found.sort();
    assert!(found.len() > 5, "{} has only {} source files", root.display(), found.len());
    found
}

#[test]
fn every_arrow_points_the_way_it_may() {
    let mut wrong = Vec::new();
    for krate in ["daemon", "cli", "proto"] {
        let mut complaints = Vec::new();
        let mut for_tests = Vec::new();
        for (path, module) in sources(krate) {
            let (found, tests) = check(krate, &module, &fs::read_to_string(&path).unwrap());
            complaints.push((path, module.clone(), found));
            for_tests.extend(tests.into_iter().map(|name| [&module[..], &[name]].concat()));
        }
        for (path, module, found) in complaints {
            if !for_tests.iter().any(|tests| module.starts_with(tests)) {
                wrong.extend(found.into_iter().map(|complaint| format!("{}, {complaint}", path.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden:\n  {}", wrong.join("\n  "));
}

#[test]
fn every_file_is_short_and_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for (path, _) in ["daemon", "cli", "proto"].into_iter().flat_map(sources) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with its docs", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A place, a source with `;;` for its line ends, and what is wrong with it.
const PLANTED: &str = r"
daemon token | use crate::rpc::status; | line 1: token -> rpc::status
daemon token::cache | //! x;;use super::super::idp; | line 2: token -> idp
daemon token | use crate::{domain::time, os as domain}; | line 1: token -> os
daemon token | fn f() { let x = crate::secret::Sources::new(); } | token -> secret::Sources::new
daemon token | fn f() { tokio::select! { _ = crate::idp::go() => {} } } | token -> idp::go
daemon idp | use crate::token::{ports::Issuer, service::Engine}; | idp -> token::service::Engine
daemon idp | use crate::token::*; | idp -> token::*
daemon domain | mod inner { use super::super::token; } | domain -> token
daemon access | use crate::DRAIN; | access -> DRAIN
daemon novel | use crate::token; | novel has no place
daemon token | use tonic::Status; | daemon token names tonic::Status
daemon token | #[tonic::async_trait] impl A for B {} | names tonic::async_trait
daemon token | fn f(x: &tonic_types::Status) {} | names tonic_types::Status
daemon token | pub use reqwest as web; | names reqwest
daemon lifecycle | use ::nix::{unistd}; | names nix::unistd
daemon rpc | use {crate::token, reqwest::Client}; | names reqwest::Client
daemon idp | use reqwest::A; fn f() -> nix::Result<()> {} | names nix::Result
daemon start | fn f() { unsafe { a() } };;fn g() { unsafe { b() } };;fn h() { unsafe { c() } } | line 3: unsafe
daemon rpc | unsafe impl Send for A {} | line 1: unsafe
cli command | fn f() { m!(unsafe { x }); } | line 1: unsafe
cli command | use usher_daemon::config; | cli command names usher_daemon::config
proto client | pub use usher_cli::Caller; | proto client names usher_cli::Caller
daemon token | #[cfg(test)];;mod tests { use tonic::A; };;use nix::B; | line 3: daemon token names nix::B
";

/// A place, and a source that may stand there.
const RIGHT: &str = r#"
daemon token::cache | use super::ports; use crate::domain::time::Moment; use self::select::go;
daemon idp | use reqwest::Client; use crate::{os::trusted, token::ports::{self, Issuer}};
daemon os | use nix::libc; pub unsafe fn f() { unsafe { g() } }
daemon start | use crate::{os, rpc}; fn f() { unsafe { os::take() } }
daemon token | // use tonic::Status;;/// crate::rpc, unsafe;;const A: &str = "unsafe nix::x";
daemon token | #![expect(unsafe_code)];;fn nix() {};;fn f(tonic: u8) {}
daemon token | #[cfg(test)] mod tests { use crate::rpc; unsafe fn f() {} } #[cfg(test)] use nix::A;
cli call | use tonic::Request; use nix::unistd; use usher_proto::client;
"#;

fn check_row(row: &str) -> Vec<String> {
    let mut cells = row.split(" | ");
    let (krate, module) = cells.next().unwrap().split_once(' ').unwrap();
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    check(krate, &module, &cells.next().unwrap().replace(";;", "\n")).0
}

#[test]
fn the_checker_finds_what_is_planted() {
    for row in PLANTED.trim().lines() {
        let (found, expected) = (check_row(row), row.rsplit(" | ").next().unwrap());
        assert!(found.len() == 1 && found[0].contains(expected), "{row}: {found:?}");
    }
}

#[test]
fn the_checker_lets_pass_what_is_right() {
    for row in RIGHT.trim().lines() {
        assert_eq!(check_row(row), Vec::<String>::new(), "{row}");
    }
    let (_, tests) = check("cli", &[], "#[cfg(test)]\nmod fake;\n#[cfg(test)] pub(crate) mod more;");
    assert_eq!(tests, ["fake", "more"]);
}

//! docs/faults.md: every case is there, and every test that it names exists.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The cases that the table has to have.
fn cases() -> BTreeSet<String> {
    let runs = [
        ("A", 1, 16),
        ("B", 17, 18),
        ("B", 28, 28),
        ("C", 29, 43),
        ("D", 44, 48),
        ("D", 50, 51),
        ("E", 52, 61),
        ("E", 65, 65),
        ("F", 66, 68),
        ("G", 70, 77),
        ("H", 78, 80),
        ("I", 88, 89),
    ];
    runs.into_iter()
        .flat_map(|(area, from, to)| (from..=to).map(move |number| format!("{area}{number}")))
        .collect()
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md")).unwrap()
}

/// The rows of the table: a case, and the tests that its last column names.
fn rows(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case")) {
        let columns: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [case, fault, usherd, user, tests] = columns[..] else { panic!("not five columns: {line}") };
        assert!(!fault.is_empty() && !usherd.is_empty() && !user.is_empty(), "an empty column: {line}");
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(rows.insert(case.to_owned(), tests).is_none(), "{case} is there twice");
    }
    rows
}

/// Every test of the integration tests and of the daemon, by its module and name.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for sources in ["tests/it", "daemon/src"] {
        find_tests(&root.join(sources), "", &mut found);
    }
    found
}

/// A test's name without the modules that only say that it is one.
fn short(name: &str) -> String {
    name.split("::").filter(|part| *part != "tests").collect::<Vec<_>>().join("::")
}

fn find_tests(dir: &Path, module: &str, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let inside = if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
        if path.is_dir() {
            find_tests(&path, &inside, found);
            continue;
        }
        let inside = if matches!(name, "main" | "lib" | "mod") { module } else { &inside };
        let text = fs::read_to_string(&path).unwrap();
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            let function =
                line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            match function {
                Some(name) if marked => {
                    found.insert(short(&format!("{inside}::{name}")));
                    marked = false;
                }
                _ => marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test"),
            }
        }
    }
}

#[test]
fn every_case_is_in_the_table_and_named_tests_exist() {
    let page = page();
    let (rows, tests) = (rows(&page), tests());
    let listed: BTreeSet<_> = rows.keys().cloned().collect();
    let mut wrong: Vec<_> = listed
        .symmetric_difference(&cases())
        .map(|case| format!("{case} is missing, or is no case"))
        .collect();
    let unproven = rows.iter().filter(|(_, named)| named.is_empty());
    wrong.extend(unproven.map(|(case, _)| format!("{case} names no test")));
    // Those of the table, and those of the text below it.
    let words = page.split('`').skip(1).step_by(2);
    let named = words.filter(|word| word.contains("::") && !word.contains(' ') && !word.ends_with("::"));
    wrong.extend(
        named.filter(|name| !tests.contains(&short(name))).map(|name| format!("there is no test {name}")),
    );
    assert!(wrong.is_empty(), "docs/faults.md:\n{}", wrong.join("\n"));
}

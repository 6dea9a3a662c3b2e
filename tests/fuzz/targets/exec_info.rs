//! What kubectl has in `KUBERNETES_EXEC_INFO`: a version that is known and a cluster with a URL, or an error.
//!
//! An input is the variable's text.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use usher_cli::helper::kubectl::{Info, parse_info};

/// An object's members as they are written: what nobody reads may be more than a `Value` holds, half a surrogate pair
/// or a number beyond all bounds.
type Members<'a> = BTreeMap<String, &'a RawValue>;

fuzz_target!(|text: &str| {
    match parse_info(text) {
        Ok(info) => {
            let json = serde_json::from_str::<IgnoredAny>(text);
            assert!(json.is_ok(), "what was understood is no JSON: {json:?}");
            check(text, &info);
        }
        Err(malformed) => {
            let text = malformed.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
});

/// What was understood is what is written there.
fn check(text: &str, info: &Info) {
    if let Some(known) = &info.cluster {
        let scheme = known.server.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        assert!(matches!(scheme.as_deref(), Some("https" | "http")), "{:?}", known.server);
    }
    let Some(told) = members(text) else { return };
    assert_eq!(string(&told, "kind"), "ExecCredential");
    assert_eq!(string(&told, "apiVersion"), info.version.name());
    let Some(spec) = there(&told, "spec") else {
        assert_eq!(info.cluster, None, "there is no spec");
        return;
    };
    let Some(spec) = members(spec) else { return };
    let (cluster, known) = match (there(&spec, "cluster"), &info.cluster) {
        (Some(cluster), Some(known)) => (cluster, known),
        (None, None) => return,
        (written, understood) => panic!("{written:?} was understood as {understood:?}"),
    };
    if let Some(cluster) = members(cluster) {
        assert_eq!(string(&cluster, "server"), known.server);
    }
}

/// Those of an object; none: a struct may come as a list, too.
fn members(text: &str) -> Option<Members<'_>> {
    let is_object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    is_object.then(|| serde_json::from_str(text).expect("an object that was understood is one"))
}

/// What is there and not null.
fn there<'a>(members: &Members<'a>, name: &str) -> Option<&'a str> {
    members.get(name).map(|value| value.get()).filter(|value| *value != "null")
}

fn string(members: &Members<'_>, name: &str) -> String {
    let value = members.get(name).unwrap_or_else(|| panic!("there is no {name}"));
    serde_json::from_str(value.get()).expect("what was understood as a string is one")
}

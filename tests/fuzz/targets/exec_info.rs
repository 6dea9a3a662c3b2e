//! What kubectl has in `KUBERNETES_EXEC_INFO`: a version that is known and a cluster with a URL, or an error.
//!
//! An input is the variable's text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use usher_cli::helper::kubectl::parse_info;

fuzz_target!(|text: &str| {
    match parse_info(text) {
        Ok(info) => {
            // What nobody reads may be more than a Value holds: half a surrogate pair, a number beyond all bounds.
            let Ok(told) = serde_json::from_str::<Value>(text) else { return };
            // A struct may come as a list, too.
            if !told.is_object() {
                return;
            }
            assert_eq!(told["kind"], "ExecCredential");
            assert_eq!(told["apiVersion"], info.version.name());
            let cluster = &told["spec"]["cluster"];
            let Some(known) = info.cluster else {
                assert!(cluster.is_null(), "{cluster} has been passed over");
                return;
            };
            if cluster.is_object() {
                assert_eq!(cluster["server"], *known.server);
            }
            let scheme = known.server.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
            assert!(matches!(scheme.as_deref(), Some("https" | "http")), "{:?}", known.server);
        }
        Err(malformed) => {
            let text = malformed.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
});

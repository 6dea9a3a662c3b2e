//! The scanner finds what it is for: a scanner that never fires proves nothing.

use super::*;
use crate::{ca::Ca, client::guide_request};

const SECRET: &str = "s3cr3t with space+%&\"quote\"";

fn scanner() -> LeakScanner {
    let scanner = LeakScanner::new();
    scanner.secret("client secret", SECRET);
    scanner.token("API token", "CANARY-API-TOKEN-1");
    scanner
}

fn places(scanner: &LeakScanner) -> Vec<String> {
    scanner.findings().into_iter().map(|finding| finding.place).collect()
}

#[test]
fn a_secret_is_found_in_every_form() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let json = serde_json::json!({ "client_secret": SECRET }).to_string();
    let cases = [
        ("plain", format!("secret={SECRET}.")),
        ("json", json.clone()),
        ("json in json", serde_json::json!({ "body": json }).to_string()),
        ("debug", format!("{:?}", Some(SECRET))),
        ("bytes", format!("{:?}", SECRET.as_bytes())),
        ("form", "x=s3cr3t+with+space%2B%25%26%22quote%22&y".to_owned()),
        ("percent", "s3cr3t%20with%20space%2b%25%26%22quote%22".to_owned()),
        ("base64", STANDARD.encode(SECRET)),
        ("base64 of id:secret", STANDARD.encode(format!("i:{SECRET}"))),
        ("base64 of id:secret, shifted", STANDARD.encode(format!("id:{SECRET}!"))),
        ("base64 of id:secret, aligned", STANDARD.encode(format!("ab:{SECRET}"))),
    ];
    for (place, text) in cases {
        let scanner = scanner();
        scanner.note(place, text);
        assert_eq!(places(&scanner), [place]);
    }
}

#[test]
fn innocent_text_is_clean() {
    let scanner = scanner();
    scanner.note("log", "token_id=ab12 profile=frontdoor client_secret=[redacted]");
    scanner.assert_clean();
}

#[test]
fn tokens_may_stand_in_answers_and_secrets_may_not() {
    let scanner = scanner();
    scanner.note_answer("stdout of usher token", "CANARY-API-TOKEN-1\n");
    scanner.assert_clean();
    scanner.note_answer("stdout of usher header", SECRET);
    scanner.note("stderr", "CANARY-API-TOKEN-1");
    assert_eq!(places(&scanner), ["stdout of usher header", "stderr"]);
}

#[test]
fn issued_tokens_are_watched_also_those_issued_later() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let scanner = LeakScanner::new();
    scanner.watch(&idp);
    let params = serde_json::json!({
        "grant_type": "client_credentials",
        "client_id": idp.client_id(),
        "client_secret": idp.client_secret(),
    });
    let answer = guide_request(&ca, &idp.token_url(), &params).unwrap();
    scanner.note("log", &answer.body);
    scanner.note("argv", idp.client_secret());
    let findings = scanner.findings();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().any(|finding| finding.secret == "access token #1" && finding.place == "log"));
}

#[test]
fn the_report_names_the_secret_and_does_not_show_it() {
    let scanner = scanner();
    scanner.note("usherd stderr", format!("oops {SECRET}"));
    let message =
        *std::panic::catch_unwind(|| scanner.assert_clean()).unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("usherd stderr shows client secret"), "{message}");
    assert!(!message.contains(SECRET));
}

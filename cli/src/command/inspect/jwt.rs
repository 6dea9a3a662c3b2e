//! Takes a token apart that is a JWT (RFC 7519). Checks no signature: only the API can.

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

/// Some issuers pad, some leave bits behind; whoever only looks need not mind.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a token says about itself.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// A signed JWT: its header and its claims.
    Signed(Map<String, Value>, Map<String, Value>),
    /// An encrypted one: its header.
    Encrypted(Map<String, Value>),
    /// No JWT, or none that can be read.
    Opaque,
}

/// Takes `token` apart.
pub(super) fn read(token: &str) -> Said {
    let parts: Vec<&str> = token.splitn(6, '.').collect();
    let read = match parts[..] {
        [header, claims, _] => object(header).zip(object(claims)).map(|(h, c)| Said::Signed(h, c)),
        // RFC 7516 section 3.1: only the header can be read without the key.
        [header, _, _, _, _] => object(header).filter(|h| h.contains_key("enc")).map(Said::Encrypted),
        _ => None,
    };
    read.unwrap_or(Said::Opaque)
}

/// A JSON object in Base64. `serde_json` refuses what is nested deeper than 128 levels.
fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
}

/// A `NumericDate` (RFC 7519 section 2), which may be no integer.
pub(super) fn seconds(claim: &Value) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and a fraction of a second is of no interest"
    )]
    let whole = |number: f64| number as i64;
    claim.as_i64().or_else(|| claim.as_f64().map(whole))
}

#[cfg(test)]
pub(super) fn part(json: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_jwt_is_read_padded_or_not() {
        let expected = |claims: Value| {
            let Value::Object(claims) = claims else { panic!() };
            Said::Signed(Map::from_iter([("alg".to_owned(), json!("none"))]), claims)
        };
        let header = part("{\"alg\":\"none\"}");
        assert_eq!(read(&format!("{header}.{}.sig", part("{\"a\":1}"))), expected(json!({"a": 1})));
        assert_eq!(read(&format!("{header}=.eyJhIjoxfQ==.")), expected(json!({"a": 1})));
        let long = "x".repeat(200_000);
        let text = format!("{header}.{}.s", part(&json!({ "a": long }).to_string()));
        assert_eq!(read(&text), expected(json!({ "a": long })));
    }

    #[test]
    fn an_encrypted_one_shows_its_header() {
        let header = part("{\"alg\":\"dir\",\"enc\":\"A256GCM\"}");
        assert!(matches!(read(&format!("{header}..iv.text.tag")), Said::Encrypted(h) if h.len() == 2));
        assert_eq!(read(&format!("{}.a.b.c.d", part("{}"))), Said::Opaque);
    }

    #[test]
    fn what_is_no_jwt_is_opaque() {
        let good = part("{}");
        let deep = part(&("{\"a\":".repeat(5000) + "1" + &"}".repeat(5000)));
        let latin = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(b"{\"a\":\"\xff\"}");
        for token in [
            String::new(),
            "CANARY-1".into(),
            "a.b.c".into(),
            "..".into(),
            format!("{good}.{good}"),
            format!("{good}.{}.s", part("[1]")),
            format!("{good}.{deep}.s"),
            format!("{good}.{latin}.s"),
            format!("{good}.{}.s", part("{\"exp\":1e999}")),
            format!("{good}.{}.s", part("{} {}")),
            ".".repeat(100_000),
        ] {
            assert_eq!(read(&token), Said::Opaque, "{}", &token[..token.len().min(60)]);
        }
    }

    #[test]
    fn dates_may_have_fractions_and_overflow_nothing() {
        assert_eq!(seconds(&json!(5)), Some(5));
        assert_eq!(seconds(&json!(5.9)), Some(5));
        assert_eq!(seconds(&json!(1e300)), Some(i64::MAX));
        assert_eq!(seconds(&json!(u64::MAX)), Some(i64::MAX));
        assert_eq!(seconds(&json!(-1e300)), Some(i64::MIN));
        assert_eq!(seconds(&json!("5")), None);
    }
}

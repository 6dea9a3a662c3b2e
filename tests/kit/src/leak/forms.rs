//! The shapes in which a secret may turn up.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Everything to look for: `value` itself, and what encoders make of it.
pub(super) fn of(value: &str) -> Vec<String> {
    let mut forms = vec![
        value.to_owned(),
        percent(value, |byte| format!("%{byte:02X}"), "%20"),
        percent(value, |byte| format!("%{byte:02x}"), "%20"),
        percent(value, |byte| format!("%{byte:02X}"), "+"),
        escaped(&serde_json::Value::from(value).to_string()),
        escaped(&format!("{value:?}")),
        // JSON in a JSON string, as a log line in JSON format holds a body.
        escaped(&serde_json::Value::from(escaped(&serde_json::Value::from(value).to_string())).to_string()),
        // `{:?}` of its bytes.
        value.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "),
        value.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
    ];
    for offset in 0..3 {
        forms.push(base64(&STANDARD_NO_PAD, value, offset));
        forms.push(base64(&URL_SAFE_NO_PAD, value, offset));
    }
    forms.sort();
    forms.dedup();
    forms
}

/// What base64 looks like wherever `offset` bytes (modulo 3) stand before the value: `id:secret`, say.
/// The characters that also depend on the neighbours are left out.
fn base64(engine: &impl base64::Engine, value: &str, offset: usize) -> String {
    let bytes: Vec<u8> = vec![0; offset].into_iter().chain(value.bytes()).collect();
    let encoded = engine.encode(&bytes);
    let start = [0, 2, 3][offset];
    let end = bytes.len() / 3 * 4;
    encoded[start..end].to_owned()
}

fn percent(value: &str, hex: impl Fn(u8) -> String, space: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => space.to_owned(),
            other => hex(other),
        })
        .collect()
}

fn escaped(quoted: &str) -> String {
    quoted[1..quoted.len() - 1].to_owned()
}

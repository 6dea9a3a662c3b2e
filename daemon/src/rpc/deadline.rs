//! How long a caller waits: gRPC's `grpc-timeout` header.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// For callers who do not say, and the most that anybody gets.
const DEFAULT: Duration = Duration::from_secs(30);
const MAX: Duration = Duration::from_secs(60);

/// How long the engine may take for a call, so that its answer still reaches the caller in time.
pub fn patience(metadata: &MetadataMap) -> Duration {
    let told = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    let deadline = told.unwrap_or(DEFAULT).min(MAX);
    deadline.saturating_sub((deadline / 10).min(Duration::from_millis(100)))
}

/// At most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 60 * 60)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_junk() {
        for (text, expected) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("30S", Some(30_000)),
            ("250m", Some(250)),
            ("99999999u", Some(99_999)),
            ("1000000n", Some(1)),
            ("", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("123456789S", None),
            ("1\u{e4}", None),
        ] {
            assert_eq!(parse(text).map(|span| span.as_millis()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_answer_comes_before_the_deadline() {
        let of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            patience(&metadata).as_millis()
        };
        assert_eq!((of("10S"), of("500m"), of("9H")), (9_900, 450, 59_900));
        assert_eq!(patience(&MetadataMap::new()).as_millis(), 29_900);
    }
}

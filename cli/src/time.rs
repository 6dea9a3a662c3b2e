//! The clock, and durations as people write and read them.

use std::{
    cmp::Ordering,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Longer than this is a slip of the pen, and would overflow somewhere.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What is done more often than this is more than anybody can see.
const OFTEN: Duration = Duration::from_millis(100);

/// Seconds since the epoch, by the wall clock. Whatever depends on the time gets it passed in.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock; all else is told the time"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The end of somebody's patience.
pub(crate) struct Deadline(Instant);

impl Deadline {
    #[expect(
        clippy::disallowed_methods,
        reason = "seconds of waiting; a suspend in between may lengthen them"
    )]
    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// What is left: zero once it is over.
    #[expect(clippy::disallowed_methods, reason = "as above")]
    pub(crate) fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Reads `45m`, `1h30m`, `1h 30m`; a plain number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let parsed = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map(Duration::from_secs).map_err(|_| "too large a number".to_owned())
    } else {
        humantime::parse_duration(text).map_err(|error| error.to_string())
    };
    match parsed {
        Ok(duration) if duration > LONGEST => Err("longer than a year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write 90s, 45m or 1h30m")),
    }
}

/// Like [`parse_duration`], but nobody can wait for nothing.
pub(crate) fn parse_deadline(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("has to be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// Like [`parse_duration`], for what is done again and again.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        duration if duration < OFTEN => Err("too often: 100ms is the least".to_owned()),
        duration => Ok(duration),
    }
}

/// A duration for people: its two largest units, as in `52m 10s`.
pub(crate) fn human(duration: Duration) -> String {
    let whole = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// How long ago that was, in its largest unit: `3m ago`.
pub(crate) fn ago(when: i64, now: i64) -> String {
    let past = human(Duration::from_secs(now.saturating_sub(when).max(0).unsigned_abs()));
    match past.split(' ').next() {
        Some("0s") | None => "now".to_owned(),
        Some(largest) => format!("{largest} ago"),
    }
}

/// How far `when` lies from `now`: `in 52m 10s`, `3m ago`.
pub(crate) fn span(when: i64, now: i64) -> String {
    let between = human(Duration::from_secs(when.abs_diff(now)));
    match when.cmp(&now) {
        Ordering::Less => format!("{between} ago"),
        Ordering::Equal => "now".to_owned(),
        Ordering::Greater => format!("in {between}"),
    }
}

/// How far `when` lies from `now`, with the epoch seconds: `in 52m 10s (1764000000)`, `3m ago (...)`.
pub(crate) fn distance(when: i64, now: i64) -> String {
    format!("{} ({when})", span(when, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases = [
            ("45m", 2700),
            ("90s", 90),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("90", 90),
            (" 90 ", 90),
            ("0", 0),
            ("0s", 0),
            ("1d", 86400),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "-5m", "m", "5 parsecs", "99999999999999999999", "1.5.2h", "367d", "9999999999y"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("soon").unwrap_err().contains("45m"));
        assert!(parse_deadline("0").is_err());
        assert_eq!(parse_deadline("2"), Ok(Duration::from_secs(2)));
        assert!(parse_interval("0").is_err() && parse_interval("99ms").is_err());
        assert_eq!(parse_interval("100ms"), Ok(OFTEN));
    }

    #[test]
    fn durations_are_written_with_two_units() {
        let cases =
            [(0, "0s"), (59, "59s"), (3130, "52m 10s"), (3600, "1h"), (7384, "2h 3m"), (90_061, "1day 1h")];
        for (seconds, text) in cases {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
        assert_eq!(human(Duration::from_millis(1500)), "1s");
    }

    #[test]
    fn distances_say_the_direction() {
        assert_eq!(distance(1_000_060, 1_000_000), "in 1m (1000060)");
        assert_eq!(distance(1_000_000, 1_000_060), "1m ago (1000000)");
        assert_eq!(distance(5, 5), "now (5)");
        for (past, text) in [(0, "now"), (59, "59s ago"), (3130, "52m ago"), (7384, "2h ago"), (-5, "now")] {
            assert_eq!(ago(1_000_000 - past, 1_000_000), text);
        }
    }
}

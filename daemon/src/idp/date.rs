//! What a server says about time: its own clock, and when it wants to be asked again.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::domain::time::Moment;

/// Values from here on are points in time, below they are spans: 2001 is past, and nobody is told to
/// wait for 31 years.
const EPOCH_SECONDS_FROM: u64 = 1_000_000_000;

/// How long the server asks to be left alone: `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), else `x-ratelimit-reset` (Auth0: epoch seconds).
///
/// Dates count from the server's own `Date`, so that a wrong clock on either side does no harm. What
/// cannot be read counts as not said.
pub fn retry_after(headers: &HeaderMap, now: Moment) -> Option<Duration> {
    let server_now = server_time(headers).unwrap_or(now.wall);
    if let Some(value) = text(headers, RETRY_AFTER.as_str()) {
        let seconds = value.parse().map(Duration::from_secs).ok();
        let wait = seconds.or_else(|| Some(date(value)?.saturating_sub(server_now)));
        if wait.is_some() {
            return wait;
        }
    }
    Some(until(text(headers, "x-ratelimit-reset")?.parse().ok()?, server_now))
}

/// How long until a limit is reset, told in seconds: from now, or since the epoch of a server whose time it is.
pub fn until(reset: u64, server_now: Duration) -> Duration {
    let span = Duration::from_secs(reset);
    if reset < EPOCH_SECONDS_FROM { span } else { span.saturating_sub(server_now) }
}

/// The server's clock, by its `Date` (RFC 9110 section 6.6.1), since the Unix epoch.
pub fn server_time(headers: &HeaderMap) -> Option<Duration> {
    date(text(headers, DATE.as_str())?)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

fn date(text: &str) -> Option<Duration> {
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(1) };

    fn wait(headers: &[(&'static str, &str)]) -> Option<u64> {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        retry_after(&headers, NOW).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_dates_and_resets_are_understood() {
        assert_eq!(wait(&[("retry-after", "5")]), Some(5));
        assert_eq!(wait(&[("retry-after", "Fri, 15 Jan 2027 08:01:00 GMT")]), Some(60));
        assert_eq!(wait(&[("x-ratelimit-reset", "1800000030")]), Some(30));
        assert_eq!(wait(&[("x-ratelimit-reset", "30")]), Some(30));
        assert_eq!(wait(&[("retry-after", "7"), ("x-ratelimit-reset", "1800000030")]), Some(7));
    }

    #[test]
    fn a_date_counts_from_the_servers_own() {
        let headers =
            [("date", "Fri, 15 Jan 2027 09:00:00 GMT"), ("retry-after", "Fri, 15 Jan 2027 09:00:10 GMT")];
        assert_eq!(wait(&headers), Some(10));
    }

    #[test]
    fn a_past_date_is_zero_and_junk_is_nothing() {
        assert_eq!(wait(&[("retry-after", "Fri, 15 Jan 2021 08:00:00 GMT")]), Some(0));
        for junk in ["-1", "soon", "", "1e3", "99999999999999999999999"] {
            assert_eq!(wait(&[("retry-after", junk)]), None, "{junk:?}");
        }
    }
}

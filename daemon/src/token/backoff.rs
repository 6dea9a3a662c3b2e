//! How long to leave an IdP alone after it failed: pure functions.

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// The longest wait after a failure that may pass by itself.
const TRANSIENT_MAX: Duration = Duration::from_secs(5 * 60);
/// The first wait after a refusal, and the longest: a wrong secret must not lock an account.
const REFUSED_FIRST: Duration = Duration::from_secs(30);
const REFUSED_MAX: Duration = Duration::from_secs(10 * 60);
/// The longest wait for an IdP that issues what may not be kept.
const LIFELESS_MAX: Duration = Duration::from_secs(60 * 60);
/// The longest wait for a disk that is full, say.
const UNKEPT_MAX: Duration = Duration::from_secs(60);
/// What an IdP asks for is honoured up to this.
const HINT_MAX: Duration = Duration::from_secs(10 * 60);

/// After the `failures`-th failure in a row, counted from 1, that may pass by itself: 1 s doubling to
/// 5 min, less up to a quarter by `jitter` (0 to 1). A `hint` of the IdP (`Retry-After`,
/// `x-ratelimit-reset`) takes its place, clamped to 1 s..10 min, and is never cut short.
pub fn transient(failures: u32, hint: Option<Duration>, jitter: f64) -> Duration {
    match hint {
        Some(hint) => hint.clamp(SECOND, HINT_MAX).mul_f64(1.0 + 0.1 * jitter).min(HINT_MAX),
        None => doubled(SECOND, failures, TRANSIENT_MAX).mul_f64(1.0 - 0.25 * jitter).max(SECOND),
    }
}

/// After the `failures`-th refusal in a row, counted from 1: 30 s doubling to 10 min, and no sooner than a `hint` of the
/// IdP says.
pub fn refused(failures: u32, hint: Option<Duration>) -> Duration {
    doubled(REFUSED_FIRST, failures, REFUSED_MAX).max(hint.unwrap_or_default().min(HINT_MAX))
}

/// After the `rejections`-th token in a row, counted from 1, that was dropped because the API rejected it,
/// until the next one may be dropped: 1 s doubling to 5 min.
pub fn rejected(rejections: u32) -> Duration {
    doubled(SECOND, rejections, TRANSIENT_MAX)
}

/// After the `tokens`-th token in a row, counted from 1, that may not be kept, until another is fetched that nobody has
/// asked for: 30 s doubling to 1 h.
pub fn lifeless(tokens: u32) -> Duration {
    doubled(REFUSED_FIRST, tokens, LIFELESS_MAX)
}

/// After the `failures`-th time in a row, counted from 1, that something could not be kept: 1 s doubling to 1 min.
pub fn unkept(failures: u32) -> Duration {
    doubled(SECOND, failures, UNKEPT_MAX)
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(span: Duration) -> u64 {
        span.as_secs()
    }

    #[test]
    fn transient_failures_double_up_to_five_minutes() {
        let waits: Vec<_> = (1..=11).map(|failures| secs(transient(failures, None, 0.0))).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(transient(u32::MAX, None, 0.0), TRANSIENT_MAX);
    }

    #[test]
    fn jitter_takes_at_most_a_quarter_and_leaves_a_second() {
        assert_eq!(transient(5, None, 1.0), Duration::from_secs(12));
        assert_eq!(transient(1, None, 1.0), SECOND);
    }

    #[test]
    fn a_hint_is_honoured_within_bounds() {
        for (hint, wait) in [(0, 1), (5, 5), (600, 600), (1_000_000_000_000, 600)] {
            assert_eq!(secs(transient(9, Some(Duration::from_secs(hint)), 0.0)), wait);
        }
        assert_eq!(transient(1, Some(HINT_MAX), 0.9), HINT_MAX);
    }

    #[test]
    fn a_hint_is_never_cut_short_and_lengthened_by_a_tenth_at_most() {
        for (jitter, wait) in [(0.0, 50_000), (0.5, 52_500), (1.0, 55_000)] {
            let found = transient(1, Some(Duration::from_secs(50)), jitter).as_secs_f64() * 1000.0;
            assert!((found - f64::from(wait)).abs() < 1.0, "{jitter}: {found}");
        }
    }

    #[test]
    fn refusals_double_up_to_ten_minutes() {
        let waits: Vec<_> = (1..=7).map(|failures| secs(refused(failures, None))).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
        for (hint, wait) in [(5, 30), (300, 300), (100_000, 600)] {
            assert_eq!(secs(refused(1, Some(Duration::from_secs(hint)))), wait);
        }
    }

    #[test]
    fn tokens_that_may_not_be_kept_double_up_to_an_hour() {
        let waits: Vec<_> = (1..=9).map(|tokens| secs(lifeless(tokens))).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn rejections_double_up_to_five_minutes() {
        let waits: Vec<_> = (1..=10).map(|rejections| secs(rejected(rejections))).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(rejected(u32::MAX), TRANSIENT_MAX);
    }
}

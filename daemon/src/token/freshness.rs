//! How fresh a token is: a pure function of the time, its lifetime and what the caller needs.
//!
//! A JWT's own `exp` plays no part: tokens are opaque, and the issuer's clock is not ours.

use std::time::Duration;

use crate::domain::{time::Moment, token::Lifetime};

/// Longer lifetimes are cut to this.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What a caller gets, and what it sets off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Answer from memory.
    Fresh,
    /// Answer from memory, and have it refreshed behind the caller's back.
    Ageing,
    /// Wait for the refresh; if that fails, the token still serves.
    Due,
    /// Never answer it.
    Expired,
}

/// The freshness of a token at `now`, for a caller who wants it to last for `min_ttl`.
pub fn freshness(now: Moment, lifetime: &Lifetime, min_ttl: Duration) -> Freshness {
    let left = lifetime.left(now);
    if left.is_zero() {
        Freshness::Expired
    } else if left <= min_ttl.min(promise(lifetime.length)).max(margin(lifetime.length)) {
        Freshness::Due
    } else if lifetime.refresh_at.reached(now) {
        Freshness::Ageing
    } else {
        Freshness::Fresh
    }
}

/// How long until a token is due for a caller without wishes.
pub fn until_due(lifetime: &Lifetime, now: Moment) -> Duration {
    lifetime.left(now).saturating_sub(margin(lifetime.length))
}

/// The mandatory margin: one minute, but a tenth of a short life. A token of 300 s must not be fetched
/// on every call.
fn margin(length: Duration) -> Duration {
    (length / 10).min(Duration::from_secs(60))
}

/// The longest `min_ttl` that is promised: 75 % of a lifetime. Asking for more gets the newest token,
/// marked, and costs no more requests: nobody can burn a paid quota by asking.
fn promise(length: Duration) -> Duration {
    length * 3 / 4
}

/// Whether a key whose last caller came at `last_used` is worth a refresh that nobody has asked for: if that
/// was no longer ago than a quarter of a lifetime.
pub fn is_used_lately(last_used: Moment, lifetime: &Lifetime, now: Moment) -> bool {
    let unused = now.boot.saturating_sub(last_used.boot);
    unused <= lifetime.length / 4
}

/// The lifetime of a token that was asked for at `requested_at`. `jitter` is from 0 to 1: it puts the
/// refresh between 65 % and 75 % of the lifetime, so that daemons do not come in step.
pub fn lifetime(requested_at: Moment, length: Duration, jitter: f64) -> Lifetime {
    let length = length.min(MAX_LIFETIME);
    let refresh_at = requested_at + length.mul_f64(0.75 - 0.10 * jitter.clamp(0.0, 1.0));
    Lifetime { expires_at: requested_at + length, refresh_at, length }
}

#[cfg(test)]
mod tests {
    use Freshness::{Ageing, Due, Expired, Fresh};

    use super::*;

    const START: Moment =
        Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(5_000) };

    fn at(seconds: u64) -> Moment {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_states_of_a_life() {
        // length, min_ttl, then each state's first second
        let table: [(u64, u64, &[_]); 8] = [
            (
                3600,
                0,
                &[
                    (0, Fresh),
                    (2699, Fresh),
                    (2700, Ageing),
                    (3539, Ageing),
                    (3540, Due),
                    (3599, Due),
                    (3600, Expired),
                ],
            ),
            (
                300,
                0,
                &[
                    (0, Fresh),
                    (224, Fresh),
                    (225, Ageing),
                    (269, Ageing),
                    (270, Due),
                    (299, Due),
                    (300, Expired),
                ],
            ),
            (10, 0, &[(0, Fresh), (7, Fresh), (8, Ageing), (9, Due), (10, Expired)]),
            (1, 0, &[(0, Fresh), (1, Expired)]),
            // A caller who wants more than the margin.
            (3600, 1800, &[(0, Fresh), (1799, Fresh), (1800, Due), (3600, Expired)]),
            (3600, 2700, &[(0, Fresh), (899, Fresh), (900, Due)]),
            // More than is promised counts as 75 %.
            (3600, 3600, &[(0, Fresh), (899, Fresh), (900, Due)]),
            (3600, 1_000_000, &[(0, Fresh), (899, Fresh), (900, Due), (3600, Expired)]),
        ];
        for (length, min_ttl, states) in table {
            let lifetime = lifetime(START, Duration::from_secs(length), 0.0);
            for (second, expected) in states {
                let found = freshness(at(*second), &lifetime, Duration::from_secs(min_ttl));
                assert_eq!(found, *expected, "second {second} of {length}, min_ttl {min_ttl}");
            }
        }
    }

    #[test]
    fn either_clock_ends_a_life() {
        let lifetime = lifetime(START, Duration::from_secs(3600), 0.0);
        let hour = Duration::from_secs(3600);
        let year = hour * 24 * 365;
        for (wall, boot) in [
            (START.wall, START.boot + hour), // suspend, the wall clock not yet set
            (START.wall + hour, START.boot), // the wall clock set forward
            (START.wall + year * 10, START.boot),
            (Duration::from_secs(1_500_000_000), START.boot + hour), // ... and back
        ] {
            assert_eq!(freshness(Moment { wall, boot }, &lifetime, Duration::ZERO), Expired);
        }
        let back = Moment { wall: Duration::from_secs(1_700_000_000), boot: START.boot + hour / 2 };
        assert_eq!(freshness(back, &lifetime, Duration::ZERO), Fresh);
        assert_eq!(lifetime.left(back), hour / 2);
    }

    #[test]
    fn a_token_is_due_for_its_last_minute_or_tenth() {
        for (length, now, expected) in
            [(3600, 0, 3540), (3600, 3500, 40), (3600, 3550, 0), (300, 0, 270), (300, 400, 0)]
        {
            let lifetime = lifetime(START, Duration::from_secs(length), 0.0);
            assert_eq!(until_due(&lifetime, at(now)).as_secs(), expected, "second {now} of {length}");
        }
    }

    #[test]
    fn jitter_only_brings_the_refresh_forward() {
        for (jitter, at_age) in [(0.0, 750), (0.5, 700), (1.0, 650)] {
            assert_eq!(
                lifetime(START, Duration::from_secs(1000), jitter).refresh_at,
                START + Duration::from_secs(at_age)
            );
        }
    }

    #[test]
    fn no_life_is_longer_than_a_day() {
        for (length, kept) in [(86_399, 86_399), (86_400, 86_400), (86_401, 86_400), (u64::MAX, 86_400)] {
            assert_eq!(lifetime(START, Duration::from_secs(length), 0.0).length.as_secs(), kept);
        }
    }

    #[test]
    fn a_key_is_used_lately_for_a_quarter_of_a_lifetime() {
        let lifetime = lifetime(START, Duration::from_secs(400), 0.0);
        for (now, expected) in [(50, true), (150, true), (151, false), (1_000, false)] {
            assert_eq!(is_used_lately(at(50), &lifetime, at(now)), expected, "second {now}");
        }
    }
}

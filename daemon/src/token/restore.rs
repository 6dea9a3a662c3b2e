//! What a token and a budget are worth after a restart: functions of what was written and of the time now.

use std::time::Duration;

use crate::domain::{
    record::{KeptToken, Record, Unrevoked},
    secret::ExposeSecret as _,
    time::Moment,
    token::{Lifetime, Scheme, Token},
};

/// After a reboot there is only the wall clock to go by, and it may have been wrong then or now: a token is given
/// up this much before its end.
const SKEW: Duration = Duration::from_secs(60);

/// No record is older than this: a wall clock that says so is wrong. 2026-11-01 UTC.
const EARLIEST: Duration = Duration::from_secs(1_793_491_200);

/// How long ago a record was written, if that can be told. `this_boot`: the machine has not been booted since.
fn age(written: Moment, this_boot: bool, now: Moment) -> Option<Duration> {
    if this_boot {
        return now.boot.checked_sub(written.boot);
    }
    now.wall.checked_sub(written.wall).filter(|_| written.wall >= EARLIEST)
}

/// How long a token that is kept lives on. None: it does not.
pub fn lifetime(token: &KeptToken, written: Moment, this_boot: bool, now: Moment) -> Option<Lifetime> {
    let age = age(written, this_boot, now)?;
    let (expires_at, refresh_at) = if this_boot {
        // Both clocks go on as if nothing had happened.
        (written + token.left, written + token.refresh_in)
    } else {
        let age = age.saturating_add(SKEW);
        (now + token.left.checked_sub(age)?, now + token.refresh_in.saturating_sub(age))
    };
    let lifetime = Lifetime { expires_at, refresh_at, length: token.length };
    (!lifetime.left(now).is_zero()).then_some(lifetime)
}

/// When a token ends that waits to be revoked. None: it has. One of unknown age may still be valid.
pub fn expires_at(token: &Unrevoked, written: Moment, this_boot: bool, now: Moment) -> Option<Moment> {
    let age = age(written, this_boot, now).unwrap_or_default();
    let ends = now + token.left.saturating_sub(age);
    (!ends.reached(now)).then_some(ends)
}

/// The token as it is handed out again.
pub fn token(kept: KeptToken, lifetime: Lifetime) -> Token {
    let authorization = zeroize::Zeroizing::new(format!("Bearer {}", kept.access_token.expose_secret()));
    Token {
        authorization: authorization.as_str().into(),
        access_token: kept.access_token,
        scheme: Scheme::Bearer,
        id: kept.id,
        scopes: kept.scopes,
        lifetime: Some(lifetime),
        replaces: false,
    }
}

/// How long ago the requests were sent that count. Where that cannot be told they count as later than they were: the
/// budget is not exceeded.
pub fn sent_ago(record: &Record, this_boot: bool, now: Moment) -> Vec<Duration> {
    let age = age(record.written, this_boot, now).unwrap_or_default();
    record.sent_ago.iter().map(|ago| age.saturating_add(*ago)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        record::{KeyId, Owner},
        scope::ScopeSet,
        token::TokenId,
    };

    const HOUR: u64 = 3600;

    fn at(wall: u64, boot: u64) -> Moment {
        Moment { wall: EARLIEST + Duration::from_secs(wall), boot: Duration::from_secs(boot) }
    }

    fn kept(left: u64) -> KeptToken {
        KeptToken {
            access_token: "t".into(),
            id: TokenId("id".into()),
            scopes: ScopeSet::default(),
            left: Duration::from_secs(left),
            refresh_in: Duration::from_secs(left / 2),
            length: Duration::from_secs(HOUR),
        }
    }

    fn left(written: Moment, this_boot: bool, now: Moment) -> Option<u64> {
        lifetime(&kept(1000), written, this_boot, now).map(|lifetime| lifetime.left(now).as_secs())
    }

    #[test]
    fn within_one_boot_it_is_as_if_nothing_had_happened() {
        let written = at(10_000, 500);
        for (now, expected) in [
            (at(10_000, 500), Some(1000)),
            (at(10_100, 600), Some(900)),
            (at(10_000, 1400), Some(100)), // suspend, or a clock that was set back
            (at(10_900, 600), Some(100)),  // set forward
            (at(0, 600), Some(900)),
            (at(10_100, 1500), None),
            (at(10_000, 499), None), // no such thing
        ] {
            assert_eq!(left(written, true, now), expected, "{now:?}");
        }
        let lifetime = lifetime(&kept(1000), written, true, at(10_100, 600)).unwrap();
        assert_eq!(lifetime.refresh_at, written + Duration::from_secs(500));
        assert_eq!(lifetime.length, Duration::from_secs(HOUR));
    }

    #[test]
    fn after_a_reboot_the_wall_clock_decides_with_a_minute_to_spare() {
        let written = at(10_000, 50_000);
        for (now, expected) in [
            (at(10_000, 5), Some(940)),
            (at(10_100, 5), Some(840)),
            (at(10_939, 5), Some(1)),
            (at(10_940, 5), None),
            (at(9_999, 5), None), // the clock is behind what was written
        ] {
            assert_eq!(left(written, false, now), expected, "{now:?}");
        }
        // From there on both clocks count.
        let lifetime = lifetime(&kept(1000), written, false, at(10_100, 5)).unwrap();
        assert_eq!(lifetime.left(at(0, 5 + 840)), Duration::ZERO);
        assert_eq!(lifetime.refresh_at, at(10_100, 5) + Duration::from_secs(340));
    }

    #[test]
    fn a_clock_from_before_there_was_a_store_is_wrong() {
        let never_set = Moment { wall: Duration::from_secs(30), boot: Duration::from_secs(30) };
        let later = Moment { wall: Duration::from_secs(60), boot: Duration::from_secs(5) };
        assert_eq!(left(never_set, false, later), None);
        assert_eq!(left(never_set, true, never_set), Some(1000), "within one boot the other clock tells");
    }

    #[test]
    fn what_is_to_be_revoked_is_so_unless_it_is_known_to_have_expired() {
        let token =
            Unrevoked { access_token: "t".into(), id: TokenId("id".into()), left: Duration::from_secs(100) };
        let left = |this_boot, now| {
            expires_at(&token, at(10_000, 500), this_boot, now).map(|end| end.after(now).as_secs())
        };
        assert_eq!((left(true, at(9_000, 540)), left(true, at(10_000, 600))), (Some(60), None));
        assert_eq!((left(false, at(10_060, 5)), left(false, at(10_100, 5))), (Some(40), None));
        assert_eq!(left(false, at(9_000, 5)), Some(100), "who knows");
    }

    #[test]
    fn a_request_never_counts_as_older_than_it_is() {
        let record = |written| Record {
            key: KeyId {
                owner: Owner { profile: "p".into(), grant: String::new() }.into(),
                audience: None,
                scopes: ScopeSet::default(),
            },
            written,
            token: None,
            sent_ago: [300, 10].map(Duration::from_secs).into(),
            window: Duration::from_secs(HOUR),
            unrevoked: Vec::new(),
            has_dropped: false,
        };
        let ago = |written, this_boot, now| {
            sent_ago(&record(written), this_boot, now).iter().map(Duration::as_secs).collect::<Vec<_>>()
        };
        assert_eq!(ago(at(10_000, 500), true, at(10_100, 600)), [400, 110]);
        assert_eq!(ago(at(10_000, 50_000), false, at(10_100, 7)), [400, 110]);
        assert_eq!(ago(at(10_000, 50_000), false, at(0, 1000)), [300, 10], "who knows how long ago");
    }
}

//! Time on two clocks at once.
//!
//! The wall clock is what token lifetimes are told in, and can be set to anything. `CLOCK_BOOTTIME`
//! goes on in suspend (tokio's and std's monotonic clock stops there, `clock_gettime(2)`) and cannot be
//! set, but means nothing after a reboot. Whichever says "over" first wins.

use std::{ops::Add, time::Duration};

/// One instant, read off both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the Unix epoch.
    pub wall: Duration,
    /// Since boot, suspend included.
    pub boot: Duration,
}

impl Moment {
    /// How long from `now` until this moment: zero as soon as either clock has reached it.
    pub fn after(self, now: Self) -> Duration {
        self.wall.saturating_sub(now.wall).min(self.boot.saturating_sub(now.boot))
    }

    /// Whether either clock has reached this moment.
    pub fn reached(self, now: Self) -> bool {
        self.after(now).is_zero()
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self { wall: self.wall.saturating_add(span), boot: self.boot.saturating_add(span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, boot: u64) -> Moment {
        Moment { wall: Duration::from_secs(wall), boot: Duration::from_secs(boot) }
    }

    #[test]
    fn the_clock_that_is_further_on_decides() {
        let deadline = at(1_000, 100) + Duration::from_secs(60);
        for (now, left) in [
            (at(1_000, 100), 60),
            (at(1_030, 130), 30),
            (at(1_000, 150), 10), // suspend: only the boot clock went on
            (at(1_055, 100), 5),  // the wall clock was set forward
            (at(0, 110), 50),     // ... and back
            (at(1_060, 100), 0),
            (at(9, 160), 0),
        ] {
            assert_eq!(deadline.after(now), Duration::from_secs(left), "{now:?}");
            assert_eq!(deadline.reached(now), left == 0, "{now:?}");
        }
    }
}

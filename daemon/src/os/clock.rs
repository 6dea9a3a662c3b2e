//! The two clocks of [`Moment`].

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::{domain::time::Moment, token::ports::Clock};

/// `CLOCK_REALTIME` and `CLOCK_BOOTTIME` (`clock_gettime(2)`). Both are read through the vDSO.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { wall: read(ClockId::CLOCK_REALTIME), boot: read(ClockId::CLOCK_BOOTTIME) }
    }
}

fn read(clock: ClockId) -> Duration {
    // Linux has had both since 2.6.39 and they cannot fail with valid arguments. A clock that fails
    // all the same reads as zero: the other one then decides.
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run() {
        let now = SystemClock.now();
        assert!(now.wall > Duration::from_secs(1_700_000_000));
        assert!(now.boot > Duration::ZERO);
    }
}

//! The two clocks of [`Moment`].

use std::{io, time::Duration};

use nix::{
    sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    time::{ClockId, clock_gettime},
};

use super::readable::Readable;
use crate::{
    domain::time::Moment,
    token::ports::{BoxFuture, Clock},
};

/// How often the time is looked at where there is no descriptor left for a timer.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// `CLOCK_REALTIME` and `CLOCK_BOOTTIME` (`clock_gettime(2)`). Both are read through the vDSO.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { wall: read(ClockId::CLOCK_REALTIME), boot: read(ClockId::CLOCK_BOOTTIME) }
    }

    fn sleep_until(&self, boot: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if timer(boot).await.is_err() {
                while let Some(left) = boot.checked_sub(self.now().boot).filter(|left| !left.is_zero()) {
                    tokio::time::sleep(left.min(LOOK_EVERY)).await;
                }
            }
        })
    }
}

/// A timer on the clock that goes on in suspend (`timerfd_create(2)`); tokio's stop there.
async fn timer(boot: Duration) -> io::Result<()> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
    // Zero would disarm it.
    let at = boot.max(Duration::from_nanos(1));
    timer.set(Expiration::OneShot(at.into()), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    Readable::new(timer)?.read(TimerFd::wait).await
}

/// Which boot of the machine this is (proc(5), `/proc/sys/kernel/random/boot_id`); none where it is hidden, as by
/// systemd's `ProcSubset=pid`.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
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

    #[tokio::test]
    async fn a_timer_ends_when_its_time_has_come_and_not_before() {
        let before = SystemClock.now().boot;
        for at in [Duration::ZERO, before, before + Duration::from_millis(50)] {
            SystemClock.sleep_until(at).await;
            assert!(SystemClock.now().boot >= at);
        }
        timer(before).await.expect("the system has timers");
    }
}

//! The two clocks of [`Moment`].

use std::{io, time::Duration};

use nix::{
    errno::Errno,
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

/// No machine runs for so long: the year 2242.
const NEVER: Duration = Duration::from_secs(1 << 33);

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

    fn wall_is_set(&self) -> BoxFuture<'_, ()> {
        // From now on, not from when it is waited for.
        let canceled = canceled_when_set();
        Box::pin(async move {
            let canceled = match canceled {
                Ok(timer) => timer.read(TimerFd::wait).await.is_err_and(|error| is_canceled(&error)),
                Err(error) => is_canceled(&error),
            };
            if !canceled {
                tokio::time::sleep(LOOK_EVERY).await;
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

/// A timer that never comes, but is cancelled when the wall clock is set (`timerfd_create(2)`): that is an error of
/// this, or of a read.
fn canceled_when_set() -> io::Result<Readable<TimerFd>> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(timerfd::ClockId::CLOCK_REALTIME, flags)?;
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(Expiration::OneShot(NEVER.into()), flags)?;
    Readable::new(timer)
}

fn is_canceled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ECANCELED as i32)
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

    #[tokio::test]
    async fn a_clock_that_nobody_sets_tells_of_nothing() {
        let timer = canceled_when_set().expect("the system tells when its clock is set");
        let told = tokio::time::timeout(Duration::from_millis(50), timer.read(TimerFd::wait)).await;
        assert!(told.is_err() || told.is_ok_and(|told| told.is_err_and(|error| is_canceled(&error))));
    }
}

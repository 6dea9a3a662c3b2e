//! What has to be as before once a fault is over: the daemon answers, and holds no more than it did.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use usher_testkit::usherd::Usherd;

use super::facts;

/// How long the daemon may take to put away what it used.
const SETTLES: Duration = Duration::from_secs(20);
/// How long a good call may take afterwards, the start of its process included.
const ANSWERS: Duration = Duration::from_secs(1);
/// The quickest of so many counts: the machine has other things to do as well.
const TRIES: u32 = 3;
/// More than these two is a leak.
const MORE_DESCRIPTORS: usize = 4;
const MORE_MEMORY_KIB: u64 = 24 * 1024;

/// What the daemon holds before a fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Baseline {
    descriptors: Option<usize>,
    memory_kib: u64,
}

impl Baseline {
    /// As it is now: of a daemon that has given a token, as only then it has set up all that it keeps.
    pub(crate) fn of(usherd: &Usherd) -> Self {
        Self { descriptors: descriptors(usherd.pid()), memory_kib: memory_kib(usherd.pid()) }
    }

    /// Has a token of this profile within a second, and waits until no more is held than before, but for
    /// some slack.
    #[expect(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]
    pub(crate) fn holds(self, usherd: &Usherd, profile: &str) {
        let took = (0..TRIES).map(|_| {
            let begun = Instant::now();
            facts(usherd, &[profile]);
            begun.elapsed()
        });
        let took = took.min().unwrap_or(Duration::MAX);
        assert!(took < ANSWERS, "a good call took {took:?}");
        let begun = Instant::now();
        loop {
            let now = Self::of(usherd);
            let few = now
                .descriptors
                .zip(self.descriptors)
                .is_none_or(|(now, then)| now <= then + MORE_DESCRIPTORS);
            if few && now.memory_kib <= self.memory_kib + MORE_MEMORY_KIB {
                return;
            }
            assert!(
                begun.elapsed() < SETTLES,
                "it held {self:?}, and afterwards {now:?}: {:?}",
                open_files(usherd.pid()),
            );
            std::thread::yield_now();
        }
    }
}

/// How many descriptors a process has open. None: the kernel does not tell everybody.
pub(crate) fn descriptors(pid: u32) -> Option<usize> {
    fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
}

/// What they lead to, for a failure's message.
fn open_files(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// How much memory a process has, in KiB.
#[expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]
pub(crate) fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

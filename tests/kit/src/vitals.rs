//! What a daemon takes of the system, as `/proc` tells it.
//!
//! usherd is not dumpable, so its descriptors show to root alone; the rest shows to everybody.

use std::{fs, time::Duration};

/// A daemon's share of the system at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Open descriptors; none if this is not root.
    pub descriptors: Option<usize>,
    /// Resident memory, in KiB.
    pub resident: u64,
    /// Processor time so far.
    pub cpu: Duration,
}

impl Vitals {
    /// Those of a process; panics where it is gone.
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}"))
                .unwrap_or_else(|error| panic!("{file}: {error}"))
        };
        let status = read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let stat = read("stat");
        // The name, in parentheses, may hold anything. utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
        Self {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count),
            resident: resident.and_then(|number| number.parse().ok()).expect("VmRSS"),
            // USER_HZ is 100 on every architecture that Linux shows this on.
            cpu: Duration::from_millis(ticks * 10),
        }
    }
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

//! The same for longer.

use std::time::Duration;

use super::{Daemon, fairness, vanishing};

#[test]
fn a_hundred_thousand_clients_that_vanish_leave_nothing_behind() {
    let daemon = Daemon::new();
    vanishing::vanish(&daemon, 100_000);
    vanishing::kill(&daemon, 1000);
}

#[test]
fn whoever_floods_does_not_keep_others_waiting() {
    for (connections, calls) in [(1, 128), (10, 128), (100, 128), (400, 10)] {
        fairness::under_flood(connections, calls, Duration::from_secs(8));
    }
}

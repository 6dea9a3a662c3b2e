//! Restarts on other clocks, and after a reboot.

use super::{keeping, restart_under, source};
use crate::support::{facts, is_root};

/// Where a daemon that this program starts has its token from, after one that had a token of an hour.
fn after_restart_under(wrapper: &[&str]) -> serde_json::Value {
    let world = keeping("");
    facts(&world.usherd, &["frontdoor"]);
    source(&restart_under(world, wrapper).usherd)
}

#[test]
fn a_token_that_expired_in_suspend_is_not_answered_after_the_restart() {
    if !is_root("a boot clock of its own (unshare --time)") {
        return;
    }
    for (seconds, expected) in [("600", "cache"), ("3600", "fetched"), ("32400", "fetched")] {
        let by = ["unshare", "--time", "--boottime", seconds];
        assert_eq!(after_restart_under(&by), expected, "{seconds} s on the boot clock");
    }
}

#[test]
fn after_a_reboot_a_token_that_is_valid_by_the_wall_clock_costs_no_request() {
    if !is_root("another boot id (mount --bind)") {
        return;
    }
    // Another boot id, and a boot clock that has begun anew.
    let reboot = "echo 01234567-89ab-cdef-0123-456789abcdef > boot_id && \
                  mount --bind boot_id /proc/sys/kernel/random/boot_id && exec \"$0\" \"$@\"";
    let by = ["unshare", "--mount", "--time", "--boottime", "-100", "sh", "-c", reboot];
    assert_eq!(after_restart_under(&by), "cache");
}

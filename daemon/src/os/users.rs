//! The system's users.

use nix::unistd::{User, geteuid};

/// The uid whose daemon this is.
pub fn effective_uid() -> u32 {
    geteuid().as_raw()
}

/// The uid of the user of this name, as getpwnam(3) knows it. May ask the network.
pub fn uid_of(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

//! The operating system: everything that needs nix or `unsafe`.

pub mod clock;
pub mod detach;
pub mod environment;
pub mod harden;
pub mod listener;
pub mod memory;
pub mod process;
pub mod random;
pub mod trusted;

/// The uid whose daemon this is.
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

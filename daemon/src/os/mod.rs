//! The operating system: everything that needs nix or `unsafe`.

pub mod activation;
pub mod clock;
pub mod detach;
pub mod environment;
pub mod harden;
pub mod listener;
pub mod memory;
pub mod notify;
pub mod private;
pub mod process;
pub mod random;
mod readable;
pub mod store;
pub mod trusted;
pub mod users;
pub mod watch;

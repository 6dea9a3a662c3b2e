//! The decision table as callers live through it, in a world whose time, IdP and secrets the tests own.

mod ahead;
pub(in crate::token) mod archive;
mod failures;
mod keep;
mod quota;
mod reload;
mod revoke;
mod select;
mod sharing;
mod time;
mod timer;
mod unused;
mod watch;
pub(in crate::token) mod world;

//! The decision table as callers live through it, in a world whose time, IdP and secrets the tests own.

mod ahead;
mod failures;
mod reload;
mod sharing;
mod time;
mod watch;
pub(in crate::token) mod world;

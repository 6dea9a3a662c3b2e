//! The engine: one cache that every caller shares, and the rules for when the IdP is asked.
//!
//! - [`ports`]: the traits it needs; others implement them
//! - [`service`]: the decision table as a whole: [`Engine::get_token`](service::Engine::get_token)
//! - [`freshness`], [`backoff`], [`budget`]: its pure parts, functions of the time they are told
//! - [`fetch`]: from the secret to the cache
//! - [`entry`]: one key's state, changed under one short lock
//! - [`flight`]: one fetch that any number of callers wait for
//! - [`ahead`], [`agenda`]: refreshes ahead of expiry, and when they are due
//! - [`circuit`]: an IdP that is down is asked by one at a time
//! - [`watch`]: a key that somebody watches
//! - [`keep`], [`unkept`], [`restore`]: what survives a restart
//! - [`revoke`], [`revocations`]: tokens that are taken back, and those that wait for it
//! - [`queue`]: how many requests one IdP gets at a time
//! - [`cache`]: all keys of all profiles, and what a reload does to them
//! - [`secrets`]: which secrets can be had
//! - [`select`]: which profile a request means
//! - [`issued`]: whose a place is, and tokens that were handed out as credentials
//! - [`quotas`]: what the IdP has said of its quotas
//! - [`standing`]: how a client stands with its IdP
//! - [`static_token`]: profiles that hand out a long-lived token
//! - [`name`]: keyed hashes that stand for tokens and secrets
//! - [`error`]: what callers are told
//!
//! It knows neither gRPC nor HTTP nor the operating system.

pub mod agenda;
pub mod ahead;
pub mod backoff;
pub mod budget;
pub mod cache;
pub mod circuit;
pub mod entry;
pub mod error;
pub mod fetch;
pub mod flight;
pub mod freshness;
pub mod issued;
pub mod keep;
pub mod name;
pub mod ports;
pub mod queue;
pub mod quotas;
pub mod restore;
pub mod revocations;
pub mod revoke;
pub mod secrets;
pub mod select;
pub mod service;
#[cfg(test)]
mod simulation;
pub mod standing;
pub mod static_token;
pub mod unkept;
pub mod watch;

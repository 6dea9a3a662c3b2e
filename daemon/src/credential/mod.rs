//! Credentials that helpers store, git's and docker's, for places that no profile owns.
//!
//! - [`vault`]: all of them: what is kept, for how long, and which one is meant
//! - [`ports`]: where those are kept that are to outlive usherd

pub mod ports;
pub mod vault;

//! The integration tests: real usherd and usher, a module per behaviour.
//!
//! Every test has a sandbox of its own and ends with a search for its secrets in all that its processes
//! wrote, were given and left behind.

mod bad_answers;
mod cli;
mod config;
mod crowding;
mod curl;
mod grpc;
mod guide;
mod layering;
mod lifecycle;
mod oidc_provider;
mod outages;
mod sharing;
mod socket;
mod support;

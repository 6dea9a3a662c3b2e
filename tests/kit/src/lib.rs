//! What usher's tests and its demo stand on: fakes of the world outside, a harness for the two
//! binaries, and a scanner that fails a test when a secret shows where it must not.
//!
//! - [`ca`]: a certificate authority made on the spot, with good and bad server certificates
//! - [`idp`]: a strict, scriptable OAuth token endpoint that misbehaves on cue
//! - [`api`]: a Frontdoor-like API that accepts what the IdP issued
//! - [`git_server`]: the real `git http-backend` behind a gate
//! - [`registry`]: the real docker-registry, and who issues its tokens
//! - [`kube_api`]: as much of Kubernetes as kubectl asks
//! - [`programs`]: where the real clients are
//! - [`issuer`]: metadata of an issuer, true or not
//! - [`old_tls`]: a server that speaks one version of TLS, OpenSSL's own
//! - [`oidc`]: the real thing for comparison, npm's oidc-provider and oauth2-server
//! - [`proxy`]: a real HTTP proxy, Debian's tinyproxy
//! - [`sandbox`]: a private home for one test: files, environment, `usher` runs, leak scan at the end
//! - [`usherd`]: a running daemon in a sandbox, from its readiness signal to its exit
//! - [`booted`]: a machine with a real systemd, for one script
//! - [`curl`]: a wrapper around the real curl that writes down how it was called
//! - [`leak`]: registered secrets, everything the programs said, and whether the two ever meet
//! - [`tokens`]: the list of issued tokens that IdP, API and scanner share
//! - [`client`]: a blocking HTTP/1.1 client small enough to see every byte
//! - `server`: one TCP or TLS listener on its own threads, and the log of what arrived
//! - [`http`]: requests as they are read off a stream
//! - [`http2`]: frames by hand, right or wrong, on usherd's socket
//! - [`vitals`]: what a daemon takes of the system, from `/proc`
//! - [`process`]: a child process watched by threads, so that waiting needs no sleep
//! - [`watched`]: a value to wait on
//!
//! Nothing here sleeps to wait for a state: every wait is on a condition variable, with a deadline.

#![allow(clippy::doc_markdown, reason = "IdP is a word")]
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic here is the failure of the test that called"
)]

pub mod api;
pub mod booted;
pub mod ca;
pub mod client;
pub mod curl;
pub mod git_server;
pub mod http;
pub mod http2;
pub mod idp;
pub mod issuer;
pub mod kube_api;
pub mod leak;
pub mod oidc;
pub mod old_tls;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod registry;
pub mod sandbox;
mod server;
pub mod tokens;
pub mod usherd;
pub mod vitals;
pub mod watched;

/// How long a test waits for what should happen at once, before it counts as never.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

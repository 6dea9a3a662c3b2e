//! The integration tests: real usherd and usher, a module per behaviour.
//!
//! Every test has a sandbox of its own and ends with a search for its secrets in all that its processes
//! wrote, were given and left behind.

mod access;
mod bad_answers;
mod cli;
mod clients;
mod completions;
mod config;
mod crash;
mod credentials;
mod crowding;
mod curl;
mod default;
mod discovery;
mod ending;
mod env;
mod faults;
mod follow;
mod grpc;
mod guide;
mod helper_install;
mod helpers;
mod hostile;
mod inherited;
mod inspect;
mod keys;
mod layering;
mod leaks;
mod lifecycle;
mod long;
mod misbehaviour;
mod network;
mod oidc_provider;
mod outages;
mod presets;
mod quota;
mod readme;
mod reload;
mod replay;
mod revoke;
mod run;
mod secret_files;
mod secrets;
mod sharing;
mod socket;
mod start;
mod status_watch;
mod store;
mod support;
mod systemd;

//! The words of the field as plain data, without I/O: profile, scope, token, secret, time.

pub mod profile;
pub mod scope;
pub mod secret;
pub mod time;
pub mod token;
pub mod url;

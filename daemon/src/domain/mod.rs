//! The words of the field as plain data, without I/O: credential, place, profile, quota, scope, token, secret, time, settings.

pub mod credential;
pub mod place;
pub mod profile;
pub mod quota;
pub mod record;
pub mod scope;
pub mod secret;
pub mod settings;
pub mod time;
pub mod token;
pub mod url;

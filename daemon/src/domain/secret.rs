//! Secrets: the one type that holds them, and where they come from.

use std::{fmt, path::PathBuf};

pub use secrecy::{ExposeSecret, SecretString};

/// Where a secret comes from. The configuration holds only this, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// A file of ours that nobody else can read. Read anew for every token request.
    File(PathBuf),
    /// A variable of the environment that usherd was started with.
    Env(String),
    /// What a program prints: its path and its arguments. Run anew for every token request.
    Command(Vec<String>),
    /// A credential that systemd hands to the service (systemd.exec(5), `LoadCredential=`), by its name.
    Credential(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Command(argv) => write!(f, "command {}", argv.first().map_or("", String::as_str)),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

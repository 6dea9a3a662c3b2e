//! What the configuration says of the daemon itself.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::secret::SecretRef;

/// How the daemon behaves, whatever the profiles are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The other users, by uid, who may ask for tokens.
    pub allowed_users: BTreeSet<u32>,
    /// Those of the list whom the system does not know. They let nobody in.
    pub unknown_users: Vec<String>,
    /// How long calls may still take after the shutdown began.
    pub shutdown_timeout: Duration,
    /// When the daemon ends by itself; none: the file does not say.
    pub idle_exit: Option<IdleExit>,
    /// Where tokens are kept over a restart; none: nowhere.
    pub store: Option<StoreSettings>,
}

/// Where tokens are kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// What they are encrypted with.
    pub key: SecretRef,
    /// The directory; none: the file does not say.
    pub directory: Option<PathBuf>,
}

/// When a daemon that nobody calls ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleExit {
    /// Not at all.
    Never,
    /// After so long without a connection, once no token is left that could still be used.
    After(Duration),
}

impl Settings {
    /// How long calls may take after the shutdown began, unless the file says otherwise.
    pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed_users: BTreeSet::new(),
            unknown_users: Vec::new(),
            shutdown_timeout: Self::SHUTDOWN_TIMEOUT,
            idle_exit: None,
            store: None,
        }
    }
}

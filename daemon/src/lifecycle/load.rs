//! The configuration's file, and what of the system goes into it.

use std::path::{Path, PathBuf};

use crate::{
    config::{self, Context, Report},
    domain::profile::{Network, Profiles},
    os::{
        trusted::{self, Readers},
        users,
    },
};

/// The largest configuration: ten thousand profiles fit.
const MAX_CONFIG: u64 = 10 * 1024 * 1024;

/// Reads the configuration at `path`, which must be ours or root's and writable by nobody else.
pub fn load(path: &Path, home: Option<&Path>) -> Result<Profiles, Report> {
    let bytes = trusted::read(path, Readers::Anyone, MAX_CONFIG).map_err(|error| {
        let hint = if error.is_not_found() {
            "; make it, beginning with [profile.NAME] and a preset: `usherd --help` has an example"
        } else {
            ""
        };
        Report::of_file(path, format!("the configuration cannot be read: {error}{hint}"))
    })?;
    let text = str::from_utf8(&bytes).map_err(|_| Report::of_file(path, "is not UTF-8 text"))?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    config::parse(
        text,
        path,
        &Context {
            directory,
            home: home.map(Path::to_owned),
            uid_of: users::uid_of,
            network: default_network(),
        },
    )
}

/// What OpenSSL's programs take for the system's certificates is taken for them here, too.
pub(crate) fn default_network() -> Network {
    let ca_file = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_absolute());
    Network { ca_file, ..Network::default() }
}

//! A credential that systemd handed to the service (systemd.exec(5), `LoadCredential=`).

use std::{ffi::OsStr, path::Path};

use zeroize::Zeroizing;

use super::{MAX_SECRET, secret_in};
use crate::{
    domain::secret::SecretString,
    os::trusted::{self, Readers},
    token::ports::SecretError,
};

/// Reads the credential in `directory`, which is `$CREDENTIALS_DIRECTORY`.
pub(super) fn read(directory: Option<&OsStr>, name: &str) -> Result<SecretString, SecretError> {
    let directory =
        directory.map(Path::new).filter(|directory| directory.is_absolute()).ok_or_else(|| {
            SecretError(format!(
                "there is no credential {name}: usherd was not started by a systemd unit with \
             LoadCredential={name}:/path/to/it"
            ))
        })?;
    let path = directory.join(name);
    let bytes = trusted::read(&path, Readers::OwnerAndGroup, MAX_SECRET as u64).map_err(|error| {
        let hint = if error.is_not_found() {
            format!("; the unit needs LoadCredential={name}:/path/to/it")
        } else {
            String::new()
        };
        SecretError(format!("{error}{hint}"))
    })?;
    secret_in(&Zeroizing::new(bytes)).map_err(|what| SecretError(format!("the credential {name} {what}")))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::domain::secret::ExposeSecret as _;

    #[test]
    fn a_credential_is_read_from_systemds_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frontdoor");
        fs::write(&path, "s3cr3t\n").unwrap();
        // As systemd leaves them where an ACL grants the access.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let directory = Some(dir.path().as_os_str());
        assert_eq!(read(directory, "frontdoor").unwrap().expose_secret(), "s3cr3t");
        let error = read(directory, "other").unwrap_err().0;
        assert!(error.contains("LoadCredential=other:"), "{error}");
        let error = read(None, "frontdoor").unwrap_err().0;
        assert!(error.contains("not started by a systemd unit"), "{error}");
    }
}

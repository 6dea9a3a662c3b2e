//! A secret in a file: of ours or root's, readable by nobody else.

use std::path::Path;

use zeroize::Zeroizing;

use super::{MAX_SECRET, secret_in};
use crate::{
    domain::secret::SecretString,
    os::trusted::{self, Readers},
    token::ports::SecretError,
};

/// Reads the secret.
pub(super) fn read(path: &Path) -> Result<SecretString, SecretError> {
    let bytes = trusted::read(path, Readers::OwnerOnly, MAX_SECRET as u64);
    let bytes = Zeroizing::new(bytes.map_err(|error| SecretError(error.to_string()))?);
    secret_in(&bytes).map_err(|what| SecretError(format!("{} {what}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::domain::secret::ExposeSecret as _;

    fn read_bytes(content: &[u8]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        read(&path).map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.0)
    }

    #[test]
    fn one_line_end_is_not_part_of_the_secret() {
        for (content, secret) in [
            ("s3cr3t", "s3cr3t"),
            ("s3cr3t\n", "s3cr3t"),
            ("s3cr3t\r\n", "s3cr3t"),
            ("s3cr3t\n\n", "s3cr3t\n"),
            (" s3cr3t ", " s3cr3t "),
        ] {
            assert_eq!(read_bytes(content.as_bytes()).as_deref(), Ok(secret));
        }
    }

    #[test]
    fn nothing_and_binary_are_no_secrets() {
        for (content, expected) in [(&b""[..], "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "not UTF-8")] {
            let error = read_bytes(content).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(read_bytes(&vec![b'x'; 65_537]).unwrap_err().contains("more than 65536 bytes"));
    }
}

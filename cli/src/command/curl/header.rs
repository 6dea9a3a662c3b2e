//! The header's way to curl: a file in memory that curl inherits and nobody can change.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsRawFd as _,
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

use crate::error::Error;

/// The file with the Authorization header. A program that this process executes inherits it: call it just
/// before the one that is to have it.
pub(super) fn file(authorization: &str) -> Result<File, Error> {
    // A line break would make further headers of it.
    if authorization.is_empty() || !authorization.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Error::Answer("usherd's Authorization value is no header's value".to_owned()));
    }
    sealed(authorization).map_err(|source| Error::System { what: "cannot hand the header to curl", source })
}

/// Where the program that inherits `file` opens it.
pub(super) fn path(file: &File) -> String {
    format!("/dev/fd/{}", file.as_raw_fd())
}

fn sealed(authorization: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"usher-header", MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(format!("Authorization: {authorization}\n").as_bytes())?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_read_by_path_and_not_be_changed() {
        let mut header = file("Bearer abc").unwrap();
        assert_eq!(std::fs::read_to_string(path(&header)).unwrap(), "Authorization: Bearer abc\n");
        assert!(header.write_all(b"x").is_err());
        assert!(header.set_len(0).is_err());
    }

    #[test]
    fn what_is_no_header_is_not_handed_on() {
        for value in ["", "Bearer a\r\nX: y", "Bearer \u{e9}"] {
            assert!(file(value).is_err(), "{value:?}");
        }
    }
}

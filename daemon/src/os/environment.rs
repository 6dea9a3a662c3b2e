//! Secrets that come by the environment: taken out of it once, at the start.
//!
//! The environment stays readable in `/proc/PID/environ` for as long as the process runs, and children
//! inherit it. So the variables that hold secrets are read, overwritten where they lie, and removed.

use std::{collections::HashMap, os::unix::ffi::OsStringExt as _};

use secrecy::SecretString;
use zeroize::Zeroize as _;

/// Takes the variables of these names out of the environment. One that is not set, or not UTF-8, is
/// not in the answer.
///
/// # Safety
///
/// No other thread may run: the environment is shared without a lock (environ(7)).
#[expect(unsafe_code, reason = "the environment block can be neither overwritten nor changed otherwise")]
pub unsafe fn take<'a>(names: impl IntoIterator<Item = &'a str>) -> HashMap<String, SecretString> {
    let mut taken = HashMap::new();
    for name in names {
        let Some(value) = std::env::var_os(name) else { continue };
        if let Ok(value) = String::from_utf8(value.into_vec()).map_err(|error| error.into_bytes().zeroize()) {
            taken.insert(name.to_owned(), SecretString::from(value));
        }
        // SAFETY: single-threaded, by this function's contract.
        unsafe {
            overwrite(name);
            std::env::remove_var(name);
        }
    }
    taken
}

/// Zeroes the value where it lies.
///
/// # Safety
///
/// As [`take`].
#[expect(unsafe_code, reason = "writes through the pointers of environ(7)")]
unsafe fn overwrite(name: &str) {
    let Ok(name) = std::ffi::CString::new(name) else { return };
    // SAFETY: `name` is NUL-terminated; getenv(3) answers NULL or a NUL-terminated string that nobody
    // else reads or writes meanwhile, as no other thread runs. Its length stays as it is.
    unsafe {
        let value = nix::libc::getenv(name.as_ptr());
        if !value.is_null() {
            let len = nix::libc::strlen(value);
            std::slice::from_raw_parts_mut(value.cast::<u8>(), len).zeroize();
        }
    }
}

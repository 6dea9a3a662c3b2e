//! What the allocator keeps for us when nobody needs it.

/// Gives memory that is free back to the system. glibc keeps what a thousand connections took, for the next
/// thousand (`malloc_trim(3)`). Other allocators (musl's) have no such call, and are left alone.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc's own, in no safe wrapper")]
pub fn release() {
    // SAFETY: it takes the allocator's own locks, and touches nothing that is in use.
    unsafe { nix::libc::malloc_trim(0) };
}

/// As above.
#[cfg(not(target_env = "gnu"))]
pub fn release() {}

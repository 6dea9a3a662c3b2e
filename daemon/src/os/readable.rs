//! A descriptor of nix's that tokio waits for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

/// Something that can be read, now or later. It has to be non-blocking.
pub(super) struct Readable<T: AsFd>(AsyncFd<Owner<T>>);

struct Owner<T>(T);

impl<T: AsFd> AsRawFd for Owner<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Readable<T> {
    /// Within a tokio runtime.
    #[expect(unsafe_code, reason = "tokio's registration of a descriptor")]
    pub(super) fn new(owner: T) -> io::Result<Self> {
        // SAFETY: the owner is moved into the registration, which hands it out as a shared reference alone, so
        // that its descriptor is neither replaced nor closed before the registration ends.
        Ok(Self(unsafe { AsyncFd::register(Owner(owner)) }?))
    }

    /// Waits until `read` has something, or fails with something else than EAGAIN.
    pub(super) async fn read<R>(&self, read: impl Fn(&T) -> nix::Result<R>) -> io::Result<R> {
        loop {
            let mut ready = self.0.readable().await?;
            match read(&ready.get_inner().0) {
                Err(Errno::EAGAIN) => ready.clear_ready(),
                outcome => return Ok(outcome?),
            }
        }
    }
}

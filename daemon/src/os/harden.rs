//! What is switched off before a secret is read.

use std::{fs::File, io, os::fd::AsRawFd as _};

use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal, signal},
    stat::{Mode, umask},
};

/// No core dump, no ptrace and no `/proc/PID/mem` for other processes of the same user (prctl(2),
/// `PR_SET_DUMPABLE`), and new files for us alone.
pub fn process() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)?;
    umask(Mode::from_bits_truncate(0o077));
    Ok(())
}

/// Has SIGHUP do nothing until it is caught: whoever asks for a reload while the daemon starts must not
/// end it (signal(7)).
#[expect(unsafe_code, reason = "installs a signal disposition")]
pub fn ignore_hangup() -> io::Result<()> {
    // SAFETY: no handler is installed, so that none can run into anything.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }?;
    Ok(())
}

/// Raises the soft limit of open descriptors to the hard one, since every caller costs one; answers it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Makes sure that descriptors 0, 1 and 2 are open, so that no socket ever gets the number of stderr.
pub fn fill_standard_descriptors() -> io::Result<()> {
    loop {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        std::mem::forget(null);
    }
}

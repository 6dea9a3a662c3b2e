//! What is switched off before a secret is read.

use std::{fs::File, io, os::fd::AsRawFd as _};

use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigHandler, SigSet, Signal, signal},
        stat::{Mode, umask},
    },
};

/// No core dump, no ptrace and no `/proc/PID/mem` for other processes of the same user (prctl(2),
/// `PR_SET_DUMPABLE`), new files for us alone, and nothing that we have open for the programs that we start.
pub fn process() -> io::Result<()> {
    close_on_exec()?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)?;
    umask(Mode::from_bits_truncate(0o077));
    Ok(())
}

/// A file that grows beyond the limit (`RLIMIT_FSIZE`) is an error of write(2), not the end (signal(7), SIGXFSZ).
#[expect(unsafe_code, reason = "signal(2)")]
pub fn survive_file_size_limit() -> io::Result<()> {
    // SAFETY: nothing is run when it comes.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(())
}

/// Has SIGHUP wait until it is caught: whoever asks for a reload while the daemon starts must not end it, and
/// gets their reload (`sigprocmask(2)`). What this thread starts until then has it wait for ever, which leaves it to
/// this thread.
pub fn hold_hangup() -> io::Result<()> {
    Ok(hangup().thread_block()?)
}

/// It is caught from now on.
pub fn release_hangup() -> io::Result<()> {
    Ok(hangup().thread_unblock()?)
}

fn hangup() -> SigSet {
    SigSet::from(Signal::SIGHUP)
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

/// Marks every descriptor but the standard ones, whoever opened it and left it to us, to be closed where
/// another program is executed.
#[expect(unsafe_code, reason = "close_range(2) and fcntl(2) on descriptors that are only numbers here")]
fn close_on_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: nothing is closed now, and no memory is touched.
    let marked =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == 0 {
        return Ok(());
    }
    // Linux before 5.11, or a filter of system calls that does not know it.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(descriptor) = entry?.file_name().to_str().and_then(|name| name.parse::<libc::c_int>().ok())
        else {
            continue;
        };
        if descriptor > 2 {
            // SAFETY: as above.
            Errno::result(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        }
    }
    Ok(())
}

//! Away from whoever started the process.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{getsockopt, sockopt::SockType},
    unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

/// A copy of stdout that is closed on exec(3); stdout itself becomes /dev/null.
pub fn take_stdout() -> io::Result<File> {
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    dup2_stdout(null()?)?;
    Ok(File::from(stdout))
}

/// A session of its own (setsid(2)), in the root directory, with nothing to read and `log` for stderr.
pub fn leave(log: &File) -> io::Result<()> {
    match setsid() {
        // It leads a group already: whoever started it saw to it.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    chdir("/")?;
    dup2_stdin(null()?)?;
    dup2_stderr(log)?;
    Ok(())
}

/// Has every descriptor but the first three closed: what whoever started this process had open.
#[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
pub fn close_inherited() -> io::Result<()> {
    // SAFETY: called before anything is opened, so that no descriptor above 2 is anybody's.
    if unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) } == 0 {
        return Ok(());
    }
    // Linux before 5.9, or a filter of system calls that does not know it. All are listed before one is
    // closed, as the listing has one of its own.
    let listed = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for descriptor in listed.filter(|descriptor| *descriptor > 2).collect::<Vec<libc::c_int>>() {
        // SAFETY: as above. The one of the listing is closed already, for which EBADF is no harm.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}

/// The stream socket that stdin is, set to be non-blocking.
pub fn stdin_socket() -> io::Result<UnixStream> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    if getsockopt(&stdin, SockType)? != nix::sys::socket::SockType::Stream {
        return Err(io::Error::other("stdin is no stream socket"));
    }
    let stream = UnixStream::from(stdin);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

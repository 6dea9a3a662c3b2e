//! Other processes: in a session of their own, watched, and ended as a group.

use std::io;

use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{Pid, setsid},
};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

/// The soft limit of descriptors that programs expect: some look at each that there could be.
const DESCRIPTORS: u64 = 1024;

/// Has the program lead a session and a process group of its own: no terminal is its, not even by
/// `/dev/tty`, on which it could wait for somebody (setsid(2)).
#[expect(unsafe_code, reason = "runs between fork and exec")]
pub fn own_session(command: &mut Command) {
    let detach = || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard)?;
        setsid().map(drop).map_err(io::Error::from)
    };
    // SAFETY: these are system calls alone, and nothing is allocated.
    unsafe { command.pre_exec(detach) };
}

/// Waits for the end of a child, which is left to be reaped: until then its id, and its group's, is nobody
/// else's.
pub async fn ended(child: u32) -> io::Result<()> {
    let child = pid(child)?;
    // Listens before it looks, so that no end is missed.
    let mut changes = signal(SignalKind::child())?;
    loop {
        match waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG) {
            Ok(WaitStatus::StillAlive) => drop(changes.recv().await),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends every process of a group. One that has ended already is no error.
pub fn kill_group(leader: u32) {
    if let Ok(leader) = pid(leader) {
        let _ = killpg(leader, Signal::SIGKILL);
    }
}

fn pid(id: u32) -> io::Result<Pid> {
    i32::try_from(id).map(Pid::from_raw).map_err(|_| Errno::ESRCH.into())
}

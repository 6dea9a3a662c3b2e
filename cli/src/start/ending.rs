//! The end of an usherd that was told to stop: of its process, where that can be seen.

use std::{path::Path, time::Duration};

use super::{LOOK_AGAIN, lock_now};
use crate::time::Deadline;

/// Waits, for at most `patience`, until the usherd that was process `pid` and had `socket` has ended. Whether it
/// has.
///
/// Where its process cannot be seen (another user's under hidepid, another name space's), until the socket's lock
/// no longer names it, for the next one has it already, or is free.
pub(crate) fn wait_for_end(socket: &Path, pid: u32, patience: Duration) -> bool {
    let deadline = Deadline::after(patience);
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    let lock = Path::new(&lock);
    let names_it = || std::fs::read_to_string(lock).is_ok_and(|text| text.trim() == pid.to_string());
    let is_held = || lock_now(lock).is_ok_and(|lock| lock.is_none());
    let process = began(pid);
    let goes_on = || match process {
        Some(began_then) => began(pid) == Some(began_then),
        None => names_it() && is_held(),
    };
    while goes_on() {
        if deadline.left().is_zero() {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN.min(deadline.left()));
    }
    true
}

/// When the usherd that is process `pid` began, in ticks since boot: with it, a pid that is used again is told
/// apart. None if there is no such process, it is no usherd, or it has ended and nobody has asked how.
fn began(pid: u32) -> Option<u64> {
    began_by(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The same, by what `proc_pid_stat(5)` describes.
fn began_by(stat: &str) -> Option<u64> {
    let (name, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let runs = !["Z", "X"].contains(&fields.next()?);
    // The 22nd of all; the state is the 3rd.
    let began = fields.nth(18)?.parse().ok()?;
    (runs && name.ends_with(" (usherd")).then_some(began)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn it_has_ended_when_its_process_has_whatever_the_lock_says() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("usherd");
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut usherd = Command::new(program).arg("60").spawn().unwrap();
        let socket = dir.path().join("usher.sock");
        std::fs::write(dir.path().join("usher.sock.lock"), "1\n").unwrap();
        assert!(!wait_for_end(&socket, usherd.id(), Duration::from_millis(50)), "it runs");
        usherd.kill().unwrap();
        assert!(wait_for_end(&socket, usherd.id(), Duration::from_secs(10)), "nobody has waited for it yet");
        usherd.wait().unwrap();
        assert!(wait_for_end(&socket, usherd.id(), Duration::ZERO), "it is gone");
    }

    #[test]
    fn a_process_is_known_by_its_beginning_until_it_has_ended() {
        let stat = |name, state| {
            format!("42 ({name}) {state} 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 12345 99 7")
        };
        assert_eq!(began_by(&stat("usherd", 'S')), Some(12345));
        assert_eq!(began_by(&stat("usherd", 'Z')), None, "its parent has yet to ask how it ended");
        assert_eq!(began_by(&stat("a) S (b", 'S')), None, "another program");
        assert_eq!(began_by(""), None);
        // This process's own: the format is the kernel's.
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (_, rest) = own.rsplit_once(')').unwrap();
        assert!(began_by(&format!("1 (usherd){rest}")).is_some(), "{own}");
    }
}

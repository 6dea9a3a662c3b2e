//! Who is calling, and may they.
//!
//! The uid is the boundary. The kernel tells it, frozen when the caller connected (unix(7),
//! `SO_PEERCRED`); the pid is for the log only, since by now it may be somebody else's.

use std::{fmt, io};

use tokio::net::UnixStream;

/// The process at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its process, when it connected. Zero or missing from another pid namespace.
    pub pid: Option<i32>,
}

impl Peer {
    /// Asks the kernel.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), pid: credentials.pid() })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} pid {}", self.uid, self.pid.unwrap_or(0))
    }
}

/// Who is let in. Everybody else is hung up on before a byte of theirs is read; root, too, unless it is
/// root's own daemon.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    owner: u32,
}

impl Policy {
    /// The owner alone.
    pub fn owner_only(uid: u32) -> Self {
        Self { owner: uid }
    }

    /// Whether this peer is let in.
    pub fn admits(self, peer: Peer) -> bool {
        peer.uid == self.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_is_admitted() {
        let policy = Policy::owner_only(1000);
        for (uid, admitted) in [(1000, true), (0, false), (1001, false), (65_534, false)] {
            assert_eq!(policy.admits(Peer { uid, pid: None }), admitted, "{uid}");
        }
    }
}

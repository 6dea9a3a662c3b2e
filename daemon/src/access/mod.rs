//! Who is calling, and may they.
//!
//! The uid is the boundary. The kernel tells it, frozen when the caller connected (unix(7),
//! `SO_PEERCRED`); the pid is for the log only, since by now it may be somebody else's.

use std::{collections::BTreeSet, fmt, io, sync::Arc};

use arc_swap::ArcSwap;
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

/// Who is let in, and who may do what. Everybody else is hung up on before a byte of theirs is read; root,
/// too, unless it is root's own daemon or root is listed.
#[derive(Debug)]
pub struct Policy {
    owner: u32,
    allowed: ArcSwap<BTreeSet<u32>>,
}

impl Policy {
    /// Nobody but the owner.
    pub fn owner_only(uid: u32) -> Self {
        Self { owner: uid, allowed: ArcSwap::default() }
    }

    /// Whose daemon this is.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// From now on these users, and no others, may ask for tokens beside the owner.
    pub fn allow(&self, users: &BTreeSet<u32>) {
        self.allowed.store(Arc::new(users.clone()));
    }

    /// Whether this peer is let in, to ask for tokens.
    pub fn admits(&self, peer: Peer) -> bool {
        peer.uid == self.owner || self.allowed.load().contains(&peer.uid)
    }

    /// Whether this peer may see and steer the daemon itself: the owner, and root if it is let in.
    pub fn lets_administer(&self, peer: Peer) -> bool {
        self.admits(peer) && (peer.uid == self.owner || peer.uid == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32) -> Peer {
        Peer { uid, pid: None }
    }

    #[test]
    fn only_the_owner_is_admitted() {
        let policy = Policy::owner_only(1000);
        for (uid, admitted) in [(1000, true), (0, false), (1001, false), (65_534, false)] {
            assert_eq!(policy.admits(peer(uid)), admitted, "{uid}");
            assert_eq!(policy.lets_administer(peer(uid)), admitted, "{uid}");
        }
    }

    #[test]
    fn who_is_listed_gets_tokens_until_taken_off_the_list() {
        let policy = Policy::owner_only(1000);
        policy.allow(&BTreeSet::from([0, 1001]));
        for (uid, admitted, administers) in
            [(1000, true, true), (0, true, true), (1001, true, false), (1002, false, false)]
        {
            assert_eq!(policy.admits(peer(uid)), admitted, "{uid}");
            assert_eq!(policy.lets_administer(peer(uid)), administers, "{uid}");
        }
        policy.allow(&BTreeSet::from([1002]));
        assert!(!policy.admits(peer(1001)) && !policy.lets_administer(peer(0)) && policy.admits(peer(1002)));
    }
}

//! All connections, from accept to drain.
//!
//! tonic's own loop asks nobody who they are, advertises no limit of streams, and spins when there are
//! no descriptors left; so this is one of our own, over hyper's HTTP/2 with every limit explicit.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    time::{self, Instant},
};
use tonic::service::Routes;
use tracing::{info, warn};

use super::{
    accept::Door,
    connection::{self, Guest},
    limits::PAUSE_MAX,
    notices::{Notice, Notices},
    places::Places,
};
use crate::access::{Peer, Policy};

/// How many connections at a time, and how long the last calls get when all is over.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When there are so many, one that is without a call goes, of whoever has the most. If all have calls,
    /// more wait in the listener's queue.
    pub connections: usize,
    /// How long calls may still take after the shutdown began.
    pub drain: Duration,
    /// Gives memory that is free back to the system; called after a storm of connections.
    pub release_memory: fn(),
}

/// Serves until `shutdown` ends, then lets calls in flight finish.
pub async fn serve(
    listener: UnixListener,
    routes: Routes,
    policy: Policy,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    // Every connection holds a receiver: the end of the sender tells them to finish.
    let (stop, stopped) = watch::channel(());
    let mut connections = Places::default();
    let notices = Arc::new(Notices::default());
    let mut door = Door::new();
    tokio::pin!(shutdown);
    loop {
        let is_full = connections.tasks.len() >= limits.connections;
        let calm = connections.calm_at();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.next_end(), if !connections.tasks.is_empty() => {}
            () = time::sleep_until(calm.unwrap_or_else(Instant::now)), if calm.is_some() => {
                connections.calm();
                // It takes a lock that every allocation takes, so elsewhere it would not be quicker.
                (limits.release_memory)();
            }
            caller = door.next(&listener), if !is_full => {
                if let Some(peer) = admit(&caller.stream, policy, &notices) {
                    // Of those before: whoever has just come in has had no time for a call.
                    if caller.by_reserve || connections.tasks.len() + 1 >= limits.connections {
                        make_room(&connections, limits.connections, &notices);
                    }
                    let serve = |guest| {
                        let (routes, notices) = (routes.clone(), Arc::clone(&notices));
                        connection::serve(caller.stream, guest, routes, notices, stopped.clone())
                    };
                    connections.begin(peer, serve);
                }
            }
            // All had calls before; by now one may be without.
            () = time::sleep(PAUSE_MAX), if is_full => make_room(&connections, limits.connections, &notices),
        }
    }
    drop(listener);
    info!(connections = connections.tasks.len(), "no new connections; finishing the calls in flight");
    drop(stop);
    let drained = async {
        while !connections.tasks.is_empty() {
            connections.next_end().await;
        }
    };
    if time::timeout(limits.drain, drained).await.is_err() {
        warn!(connections = connections.tasks.len(), "calls did not finish in time and are broken off");
        connections.tasks.shutdown().await;
    }
}

/// Serves one caller until it hangs up or `shutdown` ends.
pub async fn serve_one(
    stream: UnixStream,
    routes: Routes,
    policy: Policy,
    shutdown: impl Future<Output = ()>,
) {
    let notices = Arc::new(Notices::default());
    let Some(peer) = admit(&stream, policy, &notices) else { return };
    let (_stop, stopped) = watch::channel(());
    let guest = Guest { peer, activity: Arc::default(), share: Arc::default() };
    tokio::select! {
        () = connection::serve(stream, guest, routes, notices, stopped) => {}
        () = shutdown => {}
    }
}

fn make_room(connections: &Places, limit: usize, notices: &Notices) {
    if let Some(peer) = connections.make_room(limit) {
        notices.tell(Notice::Crowded, peer.uid, |kept_back| {
            warn!(%peer, limit, kept_back, "no room for more connections: one of whoever has the most goes");
        });
    }
}

/// Who is there, if they may come in. Nothing of what they sent has been read.
fn admit(stream: &UnixStream, policy: Policy, notices: &Notices) -> Option<Peer> {
    match Peer::of(stream) {
        Ok(peer) if policy.admits(peer) => Some(peer),
        Ok(peer) => {
            notices.tell(Notice::Refused, peer.uid, |kept_back| {
                warn!(%peer, kept_back, "connection refused: not the owner");
            });
            None
        }
        Err(error) => {
            notices.tell(Notice::Unknown, u32::MAX, |kept_back| {
                warn!(%error, kept_back, "connection refused: the peer cannot be told");
            });
            None
        }
    }
}

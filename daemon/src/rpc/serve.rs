//! All connections, from accept to drain.
//!
//! tonic's own loop asks nobody who they are, advertises no limit of streams, and spins when there are
//! no descriptors left; so this is one of our own, over hyper's HTTP/2 with every limit explicit.

use std::{
    os::unix::net::{UnixListener as StdListener, UnixStream as StdStream},
    sync::Arc,
    time::Duration,
};

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

/// How soon it is asked again whether tokens that were valid still are: the clocks by which they expire go
/// on in suspend, and timers do not.
const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Who comes in, and what for.
pub struct Entrance {
    /// Where they come.
    pub listener: UnixListener,
    /// What they find.
    pub routes: Routes,
    /// Who may.
    pub policy: Arc<Policy>,
    /// When there are so many connections, one that is without a call goes, of whoever has the most. If all
    /// have calls, more wait in the listener's queue.
    pub max_connections: usize,
}

/// What the loop asks of the daemon's life. It may answer otherwise each time.
pub trait Terms {
    /// Has nobody else come in; answers those whose connections wait to be accepted and would be lost.
    fn close(&self, listener: &StdListener) -> Vec<StdStream>;

    /// How long calls may still take after the shutdown began.
    fn drain(&self) -> Duration;

    /// How long there has to be no connection before the daemon ends by itself. None: it does not.
    fn idle_exit(&self) -> Option<Duration>;

    /// How long it is worth staying all the same.
    fn tokens_last(&self) -> Duration;

    /// Ends when [`Terms::idle_exit`] may be another.
    fn changed(&self) -> impl Future<Output = ()>;

    /// Gives memory that is free back to the system, after a storm of connections.
    fn release_memory(&self);
}

/// Serves until `shutdown` ends or the daemon has been idle for long enough, then lets calls in flight
/// finish.
pub async fn serve(entrance: Entrance, terms: &impl Terms, shutdown: impl Future<Output = ()>) {
    let Entrance { listener, routes, policy, max_connections } = entrance;
    // Every connection holds a receiver: the end of the sender tells them to finish.
    let (stop, stopped) = watch::channel(());
    let mut connections = Places::default();
    let notices = Arc::new(Notices::default());
    let mut door = Door::new();
    let begin = |connections: &mut Places, stream, peer| {
        let (routes, notices, stopped) = (routes.clone(), Arc::clone(&notices), stopped.clone());
        connections.begin(peer, |guest| connection::serve(stream, guest, routes, notices, stopped));
    };
    let mut idle = Idle::begin();
    tokio::pin!(shutdown);
    loop {
        let is_empty = connections.tasks.is_empty();
        let is_full = connections.tasks.len() >= max_connections;
        let calm = connections.calm_at();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.next_end(), if !is_empty => idle = Idle::begin(),
            () = idle.wait(terms), if is_empty => {
                info!("nobody has called for a while: ending; the next call starts another usherd");
                break;
            }
            () = time::sleep_until(calm.unwrap_or_else(Instant::now)), if calm.is_some() => {
                connections.calm();
                // It takes a lock that every allocation takes, so elsewhere it would not be quicker.
                terms.release_memory();
            }
            caller = door.next(&listener), if !is_full => {
                let peer = admit(&caller.stream, &policy, &notices);
                if let Some(peer) = peer.filter(|peer| has_place(&connections, *peer, &policy, max_connections, &notices)) {
                    // Of those before: whoever has just come in has had no time for a call.
                    if caller.by_reserve || connections.tasks.len() + 1 >= max_connections {
                        make_room(&connections, max_connections, &notices);
                    }
                    begin(&mut connections, caller.stream, peer);
                }
            }
            // All had calls before; by now one may be without.
            () = time::sleep(PAUSE_MAX), if is_full => make_room(&connections, max_connections, &notices),
        }
    }
    let listener = listener.into_std().ok();
    let take_in = |connections: &mut Places| {
        for stream in listener.iter().flat_map(|listener| close(listener, terms)) {
            if let Some(peer) = admit(&stream, &policy, &notices) {
                begin(connections, stream, peer);
            }
        }
    };
    take_in(&mut connections);
    info!(connections = connections.tasks.len(), "no new connections; finishing the calls in flight");
    drop(stop);
    let drained = async {
        while !connections.tasks.is_empty() {
            connections.next_end().await;
            // Those for whom there was no descriptor before.
            take_in(&mut connections);
        }
    };
    if time::timeout(terms.drain(), drained).await.is_err() {
        warn!(connections = connections.tasks.len(), "calls did not finish in time and are broken off");
        connections.tasks.shutdown().await;
    }
}

/// Serves one caller until it hangs up or `shutdown` ends.
pub async fn serve_one(
    stream: UnixStream,
    routes: Routes,
    policy: &Policy,
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

/// Closes the entrance, and answers those who are in it.
fn close(listener: &StdListener, terms: &impl Terms) -> Vec<UnixStream> {
    let made_async = |stream: StdStream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    terms.close(listener).into_iter().filter_map(|stream| made_async(stream).ok()).collect()
}

/// A time without any connection.
struct Idle {
    since: Instant,
    /// It has been asked how long tokens last, and before this there is no need to ask again.
    worth_staying_until: Instant,
}

impl Idle {
    fn begin() -> Self {
        let now = Instant::now();
        Self { since: now, worth_staying_until: now }
    }

    /// Ends when it has been long enough. Tokens are asked for only then: there may be many.
    async fn wait(&mut self, terms: &impl Terms) {
        loop {
            let enough = terms.idle_exit().map(|span| self.worth_staying_until.max(self.since + span));
            tokio::select! {
                () = terms.changed() => continue,
                () = time::sleep_until(enough.unwrap_or(self.since)), if enough.is_some() => {}
            }
            let last = terms.tokens_last();
            if last.is_zero() {
                return;
            }
            self.worth_staying_until = Instant::now() + last.min(LOOK_AGAIN);
        }
    }
}

fn make_room(connections: &Places, limit: usize, notices: &Notices) {
    match connections.make_room(limit) {
        Some(peer) => notices.tell(Notice::Crowded, peer.uid, |kept_back| {
            warn!(%peer, limit, kept_back, "no room for more connections: one of whoever has the most goes");
        }),
        None => notices.tell(Notice::Full, u32::MAX, |kept_back| {
            warn!(limit, kept_back, "no room for more connections, and all have calls: others wait");
        }),
    }
}

/// Whether the owner has left a place for this peer, who may come in.
fn has_place(connections: &Places, peer: Peer, policy: &Policy, limit: usize, notices: &Notices) -> bool {
    let admitted = connections.admits(peer, policy.owner(), limit);
    if !admitted {
        notices.tell(Notice::Crowded, peer.uid, |kept_back| {
            warn!(%peer, limit, kept_back, "connection refused: this user has enough of those for other users");
        });
    }
    admitted
}

/// Who is there, if they may come in. Nothing of what they sent has been read.
fn admit(stream: &UnixStream, policy: &Policy, notices: &Notices) -> Option<Peer> {
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

#[cfg(test)]
mod long;

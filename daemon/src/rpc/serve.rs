//! All connections, from accept to drain.
//!
//! tonic's own loop asks nobody who they are, advertises no limit of streams, and spins when there are
//! no descriptors left; so this is one of our own, over hyper's HTTP/2 with every limit explicit.

use std::{
    collections::HashMap,
    future,
    os::unix::net::{UnixListener as StdListener, UnixStream as StdStream},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{Id, JoinSet},
    time::{self, Instant},
};
use tonic::service::Routes;
use tracing::{info, warn};

use super::connection::{self, Activity};
use crate::access::{Peer, Policy};

/// How long to leave the listener alone when the system has run out of something.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
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
    /// When there are so many connections, the one that has been without a call for longest goes. If all
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
}

/// Serves until `shutdown` ends or the daemon has been idle for long enough, then lets calls in flight
/// finish.
pub async fn serve(entrance: Entrance, terms: &impl Terms, shutdown: impl Future<Output = ()>) {
    let Entrance { listener, routes, policy, max_connections } = entrance;
    // Every connection holds a receiver: the end of the sender tells them to finish.
    let (stop, stopped) = watch::channel(());
    let mut connections = Connections::default();
    let mut pause = PAUSE_MIN;
    let mut idle = Idle::begin();
    tokio::pin!(shutdown);
    loop {
        let is_empty = connections.tasks.is_empty();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.next_end(), if !is_empty => idle = Idle::begin(),
            () = idle.wait(terms), if is_empty => {
                info!("nobody has called for a while: ending; the next call starts another usherd");
                break;
            }
            accepted = listener.accept(), if connections.tasks.len() < max_connections => match accepted {
                Ok((stream, _)) => {
                    pause = PAUSE_MIN;
                    if let Some(peer) = admit(&stream, &policy) {
                        connections.begin(stream, peer, routes.clone(), stopped.clone());
                    }
                    if connections.tasks.len() >= max_connections {
                        connections.make_room();
                    }
                }
                Err(error) => {
                    warn!(%error, ?pause, "cannot accept a connection");
                    time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            },
        }
    }
    for stream in close(listener, terms) {
        if let Some(peer) = admit(&stream, &policy) {
            connections.begin(stream, peer, routes.clone(), stopped.clone());
        }
    }
    info!(connections = connections.tasks.len(), "no new connections; finishing the calls in flight");
    drop(stop);
    let drained = async {
        while !connections.tasks.is_empty() {
            connections.next_end().await;
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
    let Some(peer) = admit(&stream, policy) else { return };
    let (_stop, stopped) = watch::channel(());
    tokio::select! {
        () = connection::serve(stream, peer, routes, Arc::new(Activity::new()), stopped) => {}
        () = shutdown => {}
    }
}

/// Closes the entrance, and answers those who are in it.
fn close(listener: UnixListener, terms: &impl Terms) -> Vec<UnixStream> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let made_async = |stream: StdStream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    terms.close(&listener).into_iter().filter_map(|stream| made_async(stream).ok()).collect()
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
        let Some(idle_exit) = terms.idle_exit() else { return future::pending().await };
        loop {
            time::sleep_until(self.worth_staying_until.max(self.since + idle_exit)).await;
            let last = terms.tokens_last();
            if last.is_zero() {
                return;
            }
            self.worth_staying_until = Instant::now() + last.min(LOOK_AGAIN);
        }
    }
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    activities: HashMap<Id, Arc<Activity>>,
}

impl Connections {
    fn begin(&mut self, stream: UnixStream, peer: Peer, routes: Routes, stopped: watch::Receiver<()>) {
        let activity = Arc::new(Activity::new());
        let serving = connection::serve(stream, peer, routes, Arc::clone(&activity), stopped);
        let task = self.tasks.spawn(serving);
        self.activities.insert(task.id(), activity);
    }

    /// Waits for a connection to end.
    async fn next_end(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        self.activities.remove(&id);
    }

    /// Has the connection go that has been without a call for longest.
    fn make_room(&self) {
        let quiet = self.activities.values().filter_map(|activity| Some((activity.quiet_since()?, activity)));
        if let Some((_, longest)) = quiet.min_by_key(|(since, _)| *since) {
            longest.leave();
        }
    }
}

/// Who is there, if they may come in. Nothing of what they sent has been read.
fn admit(stream: &UnixStream, policy: &Policy) -> Option<Peer> {
    match Peer::of(stream) {
        Ok(peer) if policy.admits(peer) => Some(peer),
        Ok(peer) => {
            warn!(%peer, "connection refused: not the owner");
            None
        }
        Err(error) => {
            warn!(%error, "connection refused: the peer cannot be told");
            None
        }
    }
}

#[cfg(test)]
mod long;

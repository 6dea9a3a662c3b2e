//! All connections, from accept to drain.
//!
//! tonic's own loop asks nobody who they are, advertises no limit of streams, and spins when there are
//! no descriptors left; so this is one of our own, over hyper's HTTP/2 with every limit explicit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{Id, JoinSet},
    time,
};
use tonic::service::Routes;
use tracing::{info, warn};

use super::connection::{self, Activity};
use crate::access::{Peer, Policy};

/// How long to leave the listener alone when the system has run out of something.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How many connections at a time, and how long the last calls get when all is over.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When there are so many, the one that has been without a call for longest goes. If all have calls,
    /// more wait in the listener's queue.
    pub connections: usize,
    /// How long calls may still take after the shutdown began.
    pub drain: Duration,
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
    let mut connections = Connections::default();
    let mut pause = PAUSE_MIN;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.next_end(), if !connections.tasks.is_empty() => {}
            accepted = listener.accept(), if connections.tasks.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    pause = PAUSE_MIN;
                    if let Some(peer) = admit(&stream, policy) {
                        connections.begin(stream, peer, routes.clone(), stopped.clone());
                    }
                    if connections.tasks.len() >= limits.connections {
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
    let Some(peer) = admit(&stream, policy) else { return };
    let (_stop, stopped) = watch::channel(());
    tokio::select! {
        () = connection::serve(stream, peer, routes, Arc::new(Activity::new()), stopped) => {}
        () = shutdown => {}
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
fn admit(stream: &UnixStream, policy: Policy) -> Option<Peer> {
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

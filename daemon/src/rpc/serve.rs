//! Connections, from accept to drain.
//!
//! tonic's own loop asks nobody who they are, advertises no limit of streams, and spins when there are
//! no descriptors left; so this is one of our own, over hyper's HTTP/2 with every limit explicit.

use std::{convert::Infallible, io, time::Duration};

use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time,
};
use tonic::{body::Body, service::Routes};
use tower::Service as _;
use tracing::{debug, info, warn};
use usher_proto::version;

use crate::access::{Peer, Policy};

/// Calls at a time on one connection.
const MAX_STREAMS: u32 = 128;
/// All header fields of a request, decoded, in bytes.
const MAX_HEADERS: u32 = 8 * 1024;
/// HTTP/2's smallest, and enough: requests are small.
const FRAME: u32 = 16 * 1024;
/// What a caller may send ahead, on a stream and on the connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams that the peer opened and reset again before they were served; more ends the connection.
const MAX_RESETS: usize = 20;
/// Streams that we reset for errors of the peer; more ends the connection.
const MAX_LOCAL_RESETS: usize = 64;
/// Answer bytes that wait for a caller who does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// How long to leave the listener alone when the system has run out of something.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How many connections at a time, and how long the last calls get when all is over.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections beyond this wait in the listener's queue.
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
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut pause = PAUSE_MIN;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    pause = PAUSE_MIN;
                    if let Some(peer) = admit(&stream, policy) {
                        connections.spawn(connection(stream, peer, routes.clone(), stopped.clone()));
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
    info!(connections = connections.len(), "no new connections; finishing the calls in flight");
    // Every connection holds a receiver: the change tells them to finish.
    drop(stop);
    let drained = time::timeout(limits.drain, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        warn!(connections = connections.len(), "calls did not finish in time and are broken off");
        connections.shutdown().await;
    }
}

/// Who is there, if they may come in. Nothing of what they sent has been read.
fn admit(stream: &UnixStream, policy: Policy) -> Option<Peer> {
    let peer: io::Result<Peer> = Peer::of(stream);
    match peer {
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

async fn connection(stream: UnixStream, peer: Peer, routes: Routes, mut stopped: watch::Receiver<()>) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = routes.clone().call(request);
        async move {
            let mut answer: Response<Body> = answer.await?;
            answer.headers_mut().insert(version::METADATA_KEY, HeaderValue::from_static(version::VERSION));
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended");
    }
}

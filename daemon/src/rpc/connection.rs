//! One connection: its calls, and when it has to go.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::UnixStream,
    sync::{Notify, watch},
    time::{self, Instant},
};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;
use tracing::debug;
use usher_proto::version;

use super::authority::Authority;
use crate::access::Peer;

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
/// How long a new connection may be silent.
const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// How long one may be without a call afterwards.
const IDLE: Duration = Duration::from_secs(60);
/// The longest call, its request included: longer than any caller's deadline that is kept.
const CALL: Duration = Duration::from_secs(70);
/// How long a connection that is told to go, and has no call, may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(250);

/// What is going on on a connection.
#[derive(Debug)]
pub(super) struct Activity {
    open: AtomicUsize,
    called: AtomicBool,
    quiet_since: Mutex<Instant>,
    leave: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            open: AtomicUsize::new(0),
            called: AtomicBool::new(false),
            quiet_since: Mutex::new(Instant::now()),
            leave: Notify::new(),
        }
    }

    /// Since when there has been no call; none while there is one.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        (self.open.load(Ordering::Acquire) == 0)
            .then(|| *self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the connection end at once: others need its place.
    pub(super) fn leave(&self) {
        self.leave.notify_one();
    }

    fn has_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    fn call(self: &Arc<Self>) -> Call {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.called.store(true, Ordering::Release);
        Call(Arc::clone(self))
    }

    /// How long it may be quiet.
    fn patience(&self) -> Duration {
        if self.has_called() { IDLE } else { FIRST_REQUEST }
    }
}

/// A call that is going on.
struct Call(Arc<Activity>);

impl Drop for Call {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves a connection until the peer ends it, it has been quiet for too long, or `stopped` changes and
/// its last call is answered.
pub(super) async fn serve(
    stream: UnixStream,
    peer: Peer,
    routes: Routes,
    activity: Arc<Activity>,
    mut stopped: watch::Receiver<()>,
) {
    let called = Arc::clone(&activity);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        answer(request, routes.clone(), called.call())
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
        .serve_connection(TokioIo::new(Authority::new(stream)), service);
    tokio::pin!(connection);
    let look = time::sleep(FIRST_REQUEST);
    tokio::pin!(look);
    let (mut stopping, mut leaving) = (false, false);
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = activity.leave.notified() => return debug!(%peer, "connection dropped: its place is needed"),
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                // Whoever has only just come is about to ask, and must not be told to go before that.
                if activity.has_called() && !leaving {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                look.as_mut().reset(Instant::now() + GOODBYE);
            }
            () = &mut look => {
                let now = Instant::now();
                let next = match activity.quiet_since() {
                    _ if stopping && !leaving => {
                        leaving = true;
                        connection.as_mut().graceful_shutdown();
                        now + GOODBYE
                    }
                    None if leaving => now + GOODBYE,
                    None => now + activity.patience(),
                    Some(_) if leaving => return debug!(%peer, "connection dropped: it says no goodbye"),
                    Some(since) if since + activity.patience() > now => since + activity.patience(),
                    Some(_) => {
                        leaving = true;
                        connection.as_mut().graceful_shutdown();
                        now + GOODBYE
                    }
                };
                look.as_mut().reset(next);
            }
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended");
    }
}

/// `_call` lasts for as long as the answer takes.
async fn answer(
    request: Request<Incoming>,
    mut routes: Routes,
    _call: Call,
) -> Result<Response<Body>, Infallible> {
    let mut answer = match time::timeout(CALL, routes.call(request)).await {
        Ok(answer) => answer?,
        Err(_) => Status::deadline_exceeded("the request did not come to an end in time").into_http(),
    };
    answer.headers_mut().insert(version::METADATA_KEY, HeaderValue::from_static(version::VERSION));
    Ok(answer)
}

//! One connection: its calls, and when it has to go.

use std::{convert::Infallible, error::Error as _, sync::Arc};

use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::UnixStream,
    sync::watch,
    time::{self, Instant},
};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;
use tracing::{debug, warn};
use usher_proto::version;

use super::{
    activity::{Activity, Call},
    body::{Answering, Asking, Coming},
    limits::{
        AGE, CALL, CONNECTION_WINDOW, FRAME, GOODBYE, HEADER_TABLE, HEADERS, LOCAL_RESETS, LOOK, RESETS,
        SEND_BUFFER, STREAM_WINDOW, STREAMS, WATCHES,
    },
    notices::{Notice, Notices},
    pace::Paced,
    share::{Share, Unbegun},
    status,
    watch::Lent,
};
use crate::access::Peer;

#[cfg(test)]
mod tests;

/// Whose connection it is.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) share: Arc<Share>,
}

/// Serves a connection until the peer ends it, it has been quiet for too long, it is too slow or too old, or
/// `stopped` changes and its last call is answered.
pub(super) async fn serve(
    stream: UnixStream,
    guest: Guest,
    routes: Routes,
    notices: Arc<Notices>,
    mut stopped: watch::Receiver<()>,
) {
    let Guest { peer, activity, share } = guest;
    let stream = Paced::new(stream, Arc::clone(&activity), Arc::clone(&share));
    let called = Arc::clone(&activity);
    let (going, goes) = watch::channel(());
    let lent = Lent::new(WATCHES);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(lent.clone());
        answer(request, routes.clone(), called.call(), share.read(), goes.clone())
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .header_table_size(HEADER_TABLE)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let look = time::sleep(LOOK);
    tokio::pin!(look);
    let (mut stopping, mut leaving) = (false, None);
    let ended = loop {
        let leave = tokio::select! {
            ended = connection.as_mut() => break ended,
            () = activity.told_to_leave() => return debug!(%peer, "connection dropped: its place is needed"),
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                look.as_mut().reset(Instant::now() + GOODBYE);
                // Whoever has only just come is about to ask, and must not be told to go before that.
                leaving.is_none() && activity.has_called()
            }
            () = &mut look => {
                let now = Instant::now();
                if activity.look() {
                    return notices.tell(Notice::Slow, peer.uid, |kept_back| {
                        warn!(%peer, kept_back, "connection dropped: it is too slow to send or to read");
                    });
                }
                if let Some(since) = leaving {
                    if activity.quiet_since().is_some() {
                        return debug!(%peer, "connection dropped: it says no goodbye");
                    }
                    if since + CALL <= now {
                        return debug!(%peer, "connection dropped: its last calls take too long");
                    }
                }
                look.as_mut().reset(now + LOOK);
                leaving.is_none() && (stopping || activity.is_idle(now) || activity.begun() + AGE <= now)
            }
        };
        if leave {
            let now = Instant::now();
            leaving = Some(now);
            connection.as_mut().graceful_shutdown();
            going.send_replace(());
            look.as_mut().reset(now + GOODBYE);
        }
    };
    if let Err(error) = ended {
        say_end(&notices, peer, &error);
    }
}

/// A peer that is gone is worth no line. One that breaks the protocol is, but not many.
fn say_end(notices: &Notices, peer: Peer, error: &hyper::Error) {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    if cause.is_none_or(h2::Error::is_io) {
        debug!(%peer, %error, "connection ended");
        return;
    }
    notices.tell(Notice::Junk, peer.uid, |kept_back| {
        let cause = cause.map(ToString::to_string);
        warn!(%peer, cause, kept_back, "connection ended: what comes is not gRPC, or breaks its rules");
    });
}

/// The call lasts for as long as its answer takes.
async fn answer(
    request: Request<Incoming>,
    mut routes: Routes,
    call: Call,
    unbegun: Unbegun,
    goes: watch::Receiver<()>,
) -> Result<Response<Answering<Body>>, Infallible> {
    drop(unbegun);
    let coming = Coming::new(call.activity().wait());
    let request = request.map(|body| Asking::new(body, coming.clone()));
    let mut answer = match time::timeout(CALL, routes.call(request)).await {
        Ok(answer) => status::of_decoding(answer?),
        Err(_) => Status::deadline_exceeded("the request did not come to an end in time").into_http(),
    };
    // Whoever answers before all has come (reflection) lets the caller take their time.
    coming.end();
    answer.headers_mut().insert(version::METADATA_KEY, HeaderValue::from_static(version::VERSION));
    Ok(answer.map(|body| Answering::new(body, call, goes)))
}

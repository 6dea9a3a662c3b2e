//! Streams of tokens, and how many a connection may have. They end with it ([`super::body`]).

use std::sync::Arc;

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::WatchTokenResponse,
};

use super::{convert, status};
use crate::token::{
    service::Engine,
    watch::{Event, Watcher},
};

/// What a caller is told, one after the other.
pub(super) type Events = BoxStream<'static, Result<WatchTokenResponse, Status>>;

/// What a connection lends to its watches. It is in the extensions of every request.
#[derive(Debug, Clone)]
pub(super) struct Lent(Arc<Semaphore>);

impl Lent {
    /// Of a connection that may have so many watches.
    pub(super) fn new(watches: usize) -> Self {
        Self(Arc::new(Semaphore::new(watches)))
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            let message = "this connection has as many watches as one may have; open another";
            Failure::new(ErrorReason::RateLimited, message).into()
        })
    }
}

/// The events of `watcher`, for as long as `may` says that the caller may have them.
pub(super) fn events(
    watcher: Watcher,
    engine: Engine,
    lent: &Lent,
    may: impl Fn() -> Result<(), Status> + Clone + Send + 'static,
) -> Result<Events, Status> {
    let open = Some((watcher, lent.place()?));
    let events = stream::unfold(open, move |open| {
        let (engine, may) = (engine.clone(), may.clone());
        async move {
            let (mut watcher, place) = open?;
            let event = watcher.next().await;
            // By now they may be off the list.
            let told = may().and_then(|()| tell(event, &engine));
            // An error is the last that is told.
            let open = told.is_ok().then_some((watcher, place));
            Some((told, open))
        }
    });
    Ok(events.boxed())
}

fn tell(
    event: Result<Event, crate::token::error::TokenError>,
    engine: &Engine,
) -> Result<WatchTokenResponse, Status> {
    match event {
        Ok(event) => Ok(convert::event(&event, engine.now())),
        Err(error) => Err(status::failure(&error).into()),
    }
}

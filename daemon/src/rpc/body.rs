//! The bodies of a call: what the peer has to send to its end, and to take to its end.

use std::{
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tonic::Status;
use usher_proto::error::{ErrorReason, Failure};

use super::{
    activity::{Call, Wait},
    limits::MESSAGE,
};

/// A gRPC message's prefix: whether it is compressed, and its length (4).
const PREFIX: usize = 5;

/// The wait for a request, shared by who reads it and who answers.
#[derive(Debug, Clone)]
pub(super) struct Coming(Arc<Mutex<Option<Wait>>>);

impl Coming {
    pub(super) fn new(wait: Wait) -> Self {
        Self(Arc::new(Mutex::new(Some(wait))))
    }

    /// All has come, or there is no hurry any more.
    pub(super) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What a caller sends. A message that says that it is too large ends it before anything is kept for it.
#[derive(Debug)]
pub(super) struct Asking {
    body: Incoming,
    coming: Coming,
    prefix: [u8; PREFIX],
    /// How much of `prefix` has come.
    seen: usize,
    /// What is left of the message.
    left: usize,
}

impl Asking {
    pub(super) fn new(body: Incoming, coming: Coming) -> Self {
        Self { body, coming, prefix: [0; PREFIX], seen: 0, left: 0 }
    }

    /// Whether the next bytes belong to messages that are small enough.
    fn check(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while let Some(&first) = bytes.first() {
            if self.left > 0 {
                let used = self.left.min(bytes.len());
                self.left -= used;
                bytes = &bytes[used..];
                continue;
            }
            self.prefix[self.seen] = first;
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen == PREFIX {
                let [_, length @ ..] = self.prefix;
                let length = u32::from_be_bytes(length) as usize;
                if length > MESSAGE {
                    let message = format!("a request has at most {MESSAGE} bytes; this one has {length}");
                    return Err(Failure::new(ErrorReason::RequestInvalid, message));
                }
                (self.seen, self.left) = (0, length);
            }
        }
        Ok(())
    }
}

impl Body for Asking {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(Err(failure)) = frame.data_ref().map(|data| self.check(data)) {
                    return Poll::Ready(Some(Err(Status::from(failure).into())));
                }
                if self.body.is_end_stream() {
                    self.coming.end();
                }
            }
            Poll::Ready(_) => self.coming.end(),
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.coming.end();
    }
}

/// What a caller is sent. The call lasts until the last of it is handed to h2.
pub(super) struct Answering<B> {
    body: B,
    call: Call,
    /// A part that is handed over, after which the next one has not been asked for: the peer has left no
    /// room for it.
    handed: Option<Wait>,
    going: Going,
}

/// Whether the connection is to end, for a stream that would not by itself.
enum Going {
    /// Nobody has had to wait for the next part yet.
    Unasked(watch::Receiver<()>),
    Asked(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Going {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Unasked(goes) = self {
            let mut goes = goes.clone();
            *self = Self::Asked(Box::pin(async move { drop(goes.changed().await) }));
        }
        match self {
            Self::Unasked(_) => Poll::Pending,
            Self::Asked(going) => going.as_mut().poll(cx),
        }
    }
}

impl<B> Answering<B> {
    /// `goes` changes when the connection is to end.
    pub(super) fn new(body: B, call: Call, goes: watch::Receiver<()>) -> Self {
        Self { body, call, handed: None, going: Going::Unasked(goes) }
    }
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.handed = None;
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() && self.going.poll(cx).is_ready() {
            // Only a stream has nothing to say for a while once it has begun.
            let end = Status::unavailable("usherd ends, or wants a new connection: ask again");
            let mut trailers = HeaderMap::new();
            return Poll::Ready(end.add_header(&mut trailers).ok().map(|()| Ok(Frame::trailers(trailers))));
        }
        if let Poll::Ready(Some(Ok(_))) = &polled {
            self.handed = Some(self.call.activity().wait());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

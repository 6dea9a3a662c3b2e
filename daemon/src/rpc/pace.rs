//! A connection's bytes, and whether the peer keeps them moving.
//!
//! h2 waits for ever for the end of a frame, and for a peer to read. Here both are noted, for [`Activity`]
//! to end what lasts too long. And nothing is read of a process that has more than its share.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    activity::{Activity, Wait},
    authority::Authority,
    limits::TURN,
    share::{Share, Turn},
};

/// A stream of HTTP/2, seen from its server.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: Authority<S>,
    activity: Arc<Activity>,
    share: Arc<Share>,
    turn: Turn,
    /// As much has been read as may be in one turn.
    had_turn: bool,
    /// The frame that has begun and not ended, by its number.
    reading: Option<(u64, Wait)>,
    /// The socket is full.
    writing: Option<Wait>,
}

impl<S> Paced<S> {
    /// Nothing of `stream` has been read yet.
    pub(super) fn new(stream: S, activity: Arc<Activity>, share: Arc<Share>) -> Self {
        let stream = Authority::new(stream);
        Self { stream, activity, share, turn: Turn::default(), had_turn: false, reading: None, writing: None }
    }

    fn read(&mut self) {
        let frame = self.stream.unfinished();
        // A peer that sends much is always within a frame, but not always within the same.
        if frame != self.reading.as_ref().map(|(number, _)| *number) {
            self.reading = frame.map(|number| (number, self.activity.wait()));
        }
    }

    fn wrote<T>(&mut self, outcome: Poll<T>) -> Poll<T> {
        if outcome.is_ready() {
            self.writing = None;
        } else if self.writing.is_none() {
            self.writing = Some(self.activity.wait());
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if mem::take(&mut me.had_turn) {
            // h2 would read on until there is nothing left. What it has read becomes calls first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !me.share.may_read(&me.turn, cx.waker()) {
            return Poll::Pending;
        }
        let length = buf.remaining().min(TURN);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(length));
        ready!(Pin::new(&mut me.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        me.had_turn = read == TURN;
        me.read();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! What gRPC's C core sends as `:authority`, made acceptable to h2.
//!
//! Python, C++ and all else that is built on the C core send the percent-encoded path of a Unix socket
//! (`run%2Fusher%2Fusher.sock`). The crate http takes no `%` there, and h2 resets the stream before
//! anything of ours sees it (hyperium/h2#487, grpc/grpc#38142). So [`Authority`] looks at what comes in and
//! turns each `%` of an `:authority` that is spelled out into a `-`, in place, in the very buffer that was
//! read into. No length changes and nothing is kept, so HPACK's state stays right on both sides; and
//! nothing of usher ever looks at an authority.
//!
//! Left alone: values in Huffman's code and names from the dynamic table, neither of which the C core
//! uses here, and all that is malformed, which h2 refuses.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
mod tests;

/// A stream of HTTP/2, seen from its server: reading filters, writing does not.
#[derive(Debug)]
pub(super) struct Authority<S> {
    stream: S,
    frames: Frames,
}

impl<S> Authority<S> {
    /// Nothing of `stream` has been read yet.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, frames: Frames::new() }
    }

    /// The number of the frame, or block of headers, that has begun and not ended.
    pub(super) fn unfinished(&self) -> Option<u64> {
        self.frames.is_within().then_some(self.frames.ended)
    }
}

type Polled<T> = Poll<io::Result<T>>;

impl<S: AsyncRead + Unpin> AsyncRead for Authority<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Polled<()> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(read) = buf.filled_mut().get_mut(before..) {
            self.frames.pass(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Authority<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Polled<usize> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Polled<usize> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<()> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<()> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// `PRI * HTTP/2.0 …`, which h2 checks.
const PREFACE: u32 = 24;
/// A frame's header: length (3), type, flags, stream (4). RFC 9113 section 4.1.
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// What the flag PRIORITY adds before the header block.
const PRIORITY_FIELDS: u32 = 5;

/// The place in the sequence of frames. What is left of a frame comes in this order: the length of its
/// padding, what precedes the header block, the block's fragment, all the rest.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; FRAME_HEADER],
    /// How much of `header` has come.
    seen: usize,
    padded: bool,
    before: u32,
    fragment: u32,
    after: u32,
    /// The header block goes on in the next frame.
    open: bool,
    block: Block,
    /// Frames that have ended; those of a header block count as one.
    ended: u64,
}

impl Frames {
    fn new() -> Self {
        Self { before: PREFACE, ..Self::default() }
    }

    /// Filters what has come, in place.
    fn pass(&mut self, mut bytes: &mut [u8]) {
        while let Some(&mut first) = bytes.first_mut() {
            let used = if self.padded {
                self.padded = false;
                self.after = self.fragment.min(first.into());
                self.fragment -= self.after;
                1
            } else if self.before > 0 {
                take(&mut self.before, bytes)
            } else if self.fragment > 0 {
                let used = take(&mut self.fragment, bytes);
                self.block.pass(&mut bytes[..used]);
                used
            } else if self.after > 0 {
                take(&mut self.after, bytes)
            } else {
                let used = bytes.len().min(FRAME_HEADER - self.seen);
                self.header[self.seen..][..used].copy_from_slice(&bytes[..used]);
                self.seen += used;
                if self.seen == FRAME_HEADER {
                    self.begin();
                }
                used
            };
            bytes = &mut bytes[used..];
            self.ended += u64::from(!self.is_within());
        }
    }

    /// Whether something has begun that has not ended. The preface has begun before it comes.
    fn is_within(&self) -> bool {
        self.open || self.padded || self.seen > 0 || self.before > 0 || self.fragment > 0 || self.after > 0
    }

    /// The header of a frame is complete, and nothing is left of the frame before.
    fn begin(&mut self) {
        self.seen = 0;
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let continues = self.open && kind == CONTINUATION;
        self.open = (continues || kind == HEADERS) && flags & END_HEADERS == 0;
        if kind == HEADERS {
            self.block = Block::default();
            self.padded = flags & PADDED != 0 && length > 0;
            let rest = length - u32::from(self.padded);
            self.before = if flags & PRIORITY == 0 { 0 } else { rest.min(PRIORITY_FIELDS) };
            self.fragment = rest - self.before;
        } else if continues {
            self.fragment = length;
        } else {
            self.after = length;
        }
    }
}

/// How many of `bytes` belong to what is `left`, which becomes less.
fn take(left: &mut u32, bytes: &[u8]) -> usize {
    let all = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let taken = all.min(*left);
    *left -= taken;
    taken as usize
}

const NAME: &[u8] = b":authority";
/// The same in Huffman's code (RFC 7541 appendix B), which has one way to spell it.
const NAME_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// The place of `:authority` in the static table.
const STATIC_INDEX: u32 = 1;
/// The bits of an integer's later bytes, and the most that there are of them: h2 takes no more.
const INTEGER_BITS: u8 = 7;
const INTEGER_MAX_BITS: u8 = 4 * INTEGER_BITS;

/// The place in a header block (RFC 7541 section 6). Its parts may be cut anywhere.
#[derive(Debug, Default)]
struct Block {
    next: Next,
    /// An integer of which bytes have come, and the bits of them.
    integer: Option<(u32, u8)>,
    huffman: bool,
    /// What is left of the string.
    left: u32,
    /// The field is `:authority`, as far as it has come.
    authority: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Next {
    #[default]
    Field,
    /// The rest of an integer that says nothing here: an indexed field, a size of the table.
    Ignored,
    NameIndex,
    NameLength,
    Name,
    ValueLength,
    Value,
    /// This is no header block.
    Lost,
}

impl Block {
    fn pass(&mut self, mut bytes: &mut [u8]) {
        while let Some(&mut first) = bytes.first_mut() {
            let left = self.left;
            let used = match self.next {
                Next::Name | Next::Value => take(&mut self.left, bytes),
                Next::Lost => return,
                _ => 1,
            };
            let part = &mut bytes[..used];
            match self.next {
                Next::Name => self.authority = self.authority && continues(self.name(), part, left),
                Next::Value if self.authority && !self.huffman => {
                    part.iter_mut().filter(|byte| **byte == b'%').for_each(|byte| *byte = b'-');
                }
                Next::Value => {}
                _ => self.integer_byte(first),
            }
            self.string_ends();
            bytes = &mut bytes[used..];
        }
    }

    /// A byte that begins or continues an integer.
    fn integer_byte(&mut self, byte: u8) {
        let Some((value, bits)) = self.integer else { return self.first_byte(byte) };
        let value = value + (u32::from(byte & 0x7f) << bits);
        let bits = bits + INTEGER_BITS;
        if byte & 0x80 == 0 {
            self.integer = None;
            self.have(value);
        } else if bits < INTEGER_MAX_BITS {
            self.integer = Some((value, bits));
        } else {
            self.next = Next::Lost;
        }
    }

    /// The byte that an integer shares with what it is about.
    fn first_byte(&mut self, byte: u8) {
        let (next, mask) = match self.next {
            Next::Field if byte & 0x80 != 0 => (Next::Ignored, 0x7f),
            Next::Field if byte & 0x40 != 0 => (Next::NameIndex, 0x3f),
            Next::Field if byte & 0x20 != 0 => (Next::Ignored, 0x1f),
            Next::Field => (Next::NameIndex, 0x0f),
            length => {
                self.huffman = byte & 0x80 != 0;
                (length, 0x7f)
            }
        };
        self.next = next;
        let value = u32::from(byte & mask);
        if byte & mask == mask {
            self.integer = Some((value, 0));
        } else {
            self.have(value);
        }
    }

    /// An integer is complete.
    fn have(&mut self, value: u32) {
        match self.next {
            Next::NameIndex => {
                self.authority = value == STATIC_INDEX;
                self.next = if value == 0 { Next::NameLength } else { Next::ValueLength };
            }
            Next::NameLength => {
                self.authority = usize::try_from(value) == Ok(self.name().len());
                (self.next, self.left) = (Next::Name, value);
            }
            Next::ValueLength => (self.next, self.left) = (Next::Value, value),
            _ => self.next = Next::Field,
        }
    }

    /// Goes on to what comes after a string, if one is at its end.
    fn string_ends(&mut self) {
        match self.next {
            Next::Name if self.left == 0 => self.next = Next::ValueLength,
            Next::Value if self.left == 0 => self.next = Next::Field,
            _ => {}
        }
    }

    /// `:authority` in the code of the string at hand.
    fn name(&self) -> &'static [u8] {
        if self.huffman { NAME_HUFFMAN } else { NAME }
    }
}

/// Whether `part` is how the last `left` bytes of `whole` begin.
fn continues(whole: &[u8], part: &[u8], left: u32) -> bool {
    let from = whole.len().checked_sub(left as usize);
    from.and_then(|from| whole.get(from..)).is_some_and(|rest| rest.starts_with(part))
}

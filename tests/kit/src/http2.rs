//! HTTP/2 by hand, over a Unix socket: what no well-behaved client would send.
//!
//! Frames are written as they are asked for, right or wrong, and read as they come. Header blocks are
//! literals without Huffman's code and without an index, so that every byte of them is known.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Duration,
};

use loona_hpack::Decoder;

/// What a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (section 6).
pub mod kind {
    #![allow(missing_docs, reason = "they are the RFC's own")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    #![allow(missing_docs, reason = "they are the RFC's own")]
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// Settings (section 6.5.2).
pub mod setting {
    #![allow(missing_docs, reason = "they are the RFC's own")]
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Of [`flag`].
    pub flags: u8,
    /// Zero for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
    /// The header fields in it, if it came from usherd.
    pub fields: Vec<(String, String)>,
}

impl Frame {
    /// A frame of one of [`kind`] with these [`flag`]s.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into(), fields: Vec::new() }
    }

    /// As it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a short payload").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The settings that it carries.
    pub fn settings(&self) -> Vec<(u16, u32)> {
        let setting = |entry: &[u8]| {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            (id, u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
        };
        self.payload.chunks_exact(6).map(setting).collect()
    }
}

/// A frame of settings.
pub fn settings(settings: &[(u16, u32)]) -> Frame {
    let entry = |&(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    Frame::new(kind::SETTINGS, 0, 0, settings.iter().flat_map(entry).collect::<Vec<u8>>())
}

/// A header field as a literal that nobody is to remember.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x00];
    for text in [name, value] {
        integer(&mut block, 0x7f, text.len());
        block.extend(text.as_bytes());
    }
    block
}

/// An integer after a prefix of zeros (RFC 7541 section 5.1).
pub fn integer(block: &mut Vec<u8>, mask: u8, value: usize) {
    let Some(mut rest) = value.checked_sub(mask.into()) else {
        block.push(u8::try_from(value).expect("below the mask"));
        return;
    };
    block.push(mask);
    while rest >= 0x80 {
        block.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    block.push(u8::try_from(rest).expect("seven bits"));
}

/// The header block of a gRPC call.
pub fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    usual.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// A gRPC message: its prefix and its bytes.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short message").to_be_bytes();
    [&[0], &length[..], bytes].concat()
}

/// How a connection ended.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// All frames that came.
    pub frames: Vec<Frame>,
    /// It did not end: nothing came for as long as was to be waited.
    pub open: bool,
}

impl End {
    /// The error of the last GOAWAY.
    pub fn goaway(&self) -> Option<u32> {
        let last = self.frames.iter().rfind(|frame| frame.kind == kind::GOAWAY)?;
        Some(u32::from_be_bytes(last.payload[4..8].try_into().expect("four bytes")))
    }

    /// What the answer to a gRPC call comes to; none where there is no answer.
    pub fn grpc_status(&self, stream: u32) -> Option<u32> {
        let headers = self.of(kind::HEADERS).filter(|frame| frame.stream == stream);
        let mut fields = headers.flat_map(|frame| &frame.fields);
        fields.find(|(name, _)| name == "grpc-status").and_then(|(_, code)| code.parse().ok())
    }

    /// The frames of one kind.
    pub fn of(&self, kind: u8) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.kind == kind)
    }
}

/// A client that does as it is told.
pub struct Client {
    stream: UnixStream,
    read: Vec<u8>,
    hpack: Decoder<'static>,
}

impl Client {
    /// Connects, and says nothing.
    pub fn silent(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap_or_else(|error| panic!("connect: {error}"));
        Self { stream, read: Vec::new(), hpack: Decoder::new() }
    }

    /// Connects, and begins with these settings.
    pub fn connect(socket: &Path, with: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(socket);
        client.send(PREFACE).expect("send the preface");
        client.send(&settings(with).bytes()).expect("send the settings");
        client
    }

    /// The socket.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends bytes, which fails where the other side has gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.send(&Frame::new(kind, flags, stream, payload).bytes())
    }

    /// Sends a whole gRPC call.
    pub fn call(&mut self, stream: u32, path: &str, request: &[u8]) -> io::Result<()> {
        self.frame(kind::HEADERS, flag::END_HEADERS, stream, &call(path, &[]))?;
        self.frame(kind::DATA, flag::END_STREAM, stream, &message(request))
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<Frame>> {
        self.stream.set_read_timeout(Some(patience))?;
        loop {
            if let Some(frame) = self.take() {
                return Ok(Some(frame));
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(read) => self.read.extend(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// All that comes until the connection ends, or nothing has come for so long.
    pub fn end(&mut self, patience: Duration) -> End {
        let mut end = End::default();
        loop {
            match self.next(patience) {
                Ok(Some(frame)) => end.frames.push(frame),
                Ok(None) => return end,
                Err(_) => return End { open: true, ..end },
            }
        }
    }

    /// Sends all of it, as fast as usherd takes it, and reads all the while; then whatever comes until the
    /// connection ends, or nothing has come for so long.
    pub fn flood(&mut self, bytes: impl Iterator<Item = Vec<u8>> + Send, patience: Duration) -> End {
        let mut stream = self.stream.try_clone().expect("another descriptor");
        thread::scope(|scope| {
            scope.spawn(move || {
                for bytes in bytes {
                    if stream.write_all(&bytes).is_err() {
                        break;
                    }
                }
            });
            self.end(patience)
        })
    }

    /// All that comes until the answer on `stream` is whole.
    pub fn answer(&mut self, stream: u32, patience: Duration) -> End {
        let mut end = End::default();
        while let Ok(Some(frame)) = self.next(patience) {
            let ended = match frame.kind {
                kind::DATA | kind::HEADERS => frame.flags & flag::END_STREAM != 0,
                kind => kind == kind::RST_STREAM,
            };
            let last = ended && frame.stream == stream;
            end.frames.push(frame);
            if last {
                return End { open: true, ..end };
            }
        }
        end
    }

    fn take(&mut self) -> Option<Frame> {
        let header: [u8; 9] = self.read.get(..9)?.try_into().ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.read.get(9..9 + length)?.to_vec();
        self.read.drain(..9 + length);
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        let mut frame = Frame::new(header[3], header[4], stream, payload);
        if frame.kind == kind::HEADERS {
            let fields = self.hpack.decode(&frame.payload).expect("usherd's header block");
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            frame.fields = fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        }
        Some(frame)
    }
}

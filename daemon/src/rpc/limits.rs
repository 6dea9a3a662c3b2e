//! Every number that a caller can run into, with its reason.

use std::time::Duration;

/// Calls at a time on one connection; announced.
pub(super) const STREAMS: u32 = 128;
/// Watches on one connection: half of its streams, so that there is room for calls.
pub(super) const WATCHES: usize = 64;
/// All header fields of a request, decoded, in bytes; announced. Real ones have a few hundred.
pub(super) const HEADERS: u32 = 8 * 1024;
/// What a peer may have us remember of its headers (HPACK): the protocol's own default, announced so that
/// no library can choose another.
pub(super) const HEADER_TABLE: u32 = 4096;
/// HTTP/2's smallest largest frame, and enough: requests are small.
pub(super) const FRAME: u32 = 16 * 1024;
/// The largest request: the contract's largest is a few hundred bytes.
pub(super) const MESSAGE: usize = 64 * 1024;
/// What a caller may send ahead on a stream: one message. Announced.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;
/// What a caller may send ahead on all streams together, so the most that a connection makes us keep:
/// HTTP/2's default.
pub(super) const CONNECTION_WINDOW: u32 = 65_535;
/// Streams that the peer opened and reset again before they were served; more ends the connection.
pub(super) const RESETS: usize = 20;
/// Streams that we reset for errors of the peer; more ends the connection.
pub(super) const LOCAL_RESETS: usize = 64;
/// Answer bytes of a stream that wait for a caller who does not read.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// How long a new connection may be without a call.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// How long one may be without a call afterwards.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// How old a connection becomes before its caller is told to take a new one: so that no place is anybody's
/// for good, and what a connection has gathered goes.
pub(super) const AGE: Duration = Duration::from_secs(60 * 60);
/// The longest call, its request included: longer than any caller's deadline that is kept. A connection that
/// is too old gets as long for its last calls.
pub(super) const CALL: Duration = Duration::from_secs(70);
/// How long a connection that is told to go, and has no call, may take to say goodbye.
pub(super) const GOODBYE: Duration = Duration::from_millis(250);

/// How often a connection is looked at. What the peer has begun (a frame, a request) and what it lets us
/// begin (an answer) has to come to its end within two to three of these.
pub(super) const LOOK: Duration = Duration::from_millis(2500);

/// Calls of one process that are read and not yet begun. With more, nothing more is read from it, on any of
/// its connections, until some have begun: its queue is its own, and others do not wait at its end.
pub(super) const BACKLOG: usize = 32;
/// What is read of a connection in one turn, in bytes: some thirty calls. More is there for the next turn.
pub(super) const TURN: usize = 2 * 1024;
/// A process that has this part of all places or more loses one when a place is needed, even where each of
/// them has a call.
pub(super) const SHARE: usize = 2;

/// A caller who has just come in is about to say what for: it loses its place to nobody before this.
pub(super) const SETTLES: Duration = Duration::from_millis(250);
/// This part of all places is the owner's alone: other users cannot keep the daemon's own user out.
pub(super) const OWNERS: usize = 4;

/// How long the listener is left alone when the system has run out of something: doubled each time.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(10);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How often the log is told of the same thing about the same user.
pub(super) const NOTICE: Duration = Duration::from_secs(60);
/// Users of whom that is kept in mind. Nobody but the owner can reach the socket, as a rule.
pub(super) const NOTICES: usize = 64;

/// So many connections at a time, each with up to 128 calls, leave so much memory behind that it is worth
/// giving back.
pub(super) const STORM: usize = 8;
/// How long after it: a storm that goes on would only take it again.
pub(super) const CALM: Duration = Duration::from_secs(1);

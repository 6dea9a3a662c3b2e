//! Frames without end: resets (C34), headers and what they unpack to, control frames (C35), and data that
//! is none (C36). Memory stays flat, and others are served meanwhile.

use std::{
    iter::repeat_n,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use usher_testkit::http2::{self, Client, End, Frame, flag, kind, settings};

use super::{Daemon, GET_TOKEN, good_call, runtime};

const MANY: usize = 100_000;
const WAIT: Duration = Duration::from_secs(1);

/// How a flood ended; an honest client is served all the while.
fn flood(
    daemon: &Daemon,
    what: &str,
    mut client: Client,
    frames: impl Iterator<Item = Vec<u8>> + Send,
) -> End {
    let over = AtomicBool::new(false);
    let end = thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let (mut calls, mut longest) = (0, Duration::ZERO);
            while !over.load(Ordering::Relaxed) || calls == 0 {
                longest = longest.max(runtime().block_on(good_call(&daemon.world.usherd)));
                calls += 1;
            }
            (calls, longest)
        });
        let end = client.flood(frames, WAIT);
        over.store(true, Ordering::Relaxed);
        let (calls, longest) = honest.join().expect("an honest client is served");
        eprintln!(
            "{what}: {} by {:?}; {calls} good calls, the longest {longest:?}",
            if end.open { "ignored" } else { "ended" },
            end.goaway()
        );
        end
    });
    drop(client);
    daemon.is_unharmed(what);
    end
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    Frame::new(kind::HEADERS, flags, stream, block).bytes()
}

/// Odd numbers.
fn streams() -> impl Iterator<Item = u32> + Send {
    (1..u32::try_from(MANY).unwrap()).map(|number| 2 * number - 1)
}

const ENHANCE_YOUR_CALM: Option<u32> = Some(11);

#[test]
fn streams_that_are_opened_and_reset_end_the_connection() {
    let daemon = Daemon::new();
    let block = http2::call(GET_TOKEN, &[]);
    let resets = streams().map(|stream| {
        let reset = Frame::new(kind::RST_STREAM, 0, stream, 8_u32.to_be_bytes()).bytes();
        [headers(flag::END_HEADERS, stream, &block), reset].concat()
    });
    let end = flood(&daemon, "rapid resets", daemon.client(), resets);
    assert!(!end.open && end.goaway() == ENHANCE_YOUR_CALM, "{:?}", end.goaway());

    // The other way round: it has us reset them, by windows that overflow (CVE-2025-8671).
    let made_to = streams().map(|stream| {
        let update = Frame::new(kind::WINDOW_UPDATE, 0, stream, 0x7fff_ffff_u32.to_be_bytes()).bytes();
        [headers(flag::END_HEADERS, stream, &block), update].concat()
    });
    let end = flood(&daemon, "made resets", daemon.client(), made_to);
    assert!(!end.open && end.goaway() == ENHANCE_YOUR_CALM, "{:?}", end.goaway());
}

#[test]
fn headers_without_end_are_not_kept() {
    let daemon = Daemon::new();
    let field = http2::field("x", &"y".repeat(8000));
    let first = headers(0, 1, &http2::call(GET_TOKEN, &[]));

    let more = Frame::new(kind::CONTINUATION, 0, 1, field.clone()).bytes();
    let endless = std::iter::once(first.clone()).chain(repeat_n(more, MANY / 10));
    let end = flood(&daemon, "endless headers", daemon.client(), endless);
    assert!(!end.open, "{end:?}");

    let empty = Frame::new(kind::CONTINUATION, 0, 1, []).bytes();
    let endless = std::iter::once(first).chain(repeat_n(empty, MANY));
    let end = flood(&daemon, "empty continuations", daemon.client(), endless);
    assert!(!end.open, "{end:?}");

    // A megabyte in one block, which has an end.
    let fields = repeat_n(Frame::new(kind::CONTINUATION, 0, 1, field.clone()).bytes(), 130);
    let last = Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, []).bytes();
    let megabyte = std::iter::once(headers(0, 1, &http2::call(GET_TOKEN, &[]))).chain(fields).chain([last]);
    flood(&daemon, "a list of a megabyte", daemon.client(), megabyte);

    // A field of 4,000 bytes that is remembered, and then named by one byte (0x80 and its index, 62) a time: 16 KiB become 60 MiB.
    let mut remembered = vec![0x40];
    for text in ["x", &"y".repeat(4000)] {
        http2::integer(&mut remembered, 0x7f, text.len());
        remembered.extend(text.as_bytes());
    }
    let bomb = [http2::call(GET_TOKEN, &[]), remembered, vec![0xbe; 12_000]].concat();
    let bombs =
        streams().take(1000).map(|stream| headers(flag::END_HEADERS | flag::END_STREAM, stream, &bomb));
    flood(&daemon, "HPACK bombs", daemon.client(), bombs);
}

#[test]
fn control_frames_without_end_are_not_kept() {
    let daemon = Daemon::new();
    let frame = |kind, stream, payload: &[u8]| Frame::new(kind, 0, stream, payload).bytes();
    let cases = [
        ("SETTINGS", settings(&[(http2::setting::INITIAL_WINDOW_SIZE, 1000)]).bytes()),
        ("large SETTINGS", settings(&[(http2::setting::INITIAL_WINDOW_SIZE, 1000); 2000]).bytes()),
        ("PING", frame(kind::PING, 0, &[0; 8])),
        ("PRIORITY", frame(kind::PRIORITY, 77, &[0, 0, 0, 3, 9])),
        ("WINDOW_UPDATE", frame(kind::WINDOW_UPDATE, 0, &[0, 0, 0, 1])),
        ("unknown frames", frame(0xbb, 0, &[0; 100])),
        ("frames beyond what is allowed", frame(kind::PING, 0, &vec![0; 20_000])),
    ];
    for (what, bytes) in cases {
        let count = (MANY * 20 / bytes.len()).clamp(1000, MANY) / 100;
        flood(&daemon, what, daemon.client(), repeat_n(bytes.repeat(100), count));
    }
}

#[test]
fn data_without_end_and_without_bytes_is_not_kept() {
    let daemon = Daemon::new();
    let open = headers(flag::END_HEADERS, 1, &http2::call(GET_TOKEN, &[]));
    let empty = Frame::new(kind::DATA, 0, 1, []).bytes().repeat(100);
    let endless = std::iter::once(open.clone()).chain(repeat_n(empty.clone(), MANY / 100));
    flood(&daemon, "empty DATA", daemon.client(), endless);
    // To a stream whose service does not read, since it waits for a message that it will not get.
    let path = "/grpc.health.v1.Health/Watch";
    let watched = [
        headers(flag::END_HEADERS, 1, &http2::call(path, &[])),
        Frame::new(kind::DATA, 0, 1, http2::message(&[])).bytes(),
    ];
    let endless = watched.into_iter().chain(repeat_n(empty, MANY / 100));
    flood(&daemon, "empty DATA that nobody reads", daemon.client(), endless);
}

//! Peers that drip (C32), and peers that do not read (C33).

use std::{
    thread,
    time::{Duration, Instant},
};

use usher_testkit::http2::{self, Client, Frame, flag, kind, setting};

use super::{Daemon, GET_TOKEN, request};

/// Nobody is kept for longer. The daemon means 7.5 s, and is given as much again where it is busy.
const LONGEST: Duration = Duration::from_secs(15);

/// Sends one byte a second until the connection ends.
fn drip(mut client: Client, bytes: impl Iterator<Item = Vec<u8>>) -> Duration {
    let begun = Instant::now();
    for piece in bytes {
        if client.send(&piece).is_err() || !client.end(Duration::from_secs(1)).open {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < LONGEST, "it is still there after {:?}", begun.elapsed());
    }
    panic!("nothing left to send after {:?}", begun.elapsed());
}

fn bytes(of: Vec<u8>) -> impl Iterator<Item = Vec<u8>> {
    of.into_iter().map(|byte| vec![byte])
}

/// A client that has had an answer, so that it is no newcomer.
fn known(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    client.call(1, GET_TOKEN, &request()).unwrap();
    assert_eq!(client.answer(1, LONGEST).grpc_status(1), Some(0));
    client
}

/// A client in the middle of a call.
fn asking(daemon: &Daemon) -> Client {
    let mut client = known(daemon);
    client.frame(kind::HEADERS, flag::END_HEADERS, 3, &http2::call(GET_TOKEN, &[])).unwrap();
    client
}

#[test]
fn a_peer_that_drips_is_ended() {
    let daemon = Daemon::new();
    let block = http2::call(GET_TOKEN, &[("x", &"y".repeat(1000))]);
    let headers = Frame::new(kind::HEADERS, flag::END_HEADERS, 3, block.clone()).bytes();
    let data = Frame::new(kind::DATA, 0, 3, vec![0; 1000]).bytes();
    // A block of headers that goes on, a byte in each frame; the last byte of one with the first of the next,
    // so that it is never between two.
    let continued = Frame::new(kind::HEADERS, 0, 3, block[..1].to_vec()).bytes();
    let pieces = block[1..].iter().map(|&byte| Frame::new(kind::CONTINUATION, 0, 3, [byte]).bytes());
    let pieces: Vec<Vec<u8>> = pieces.collect();
    let mut client = known(&daemon);
    client.send(&continued).unwrap();
    thread::scope(|scope| {
        let begun: Vec<_> = vec![
            (
                "the preface",
                scope.spawn(|| drip(Client::silent(&daemon.socket()), bytes(http2::PREFACE.to_vec()))),
            ),
            ("HEADERS", scope.spawn(|| drip(known(&daemon), bytes(headers)))),
            ("CONTINUATION", scope.spawn(move || drip(client, pieces.into_iter()))),
            ("one frame of DATA", scope.spawn(|| drip(asking(&daemon), bytes(data)))),
            ("DATA in frames of one byte", {
                let frames = (0..1000).map(|_| Frame::new(kind::DATA, 0, 3, [0]).bytes());
                scope.spawn(|| drip(asking(&daemon), frames))
            }),
        ];
        for (what, peer) in begun {
            eprintln!("{what}: ended after {:?}", peer.join().unwrap_or_else(|_| panic!("{what} goes on")));
        }
    });
    daemon.is_unharmed("dripping");
}

#[test]
fn a_peer_that_does_not_read_is_ended() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        // It has no room for a byte of any answer.
        scope.spawn(|| {
            let mut client = Client::connect(&daemon.socket(), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
            for stream in 0..128 {
                client.call(2 * stream + 1, GET_TOKEN, &request()).unwrap();
            }
            let end = client.end(LONGEST);
            assert!(!end.open, "a peer without a window is still there");
            assert_eq!(end.of(kind::DATA).filter(|frame| !frame.payload.is_empty()).count(), 0);
        });
        // It asks and asks, and never takes an answer off its socket.
        scope.spawn(|| {
            let begun = Instant::now();
            let mut client = daemon.client();
            client.stream().set_write_timeout(Some(LONGEST)).unwrap();
            let ping = Frame::new(kind::PING, 0, 0, [7; 8]).bytes().repeat(100);
            while client.send(&ping).map_err(|error| error.kind()) != Err(std::io::ErrorKind::BrokenPipe) {
                assert!(begun.elapsed() < LONGEST, "a peer that does not read is still there");
            }
        });
    });
    daemon.is_unharmed("peers that do not read");
}

/// Reflection's requests come when its caller likes.
#[test]
fn a_stream_that_its_service_answers_meanwhile_may_take_its_time() {
    let daemon = Daemon::new();
    let mut client = daemon.client();
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    client.frame(kind::HEADERS, flag::END_HEADERS, 1, &http2::call(path, &[])).unwrap();
    let nothing = client.end(Duration::from_secs(9));
    assert!(nothing.open, "{nothing:?}");
    // list_services: ""
    client.frame(kind::DATA, flag::END_STREAM, 1, &http2::message(&[0x3a, 0])).unwrap();
    let answer = client.answer(1, LONGEST);
    assert_eq!(answer.grpc_status(1), Some(0), "{answer:?}");
    drop(client);
    daemon.is_unharmed("a slow stream");
}

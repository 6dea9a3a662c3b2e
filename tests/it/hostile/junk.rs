//! What is no HTTP/2 at all (B28), and what is told of it.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use usher_testkit::http2::{Client, kind, setting};

use super::Daemon;

/// Bytes that are the same in every run.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[0]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

#[test]
fn what_is_not_http2_is_hung_up_on_and_fills_no_log() {
    let daemon = Daemon::new();
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut junk = vec![
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"POST /usher.v1.TokenService/GetToken HTTP/1.0\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"/gopher\r\n".to_vec(),
        b"\0".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec(),
    ];
    junk.extend((0..200).map(|length| noise.bytes(1 + length * 7)));
    for bytes in &junk {
        let begun = Instant::now();
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        // Less than what a connection may be silent for: it is for what was sent that it ends.
        stream.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        let _ = stream.write_all(bytes);
        // An end, orderly or not.
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bytes:x?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{bytes:x?}");
    }
    let log = daemon.world.usherd.stderr_so_far();
    // Below that are lines that nobody has asked for but this test.
    let told: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    assert!(told.len() == 1 && told[0].contains("what comes is not gRPC"), "{told:#?}");
    daemon.is_unharmed("junk");
}

#[test]
fn every_limit_of_http2_is_announced() {
    let daemon = Daemon::new();
    let mut client = Client::silent(&daemon.socket());
    // The server's comes first, whether or not the client has said anything (RFC 9113 section 3.4).
    client.send(usher_testkit::http2::PREFACE).unwrap();
    client.send(&usher_testkit::http2::settings(&[]).bytes()).unwrap();
    let first = client.next(Duration::from_secs(4)).unwrap().unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (kind::SETTINGS, 0, 0));
    let mut settings = first.settings();
    settings.sort_unstable();
    // As `limits.rs` of the daemon has them. None may be left to whatever the library thinks.
    let expected = [
        (setting::HEADER_TABLE_SIZE, 4096),
        (setting::MAX_CONCURRENT_STREAMS, 128),
        (setting::INITIAL_WINDOW_SIZE, 64 * 1024),
        (setting::MAX_FRAME_SIZE, 16 * 1024),
        (setting::MAX_HEADER_LIST_SIZE, 8 * 1024),
    ];
    assert_eq!(settings, expected);
    drop(client);
    daemon.is_unharmed("a greeting");
}

//! Requests that are no requests (C37): refused by what they say of themselves, before anything is kept for
//! them.

use std::time::Duration;

use usher_testkit::http2::{self, Client, End, flag, kind};

use super::{Daemon, GET_TOKEN, request};

const INVALID_ARGUMENT: Option<u32> = Some(3);
const UNIMPLEMENTED: Option<u32> = Some(12);
const WAIT: Duration = Duration::from_secs(4);

/// What a call with this body is answered. The stream stays open where `last` is not set.
fn ask(client: &mut Client, stream: u32, headers: &[(&str, &str)], body: &[u8], last: bool) -> End {
    client.frame(kind::HEADERS, flag::END_HEADERS, stream, &http2::call(GET_TOKEN, headers)).unwrap();
    let frames: Vec<&[u8]> = body.chunks(16 * 1024).collect();
    for (index, part) in frames.iter().enumerate() {
        let end = if last && index + 1 == frames.len() { flag::END_STREAM } else { 0 };
        client.frame(kind::DATA, end, stream, part).unwrap();
    }
    client.answer(stream, WAIT)
}

/// Groups (RFC: protobuf's encoding, wire types 3 and 4) within groups, of a field that nobody knows.
fn nested(depth: usize) -> Vec<u8> {
    [[0xa3, 0x06].repeat(depth), [0xa4, 0x06].repeat(depth)].concat()
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_lives_on() {
    let daemon = Daemon::new();
    let mut client = daemon.client();
    let mut stream = 1;
    let gzip = [&[1, 0, 0, 0, 20][..], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &[0xff; 10]].concat();
    let cases: Vec<(&str, Vec<u8>, bool, Option<u32>)> = vec![
        ("4 GiB, of which nothing comes", vec![0, 0xff, 0xff, 0xff, 0xff], false, INVALID_ARGUMENT),
        ("64 KiB and a byte", http2::message(&vec![0; 64 * 1024 + 1])[..5].to_vec(), false, INVALID_ARGUMENT),
        ("a bomb that says so", gzip.clone(), true, UNIMPLEMENTED),
        ("a bomb that does not", gzip, true, INVALID_ARGUMENT),
        ("half a field", http2::message(&[0x0a, 0x7f, b'x']), true, INVALID_ARGUMENT),
        ("no UTF-8", http2::message(&[0x0a, 0x02, 0xff, 0xfe]), true, INVALID_ARGUMENT),
        ("a thousand groups", http2::message(&nested(1000)), true, INVALID_ARGUMENT),
    ];
    for (what, body, last, expected) in cases {
        for _ in 0..20 {
            let headers = [("grpc-encoding", "gzip")];
            let headers = if expected == UNIMPLEMENTED { &headers[..] } else { &[] };
            let answer = ask(&mut client, stream, headers, &body, last);
            assert_eq!(answer.grpc_status(stream), expected, "{what}: {answer:?}");
            stream += 2;
        }
    }
    let good = ask(&mut client, stream, &[], &http2::message(&request()), true);
    assert_eq!(good.grpc_status(stream), Some(0), "{good:?}");
    drop(client);
    daemon.is_unharmed("broken messages");
}

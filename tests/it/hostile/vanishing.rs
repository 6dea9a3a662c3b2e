//! Clients that are gone in the middle (C42): at every state, by a reset or an orderly end.

use std::{net::Shutdown, time::Duration};

use usher_testkit::http2::{self, Client, Frame, flag, kind};

use super::{Daemon, GET_TOKEN, request};

/// How far a client gets, as what it has sent, and whether it reads what it is answered.
fn states() -> Vec<(Vec<u8>, bool)> {
    let settings = http2::settings(&[]).bytes();
    let greeting = [http2::PREFACE, &settings].concat();
    let headers = Frame::new(kind::HEADERS, flag::END_HEADERS, 1, http2::call(GET_TOKEN, &[])).bytes();
    let begun = Frame::new(kind::HEADERS, 0, 1, http2::call(GET_TOKEN, &[])).bytes();
    let data = Frame::new(kind::DATA, flag::END_STREAM, 1, http2::message(&request())).bytes();
    let reset = Frame::new(kind::RST_STREAM, 0, 1, 8_u32.to_be_bytes()).bytes();
    let watch = [
        Frame::new(kind::HEADERS, flag::END_HEADERS, 1, http2::call("/grpc.health.v1.Health/Watch", &[]))
            .bytes(),
        Frame::new(kind::DATA, flag::END_STREAM, 1, http2::message(&[])).bytes(),
    ]
    .concat();
    let sent = [
        vec![],
        http2::PREFACE[..10].to_vec(),
        http2::PREFACE.to_vec(),
        greeting.clone(),
        [&greeting, &headers[..headers.len() / 2]].concat(),
        [&greeting[..], &begun].concat(),
        [&greeting[..], &headers].concat(),
        [&greeting[..], &headers, &data[..data.len() - 3]].concat(),
        [&greeting[..], &headers, &data].concat(),
        [&greeting[..], &headers, &data, &reset].concat(),
        [&greeting[..], &watch].concat(),
    ];
    sent.into_iter().flat_map(|sent| [(sent.clone(), false), (sent, true)]).collect()
}

pub(super) fn vanish(daemon: &Daemon, times: usize) {
    let states = states();
    for round in 0..times {
        let (sent, reads) = &states[round % states.len()];
        let mut client = Client::silent(&daemon.socket());
        // It may have had to make room for others.
        let _ = client.send(sent);
        if *reads {
            let _ = client.next(Duration::from_millis(1));
        }
        // With something unread it is a reset, without it an end; half of an end keeps the other half open.
        if round % 3 == 0 {
            let _ = client.stream().shutdown(Shutdown::Write);
        }
    }
    daemon.is_unharmed(&format!("{times} clients that vanished"));
}

/// Commands that are killed while they ask.
pub(super) fn kill(daemon: &Daemon, times: u32) {
    for round in 0..times {
        let running = daemon.world.usherd.spawn_usher(&["token", "frontdoor"]);
        let pause = Duration::from_micros(u64::from(round) * 97 % 8000);
        std::thread::sleep(pause);
        running.signal(nix::sys::signal::Signal::SIGKILL);
        drop(running);
    }
    daemon.is_unharmed(&format!("{times} commands that were killed"));
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let daemon = Daemon::new();
    vanish(&daemon, 3000);
    kill(&daemon, 50);
}

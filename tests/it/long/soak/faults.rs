//! What goes wrong.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use usher_testkit::idp::Reply;

use super::{PROFILES, Soak, figures::Fault, start};
use crate::support::random::Random;

/// How long one fault goes on.
pub(super) const TAKES: Duration = Duration::from_secs(2);

/// The `number`th fault. That the daemon is killed comes first, if it may.
pub(super) fn next(soak: &Soak, number: usize, may_kill: bool, random: &mut Random) {
    match number % 9 {
        0 if may_kill => kill(soak, random),
        0 | 1 => idps_answer(soak, &Reply::status(500)),
        2 => broken_configuration(soak),
        3 => idps_hang(soak),
        4 => silence(soak),
        5 => idps_answer(soak, &Reply::reset()),
        6 => killed_clients(soak, random),
        7 => junk(soak, random),
        _ => idps_clock(soak),
    }
}

fn kill(soak: &Soak, random: &mut Random) {
    thread::sleep(random.span(TAKES / 2));
    let mut usherd = soak.usherd();
    let _during = soak.figures.fault(Fault::Killed);
    usherd.signal(Signal::SIGKILL);
    usherd.wait_exit(usher_testkit::PATIENCE);
    *usherd = start(&soak.sandbox);
}

fn idps_answer(soak: &Soak, reply: &Reply) {
    let _during = soak.figures.fault(Fault::Idp);
    soak.idps.iter().for_each(|idp| idp.set_default(reply.clone()));
    thread::sleep(TAKES);
    soak.idps.iter().for_each(|idp| idp.set_default(Reply::token()));
}

fn idps_hang(soak: &Soak) {
    // Nobody's call fails of it: who waits is answered in the end.
    let (reply, gate) = Reply::token().hold();
    soak.idps.iter().for_each(|idp| idp.set_default(reply.clone()));
    thread::sleep(TAKES);
    soak.idps.iter().for_each(|idp| idp.set_default(Reply::token()));
    gate.release();
}

/// Nobody's call fails of that either.
fn idps_clock(soak: &Soak) {
    let late = Reply::token().header("Date", "Fri, 15 Jan 2027 08:00:00 GMT");
    soak.idps.iter().for_each(|idp| idp.set_default(late.clone()));
    thread::sleep(TAKES);
    soak.idps.iter().for_each(|idp| idp.set_default(Reply::token()));
}

fn broken_configuration(soak: &Soak) {
    let _during = soak.figures.fault(Fault::Config);
    soak.configure(&format!("{}[profile.broken\n", soak.config));
    soak.usherd().signal(Signal::SIGHUP);
    thread::sleep(TAKES);
    soak.configure(&soak.config);
    soak.usherd().signal(Signal::SIGHUP);
}

fn silence(soak: &Soak) {
    let connect = |_| UnixStream::connect(soak.sandbox.socket()).unwrap();
    let _silent: Vec<_> = (0..200).map(connect).collect();
    thread::sleep(TAKES);
}

fn killed_clients(soak: &Soak, random: &mut Random) {
    for number in 0..20 {
        let client = soak.sandbox.spawn_usher(&["token", PROFILES[number % PROFILES.len()].0]);
        thread::sleep(random.span(Duration::from_millis(8)));
        client.signal(Signal::SIGKILL);
    }
}

fn junk(soak: &Soak, random: &mut Random) {
    let beginnings: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"",
    ];
    let mut talking = Vec::new();
    for number in 0..40 {
        let mut stream = UnixStream::connect(soak.sandbox.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut bytes = beginnings[number % 4].to_vec();
        bytes.extend((0..random.below(4000)).map(|_| u8::try_from(random.below(256)).unwrap_or_default()));
        // It may have ended the connection in the middle of it.
        let _ = stream.write_all(&bytes);
        talking.push(stream);
    }
    for mut stream in talking {
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

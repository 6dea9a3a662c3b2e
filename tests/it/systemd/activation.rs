//! A socket that is handed over, by systemd-socket-activate(1): the one that is right, and those that are not
//! (A14 of the catalogue of attacks).

#![allow(clippy::panic, reason = "a panic is the failure of the test")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::{UnixDatagram, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use usher_testkit::{ca::Ca, idp::FakeIdp, sandbox::Sandbox};

use crate::support::{frontdoor, sandbox};

const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";

fn is_there() -> bool {
    let there = Path::new(ACTIVATE).exists();
    if !there {
        super::skipped("sockets that are handed over", ACTIVATE);
    }
    there
}

/// usherd, which gets the sockets of `args`, once they are there.
struct Activated {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Activated {
    fn new(sandbox: &Sandbox, args: &[&str]) -> Self {
        let config = format!("XDG_CONFIG_HOME={}", sandbox.dir().join("config").display());
        let mut child = Command::new(ACTIVATE)
            .args(args)
            .args(["-E", &config, env!("CARGO_BIN_EXE_usherd")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let listens = args.iter().filter(|arg| **arg == "-l").count();
        for _ in 0..listens {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            assert!(line.starts_with("Listening on "), "{line}");
        }
        Self { child, stderr }
    }

    /// How usherd ended, and what it said.
    fn end(mut self, sandbox: &Sandbox) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        sandbox.leaks().note("usherd stderr", &said);
        (self.child.wait().unwrap().code(), said)
    }
}

fn configured() -> (Sandbox, FakeIdp, Ca) {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    sandbox.config(&frontdoor(&sandbox, &ca, &idp, ""));
    let directory = sandbox.socket().parent().unwrap().to_owned();
    fs::DirBuilder::new().mode(0o700).create(directory).unwrap();
    (sandbox, idp, ca)
}

#[test]
fn the_first_call_on_a_socket_that_is_handed_over_is_answered_and_the_socket_stays() {
    if !is_there() {
        return;
    }
    let (sandbox, idp, _ca) = configured();
    let socket = sandbox.socket();
    let usherd = Activated::new(&sandbox, &["-l", socket.to_str().unwrap(), "--fdname=usher"]);
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    let _ = sandbox.usher(&["token", "frontdoor"]).expect_ok();
    assert_eq!(idp.token_requests(), 1);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode(), mode, "it is the service manager's");
    kill(Pid::from_raw(usherd.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let (code, said) = usherd.end(&sandbox);
    assert_eq!(code, Some(0), "{said}");
    assert!(socket.exists(), "usherd has removed a socket that is not its own");
}

#[test]
fn any_other_descriptor_is_a_clear_and_lasting_error() {
    if !is_there() {
        return;
    }
    let (sandbox, _idp, _ca) = configured();
    let path = |name: &str| sandbox.dir().join("run/usher").join(name).display().to_string();
    let unix = |path: &str| drop(UnixStream::connect(path).unwrap());

    let one = path("name.sock");
    let usherd = Activated::new(&sandbox, &["-l", &one, "--fdname=other"]);
    unix(&one);
    refused(usherd, &sandbox, "LISTEN_FDNAMES is \"other\"");

    let (one, two) = (path("one.sock"), path("two.sock"));
    let usherd = Activated::new(&sandbox, &["-l", &one, "-l", &two, "--fdname=usher:usher"]);
    unix(&two);
    refused(usherd, &sandbox, "LISTEN_FDS is 2");

    let one = path("datagram.sock");
    let usherd = Activated::new(&sandbox, &["-d", "-l", &one, "--fdname=usher"]);
    UnixDatagram::unbound().unwrap().send_to(b"x", &one).unwrap();
    refused(usherd, &sandbox, "no stream socket");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let usherd = Activated::new(&sandbox, &["-l", &port.to_string(), "--fdname=usher"]);
    drop(TcpStream::connect(port).unwrap());
    refused(usherd, &sandbox, "no Unix socket");
}

fn refused(usherd: Activated, sandbox: &Sandbox, why: &str) {
    let (code, said) = usherd.end(sandbox);
    assert!(code == Some(78) && said.contains(why), "{why:?}: {code:?} {said}");
}

#[test]
fn variables_that_are_not_for_this_process_are_a_clear_and_lasting_error() {
    for (pid, fds, why) in [
        ("1", "1", "LISTEN_PID is \"1\", but this is process"),
        ("x", "1", "LISTEN_PID is \"x\""),
        ("1", "", "LISTEN_PID is \"1\""),
    ] {
        let (sandbox, _idp, _ca) = configured();
        sandbox.set_env("LISTEN_PID", pid);
        sandbox.set_env("LISTEN_FDS", fds);
        let told = sandbox.usherd(&[]).expect_code(78).stderr;
        assert!(told.contains(why), "{told}");
    }
}

//! A socket that was there before usherd: whoever came first waits in its queue, and is answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    collections::BTreeSet,
    fs::DirBuilder,
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt as _, net::UnixListener},
    },
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::task::JoinSet;
use usher_proto::{client::Connection, v1::GetTokenRequest};
use usher_testkit::{PATIENCE, sandbox::Sandbox};

use super::Home;
use crate::keys::ask;

const CALLERS: usize = 200;

/// usherd as a socket unit starts it, with the socket of this listener.
fn activate(sandbox: &Sandbox, listener: &UnixListener) -> Child {
    // The shell knows the process id that usherd will have.
    Command::new("sh")
        .args(["-c", "LISTEN_PID=$$ exec \"$0\" --log-level error 3<&0 </dev/null"])
        .arg(env!("CARGO_BIN_EXE_usherd"))
        .env_clear()
        .envs(sandbox.env_of_usher())
        .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "usher")])
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .spawn()
        .unwrap()
}

#[test]
fn two_hundred_callers_who_came_before_usherd_are_all_answered() {
    let home = Home::new("");
    let socket = home.sandbox.socket();
    DirBuilder::new().mode(0o700).create(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut usherd, tokens) = runtime.block_on(async {
        let uid = nix::unistd::geteuid().as_raw();
        let mut calls = JoinSet::new();
        for _ in 0..CALLERS {
            // The kernel takes it into the queue: there is nobody yet.
            let connection = Connection::open(&socket, uid).await.unwrap();
            let request = GetTokenRequest { profile: "frontdoor".to_owned(), ..Default::default() };
            calls.spawn(ask(connection, request));
        }
        assert!(calls.try_join_next().is_none(), "somebody was answered, but by whom?");
        let usherd = activate(&home.sandbox, &listener);
        let answers = tokio::time::timeout(PATIENCE, calls.join_all()).await.expect("all answers");
        let tokens: BTreeSet<_> = answers.into_iter().map(|answer| answer.unwrap().access_token).collect();
        (usherd, tokens)
    });
    assert_eq!((tokens.len(), home.idp.token_requests()), (1, 1));
    kill(Pid::from_raw(usherd.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(usherd.wait().unwrap().success());
    // The socket stays, and with it whoever calls next.
    assert!(socket.exists());
    let mut usherd = activate(&home.sandbox, &listener);
    let _ = home.sandbox.usher(&["token", "frontdoor"]).expect_ok();
    kill(Pid::from_raw(usherd.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(usherd.wait().unwrap().success());
}

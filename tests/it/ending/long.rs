//! The moment in which a daemon that nobody calls ends, and somebody calls: thousands of times.

use std::{
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixListener,
    },
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, poll};
use usher_proto::{client::Connection, v1::GetTokenRequest};
use usher_testkit::{PATIENCE, sandbox::Sandbox, tokens::canary};

use crate::support::sandbox;

/// How often a call meets the end.
const ROUNDS: u32 = 5_000;

/// A sandbox whose daemon ends as soon as nobody is connected, and needs no IdP.
fn restless() -> Sandbox {
    let sandbox = sandbox();
    let token = sandbox.api_token("account", &canary("API-TOKEN"));
    sandbox.config(&format!(
        "idle_exit = \"1ns\"\n[profile.account]\npreset = \"netfoundry-api-token\"\naccount_id = \"acc\"\n\
         api_token = {{ file = \"{}\" }}\n",
        token.display()
    ));
    sandbox
}

/// What a socket unit is to usherd: starts it whenever somebody waits and none runs, until `end`. How often.
fn activate(sandbox: &Sandbox, listener: &UnixListener, end: &AtomicBool) -> u32 {
    let mut starts = 0;
    while !end.load(Ordering::Acquire) {
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, 100_u16).unwrap() == 0 {
            continue;
        }
        // The shell knows the process id that usherd will have.
        let status = Command::new("/bin/sh")
            .args(["-c", "LISTEN_PID=$$ exec \"$0\" --log-level error 3<&0 </dev/null"])
            .arg(env!("CARGO_BIN_EXE_usherd"))
            .env_clear()
            .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "usher")])
            .env("XDG_CONFIG_HOME", sandbox.dir().join("config"))
            .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        starts += 1;
    }
    starts
}

/// Ends what goes on until then, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

async fn ask(connection: &Connection) -> Result<(), tonic::Status> {
    let request = GetTokenRequest { profile: "account".into(), ..Default::default() };
    connection.tokens().get_token(request).await.map(drop)
}

#[test]
fn no_call_is_lost_when_a_socket_activated_daemon_ends_for_want_of_calls() {
    let sandbox = restless();
    let socket = sandbox.dir().join("run/usher.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let end = AtomicBool::new(false);
    let uid = nix::unistd::geteuid().as_raw();
    let starts = thread::scope(|scope| {
        let activator = scope.spawn(|| activate(&sandbox, &listener, &end));
        let at_the_end = End(&end);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for round in 0..ROUNDS {
                let connection = Connection::open(&socket, uid).await.unwrap();
                let answer = tokio::time::timeout(PATIENCE, ask(&connection)).await;
                answer.expect("an answer").unwrap_or_else(|error| panic!("round {round}: {error}"));
                drop(connection);
                // The daemon is on its way out: meet it there, a little later each time.
                tokio::time::sleep(Duration::from_micros(u64::from(round % 40) * 50)).await;
            }
        });
        drop(at_the_end);
        activator.join().unwrap()
    });
    println!("{ROUNDS} calls, {starts} daemons");
    assert!(starts > ROUNDS / 20, "only {starts} daemons ended: the moment was not met");
}

//! A real HTTP proxy for CONNECT: Debian's tinyproxy, in a process of its own.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
};

use nix::unistd::{Gid, Uid};
use tempfile::TempDir;

use crate::{
    PATIENCE,
    ca::write_private,
    idp::dead_address,
    process::{Input, Process, text},
};

/// tinyproxy on 127.0.0.1. Stops when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    addr: SocketAddr,
    log: PathBuf,
    _dir: TempDir,
}

impl Proxy {
    /// Starts it; panics if it is not installed.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts it with more lines in its configuration: `ConnectPort 443`, `BasicAuth user password`.
    pub fn with(extra: &str) -> Self {
        // The port is free for a moment only; whoever takes it in between makes this start over.
        (0..10)
            .find_map(|_| Self::try_start(dead_address(), extra))
            .expect("tinyproxy does not start: run tests/run once: it installs what the tests need")
    }

    #[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
    fn try_start(addr: SocketAddr, extra: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (config, log) = (dir.path().join("tinyproxy.conf"), dir.path().join("log"));
        let settings = format!(
            "User {}\nGroup {}\nListen {}\nPort {}\nLogFile \"{}\"\nLogLevel Connect\nTimeout 30\n\
             MaxClients 64\n{extra}\n",
            Uid::effective(),
            Gid::effective(),
            addr.ip(),
            addr.port(),
            log.display(),
        );
        write_private(&config, settings.as_bytes());
        let mut command = Command::new("tinyproxy");
        command.args(["-d", "-c"]).arg(&config).current_dir(dir.path());
        let process = Process::spawn(command, Input::Nothing).ok()?;
        // Its listening is not announced anywhere but in its log, after which it takes connections.
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE && process.state().read(|state| state.exit().is_none()) {
            if TcpStream::connect(addr).is_ok() {
                return Some(Self { process, addr, log, _dir: dir });
            }
            std::thread::yield_now();
        }
        None
    }

    /// What a profile's `proxy` takes.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `127.0.0.1:PORT`: what messages call it.
    pub fn authority(&self) -> String {
        self.addr.to_string()
    }

    /// Every request line that it got: `CONNECT 127.0.0.1:4711 HTTP/1.1`.
    pub fn requests(&self) -> Vec<String> {
        let request = |line: &str| {
            let (_, request) = line.split_once("Request (file descriptor ")?;
            Some(request.split_once("): ")?.1.trim().to_owned())
        };
        self.said().lines().filter_map(request).collect()
    }

    /// All it wrote.
    pub fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let process = self.process.state().read(|state| [text(&state.stdout), text(&state.stderr)].concat());
        text(&log) + &process
    }
}

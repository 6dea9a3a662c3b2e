//! A server of one version of TLS, which rustls may not speak at all: OpenSSL's `s_server`, in a process of its own.

use std::process::Command;

use crate::{
    PATIENCE,
    ca::Identity,
    process::{Input, Process, text},
};

/// `openssl s_server` on 127.0.0.1, which shows what it is sent and answers nothing. Stops when it is dropped.
#[derive(Debug)]
pub struct OldTls {
    process: Process,
    host: String,
}

impl OldTls {
    /// Starts it; panics if OpenSSL is not installed. `version` is one of its own: `tls1_1`, `tls1_2`.
    pub fn start(identity: &Identity, version: &str) -> Self {
        let mut command = Command::new("openssl");
        // Without the security level OpenSSL would not offer old versions.
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cipher", "ALL:@SECLEVEL=0"]);
        command.arg(format!("-{version}"));
        command.arg("-key").arg(&identity.key).arg("-cert").arg(&identity.cert);
        // It ends with its input.
        let process = Process::spawn(command, Input::KeepOpen(Vec::new()))
            .expect("openssl is missing: run tests/run once: it installs what the tests need");
        let host = process.state().wait(PATIENCE, |state| {
            let said = text(&state.stdout);
            said.lines().find_map(|line| line.strip_prefix("ACCEPT ")).map(str::to_owned)
        });
        Self { process, host: host.expect("openssl to say where it listens") }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it was sent, and what it says itself.
    pub fn said(&self) -> String {
        self.process.state().read(|state| [text(&state.stdout), text(&state.stderr)].concat())
    }

    /// Waits until it was sent this.
    pub fn wait_for(&self, needle: &str) {
        let came =
            self.process.state().wait(PATIENCE, |state| text(&state.stdout).contains(needle).then_some(()));
        assert!(came.is_some(), "no {needle:?} in:\n{}", self.said());
    }
}

//! Other users: who they are, and what they run.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Output},
};

use usher_testkit::sandbox::Sandbox;

/// Somebody else.
pub(crate) const NOBODY: u32 = 65_534;

/// What `usher ARGS…` answers that user, who takes a daemon of `server_uid` for theirs.
#[expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]
pub(crate) fn usher_as(uid: u32, server_uid: u32, sandbox: &Sandbox, args: &[&str]) -> Output {
    // Where everybody can run it.
    let program = sandbox.dir().join("usher");
    if !program.exists() {
        fs::copy(sandbox.usher_path(), &program).expect("copy usher");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .env("USHER_SOCKET", sandbox.socket())
        .env("USHER_SERVER_UID", server_uid.to_string())
        .env("USHER_AUTOSTART", "0")
        .current_dir("/")
        .uid(uid)
        .gid(uid)
        .output()
        .expect("run usher");
    if !output.status.success() {
        sandbox.leaks().note("another user's stdout", &output.stdout);
    }
    sandbox.leaks().note("another user's stderr", &output.stderr);
    output
}

//! The socket and other users: who comes from elsewhere is not served, and what lies elsewhere not used.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{
        fs::{chown, lchown, symlink},
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use usher_testkit::{PATIENCE, idp::FakeIdp, usherd::Usherd};

use crate::support::{
    World, facts, frontdoor, is_root, sandbox,
    users::{NOBODY, usher_as},
};

/// Opens the way to the daemon's socket to everybody, as a careless administrator might.
fn open_up(usherd: &Usherd) {
    let socket = usherd.socket();
    for directory in [usherd.dir(), socket.parent().unwrap().parent().unwrap(), socket.parent().unwrap()] {
        usherd.chmod(directory, 0o711);
    }
    usherd.chmod(&socket, 0o666);
}

#[test]
fn another_user_gets_no_token_and_the_owner_still_does() {
    if !is_root("another user's `usher token`") {
        return;
    }
    let world = World::new("");
    let usherd = &world.usherd;
    open_up(usherd);
    let output = usher_as(NOBODY, 0, usherd, &["token", "frontdoor"]);
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"");
    usherd.wait_for_log("connection refused: not the owner peer=uid 65534", PATIENCE);
    assert_eq!(world.idp.token_requests(), 0);
    facts(usherd, &["frontdoor"]);
}

/// Not a test of its own: this binary as another user, started by [`as_nobody`].
#[test]
fn stand_in() {
    let Some(path) = std::env::var_os("STAND_IN_PATH") else { return };
    let mut stream = if std::env::var_os("STAND_IN_LISTENS").is_some() {
        let listener = UnixListener::bind(path).unwrap();
        eprintln!("listening");
        listener.accept().unwrap().0
    } else {
        UnixStream::connect(path).unwrap()
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut bytes);
    eprintln!("read {} bytes", bytes.len());
}

/// This binary again, as another user, wherever it lies.
pub(crate) fn as_nobody(path: &Path, listens: bool) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "socket::users::stand_in", "--nocapture"]).env("STAND_IN_PATH", path);
    if listens {
        command.env("STAND_IN_LISTENS", "1");
    }
    command.current_dir("/").uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

#[test]
fn another_user_is_hung_up_on_before_a_byte_is_exchanged() {
    if !is_root("another user's connection") {
        return;
    }
    let usherd = super::bare().start();
    // The owner is greeted, with HTTP/2's SETTINGS.
    let mut byte = [0];
    let mut own = UnixStream::connect(usherd.socket()).unwrap();
    own.set_read_timeout(Some(PATIENCE)).unwrap();
    own.read_exact(&mut byte).unwrap();
    drop(own);
    open_up(&usherd);
    let (mut child, mut lines) = as_nobody(&usherd.socket(), false);
    assert_eq!(lines.next().as_deref(), Some("read 0 bytes"));
    assert!(child.wait().unwrap().success());
    usherd.wait_for_log("connection refused: not the owner peer=uid 65534", PATIENCE);
    super::serves(&usherd);
}

#[test]
fn usher_sends_nothing_to_a_server_of_another_user() {
    if !is_root("a server of another user") {
        return;
    }
    let (ca, sandbox) = (usher_testkit::ca::Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.config(&frontdoor(&sandbox, &ca, &idp, ""));
    sandbox.chmod(sandbox.dir(), 0o711);
    let place = sandbox.dir().join("theirs");
    fs::create_dir(&place).unwrap();
    chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
    let socket = place.join("usher.sock");
    let (mut child, mut lines) = as_nobody(&socket, true);
    assert_eq!(lines.next().as_deref(), Some("listening"));
    let output = sandbox
        .command(&["token", "frontdoor", "--json"])
        .env("USHER_SOCKET", socket.to_str().unwrap())
        .run()
        .expect_code(77);
    let told: serde_json::Value = serde_json::from_str(&output.stderr).unwrap();
    assert_eq!(told["error"]["reason"], "FOREIGN_SERVER");
    assert!(output.stderr.contains("served by uid 65534, not by uid 0"), "{}", output.stderr);
    assert_eq!(lines.next().as_deref(), Some("read 0 bytes"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn root_is_not_answered_by_a_users_daemon_and_the_user_still_is() {
    if !is_root("root's call to another user's daemon") {
        return;
    }
    let sandbox = super::bare();
    let usherd = sandbox.launch().as_user(NOBODY).start().unwrap();
    let output = usher_as(0, NOBODY, &usherd, &["status"]);
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"");
    usherd.wait_for_log("connection refused: not the owner peer=uid 0", PATIENCE);
    let output = usher_as(NOBODY, NOBODY, &usherd, &["status"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_directory_of_another_user_is_refused_and_left_as_it_is() {
    if !is_root("a socket's directory that belongs to somebody else") {
        return;
    }
    for theirs in ["run/usher", "run"] {
        let sandbox = super::bare();
        let directory = sandbox.dir().join("run/usher");
        fs::create_dir(&directory).unwrap();
        sandbox.chmod(&directory, 0o700);
        let theirs = sandbox.dir().join(theirs);
        chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
        let said = sandbox.usherd(&[]).expect_code(78).stderr;
        assert!(said.contains(theirs.to_str().unwrap()), "{said}");
        assert!(said.contains("belong"), "{said}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "it left something there");
    }
}

#[test]
fn a_link_that_another_user_planted_on_the_way_is_not_followed() {
    if !is_root("a symbolic link that belongs to somebody else") {
        return;
    }
    let sandbox = super::bare();
    // As /tmp is: anybody may plant something there.
    let shared = sandbox.dir().join("shared");
    fs::create_dir(&shared).unwrap();
    sandbox.chmod(&shared, 0o1777);
    let ours = sandbox.dir().join("ours");
    fs::create_dir(&ours).unwrap();
    sandbox.chmod(&ours, 0o700);
    let link = shared.join("link");
    symlink(&ours, &link).unwrap();
    lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
    for place in ["link/usher.sock", "link/usher/usher.sock"] {
        sandbox.set_env("USHER_SOCKET", shared.join(place).to_str().unwrap());
        let said = sandbox.usherd(&[]).expect_code(78).stderr;
        assert!(said.contains(link.to_str().unwrap()), "{said}");
        assert_eq!(fs::read_dir(&ours).unwrap().count(), 0, "it made something there");
    }
}

//! The socket: whom it is for, where it lies, and that there is one daemon on it and never two.

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
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use usher_testkit::{PATIENCE, idp::FakeIdp, sandbox::Sandbox, usherd::Usherd};

use crate::support::{World, facts, frontdoor, is_root, refusal, sandbox};

/// Somebody else.
const NOBODY: u32 = 65_534;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// A sandbox with a configuration that does without an IdP.
fn bare() -> Sandbox {
    let sandbox = sandbox();
    sandbox.config("");
    sandbox
}

/// A path of `len` bytes, two directories below the sandbox's own.
fn long_path(sandbox: &Sandbox, len: usize) -> PathBuf {
    let start = format!("{}/run/", sandbox.dir().display());
    let path = format!("{start}{}/u.sock", "d".repeat(len - start.len() - "/u.sock".len()));
    assert_eq!(path.len(), len);
    path.into()
}

fn serves(usherd: &Usherd) {
    let _ = usherd.usher(&["status"]).expect_ok();
}

#[test]
fn directory_and_socket_are_for_their_owner_alone() {
    let usherd = bare().start();
    let socket = usherd.socket();
    assert_eq!((mode(socket.parent().unwrap()), mode(&socket)), (0o700, 0o600));
    serves(&usherd);
}

#[test]
fn a_directory_that_lets_others_in_is_refused() {
    let sandbox = bare();
    let directory = sandbox.dir().join("run/usher");
    fs::create_dir(&directory).unwrap();
    for open in [0o755, 0o710, 0o701, 0o770] {
        sandbox.chmod(&directory, open);
        let said = sandbox.usherd(&[]).expect_code(78).stderr;
        assert!(said.contains(&format!("{} has mode {open:04o}", directory.display())), "{said}");
        assert!(said.contains("chmod 700"), "{said}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "it left something there");
        assert_eq!(mode(&directory), open, "it changed the mode of what it did not make");
    }
}

#[test]
fn a_directory_under_one_that_others_can_write_is_refused() {
    let sandbox = bare();
    let runtime = sandbox.dir().join("run");
    sandbox.chmod(&runtime, 0o777);
    let said = sandbox.usherd(&[]).expect_code(78).stderr;
    assert!(said.contains(&format!("{} has mode 0777", runtime.display())), "{said}");
    assert!(!sandbox.socket().exists());
}

#[test]
fn a_path_of_200_bytes_is_told_by_both_and_nothing_is_made() {
    for len in [200, 108] {
        let sandbox = bare();
        let path = long_path(&sandbox, len);
        sandbox.set_env("USHER_SOCKET", path.to_str().unwrap());
        for output in [sandbox.usherd(&[]), sandbox.usher(&["token", "x"])] {
            let said = output.expect_code(78).stderr;
            for word in [&format!("{len} bytes"), "107", "USHER_SOCKET", path.to_str().unwrap()] {
                assert!(said.contains(word), "no {word} in: {said}");
            }
        }
        assert_eq!(refusal(&sandbox, &["x"], 78)["reason"], "SOCKET_PATH_INVALID");
        assert_eq!(fs::read_dir(sandbox.dir().join("run")).unwrap().count(), 0);
    }
}

#[test]
fn a_path_of_107_bytes_works() {
    let sandbox = bare();
    let path = long_path(&sandbox, 107);
    sandbox.set_env("USHER_SOCKET", path.to_str().unwrap());
    let usherd = sandbox.start();
    serves(&usherd);
    assert!(path.exists());
}

#[test]
fn a_relative_path_is_refused_by_both() {
    let sandbox = bare();
    sandbox.set_env("USHER_SOCKET", "run/u.sock");
    for output in [sandbox.usherd(&[]), sandbox.usher(&["status"])] {
        let said = output.expect_code(78).stderr;
        assert!(said.contains("USHER_SOCKET is run/u.sock") && said.contains("absolute"), "{said}");
    }
    assert_eq!(fs::read_dir(sandbox.dir().join("run")).unwrap().count(), 0);
}

#[test]
fn after_a_kill_the_stale_socket_is_replaced() {
    let world = World::new("");
    facts(&world.usherd, &["frontdoor"]);
    let sandbox = world.usherd.sandbox().clone();
    world.usherd.kill();
    assert!(sandbox.socket().exists(), "a killed daemon leaves its socket behind");
    assert_eq!(refusal(&sandbox, &["frontdoor"], 69)["reason"], "NOT_RUNNING");
    let usherd = sandbox.start();
    assert_eq!(facts(&usherd, &["frontdoor"])["source"], "fetched");
    assert!(usherd.stop().status.success());
    assert!(!sandbox.socket().exists(), "a stopped daemon takes its socket away");
}

#[test]
fn a_second_daemon_says_so_and_ends_while_the_first_keeps_serving() {
    let usherd = bare().start();
    let inode = fs::metadata(usherd.socket()).unwrap().ino();
    let said = usherd.start_second().expect_code(75).stderr;
    assert!(said.contains(&format!("another usherd (pid {}) already serves", usherd.pid())), "{said}");
    assert!(said.contains(usherd.socket().to_str().unwrap()), "{said}");
    serves(&usherd);
    assert_eq!(fs::metadata(usherd.socket()).unwrap().ino(), inode, "the socket was replaced");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let sandbox = bare();
    let (socket, target) = (sandbox.socket(), sandbox.file("precious", "precious"));
    fs::create_dir(socket.parent().unwrap()).unwrap();
    sandbox.chmod(socket.parent().unwrap(), 0o700);
    let refused = || {
        let said = sandbox.usherd(&[]).expect_code(78).stderr;
        assert!(said.contains(&format!("{} is not a socket", socket.display())), "{said}");
    };
    fs::write(&socket, "precious").unwrap();
    refused();
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    for leads_to in [target.as_path(), Path::new("/nowhere/at/all")] {
        fs::remove_file(&socket).unwrap();
        symlink(leads_to, &socket).unwrap();
        refused();
        assert_eq!(fs::read_link(&socket).unwrap(), leads_to);
    }
    assert_eq!(fs::read_to_string(target).unwrap(), "precious");
}

#[test]
fn of_20_daemons_started_at_once_one_serves() {
    let sandbox = bare();
    let starts: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> = (0..20).map(|_| scope.spawn(|| sandbox.try_start(&[]))).collect();
        starting.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let (serving, ended): (Vec<_>, Vec<_>) = starts.into_iter().partition(Result::is_ok);
    assert_eq!((serving.len(), ended.len()), (1, 19));
    for failure in ended.into_iter().filter_map(Result::err) {
        assert_eq!(failure.status.and_then(|status| status.code()), Some(75), "{failure}");
    }
    let status = crate::support::status(&sandbox, &[]);
    let pids: Vec<_> = serving.iter().flatten().map(Usherd::pid).collect();
    assert_eq!(status["pid"], pids[0]);
}

#[test]
fn without_a_daemon_usher_says_how_to_start_one() {
    let sandbox = bare();
    let error = refusal(&sandbox, &["frontdoor"], 69);
    assert_eq!(error["reason"], "NOT_RUNNING");
    let said = sandbox.usher(&["token", "frontdoor"]).expect_code(69).stderr;
    for word in ["usherd is not running", "systemctl --user start usherd", sandbox.socket().to_str().unwrap()]
    {
        assert!(said.contains(word), "no {word} in: {said}");
    }
}

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
    // Where everybody can run it.
    let program = usherd.dir().join("usher");
    fs::copy(env!("CARGO_BIN_EXE_usher"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(program)
        .args(["token", "frontdoor"])
        .env_clear()
        .env("USHER_SOCKET", usherd.socket())
        .env("USHER_SERVER_UID", "0")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    usherd.leaks().note("another user's stdout", &output.stdout);
    usherd.leaks().note("another user's stderr", &output.stderr);
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
fn as_nobody(path: &Path, listens: bool) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "socket::stand_in", "--nocapture"]).env("STAND_IN_PATH", path);
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
    let usherd = bare().start();
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
    serves(&usherd);
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

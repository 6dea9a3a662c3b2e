//! The socket: whom it is for, where it lies, and that there is one daemon on it and never two.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

pub(crate) mod race;
pub(crate) mod users;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    thread,
};

use usher_testkit::{sandbox::Sandbox, usherd::Usherd};

use crate::support::{World, facts, refusal, sandbox};

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
fn an_abstract_socket_which_anybody_could_use_is_no_place() {
    let sandbox = bare();
    for name in ["@usher", "@/run/usher.sock"] {
        sandbox.set_env("USHER_SOCKET", name);
        for output in [sandbox.usherd(&[]), sandbox.usher(&["status"])] {
            let said = output.expect_code(78).stderr;
            assert!(said.contains(&format!("USHER_SOCKET is {name}")) && said.contains("absolute"), "{said}");
        }
    }
}

#[test]
fn without_a_runtime_directory_it_lies_in_the_state_directory_and_never_in_tmp() {
    let uid = nix::unistd::geteuid();
    let state = |sandbox: &Sandbox| sandbox.dir().join("state/usher/run/usher.sock");
    for runtime in [None, Some(""), Some("relative/run"), Some("./run")] {
        let sandbox = bare();
        match runtime {
            Some(runtime) => sandbox.set_env("XDG_RUNTIME_DIR", runtime),
            None => sandbox.remove_env("XDG_RUNTIME_DIR"),
        }
        fs::create_dir(sandbox.dir().join("tmp")).unwrap();
        sandbox.set_env("TMPDIR", sandbox.dir().join("tmp").to_str().unwrap());
        if fs::metadata(format!("/run/user/{uid}")).is_ok_and(|meta| meta.uid() == uid.as_raw()) {
            // The user's own, where the user's own daemon may be: only looked for, never used here.
            let place = format!("/run/user/{uid}/usher/usher.sock");
            assert_eq!(sandbox.socket(), Path::new(&place));
            continue;
        }
        let said = sandbox.usher(&["token", "x"]).expect_code(69).stderr;
        assert!(said.contains(state(&sandbox).to_str().unwrap()), "{said}");
        let usherd = sandbox.start();
        serves(&usherd);
        assert!(state(&sandbox).exists());
        assert_eq!(mode(state(&sandbox).parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(sandbox.dir().join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn a_runtime_directory_that_is_none_is_told_by_both() {
    let sandbox = bare();
    let file = sandbox.file("no-directory", "precious");
    sandbox.set_env("XDG_RUNTIME_DIR", file.to_str().unwrap());
    for output in [sandbox.usherd(&[]), sandbox.usher(&["status"])] {
        assert!(!output.status.success());
        assert!(output.stderr.contains(file.to_str().unwrap()), "{}", output.stderr);
    }
    assert!(!sandbox.dir().join("state/usher").exists(), "it went elsewhere");
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
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
    fs::remove_file(&socket).unwrap();
    let inside = sandbox.file("run/usher/usher.sock/inside", "precious");
    refused();
    assert_eq!(fs::read_to_string(inside).unwrap(), "precious");
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

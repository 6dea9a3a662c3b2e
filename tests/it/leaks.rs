//! What is left of the daemon's memory, and who can look into it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is the failure of the test, and what is not tested has to be seen"
)]

use std::{
    fs,
    io::IoSliceMut,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
        uio::{RemoteIoVec, process_vm_readv},
    },
    unistd::{Pid, geteuid},
};
use usher_testkit::{PATIENCE, ca::Ca, idp::FakeIdp, usherd::Usherd};

use crate::support::{
    World, facts, frontdoor, sandbox,
    users::{NOBODY, usher_as},
};

/// Whether a program that is not protected leaves a core dump here.
fn dumps_cores(dir: &Path) -> bool {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    let unlimited = nix::libc::RLIM_INFINITY;
    let _ = setrlimit(Resource::RLIMIT_CORE, unlimited, unlimited)
        .or_else(|_| setrlimit(Resource::RLIMIT_CORE, hard, hard));
    let status = Command::new("sh").args(["-c", "kill -SEGV $$"]).current_dir(dir).status().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGSEGV as i32));
    let dumped = status.core_dumped();
    if !dumped {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        println!("SKIPPED: core dumps: none is made here: core_pattern is {pattern}");
        eprintln!(
            "\n*** SKIPPED, NOT TESTED: core dumps: none is made here: core_pattern is {pattern} ***\n"
        );
    }
    for core in cores(dir) {
        fs::remove_file(core).unwrap();
    }
    dumped
}

fn cores(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("core")).collect()
}

#[test]
fn a_daemon_that_crashes_leaves_no_core_dump_where_others_do() {
    for signal in [Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGQUIT, Signal::SIGBUS] {
        let world = World::new("");
        let dir = world.usherd.sandbox().dir().to_owned();
        if !dumps_cores(&dir) {
            return;
        }
        // It starts with the limits of this process.
        let usherd = world.usherd.sandbox().clone();
        world.usherd.kill();
        let usherd = usherd.start();
        facts(&usherd, &["frontdoor"]);
        usherd.signal(signal);
        // The first SIGSEGV of another process is caught by Rust's own handler, which looks for a stack
        // overflow; after that it is the kernel's.
        let _ = usherd.usher(&["status"]);
        usherd.signal(signal);
        let status = usherd.wait_exit(PATIENCE);
        assert_eq!(status.signal(), Some(signal as i32), "{status}");
        assert!(!status.core_dumped(), "{status}");
        assert_eq!(cores(&dir), Vec::<PathBuf>::new());
    }
}

/// A daemon whose user is somebody without privileges, with a secret and a token in its memory.
fn of_a_user() -> (Usherd, FakeIdp, u32) {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    let pem = sandbox.file("ca.pem", &fs::read_to_string(ca.pem()).unwrap());
    let config = frontdoor(&sandbox, &ca, &idp, "");
    sandbox.config(&config.replace(ca.pem().to_str().unwrap(), pem.to_str().unwrap()));
    let us = geteuid();
    let (launch, uid) = if us.is_root() {
        // Root may read everything.
        (sandbox.launch().as_user(NOBODY), NOBODY)
    } else {
        (sandbox.launch(), us.as_raw())
    };
    let usherd = launch.start().unwrap();
    let output = usher_as(uid, uid, &usherd, &["token", "frontdoor"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (usherd, idp, uid)
}

/// A process of the same user that is not protected.
struct Bystander(Child);

impl Bystander {
    fn of(uid: u32) -> Self {
        Self(Command::new("sleep").arg("1000").current_dir("/").uid(uid).gid(uid).spawn().unwrap())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: this binary as the daemon's user, started by [`peek`].
#[test]
fn stand_in() {
    let Ok(pid) = std::env::var("STAND_IN_PID") else { return };
    let mut byte = [0];
    // Nothing lies there: whoever may look is told so.
    let there = [RemoteIoVec { base: 8, len: 1 }];
    let read =
        process_vm_readv(Pid::from_raw(pid.parse().unwrap()), &mut [IoSliceMut::new(&mut byte)], &there);
    eprintln!("{}", read.unwrap_err());
}

/// What `process_vm_readv(2)` says to a process of this user.
fn peek(pid: u32, uid: u32) -> String {
    let output = Command::new("/proc/self/exe")
        .args(["--exact", "leaks::stand_in", "--nocapture"])
        .env("STAND_IN_PID", pid.to_string())
        .current_dir("/")
        .uid(uid)
        .gid(uid)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn run_as(uid: u32, command: &[&str]) -> Option<Output> {
    let mut program = Command::new(command[0]);
    program.args(&command[1..]).current_dir("/").env("HOME", "/").uid(uid).gid(uid).stdin(Stdio::null());
    program.output().ok()
}

#[test]
fn no_debugger_of_its_own_user_gets_at_its_memory() {
    let (usherd, _idp, uid) = of_a_user();
    let bystander = Bystander::of(uid);
    let guarded =
        fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|scope| scope.trim() != "0");
    if !guarded {
        let told = peek(bystander.0.id(), uid);
        assert!(told.contains("EFAULT"), "a process of theirs can be looked into: {told}");
    }
    let told = peek(usherd.pid(), uid);
    assert!(told.contains("EPERM"), "{told}");

    let pid = usherd.pid().to_string();
    for command in [
        &["strace", "-p", &pid][..],
        &["gdb", "-nx", "-batch", "-p", &pid, "-ex", "generate-core-file /dev/null"],
        &["gcore", "-o", "/tmp/usher-core", &pid],
    ] {
        let Some(output) = run_as(uid, command) else {
            // strace is always there; one of the three is enough to make the system call.
            assert_ne!(command[0], "strace", "strace cannot be run");
            continue;
        };
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(
            told.contains("Operation not permitted") || told.contains("ermission denied"),
            "{command:?}: {told}"
        );
        usherd.leaks().note(command[0], told.as_bytes());
    }
    for file in ["mem", "maps", "environ", "auxv", "syscall"] {
        let path = format!("/proc/{pid}/{file}");
        let read = run_as(uid, &["head", "-c1", &path]).unwrap();
        assert!(!read.status.success() && read.stdout.is_empty(), "{path} can be read");
        let told = String::from_utf8_lossy(&read.stderr);
        assert!(told.contains("denied") || told.contains("not permitted"), "{path}: {told}");
    }
    assert!(usher_as(uid, uid, &usherd, &["token", "frontdoor"]).status.success(), "it serves all the same");
}

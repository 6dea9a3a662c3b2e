//! A machine for one test: a real systemd, booted by systemd-nspawn in about a second, which runs one script and
//! powers off.
//!
//! `/usr` is this machine's; `/etc` and `/var` are empty, and nothing that happens there outlives it. Both
//! programs are in `/opt/usher/bin`, what the test brings is in `/src`, and the loopback interface is shared, so
//! that a [`FakeIdp`] of the test's process is there. The script is bash, with the helpers of `booted/prelude.sh`.
//! What it and the journal say goes to the leak scanner, and into the message where it fails.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    ca::write_private,
    idp::FakeIdp,
    leak::LeakScanner,
    process::{Input, Process},
};

/// Where the programs are; [`Machine::run`] and the prelude agree on it.
const BIN: &str = "/opt/usher/bin";

/// How long a machine may run. It has a crowded host.
const LIFETIME: Duration = Duration::from_secs(150);

/// Its number (capabilities(7)).
const CAP_SYS_ADMIN: u32 = 21;

/// The one unit that it is booted for.
const UNIT: &str = "\
[Unit]
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/bin/bash /src/main.sh
StandardOutput=file:/out/log
";

/// Runs the script and keeps how it ended, and what everybody else said meanwhile.
const MAIN: &str = "\
/bin/bash -eu -c 'source /src/prelude.sh; source /src/script.sh'
echo $? > /out/code
journalctl --no-pager -o short-monotonic > /out/journal 2>&1
";

/// A machine that is not running yet.
#[derive(Debug)]
pub struct Machine {
    source: TempDir,
    out: TempDir,
    usherd: PathBuf,
    usher: PathBuf,
    leaks: LeakScanner,
}

/// What was said and done in a machine that has powered off.
#[derive(Debug)]
pub struct Report {
    /// How the script ended; `None` if it did not.
    pub code: Option<i32>,
    /// What the script and what it called said.
    pub log: String,
    /// What everybody else said.
    pub journal: String,
}

/// What this machine lacks to boot another one; `None` if nothing.
pub fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    if effective >> CAP_SYS_ADMIN & 1 == 0 {
        return Some("the capability to mount, which a container may lack");
    }
    let there = |path: &&str| !Path::new(path).exists();
    ["/usr/bin/systemd-nspawn", "/usr/lib/systemd/systemd", "/usr/bin/python3"].into_iter().find(there)
}

impl Machine {
    /// A machine with these two programs.
    pub fn new(usherd: &str, usher: &str) -> Self {
        let directory = |prefix| tempfile::Builder::new().prefix(prefix).tempdir().expect("a directory");
        let machine = Self {
            source: directory("usher-src-"),
            out: directory("usher-out-"),
            usherd: usherd.into(),
            usher: usher.into(),
            leaks: LeakScanner::new(),
        };
        // Its other users read here.
        fs::set_permissions(machine.source.path(), Permissions::from_mode(0o755)).expect("chmod");
        machine.file("prelude.sh", include_str!("booted/prelude.sh"));
        machine.file("main.sh", MAIN);
        machine.file("run.service", UNIT);
        machine
    }

    /// A file that everybody finds in `/src`.
    pub fn file(&self, name: &str, contents: &str) {
        let path = self.source.path().join(name);
        fs::write(&path, contents).expect("write a file");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
    }

    /// A file that only root can read in `/src`. What is in it may show nowhere.
    pub fn secret(&self, name: &str, value: &str) {
        self.leaks.secret(name, value);
        write_private(&self.source.path().join(name), value.as_bytes());
    }

    /// The secrets of the IdP's clients and its tokens are secrets here.
    pub fn watch(&self, idp: &FakeIdp) {
        self.leaks.watch(idp);
    }

    /// Boots it, runs the script, and waits until it has powered off. Fails the test where a secret shows.
    pub fn run(&self, script: &str) -> Report {
        self.file("script.sh", script);
        let [source, out] = [&self.source, &self.out].map(|dir| dir.path().display().to_string());
        let name = Path::new(&source).file_name().expect("a name").to_string_lossy().replace('_', "-");
        let mut command = Command::new("systemd-nspawn");
        command
            .args(["-D", "/", "--volatile=yes", "--register=no", "--keep-unit", "--console=pipe", "--quiet"])
            .args(["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--hostname=booted"])
            .arg(format!("--machine={}", name.to_lowercase()))
            .arg(format!("--bind-ro={source}/run.service:/etc/systemd/system/run.service"))
            .arg(format!("--bind-ro={source}:/src"))
            .arg(format!("--bind={out}:/out"))
            .arg(format!("--bind-ro={}:{BIN}/usherd", self.usherd.display()))
            .arg(format!("--bind-ro={}:{BIN}/usher", self.usher.display()))
            .args(["-b", "systemd.unit=run.service", "systemd.firstboot=no"]);
        let process = Process::spawn(command, Input::Nothing).expect("start systemd-nspawn");
        let console = process.output(LIFETIME);
        let read = |name: &str| {
            let bytes = fs::read(self.out.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let code = read("code").trim().parse().ok();
        let report = Report { code, log: read("log"), journal: read("journal") };
        let console = console.map(|output| output.stdout + &output.stderr).unwrap_or_default();
        assert!(code.is_some(), "the script did not end\n{report}\n--- the console\n{console}");
        self.leaks.note("the script's output", &report.log);
        self.leaks.note("the journal", &report.journal);
        self.leaks.assert_clean();
        report
    }
}

impl Report {
    /// Itself if the script succeeded; panics with all that was said if not.
    #[must_use]
    pub fn expect_ok(self) -> Self {
        assert_eq!(self.code, Some(0), "the script failed\n{self}");
        self
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.journal.lines().filter(|line| line.contains("usher")).collect::<Vec<_>>();
        let tail = &lines[lines.len().saturating_sub(80)..];
        write!(f, "{}--- the journal about usher\n{}\n", self.log, tail.join("\n"))
    }
}

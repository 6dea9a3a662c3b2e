//! A private home for one test: its files, its environment, and runs of `usher` in it. When the last
//! handle goes, everything that was said in it is scanned for secrets.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;

use crate::{
    PATIENCE,
    ca::write_private,
    idp::FakeIdp,
    leak::LeakScanner,
    process::{Input, Output, Process},
};

pub use self::run::{Running, UsherCommand};

mod run;

/// Directories, environment and leak scanner of one test. Clones share them.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: TempDir,
    usherd: PathBuf,
    usher: PathBuf,
    leaks: LeakScanner,
    env: Mutex<Env>,
}

#[derive(Debug, Default)]
struct Env {
    both: BTreeMap<String, String>,
    daemon: BTreeMap<String, String>,
    /// Variables of the daemon that hold a secret because the test wants it so.
    secret: Vec<String>,
}

impl Sandbox {
    /// A new home for these two binaries: `env!("CARGO_BIN_EXE_usherd")` and `env!("CARGO_BIN_EXE_usher")`.
    pub fn new(usherd: impl Into<PathBuf>, usher: impl Into<PathBuf>) -> Self {
        let dir = tempfile::Builder::new().prefix("usher-").tempdir().expect("a temporary directory");
        for name in ["home", "run", "config/usher", "state", "secrets", "curl"] {
            private_dir(&dir.path().join(name));
        }
        let at = |name: &str| dir.path().join(name).to_str().expect("a UTF-8 path").to_owned();
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let both = BTreeMap::from([
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), at("home")),
            ("XDG_RUNTIME_DIR".to_owned(), at("run")),
            ("XDG_CONFIG_HOME".to_owned(), at("config")),
            ("XDG_STATE_HOME".to_owned(), at("state")),
            // A test that wants usherd to be started by usher says so.
            ("USHER_AUTOSTART".to_owned(), "0".to_owned()),
        ]);
        Self(Arc::new(Inner {
            dir,
            usherd: usherd.into(),
            usher: usher.into(),
            leaks: LeakScanner::new(),
            env: Mutex::new(Env { both, ..Env::default() }),
        }))
    }

    /// The sandbox's own directory.
    pub fn dir(&self) -> &Path {
        self.0.dir.path()
    }

    /// `$XDG_CONFIG_HOME/usher/config.toml`.
    pub fn config_path(&self) -> PathBuf {
        self.dir().join("config/usher/config.toml")
    }

    /// Writes the configuration, mode 0600.
    pub fn config(&self, toml: &str) -> PathBuf {
        write_private(&self.config_path(), toml.as_bytes());
        self.config_path()
    }

    /// Where usherd listens and `usher` looks, by the environment alone.
    pub fn socket(&self) -> PathBuf {
        let env = self.env_of_usher();
        usher_proto::socket::path(|name| env.get(name).map(Into::into)).expect("a socket path")
    }

    /// Writes a secret into a file of mode 0600 that a profile can name. It may show nowhere.
    pub fn secret(&self, name: &str, value: &str) -> PathBuf {
        self.0.leaks.secret(name, value);
        self.secret_file(name, value)
    }

    /// Writes a static API token into such a file. It may show in an answer and nowhere else.
    pub fn api_token(&self, name: &str, value: &str) -> PathBuf {
        self.0.leaks.token(name, value);
        self.secret_file(name, value)
    }

    /// Puts a secret into the daemon's environment, and nobody else's.
    pub fn secret_env(&self, variable: &str, value: &str) {
        self.0.leaks.secret(variable, value);
        let mut env = self.env();
        env.daemon.insert(variable.to_owned(), value.to_owned());
        env.secret.push(variable.to_owned());
    }

    /// Writes any file below [`Sandbox::dir`], mode 0600.
    pub fn file(&self, relative: &str, contents: &str) -> PathBuf {
        let path = self.dir().join(relative);
        private_dir(path.parent().expect("a file below the sandbox"));
        write_private(&path, contents.as_bytes());
        path
    }

    /// Changes the mode of a file: `chmod(path, 0o644)`.
    pub fn chmod(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// Sets a variable for both programs, from their next start on.
    pub fn set_env(&self, variable: &str, value: &str) {
        self.env().both.insert(variable.to_owned(), value.to_owned());
    }

    /// Takes a variable away from both programs: `XDG_RUNTIME_DIR`, say.
    pub fn remove_env(&self, variable: &str) {
        self.env().both.remove(variable);
    }

    /// The secrets of the IdP's clients and its tokens are secrets here.
    pub fn watch(&self, idp: &FakeIdp) {
        self.0.leaks.watch(idp);
    }

    /// The scanner of everything that happens here.
    pub fn leaks(&self) -> &LeakScanner {
        &self.0.leaks
    }

    /// `usher ARGS…`, to be given more or run.
    pub fn command(&self, args: &[&str]) -> UsherCommand {
        UsherCommand::new(self.clone(), args)
    }

    /// Runs `usher ARGS…` to its end.
    pub fn usher(&self, args: &[&str]) -> Output {
        self.command(args).run()
    }

    /// Starts `usher ARGS…`.
    pub fn spawn_usher(&self, args: &[&str]) -> Running {
        self.command(args).spawn()
    }

    /// Runs `usherd ARGS…` to its end: `--check-config`, or a daemon that is to refuse to start.
    pub fn usherd(&self, args: &[&str]) -> Output {
        let mut command = self.usherd_command();
        command.args(args);
        self.0.leaks.note("usherd argv", args.join(" "));
        let process = Process::spawn(command, Input::Nothing).expect("start usherd");
        let output = process.output(PATIENCE).expect("usherd to end by itself");
        self.0.leaks.note("usherd stdout", &output.stdout);
        self.0.leaks.note("usherd stderr", &output.stderr);
        output
    }

    pub(crate) fn usherd_command(&self) -> Command {
        self.usherd_command_by(&[], &self.0.usherd)
    }

    /// usherd from this file, started by a program that executes the rest of its arguments: strace, say.
    pub(crate) fn usherd_command_by(&self, wrapper: &[String], usherd: &Path) -> Command {
        let env = self.env();
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([usherd.as_os_str()]);
        let mut command = Command::new(words.next().expect("usherd at least"));
        command.args(words);
        command.env_clear().envs(&env.both).envs(&env.daemon).envs(coverage()).current_dir(self.dir());
        command
    }

    pub(crate) fn usherd_path(&self) -> &Path {
        &self.0.usherd
    }

    /// The program `usher`.
    pub fn usher_path(&self) -> &Path {
        &self.0.usher
    }

    /// The environment that `usher` gets here.
    pub fn env_of_usher(&self) -> BTreeMap<String, String> {
        self.env().both.clone()
    }

    /// An environment as `/proc` shows it, without what the test put there on purpose.
    pub(crate) fn without_declared(&self, environ: &str) -> String {
        let env = self.env();
        let declared = |entry: &&str| !env.secret.iter().any(|name| entry.starts_with(&format!("{name}=")));
        environ.split('\0').filter(declared).collect::<Vec<_>>().join("\n")
    }

    fn secret_file(&self, name: &str, value: &str) -> PathBuf {
        self.file(&format!("secrets/{name}"), value)
    }

    fn env(&self) -> MutexGuard<'_, Env> {
        self.0.env.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Programs built for coverage need to know where to write it.
fn coverage() -> Option<(String, String)> {
    std::env::var("LLVM_PROFILE_FILE").ok().map(|file| ("LLVM_PROFILE_FILE".to_owned(), file))
}

fn private_dir(path: &Path) {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // What was written to disk, and what the curl wrapper wrote down.
        for name in ["home", "run", "state", "curl"] {
            note_files(&self.leaks, self.dir.path(), &self.dir.path().join(name));
        }
        self.leaks.assert_clean();
    }
}

fn note_files(leaks: &LeakScanner, root: &Path, dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            note_files(leaks, root, &entry.path());
        } else if kind.is_file()
            && let Ok(contents) = fs::read(entry.path())
        {
            let place = entry.path().strip_prefix(root).unwrap_or(dir).display().to_string();
            leaks.note(&format!("the file {place}"), contents);
        }
    }
}

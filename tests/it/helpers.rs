//! Credential helpers, asked by the real clients: git, git-lfs, docker, skopeo, podman, buildah and kubectl, each with a home of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

mod docker;
mod git;
mod hostile;
mod kubectl;
mod lfs;
mod matching;
mod older_git;
mod place;
mod podman;
mod skopeo;
mod storing;

use std::{
    ffi::OsStr,
    io::Write as _,
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::Path,
    process::{Command, Stdio},
};

use usher_testkit::{ca::Ca, git_server, idp::FakeIdp, process::Output, programs::Age, sandbox::Sandbox};

use crate::support::frontdoor;

/// What a git server asks for in its 401.
const BEARER: &str = "Bearer realm=\"git\"";
const BASIC: &str = "Basic realm=\"git\"";

/// A profile whose token goes to `url`, under a user name where a token has to be a password.
fn owner(sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp, url: &str, username: &str) -> String {
    let loopback = if url.starts_with("http:") { "allow_loopback_http = true\n" } else { "" };
    frontdoor(sandbox, ca, idp, &format!("urls = [\"{url}\"]\nusername = \"{username}\"\n{loopback}"))
}

/// A real client in the sandbox's environment, with nothing else of this machine's but its `PATH`.
fn client(sandbox: &Sandbox, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(sandbox.env_of_usher()).current_dir(sandbox.dir().join("home"));
    command
}

/// The programs by whose names usher is a helper, before all others in the sandbox's `PATH`.
fn call_usher(sandbox: &Sandbox, names: &[&str]) {
    let bin = sandbox.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in names {
        symlink(sandbox.usher_path(), bin.join(name)).unwrap();
    }
    let path = &sandbox.env_of_usher()["PATH"];
    sandbox.set_env("PATH", &format!("{}:{path}", bin.display()));
}

/// Runs a client that reads `input`. None of its words may hold a secret.
fn run(sandbox: &Sandbox, command: Command, input: &str) -> Output {
    let name = name(&command);
    let output = answer(command, input);
    sandbox.leaks().note(&format!("stdout of {name}"), &output.stdout);
    sandbox.leaks().note(&format!("stderr of {name}"), &output.stderr);
    output
}

/// Runs a client that answers with a credential, because the test wants it so.
fn run_for_answer(sandbox: &Sandbox, command: Command, input: &str) -> Output {
    let name = name(&command);
    let output = answer(command, input);
    sandbox.leaks().note_answer(&format!("stdout of {name}"), &output.stdout);
    sandbox.leaks().note(&format!("stderr of {name}"), &output.stderr);
    output
}

fn answer(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_bytes().to_vec();
    // Whoever does not read is no error here.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    assert_eq!(output.status.signal(), None, "{command:?} was killed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn name(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().and_then(OsStr::to_str);
    name.unwrap_or("a client").to_owned()
}

/// What `usher helper ARGS…` answers to `input`.
fn helper(sandbox: &Sandbox, args: &[&str], input: impl Into<Vec<u8>>) -> Output {
    sandbox.command(&[&["helper"], args].concat()).stdin(input).answers_token().run()
}

/// The value that a line of git's protocol has.
fn value<'a>(answer: &'a str, key: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// A git of that age. Where there is none, says what is not tested.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what is not tested has to be seen")]
fn git_of(age: Age, what: &str) -> Option<std::path::PathBuf> {
    let git = usher_testkit::programs::git(age);
    if git.is_none() {
        println!("SKIPPED: {what}: there is no {age:?} git");
        eprintln!("\n*** SKIPPED, NOT TESTED: {what}: there is no {age:?} git; run tests/run once ***\n");
    }
    git
}

/// git, which asks usher, and nobody else.
struct Git<'a> {
    sandbox: &'a Sandbox,
    program: std::path::PathBuf,
}

impl<'a> Git<'a> {
    /// `helper` are the arguments of `usher helper git`.
    fn new(sandbox: &'a Sandbox, ca: &Ca, program: std::path::PathBuf, helper: &str) -> Self {
        let settings = format!(
            "[credential]\n\thelper = {usher} helper git {helper}\n[http]\n\tsslCAInfo = {ca}\n\
             [user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n\
             [advice]\n\tdetachedHead = false\n",
            usher = sandbox.usher_path().display(),
            ca = ca.pem().display(),
        );
        sandbox.file("home/.gitconfig", &settings);
        Self { sandbox, program }
    }

    /// `git ARGS…`, in the home.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = client(self.sandbox, &self.program);
        command.args(args).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        run(self.sandbox, self.command(args), "")
    }

    /// `git credential OPERATION`.
    fn credential(&self, operation: &str, input: &str) -> Output {
        run_for_answer(self.sandbox, self.command(&["credential", operation]), input)
    }
}

/// How the schemes of the requests that a server got follow one another.
fn schemes(server: &git_server::GitServer) -> Vec<String> {
    let scheme = |value: Option<String>| match value {
        Some(value) => value.split(' ').next().unwrap_or_default().to_owned(),
        None => "none".to_owned(),
    };
    server.authorizations().into_iter().map(scheme).collect()
}

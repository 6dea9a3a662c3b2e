//! Runs of `usher` in a sandbox, whose every word goes to the leak scanner.

use std::{collections::BTreeMap, process::Command, time::Duration};

use nix::sys::signal::Signal;

use super::{Sandbox, coverage};
use crate::{
    PATIENCE,
    process::{Input, Output, Process, text},
};

/// The verbs whose stdout is a token because the user asked for one.
const ANSWERS: [&str; 2] = ["token", "header"];

/// `usher ARGS…`, not yet started.
#[derive(Debug)]
#[must_use]
pub struct UsherCommand {
    sandbox: Sandbox,
    args: Vec<String>,
    wrapper: Vec<String>,
    env: BTreeMap<String, String>,
    stdin: Option<Vec<u8>>,
    answer: bool,
    /// Variables that hold a secret because the test wants it so.
    secret: BTreeMap<String, String>,
    masks: bool,
}

/// `usher ARGS…`, started. Killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    process: Process,
    sandbox: Sandbox,
    name: String,
    answer: bool,
    masks: bool,
    noted: bool,
}

impl UsherCommand {
    pub(super) fn new(sandbox: Sandbox, args: &[&str]) -> Self {
        let verb = args.iter().find(|arg| !arg.starts_with('-'));
        let answer = verb.is_some_and(|verb| ANSWERS.contains(verb));
        let env = sandbox.env_of_usher();
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let (secret, masks) = (BTreeMap::new(), false);
        Self { sandbox, args, wrapper: Vec::new(), env, stdin: None, answer, secret, masks }
    }

    /// It is started by a program that executes the rest of its arguments: nohup, say.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// One more variable.
    pub fn env(mut self, variable: &str, value: &str) -> Self {
        self.env.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// One more variable, with a secret in it: it may show nowhere else.
    pub fn secret_env(mut self, variable: &str, value: &str) -> Self {
        self.sandbox.leaks().secret(variable, value);
        self.secret.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// It tells a CI runner on stderr, too, what to mask.
    pub fn masks_token(mut self) -> Self {
        self.masks = true;
        self
    }

    /// One variable less.
    pub fn env_remove(mut self, variable: &str) -> Self {
        self.env.remove(variable);
        self
    }

    /// What it reads; nothing by default.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(input.into());
        self
    }

    /// Its stdout is a token that was asked for. `token` and `header` need not say so.
    pub fn answers_token(mut self) -> Self {
        self.answer = true;
        self
    }

    /// Runs it to its end; panics when it does not end.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(self) -> Running {
        let Self { sandbox, args, wrapper, env, stdin, answer, secret, masks } = self;
        let verb = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
        let name = format!("usher {verb}");
        sandbox.leaks().note(&format!("argv of {name}"), args.join("\n"));
        for (variable, value) in &env {
            sandbox.leaks().note(&format!("environment of {name}"), format!("{variable}={value}"));
        }
        let usher = sandbox.usher_path().as_os_str();
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([usher]);
        let mut command = Command::new(words.next().unwrap_or(usher));
        command
            .args(words)
            .args(&args)
            .env_clear()
            .envs(&env)
            .envs(&secret)
            .envs(coverage())
            .current_dir(sandbox.dir());
        let process =
            Process::spawn(command, stdin.map_or(Input::Nothing, Input::Bytes)).expect("start usher");
        Running { process, sandbox, name, answer, masks, noted: false }
    }
}

impl Running {
    /// Waits for its end; panics when it does not come.
    pub fn wait(self) -> Output {
        self.wait_for(PATIENCE)
    }

    /// Waits that long for its end.
    pub fn wait_for(mut self, timeout: Duration) -> Output {
        let output = self.process.output(timeout);
        let output = output.unwrap_or_else(|| panic!("{} did not end within {timeout:?}", self.name));
        self.note(&output.stdout, &output.stderr);
        output
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid().as_raw().unsigned_abs()
    }

    /// Sends it a signal; does nothing if it has ended.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until it has said `needle` on stderr; panics with what it said when it never does.
    pub fn wait_for_stderr(&self, needle: &str) {
        let state = self.process.state();
        let found = state.wait(PATIENCE, |state| text(&state.stderr).contains(needle).then_some(()));
        let said = || state.read(|state| text(&state.stderr));
        assert!(found.is_some(), "{} never said {needle:?}, but:\n{}", self.name, said());
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.process.state().read(|state| state.exit().is_none())
    }

    fn note(&mut self, stdout: &str, stderr: &str) {
        let leaks = self.sandbox.leaks();
        let place = format!("stdout of {}", self.name);
        if self.answer {
            leaks.note_answer(&place, stdout);
        } else {
            leaks.note(&place, stdout);
        }
        let place = format!("stderr of {}", self.name);
        if self.masks {
            leaks.note_answer(&place, stderr);
        } else {
            leaks.note(&place, stderr);
        }
        self.noted = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.noted {
            return;
        }
        self.process.signal(Signal::SIGKILL);
        let (stdout, stderr) = match self.process.output(PATIENCE) {
            Some(output) => (output.stdout, output.stderr),
            None => self.process.state().read(|state| (text(&state.stdout), text(&state.stderr))),
        };
        self.note(&stdout, &stderr);
    }
}

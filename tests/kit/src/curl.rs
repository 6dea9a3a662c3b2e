//! A wrapper around the real curl that writes down how it was called: argv and environment are where
//! a token must never be.

use std::{fs, path::PathBuf};

use crate::sandbox::Sandbox;

/// A `curl` that stands before the real one in a sandbox's `PATH`. What it writes down is scanned for
/// secrets when the sandbox goes.
#[derive(Debug)]
pub struct CurlSpy {
    records: PathBuf,
}

/// One call of curl.
#[derive(Debug, Clone)]
pub struct CurlCall {
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
}

impl CurlSpy {
    /// Puts the wrapper in; panics if there is no curl to wrap.
    pub fn install(sandbox: &Sandbox) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let real = std::env::split_paths(&path).map(|dir| dir.join("curl")).find(|curl| curl.is_file());
        let real = real.expect("curl is not installed: run tests/run once, it installs what the tests need");
        let records = sandbox.dir().join("curl");
        let script = format!(
            "#!/bin/sh\n\
             : >'{records}'/$$.args\n\
             for arg; do printf '%s\\0' \"$arg\" >>'{records}'/$$.args; done\n\
             cat /proc/$$/environ >'{records}'/$$.env\n\
             exec '{real}' \"$@\"\n",
            records = records.display(),
            real = real.display(),
        );
        let wrapper = sandbox.file("curl-spy/curl", &script);
        sandbox.chmod(&wrapper, 0o700);
        sandbox.set_env("PATH", &format!("{}:{path}", sandbox.dir().join("curl-spy").display()));
        Self { records }
    }

    /// Every call until now, in no particular order.
    pub fn calls(&self) -> Vec<CurlCall> {
        let files = fs::read_dir(&self.records).expect("the records").flatten().map(|entry| entry.path());
        files
            .filter(|file| file.extension().is_some_and(|extension| extension == "args"))
            .map(|file| CurlCall { args: list(&file), env: list(&file.with_extension("env")) })
            .collect()
    }
}

fn list(file: &std::path::Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    text.split_terminator('\0').map(str::to_owned).collect()
}

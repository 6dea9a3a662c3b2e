//! Where secrets come from. One file per kind of source; each reads anew whenever it is asked.

mod command;
mod credential;
mod file;

use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use crate::{
    domain::secret::{ExposeSecret as _, SecretRef, SecretString},
    token::ports::{self, SecretError, Secrets},
};

/// How long a source may take: a network file system can hang for ever.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest secret, in bytes.
const MAX_SECRET: usize = 64 * 1024;

/// All sources.
#[derive(Default)]
pub struct Sources {
    /// What was taken out of the environment at the start.
    environment: HashMap<String, SecretString>,
    /// Where systemd has put credentials.
    credentials: Option<OsString>,
    /// What is being read. Whoever asks meanwhile shares the reading: a file that hangs holds up one
    /// thread, however many ask for it, and a program runs once for all of them.
    readings: Arc<Mutex<HashMap<SecretRef, Reading>>>,
}

type Reading = Shared<BoxFuture<'static, Result<SecretString, SecretError>>>;

impl Sources {
    /// With the secrets that were taken out of the environment, and `$CREDENTIALS_DIRECTORY`.
    pub fn new(environment: HashMap<String, SecretString>, credentials: Option<OsString>) -> Self {
        Self { environment, credentials, readings: Arc::default() }
    }

    fn variable(&self, name: &str) -> Result<SecretString, SecretError> {
        match self.environment.get(name) {
            Some(secret) => secret_in(secret.expose_secret().as_bytes())
                .map_err(|what| SecretError(format!("the variable {name} {what}"))),
            None => Err(SecretError(format!(
                "the variable {name} was not in usherd's environment when it started (if usher started it: it \
                 passes no variables of its caller's on); start usherd yourself with it set, or use a file"
            ))),
        }
    }

    fn read(&self, reference: &SecretRef) -> Reading {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = readings.get(reference) {
            return reading.clone();
        }
        // Waits for the lock, and so takes away what is only put there below.
        let done = Done { readings: Arc::clone(&self.readings), reference: reference.clone() };
        let task = match reference.clone() {
            SecretRef::Command(argv) => tokio::spawn(async move {
                let _done = done;
                command::run(argv).await
            }),
            file_or_credential => {
                let directory = self.credentials.clone();
                tokio::task::spawn_blocking(move || {
                    let _done = done;
                    match file_or_credential {
                        SecretRef::Credential(name) => credential::read(directory.as_deref(), &name),
                        SecretRef::File(path) => file::read(&path),
                        // Neither is ever read here.
                        other @ (SecretRef::Env(_) | SecretRef::Command(_)) => {
                            Err(SecretError(format!("{other} is no file")))
                        }
                    }
                })
            }
        };
        let broken_off = || Err(SecretError("reading it was broken off".to_owned()));
        let reading = task.map(move |read| read.unwrap_or_else(|_| broken_off())).boxed().shared();
        readings.insert(reference.clone(), reading.clone());
        reading
    }
}

/// Ends a reading, also one that panics.
struct Done {
    readings: Arc<Mutex<HashMap<SecretRef, Reading>>>,
    reference: SecretRef,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.reference);
    }
}

impl Secrets for Sources {
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretRef,
    ) -> ports::BoxFuture<'a, Result<SecretString, SecretError>> {
        Box::pin(async move {
            if let SecretRef::Env(name) = reference {
                return self.variable(name);
            }
            // A command has a deadline of its own, at which it is killed.
            let patience = DEADLINE + Duration::from_secs(1);
            match tokio::time::timeout(patience, self.read(reference)).await {
                Ok(read) => read,
                Err(_) => Err(SecretError(format!("{reference} did not answer within 10 s"))),
            }
        })
    }

    fn check<'a>(&'a self, reference: &'a SecretRef) -> ports::BoxFuture<'a, Result<(), SecretError>> {
        Box::pin(async move {
            match reference {
                // It may ask a person something: it is run only when a token is wanted.
                SecretRef::Command(argv) => command::check(argv),
                other => self.resolve(other).await.map(drop),
            }
        })
    }
}

/// The secret in what a source holds: text, without the one line end that editors and `echo` leave.
fn secret_in(bytes: &[u8]) -> Result<SecretString, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let secret = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if secret.is_empty() { Err("is empty") } else { Ok(SecretString::from(secret)) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_whenever_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let (sources, reference) = (Sources::default(), SecretRef::File(path.clone()));
        for secret in ["one", "two"] {
            fs::write(&path, secret).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let (first, second) = tokio::join!(sources.resolve(&reference), sources.resolve(&reference));
            assert_eq!(first.unwrap().expose_secret(), secret);
            assert_eq!(second.unwrap().expose_secret(), secret);
        }
        assert!(sources.readings.lock().unwrap().is_empty());
    }
}

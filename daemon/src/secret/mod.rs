//! Where secrets come from. One file per kind of source; each reads anew whenever it is asked.

mod file;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use crate::{
    domain::secret::{SecretRef, SecretString},
    token::ports::{self, SecretError, Secrets},
};

/// How long a source may take: a network file system can hang for ever.
const DEADLINE: Duration = Duration::from_secs(10);

/// All sources.
#[derive(Default)]
pub struct Sources {
    /// What was taken out of the environment at the start.
    environment: HashMap<String, SecretString>,
    /// Files that are being read. Whoever asks meanwhile shares the reading: a file that hangs holds up
    /// one thread, however many ask for it.
    readings: Arc<Mutex<HashMap<PathBuf, Reading>>>,
}

type Reading = Shared<BoxFuture<'static, Result<SecretString, SecretError>>>;

impl Sources {
    /// With the secrets that were taken out of the environment.
    pub fn new(environment: HashMap<String, SecretString>) -> Self {
        Self { environment, readings: Arc::default() }
    }

    fn variable(&self, name: &str) -> Result<SecretString, SecretError> {
        match self.environment.get(name) {
            Some(secret) => Ok(secret.clone()),
            None => Err(SecretError(format!(
                "the variable {name} was not in usherd's environment when it started; set it there and \
                 restart usherd, or use a file"
            ))),
        }
    }

    fn file(&self, path: &Path) -> Reading {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = readings.get(path) {
            return reading.clone();
        }
        // Waits for the lock, and so takes away what is only put there below.
        let done = Done { readings: Arc::clone(&self.readings), path: path.to_owned() };
        let reading = tokio::task::spawn_blocking(move || file::read(&done.path))
            .map(|read| read.unwrap_or_else(|_| Err(SecretError("reading it was broken off".to_owned()))))
            .boxed()
            .shared();
        readings.insert(path.to_owned(), reading.clone());
        reading
    }
}

/// Ends a reading, also one that panics.
struct Done {
    readings: Arc<Mutex<HashMap<PathBuf, Reading>>>,
    path: PathBuf,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

impl Secrets for Sources {
    fn resolve<'a>(
        &'a self,
        reference: &'a SecretRef,
    ) -> ports::BoxFuture<'a, Result<SecretString, SecretError>> {
        Box::pin(async move {
            match reference {
                SecretRef::Env(name) => self.variable(name),
                SecretRef::File(path) => match tokio::time::timeout(DEADLINE, self.file(path)).await {
                    Ok(read) => read,
                    Err(_) => Err(SecretError(format!("{reference} did not answer within 10 s"))),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::domain::secret::ExposeSecret as _;

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

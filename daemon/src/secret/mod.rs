//! Where secrets come from. One file per kind of source; each reads anew whenever it is asked.

mod file;

use std::{collections::HashMap, time::Duration};

use crate::{
    domain::secret::{SecretRef, SecretString},
    token::ports::{BoxFuture, SecretError, Secrets},
};

/// How long a source may take: a network file system can hang for ever.
const DEADLINE: Duration = Duration::from_secs(10);

/// All sources.
#[derive(Default)]
pub struct Sources {
    /// What was taken out of the environment at the start.
    environment: HashMap<String, SecretString>,
}

impl Sources {
    /// With the secrets that were taken out of the environment.
    pub fn new(environment: HashMap<String, SecretString>) -> Self {
        Self { environment }
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
}

impl Secrets for Sources {
    fn resolve<'a>(&'a self, reference: &'a SecretRef) -> BoxFuture<'a, Result<SecretString, SecretError>> {
        Box::pin(async move {
            match reference {
                SecretRef::Env(name) => self.variable(name),
                SecretRef::File(path) => {
                    let path = path.clone();
                    let read = tokio::task::spawn_blocking(move || file::read(&path));
                    match tokio::time::timeout(DEADLINE, read).await {
                        Ok(Ok(result)) => result,
                        Ok(Err(_)) => Err(SecretError(format!("reading {reference} was broken off"))),
                        Err(_) => Err(SecretError(format!("{reference} did not answer within 10 s"))),
                    }
                }
            }
        })
    }
}

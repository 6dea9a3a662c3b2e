//! What is on disk: tokens and budgets, each key in a file of its own, and credentials that helpers store; encrypted,
//! replaced as a whole.
//!
//! - [`open`](mod@open): the directory, the key, and whether they belong together
//! - [`header`]: what the store says of itself: its format, and where its key comes from
//! - [`seal`]: names and contents of files, by the key
//! - [`format`](mod@format): a record as bytes
//! - [`credentials`]: what helpers store
//! - [`disk`]: what is asked of a file system
//! - [`files`]: reading all of them, replacing one, and putting aside what is damaged
//!
//! No token waits for this: all of it runs in threads of its own, and what fails is tried again.

mod credentials;
mod disk;
mod files;
mod format;
mod header;
mod open;
mod seal;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{error, info};

use self::{
    files::{Files, Unwritten},
    open::open,
    seal::Sealer,
};
use crate::{
    domain::{
        record::{KeyId, Record},
        secret::SecretRef,
    },
    os::store::DiskDirectory,
    token::ports::{Archive, ArchiveState, BoxFuture, Kept, Secrets},
};

/// Where a store is, and where its key comes from.
#[derive(Debug, Clone)]
pub struct Location {
    /// Its directory.
    pub directory: PathBuf,
    /// Its key.
    pub key: SecretRef,
}

/// Whether a store could have this key. Why not is told for people.
pub async fn check_key(secrets: &dyn Secrets, key: &SecretRef) -> Result<(), String> {
    let secret = secrets.resolve(key).await.map_err(|error| error.to_string())?;
    Sealer::new(&secret).map(drop).map_err(|error| format!("{key} {error}"))
}

/// The store. It opens itself when it is first asked for something, and tries again for as long as that fails.
pub struct Store {
    location: Location,
    secrets: Arc<dyn Secrets>,
    boot_id: Option<String>,
    open: tokio::sync::Mutex<Option<Arc<Files<DiskDirectory>>>>,
    trouble: Mutex<Option<String>>,
}

impl Store {
    /// The store there. `boot_id` tells this boot of the machine from others; none: it cannot be told.
    pub fn new(location: Location, secrets: Arc<dyn Secrets>, boot_id: Option<String>) -> Self {
        Self { location, secrets, boot_id, open: tokio::sync::Mutex::default(), trouble: Mutex::default() }
    }

    async fn files(&self) -> Result<Arc<Files<DiskDirectory>>, String> {
        let mut open_already = self.open.lock().await;
        if let Some(files) = &*open_already {
            return Ok(Arc::clone(files));
        }
        let files = open(&self.location, &*self.secrets, self.boot_id.clone()).await?;
        Ok(Arc::clone(open_already.insert(Arc::new(files))))
    }

    /// What is in the way now, if anything is. It is told once.
    fn note(&self, trouble: Option<String>) {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*noted, &trouble) {
            (before, Some(trouble)) if before.as_ref() != Some(trouble) => {
                error!("tokens are kept in memory only: {trouble}");
            }
            (Some(_), None) => info!("tokens are kept on disk again"),
            _ => {}
        }
        *noted = trouble;
    }

    async fn read(&self) -> Result<Vec<Kept>, String> {
        let files = self.files().await?;
        let read = tokio::task::spawn_blocking(move || files.read());
        read.await.map_err(|_| "reading the store was broken off".to_owned())?
    }

    async fn write(&self, changes: Vec<(KeyId, Option<Record>)>) -> Result<(), Unwritten> {
        let ids: Vec<_> = changes.iter().map(|(id, _)| id.clone()).collect();
        let files = match self.files().await {
            Ok(files) => files,
            Err(why) => return Err(Unwritten { ids, why, is_gone: false }),
        };
        let written = tokio::task::spawn_blocking(move || files.write(changes)).await;
        let why = || "writing to the store was broken off".to_owned();
        let mut written = written.unwrap_or_else(|_| Err(Unwritten { ids, why: why(), is_gone: false }));
        if let Err(unwritten) = &mut written {
            let directory = self.location.directory.display();
            unwritten.why = format!("the store in {directory} cannot be written: {}", unwritten.why);
        }
        if written.as_ref().is_err_and(|unwritten| unwritten.is_gone) {
            self.close().await;
        }
        written
    }

    /// Somebody has removed the directory: the next try makes another.
    async fn close(&self) {
        *self.open.lock().await = None;
    }

    fn has_weak_key(&self) -> bool {
        matches!(self.location.key, SecretRef::File(_))
    }
}

impl Archive for Store {
    fn load(&self) -> BoxFuture<'_, Option<Vec<Kept>>> {
        Box::pin(async move {
            let read = self.read().await;
            self.note(read.as_ref().err().cloned());
            read.ok()
        })
    }

    fn keep(&self, changes: Vec<(KeyId, Option<Record>)>) -> BoxFuture<'_, Vec<KeyId>> {
        Box::pin(async move {
            let unwritten = self.write(changes).await.err();
            let (failed, trouble) = unwritten.map(|unwritten| (unwritten.ids, unwritten.why)).unzip();
            self.note(trouble);
            failed.unwrap_or_default()
        })
    }

    fn state(&self) -> ArchiveState {
        ArchiveState {
            place: self.location.directory.display().to_string(),
            key: self.location.key.to_string(),
            weak_key: self.has_weak_key(),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

//! Stored credentials as files of the store: one each, sealed and replaced as tokens are, but written while somebody waits.

use std::{io, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Store,
    disk::Disk,
    files::{Files, Kind},
    seal::Sealer,
};
use crate::{
    credential::ports::Safe,
    domain::{
        credential::{Credential, CredentialKey, Secret, Stored},
        place::Site,
        secret::{ExposeSecret as _, SecretString},
    },
    os::store::DiskDirectory,
    token::ports::{ArchiveState, BoxFuture},
};

/// The ending of a credential's file.
pub(super) const CREDENTIAL: &str = ".credential";
/// No file of a credential is larger, in bytes: more than a request to keep one can be, escaped.
const MAX_FILE: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Written {
    collection: String,
    host: String,
    path: Option<String>,
    /// There is one user: the name is not part of what the credential is called.
    #[serde(default)]
    is_sole: bool,
    username: String,
    stored_at: Duration,
    /// Not there: `secret` is a password.
    authtype: Option<String>,
    secret: Zeroizing<String>,
    expires_at: Option<Duration>,
    oauth_refresh_token: Option<Zeroizing<String>>,
}

fn encode((key, credential): &Stored) -> Zeroizing<Vec<u8>> {
    let text = |secret: &SecretString| Zeroizing::new(secret.expose_secret().to_owned());
    let (authtype, secret) = match &credential.secret {
        Secret::Password(password) => (None, text(password)),
        Secret::Header { authtype, credential } => (Some(authtype.clone()), text(credential)),
    };
    let written = Written {
        collection: key.collection.clone(),
        host: key.site.host.clone(),
        path: key.site.path.clone(),
        is_sole: key.username != credential.username,
        username: credential.username.clone(),
        stored_at: credential.stored_at,
        authtype,
        secret,
        expires_at: credential.expires_at,
        oauth_refresh_token: credential.oauth_refresh_token.as_ref().map(text),
    };
    // Large enough for all of it, escaped: a buffer that grows leaves copies behind.
    let refresh = written.oauth_refresh_token.as_ref().map_or(0, |token| token.len());
    let mut bytes = Zeroizing::new(Vec::with_capacity(6 * (written.secret.len() + refresh) + 8192));
    // Strings and numbers into memory: there is nothing that could fail.
    let _ = serde_json::to_writer(&mut *bytes, &written);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Stored> {
    let written: Written = serde_json::from_slice(bytes).ok()?;
    let secret = SecretString::from(written.secret.as_str());
    let key = CredentialKey {
        collection: written.collection,
        site: Site { host: written.host, path: written.path },
        username: if written.is_sole { String::new() } else { written.username.clone() },
    };
    let credential = Credential {
        username: written.username,
        stored_at: written.stored_at,
        secret: match written.authtype {
            Some(authtype) => Secret::Header { authtype, credential: secret },
            None => Secret::Password(secret),
        },
        expires_at: written.expires_at,
        oauth_refresh_token: written.oauth_refresh_token.map(|token| token.as_str().into()),
    };
    Some((key, Arc::new(credential)))
}

fn name(sealer: &Sealer, key: &CredentialKey) -> String {
    let CredentialKey { collection, site: Site { host, path }, username } = key;
    // Debug quotes each of them: no two keys are written alike, and none as a token's.
    sealer.name(&format!("credential {collection:?} {host:?} {path:?} {username:?}"))
}

impl<D: Disk> Files<D> {
    pub(super) fn read_credentials(&self) -> Result<Vec<Stored>, String> {
        let kind = Kind { ending: CREDENTIAL, max_file: MAX_FILE, is_spare: false };
        self.read_all(&kind, |stem, sealed| {
            let stored = decode(&self.sealer.unseal(stem, sealed)?)?;
            // What is in it has to be what it is called.
            (name(&self.sealer, &stored.0) == stem).then_some(stored)
        })
    }

    pub(super) fn put_credential(&self, stored: &Stored) -> io::Result<()> {
        let stem = name(&self.sealer, &stored.0);
        let sealed = self.sealer.seal(&stem, encode(stored)).map_err(io::Error::other)?;
        self.disk.persist(self.disk.create(&sealed)?, &format!("{stem}{CREDENTIAL}"))?;
        self.disk.sync()
    }

    pub(super) fn remove_credentials(&self, keys: &[CredentialKey]) -> io::Result<()> {
        let names = keys.iter().map(|key| format!("{}{CREDENTIAL}", name(&self.sealer, key)));
        let removed: Vec<_> = names.map(|name| self.disk.remove(&name)).collect();
        removed.into_iter().collect::<io::Result<()>>()?;
        self.disk.sync()
    }
}

impl Store {
    /// Whether there is a directory, or whatever keeps us from knowing: without one nothing is stored.
    async fn is_there(&self) -> bool {
        let directory = self.location.directory.clone();
        let found = tokio::task::spawn_blocking(move || directory.symlink_metadata());
        !found.await.is_ok_and(|found| found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
    }

    /// Has `work` done on the files in a thread of its own; once more where somebody has removed the directory.
    async fn on_files<T: Send + 'static>(
        &self,
        work: impl Fn(&Files<DiskDirectory>) -> io::Result<T> + Clone + Send + 'static,
    ) -> Result<T, String> {
        let mut is_first = true;
        loop {
            let (files, work) = (self.files().await?, work.clone());
            let done = tokio::task::spawn_blocking(move || work(&files)).await;
            match done.unwrap_or_else(|_| Err(io::Error::other("it was broken off"))) {
                Err(error) if is_first && error.kind() == io::ErrorKind::NotFound => self.close().await,
                done => {
                    let directory = self.location.directory.display();
                    return done.map_err(|error| format!("the store in {directory} fails: {error}"));
                }
            }
            is_first = false;
        }
    }
}

impl Safe for Store {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Stored>, String>> {
        Box::pin(async move {
            if !self.is_there().await {
                return Ok(Vec::new());
            }
            self.on_files(|files| files.read_credentials().map_err(io::Error::other)).await
        })
    }

    fn put(&self, stored: Stored) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.on_files(move |files| files.put_credential(&stored)))
    }

    fn remove(&self, keys: Vec<CredentialKey>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            if !self.is_there().await {
                return Ok(());
            }
            self.on_files(move |files| files.remove_credentials(&keys)).await
        })
    }

    fn state(&self) -> ArchiveState {
        ArchiveState {
            place: self.location.directory.display().to_string(),
            key: self.location.key.to_string(),
            weak_key: self.has_weak_key(),
            trouble: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(username: &str, secret: Secret) -> Stored {
        let key = CredentialKey {
            collection: "git".into(),
            site: Site { host: "https://git.example.com".into(), path: Some("a.git".into()) },
            username: if username == "alice" { username.into() } else { String::new() },
        };
        let credential = Credential {
            username: username.into(),
            stored_at: Duration::from_secs(7),
            secret,
            expires_at: Some(Duration::from_secs(1_900_000_000)),
            oauth_refresh_token: Some("refresh".into()),
        };
        (key, Arc::new(credential))
    }

    #[test]
    fn a_credential_comes_back_as_it_was() {
        for (username, secret) in [
            ("alice", Secret::Password("pass\n\"word\u{e4}".into())),
            ("alice", Secret::Header { authtype: "Bearer".into(), credential: "token".into() }),
            ("whose name is none of the key's", Secret::Password("p".into())),
        ] {
            let before = stored(username, secret);
            let (key, after) = decode(&encode(&before)).unwrap();
            assert_eq!(key, before.0);
            assert_eq!(after.expires_at, before.1.expires_at);
            assert_eq!((after.username.as_str(), after.stored_at), (username, before.1.stored_at));
            assert_eq!(after.oauth_refresh_token.as_ref().unwrap().expose_secret(), "refresh");
            match (&before.1.secret, &after.secret) {
                (Secret::Password(one), Secret::Password(other)) => {
                    assert_eq!(one.expose_secret(), other.expose_secret());
                }
                (Secret::Header { authtype: one, .. }, Secret::Header { authtype: other, credential }) => {
                    assert_eq!((one, credential.expose_secret()), (other, "token"));
                }
                _ => panic!("another kind of secret"),
            }
        }
    }

    #[test]
    fn what_a_newer_usherd_adds_is_passed_over_and_junk_is_none() {
        let bytes = encode(&stored("alice", Secret::Password("p".into())));
        let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        value["more"] = 1.into();
        assert!(decode(value.to_string().as_bytes()).is_some());
        for junk in [&b""[..], b"{}", b"null", b"\xff"] {
            assert!(decode(junk).is_none());
        }
    }
}

//! Stored credentials on the file system.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use super::real::Home;
use crate::{
    credential::ports::Safe,
    domain::{
        credential::{Credential, CredentialKey, Secret, Stored},
        place::Site,
        secret::ExposeSecret as _,
    },
    store::Store,
    token::ports::Archive,
};

fn key(username: &str) -> CredentialKey {
    let site = Site { host: "https://git.example.com".into(), path: None };
    CredentialKey { collection: "git".into(), site, username: username.into() }
}

fn stored(username: &str, password: &str) -> Stored {
    let credential = Credential {
        username: username.into(),
        secret: Secret::Password(password.into()),
        expires_at: None,
        oauth_refresh_token: None,
        stored_at: std::time::Duration::ZERO,
    };
    (key(username), Arc::new(credential))
}

/// Users and passwords.
async fn all(store: &Store) -> Result<Vec<(String, String)>, String> {
    let mut all: Vec<_> = Safe::load(store)
        .await?
        .into_iter()
        .map(|(key, credential)| match &credential.secret {
            Secret::Password(password) => (key.username, password.expose_secret().to_owned()),
            Secret::Header { .. } => panic!("no password"),
        })
        .collect();
    all.sort();
    Ok(all)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, password)| ((*name).to_owned(), (*password).to_owned())).collect()
}

#[tokio::test]
async fn credentials_last_are_replaced_and_removed_beside_the_tokens() {
    let home = Home::new();
    assert_eq!(all(&home.store()).await.unwrap(), pairs(&[]));
    Safe::remove(&home.store(), vec![key("nobody")]).await.unwrap();
    assert!(!home.at("state/store").exists() && !home.at("key").exists(), "looking makes no store");
    let store = home.store();
    store.put(stored("alice", "CANARY-1")).await.unwrap();
    store.put(stored("bob", "CANARY-2")).await.unwrap();
    store.put(stored("alice", "CANARY-3")).await.unwrap();
    drop(store);
    let store = home.store();
    assert_eq!(all(&store).await.unwrap(), pairs(&[("alice", "CANARY-3"), ("bob", "CANARY-2")]));
    assert!(Archive::load(&store).await.unwrap().is_empty(), "they are no tokens");
    for name in home.names().iter().filter(|name| name.ends_with(".credential")) {
        let path = home.at("state/store").join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = fs::read(path).unwrap();
        for secret in ["CANARY", "alice", "git.example.com"] {
            assert!(!sealed.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
    }
    Safe::remove(&store, vec![key("alice"), key("nobody")]).await.unwrap();
    assert_eq!(all(&store).await.unwrap(), pairs(&[("bob", "CANARY-2")]));
}

#[tokio::test]
async fn a_damaged_credential_is_put_aside_and_a_wrong_key_opens_nothing() {
    let home = Home::new();
    home.store().put(stored("alice", "1")).await.unwrap();
    let name = home.names().into_iter().find(|name| name.ends_with(".credential")).unwrap();
    let path = home.at("state/store").join(&name);
    let whole = fs::read(&path).unwrap();
    fs::copy(home.at("key"), home.at("other")).unwrap();
    fs::write(home.at("other"), "y".repeat(64)).unwrap();
    assert!(all(&home.store_with_key("other")).await.unwrap_err().contains("made with another key"));
    fs::remove_file(home.at("state/store/store")).unwrap();
    assert!(all(&home.store_with_key("other")).await.unwrap_err().contains("lost its header"));
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(all(&home.store()).await.unwrap(), pairs(&[("alice", "1")]));
    fs::write(&path, &whole[1..]).unwrap();
    assert_eq!(all(&home.store()).await.unwrap(), pairs(&[]));
    assert!(!path.exists() && home.names().contains(&format!("{name}.corrupt")));
}

#[tokio::test]
async fn a_key_is_made_where_there_is_not_even_a_directory_for_it() {
    let home = Home::new();
    home.store_with_key("config/usher/store.key").put(stored("alice", "1")).await.unwrap();
    assert_eq!(all(&home.store_with_key("config/usher/store.key")).await.unwrap(), pairs(&[("alice", "1")]));
    assert_eq!(fs::metadata(home.at("config/usher")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_store_that_was_removed_is_made_again() {
    let home = Home::new();
    let store = home.store();
    store.put(stored("alice", "1")).await.unwrap();
    fs::remove_dir_all(home.at("state/store")).unwrap();
    store.put(stored("alice", "2")).await.unwrap();
    drop(store);
    assert_eq!(all(&home.store()).await.unwrap(), pairs(&[("alice", "2")]));
}

#[tokio::test]
async fn a_credential_is_never_removed_for_want_of_room_and_one_that_cannot_be_read_is_an_error() {
    let home = Home::new();
    home.store().put(stored("alice", "1")).await.unwrap();
    let at = |name: &str| home.at("state/store").join(name);
    for number in 0..150 {
        fs::write(at(&format!("{number}.credential.corrupt")), "x").unwrap();
        fs::write(at(&format!("{number}.token.corrupt")), "x").unwrap();
    }
    let name = home.names().into_iter().find(|name| name.ends_with(".credential")).unwrap();
    fs::set_permissions(at(&name), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(all(&home.store()).await.unwrap(), pairs(&[]));
    fs::rename(at(&format!("{name}.corrupt")), at(&name)).unwrap();
    fs::set_permissions(at(&name), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(all(&home.store()).await.unwrap(), pairs(&[("alice", "1")]));
}

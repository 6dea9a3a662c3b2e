//! The store on the file system.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::power::{id, record};
use crate::{
    domain::secret::{SecretRef, SecretString},
    secret::Sources,
    store::{Location, Store},
    token::ports::{Archive as _, BoxFuture, SecretError, Secrets},
};

/// A home with a store and its key in it.
pub(super) struct Home(tempfile::TempDir);

impl Home {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn store(&self) -> Store {
        self.store_with_key("key")
    }

    pub(super) fn store_with_key(&self, key: &str) -> Store {
        let location = Location { directory: self.at("state/store"), key: SecretRef::File(self.at(key)) };
        Store::new(location, Arc::new(Sources::default()), Some("boot".into()))
    }

    /// The only key's file.
    fn token_file(&self) -> PathBuf {
        let files = fs::read_dir(self.at("state/store")).unwrap().map(|file| file.unwrap().path());
        files.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "token")).unwrap()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.at("state/store")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

async fn write(store: &Store, profile: u64) -> bool {
    store.keep(vec![(id(profile), Some(record(profile, profile)))]).await.is_empty()
}

async fn count(store: &Store) -> usize {
    store.load().await.map_or(0, |kept| kept.len())
}

fn trouble(store: &Store) -> String {
    store.state().trouble.unwrap_or_default()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart_and_readable_by_nobody_else() {
    let home = Home::new();
    let store = home.store();
    assert_eq!(count(&store).await, 0);
    assert!(write(&store, 7).await && trouble(&store).is_empty());
    drop(store);
    for (path, expected) in
        [(home.at("key"), 0o600), (home.at("state/store"), 0o700), (home.token_file(), 0o600)]
    {
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    let sealed = fs::read(home.token_file()).unwrap();
    for secret in ["token-7", "p7", "profile"] {
        assert!(!sealed.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
    }
    let store = home.store();
    let kept = store.load().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].this_boot);
    assert!(store.keep(vec![(id(7), None)]).await.is_empty());
    drop(store);
    assert_eq!(home.names(), ["lock", "store"]);
    assert_eq!(count(&home.store()).await, 0);
}

#[tokio::test]
async fn with_another_key_or_none_nothing_is_read_or_written_over() {
    let home = Home::new();
    assert!(write(&home.store(), 1).await);
    let before = fs::read(home.token_file()).unwrap();
    fs::rename(home.at("key"), home.at("hidden")).unwrap();
    for (key, expected) in [(None, "cannot be read"), (Some("x".repeat(64)), "made with another key")] {
        if let Some(key) = key {
            fs::write(home.at("key"), key).unwrap();
            fs::set_permissions(home.at("key"), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let store = home.store();
        assert_eq!(count(&store).await, 0);
        assert!(!write(&store, 1).await && !write(&store, 2).await);
        assert!(trouble(&store).contains(expected), "{}", trouble(&store));
        assert_eq!(fs::read(home.token_file()).unwrap(), before);
        assert_eq!(home.names().len(), 3, "{:?}", home.names());
    }
    // The right one is put back: no restart is needed.
    let store = home.store();
    assert_eq!(count(&store).await, 0);
    fs::rename(home.at("hidden"), home.at("key")).unwrap();
    assert!(write(&store, 2).await && trouble(&store).is_empty());
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn where_the_key_comes_from_is_recorded_and_may_change_if_it_is_the_same_key() {
    let home = Home::new();
    assert!(write(&home.store(), 1).await);
    let header = || fs::read_to_string(home.at("state/store/store")).unwrap();
    assert!(header().contains("/key\""), "{}", header());
    fs::copy(home.at("key"), home.at("moved")).unwrap();
    assert_eq!(count(&home.store_with_key("moved")).await, 1);
    assert!(header().contains("/moved\""), "{}", header());
    assert!(home.store().state().weak_key);
}

#[tokio::test]
async fn a_key_that_is_unfit_is_told_and_not_replaced() {
    for (text, mode, expected) in [("short", 0o600, "shorter than 32"), (&"x".repeat(64), 0o644, "mode 0644")]
    {
        let home = Home::new();
        fs::write(home.at("key"), text).unwrap();
        fs::set_permissions(home.at("key"), fs::Permissions::from_mode(mode)).unwrap();
        let store = home.store();
        assert!(!write(&store, 1).await);
        assert!(trouble(&store).contains(expected), "{}", trouble(&store));
        assert_eq!(fs::read_to_string(home.at("key")).unwrap(), text);
        assert_eq!(home.names(), ["lock"]);
    }
}

#[tokio::test]
async fn a_store_of_a_newer_usherd_is_left_alone_and_a_damaged_header_is_put_aside() {
    let home = Home::new();
    assert!(write(&home.store(), 1).await);
    let header = home.at("state/store/store");
    let json = r#"{"format":2,"key":"file k","check":"0"}"#;
    let sum = crate::store::seal::hex(ring::digest::digest(&ring::digest::SHA256, json.as_bytes()).as_ref());
    fs::write(&header, format!("{json}\n{sum}\n")).unwrap();
    let before = home.names();
    let store = home.store();
    assert!(count(&store).await == 0 && !write(&store, 2).await);
    assert!(trouble(&store).contains("newer usherd (format 2)"), "{}", trouble(&store));
    assert_eq!(home.names(), before);
    drop(store);
    fs::write(&header, "{}").unwrap();
    assert_eq!(count(&home.store()).await, 1, "the key opens what is there");
    assert!(home.names().contains(&"store.corrupt".to_owned()), "{:?}", home.names());
}

#[tokio::test]
async fn what_is_no_file_of_ours_is_put_aside_and_never_waited_for() {
    let home = Home::new();
    assert!(write(&home.store(), 1).await);
    let path = home.token_file();
    let whole = fs::read(&path).unwrap();
    let mode = |mode| {
        let path = path.clone();
        move || fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap()
    };
    let away = || {
        fs::write(&path, &whole).unwrap();
        fs::rename(&path, home.at("elsewhere")).unwrap();
    };
    let cases: [(&str, &dyn Fn()); 5] = [
        ("0644", &mode(0o644)),
        ("a hard link", &|| fs::hard_link(&path, home.at("link")).unwrap()),
        ("a symbolic link", &|| {
            away();
            symlink(home.at("elsewhere"), &path).unwrap();
        }),
        ("a FIFO", &|| {
            away();
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        }),
        ("a directory", &|| {
            away();
            fs::create_dir(&path).unwrap();
        }),
    ];
    for (what, make) in cases {
        make();
        assert_eq!(count(&home.store()).await, 0, "{what}");
        assert!(path.symlink_metadata().is_err(), "{what} is put aside");
        let aside = path.with_extension("token.corrupt");
        assert!(aside.symlink_metadata().is_ok(), "{what}");
        let _ = fs::remove_file(&aside).or_else(|_| fs::remove_dir(&aside));
        assert!(write(&home.store(), 1).await, "{what}");
        assert_eq!(count(&home.store()).await, 1, "{what}");
    }
}

#[tokio::test]
async fn two_daemons_do_not_share_one() {
    let home = Home::new();
    let first = home.store();
    assert!(write(&first, 1).await);
    let second = home.store();
    assert!(count(&second).await == 0 && !write(&second, 2).await);
    let pid = format!("another usherd (pid {})", std::process::id());
    assert!(trouble(&second).contains(&pid), "{}", trouble(&second));
    drop(first);
    assert!(write(&second, 2).await, "once the first is gone");
}

#[tokio::test]
async fn a_directory_that_others_can_reach_is_not_used() {
    let home = Home::new();
    fs::create_dir_all(home.at("state/store")).unwrap();
    fs::set_permissions(home.at("state/store"), fs::Permissions::from_mode(0o755)).unwrap();
    let store = home.store();
    assert!(!write(&store, 1).await);
    assert!(trouble(&store).contains("chmod 700"), "{}", trouble(&store));
    fs::set_permissions(home.at("state/store"), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(write(&store, 1).await && trouble(&store).is_empty());
}

/// A source that is no file.
struct Fixed;

impl Secrets for Fixed {
    fn resolve<'a>(&'a self, _: &'a SecretRef) -> BoxFuture<'a, Result<SecretString, SecretError>> {
        Box::pin(async { Err(SecretError("there is no such credential".into())) })
    }
}

#[tokio::test]
async fn a_key_is_made_for_a_new_store_alone_and_elsewhere() {
    let home = Home::new();
    assert!(write(&home.store(), 1).await);
    // The header is damaged, and the key not there yet.
    fs::write(home.at("state/store/store"), "{}").unwrap();
    fs::rename(home.at("key"), home.at("hidden")).unwrap();
    let store = home.store();
    assert!(store.load().await.is_none() && !home.at("key").exists());
    assert!(trouble(&store).contains("has lost its key"), "{}", trouble(&store));
    // Another one lies there: it opens nothing, and nothing is put aside for that.
    fs::write(home.at("key"), "x".repeat(64)).unwrap();
    fs::set_permissions(home.at("key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(store.load().await.is_none() && !write(&store, 2).await);
    assert!(trouble(&store).contains("opens nothing of it"), "{}", trouble(&store));
    assert!(home.token_file().exists());
    fs::rename(home.at("hidden"), home.at("key")).unwrap();
    assert_eq!(count(&store).await, 1);
    for key in ["state/store/key", "link/key"] {
        let home = Home::new();
        symlink(home.at("state/store"), home.at("link")).unwrap();
        let store = home.store_with_key(key);
        assert!(!write(&store, 1).await);
        assert!(trouble(&store).contains("lies in the store's own directory"), "{}", trouble(&store));
        assert_eq!(home.names(), ["lock"], "{key}");
    }
}

#[tokio::test]
async fn a_directory_that_is_removed_is_made_again() {
    let home = Home::new();
    let store = home.store();
    assert!(write(&store, 1).await);
    fs::remove_dir_all(home.at("state/store")).unwrap();
    assert!(!write(&store, 1).await, "it is noticed");
    assert!(!trouble(&store).contains("/proc/"), "{}", trouble(&store));
    assert!(write(&store, 1).await && trouble(&store).is_empty());
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_credential_that_is_not_there_is_not_made_up() {
    let home = Home::new();
    let location = Location { directory: home.at("store"), key: SecretRef::Credential("usher-store".into()) };
    let store = Store::new(location, Arc::new(Fixed), None);
    assert!(!write(&store, 1).await);
    assert!(trouble(&store).contains("no such credential"), "{}", trouble(&store));
    assert!(!store.state().weak_key);
}

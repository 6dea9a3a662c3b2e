//! The vault with a clock and a safe that do as they are told.

use std::{
    collections::BTreeMap,
    future,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    domain::{
        credential::{CredentialKey, Secret},
        place::Site,
        secret::ExposeSecret as _,
    },
    token::ports::{ArchiveState, BoxFuture},
};

mod disk;
mod failed;
mod newest;

struct World {
    vault: Arc<Vault>,
    clock: Arc<FakeClock>,
    safe: Arc<FakeSafe>,
}

struct FakeClock {
    now: Mutex<Moment>,
    moved: Notify,
}

impl FakeClock {
    fn pass(&self, seconds: u64) {
        let mut now = self.now.lock().unwrap();
        *now = *now + Duration::from_secs(seconds);
        self.moved.notify_waiters();
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        *self.now.lock().unwrap()
    }

    fn sleep_until(&self, boot: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let moved = self.moved.notified();
                if self.now().boot >= boot {
                    return;
                }
                moved.await;
            }
        })
    }

    fn wall_is_set(&self) -> BoxFuture<'_, ()> {
        Box::pin(future::pending())
    }
}

struct FakeSafe {
    contents: Mutex<BTreeMap<CredentialKey, Arc<Credential>>>,
    fails: AtomicBool,
    /// What is written is there, and is said to have failed.
    fails_late: AtomicBool,
    /// What is read and written is so as permits come.
    gate: Arc<Semaphore>,
    loads: AtomicUsize,
}

impl Default for FakeSafe {
    fn default() -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self {
            contents: Mutex::default(),
            fails: AtomicBool::default(),
            fails_late: AtomicBool::default(),
            gate,
            loads: AtomicUsize::default(),
        }
    }
}

impl FakeSafe {
    fn checked(&self) -> Result<MutexGuard<'_, BTreeMap<CredentialKey, Arc<Credential>>>, String> {
        if self.fails.load(Ordering::SeqCst) {
            return Err("the disk is broken".to_owned());
        }
        Ok(self.contents.lock().unwrap())
    }
}

impl Safe for FakeSafe {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Stored>, String>> {
        Box::pin(async move {
            self.loads.fetch_add(1, Ordering::SeqCst);
            let _permit = self.gate.acquire().await;
            self.checked().map(|all| {
                all.iter().map(|(key, credential)| (key.clone(), Arc::clone(credential))).collect()
            })
        })
    }

    fn put(&self, (key, credential): Stored) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let _permit = self.gate.acquire().await;
            self.checked().map(|mut all| drop(all.insert(key, credential)))?;
            let is_late = self.fails_late.load(Ordering::SeqCst);
            if is_late { Err("the disk is broken".to_owned()) } else { Ok(()) }
        })
    }

    fn remove(&self, keys: Vec<CredentialKey>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let _permit = self.gate.acquire().await;
            self.checked().map(|mut all| keys.iter().for_each(|key| drop(all.remove(key))))
        })
    }

    fn state(&self) -> ArchiveState {
        ArchiveState { place: "here".into(), key: "key".into(), weak_key: false, trouble: None }
    }
}

impl World {
    fn new() -> Self {
        let start = Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(5_000) };
        let clock = Arc::new(FakeClock { now: Mutex::new(start), moved: Notify::new() });
        let safe = Arc::<FakeSafe>::default();
        let vault = Arc::new(Vault::new(clock.clone(), Some(safe.clone())));
        Self { vault, clock, safe }
    }

    /// usherd is started anew.
    fn restart(&mut self) {
        self.vault = Arc::new(Vault::new(self.clock.clone(), Some(self.safe.clone())));
    }

    async fn store(&self, name: (Option<&str>, &str), password: &str, keep: Keep) -> Result<(), VaultError> {
        self.store_until(name, password, None, keep).await
    }

    async fn store_until(
        &self,
        (path, username): (Option<&str>, &str),
        password: &str,
        expires_in: Option<u64>,
        keep: Keep,
    ) -> Result<(), VaultError> {
        let key = CredentialKey { collection: "git".into(), site: site(path), username: username.into() };
        let credential = Credential {
            username: username.into(),
            stored_at: self.clock.now().wall,
            secret: Secret::Password(password.into()),
            expires_at: expires_in.map(|span| self.clock.now().wall + Duration::from_secs(span)),
            oauth_refresh_token: None,
        };
        self.vault.store((key, Arc::new(credential)), keep).await
    }

    /// Whose password is answered, and which.
    async fn get(&self, path: Option<&str>, username: Option<&str>) -> Option<(String, String)> {
        self.get_safely(path, username, false).await.unwrap()
    }

    async fn get_safely(
        &self,
        path: Option<&str>,
        username: Option<&str>,
        safely: bool,
    ) -> Result<Option<(String, String)>, VaultError> {
        let found = self.vault.get(&query(path, username), safely).await?;
        Ok(found.map(|credential| match &credential.secret {
            Secret::Password(password) => (credential.username.clone(), password.expose_secret().to_owned()),
            Secret::Header { .. } => panic!("no password"),
        }))
    }

    async fn erase(&self, username: Option<&str>, secret: Option<&str>) -> Result<usize, VaultError> {
        let secret = secret.map(SecretString::from);
        self.vault.erase(query(None, username), secret, false).await
    }
}

fn site(path: Option<&str>) -> Site {
    Site { host: "https://git.example.com".into(), path: path.map(str::to_owned) }
}

fn query(path: Option<&str>, username: Option<&str>) -> Query {
    Query { collection: "git".into(), site: site(path), username: username.map(str::to_owned) }
}

fn pair(username: &str, password: &str) -> (String, String) {
    (username.to_owned(), password.to_owned())
}

const MINUTE: Keep = Keep::For(Duration::from_secs(60));

#[tokio::test]
async fn of_several_the_closest_and_then_the_last_is_answered() {
    let world = World::new();
    assert_eq!(world.get(None, None).await, None);
    world.store((None, "alice"), "1", MINUTE).await.unwrap();
    world.store((Some("a.git"), "bob"), "2", MINUTE).await.unwrap();
    world.store((None, "carol"), "3", MINUTE).await.unwrap();
    assert_eq!(world.get(None, None).await, Some(pair("carol", "3")));
    assert_eq!(world.get(None, Some("alice")).await, Some(pair("alice", "1")));
    assert_eq!(world.get(None, Some("bob")).await, Some(pair("bob", "2")));
    assert_eq!(world.get(Some("a.git"), None).await, Some(pair("bob", "2")));
    assert_eq!(world.get(Some("b.git"), None).await, None);
    assert_eq!(world.get(None, Some("dave")).await, None);
    world.store((None, "alice"), "4", MINUTE).await.unwrap();
    assert_eq!(world.get(None, None).await, Some(pair("alice", "4")));
    assert_eq!(world.vault.counts(), Counts { fleeting: 3, lasting: 0 });
}

#[tokio::test]
async fn what_is_in_memory_is_forgotten_in_time_on_either_clock() {
    let world = World::new();
    world.store((None, "alice"), "1", MINUTE).await.unwrap();
    world.store_until((None, "bob"), "2", Some(30), MINUTE).await.unwrap();
    world.store_until((None, "carol"), "3", Some(0), MINUTE).await.unwrap();
    assert_eq!(world.get(None, Some("carol")).await, None);
    assert_eq!(world.vault.lasts(), Duration::from_secs(60));
    world.clock.pass(29);
    assert_eq!(world.get(None, Some("bob")).await, Some(pair("bob", "2")));
    world.clock.pass(1);
    assert_eq!(world.get(None, Some("bob")).await, None);
    // Suspend: only one clock goes on.
    world.clock.now.lock().unwrap().boot += Duration::from_secs(30);
    assert_eq!(world.get(None, Some("alice")).await, None);
    assert_eq!((world.vault.lasts(), world.vault.counts()), (Duration::ZERO, Counts::default()));
}

#[tokio::test]
async fn a_secret_whose_time_is_over_does_not_stay_in_memory() {
    let world = World::new();
    let keeping = tokio::spawn(Arc::clone(&world.vault).keep_in_time());
    world.store((None, "alice"), "1", MINUTE).await.unwrap();
    world.store_until((None, "bob"), "2", Some(90), Keep::OnDisk).await.unwrap();
    let held = || world.vault.lock().entries.len() + world.safe.contents.lock().unwrap().len();
    for (seconds, left) in [(59, 3), (1, 2), (30, 0)] {
        world.clock.pass(seconds);
        // All that can go on has gone on.
        while held() > left {
            tokio::task::yield_now().await;
        }
        assert_eq!(held(), left);
    }
    keeping.abort();
}

#[tokio::test]
async fn only_what_matches_is_erased_and_only_with_its_secret() {
    let world = World::new();
    for (name, password) in [("alice", "1"), ("bob", "2"), ("carol", "2")] {
        world.store((None, name), password, MINUTE).await.unwrap();
    }
    assert_eq!(world.erase(Some("alice"), Some("other")).await, Ok(0));
    assert_eq!(world.erase(Some("bob"), Some("2")).await, Ok(1));
    assert_eq!(world.get(None, None).await, Some(pair("carol", "2")));
    assert_eq!(world.erase(None, None).await, Ok(2));
    assert_eq!(world.get(None, None).await, None);
}

#[tokio::test]
async fn what_is_to_last_survives_a_restart_and_nothing_else_does() {
    let mut world = World::new();
    world.store((None, "alice"), "1", MINUTE).await.unwrap();
    world.store((None, "bob"), "2", Keep::OnDisk).await.unwrap();
    world.store_until((None, "carol"), "3", Some(100), Keep::OnDisk).await.unwrap();
    assert_eq!(world.vault.counts(), Counts { fleeting: 1, lasting: 2 });
    world.clock.pass(50);
    world.restart();
    assert_eq!(world.get(None, None).await, None, "it is read when somebody wants it");
    assert_eq!(world.get_safely(None, None, true).await.unwrap(), Some(pair("carol", "3")));
    world.clock.pass(50);
    assert_eq!(world.get(None, None).await, Some(pair("bob", "2")));
    assert_eq!(world.erase(Some("bob"), None).await, Ok(1));
    world.restart();
    assert_eq!(world.get_safely(None, None, true).await, Ok(None));
}

#[tokio::test]
async fn what_is_stored_before_the_disk_is_read_counts_more() {
    let mut world = World::new();
    world.store((None, "alice"), "old", Keep::OnDisk).await.unwrap();
    world.restart();
    world.store((None, "alice"), "new", MINUTE).await.unwrap();
    assert_eq!(world.get_safely(None, None, true).await.unwrap(), Some(pair("alice", "new")));
}

#[tokio::test]
async fn a_disk_that_fails_is_told_to_those_who_depend_on_it_alone() {
    let mut world = World::new();
    world.store((None, "bob"), "2", Keep::OnDisk).await.unwrap();
    world.safe.fails.store(true, Ordering::SeqCst);
    let told = world.store((None, "carol"), "3", Keep::OnDisk).await.unwrap_err();
    assert_eq!(told.0, "the disk is broken");
    assert_eq!(world.get(None, Some("carol")).await, None, "what could not be kept is not there");
    let told = world.erase(Some("bob"), None).await.unwrap_err();
    assert!(told.0.contains("still there") && told.0.contains("the disk is broken"), "{told}");
    assert_eq!(world.get(None, None).await, Some(pair("bob", "2")), "disk and memory are alike");
    assert!(world.erase(Some("bob"), None).await.is_err(), "nor does it work when it is said again");
    world.restart();
    world.store((None, "alice"), "1", MINUTE).await.unwrap();
    assert_eq!(world.get(None, None).await, Some(pair("alice", "1")));
    assert_eq!(world.get_safely(None, None, true).await, Err(VaultError("the disk is broken".into())));
    world.safe.fails.store(false, Ordering::SeqCst);
    world.clock.pass(LULL.as_secs());
    assert_eq!(world.get_safely(None, Some("bob"), true).await.unwrap(), Some(pair("bob", "2")));
}

#[tokio::test]
async fn there_is_an_end_to_how_many_are_kept() {
    let world = World::new();
    for number in 0..=MAX_FLEETING {
        world.store((None, &number.to_string()), "p", MINUTE).await.unwrap();
    }
    assert_eq!(world.vault.counts().fleeting, MAX_FLEETING);
    assert_eq!(world.get(None, Some("0")).await, None, "the first one goes");
    assert!(world.get(None, Some("1")).await.is_some());
    for number in 0..MAX_LASTING {
        world.store((None, &number.to_string()), "p", Keep::OnDisk).await.unwrap();
    }
    assert!(world.store((None, "one more"), "p", Keep::OnDisk).await.unwrap_err().0.contains("erase some"));
    world.store((None, "0"), "q", Keep::OnDisk).await.unwrap();
    assert_eq!(world.get(None, Some("0")).await, Some(pair("0", "q")));
    let long = Keep::For(Duration::from_secs(u64::MAX));
    world.store((None, "long"), "p", long).await.unwrap();
    assert_eq!(world.vault.lasts(), MAX_TIMEOUT);
}

/// Begins, and is given up by who asked for it.
async fn give_up<T>(work: impl Future<Output = T>) {
    let mut work = Box::pin(work);
    for _ in 0..10 {
        assert!((&mut work).now_or_never().is_none(), "it is not to come to its end");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_begun_comes_to_its_end_although_nobody_waits_for_it() {
    let mut world = World::new();
    let gate = Arc::clone(&world.safe.gate);
    world.vault.load().await.unwrap();
    let hold = || gate.forget_permits(Semaphore::MAX_PERMITS);
    // Somebody stores, and hangs up; what is erased afterwards does not come back.
    hold();
    give_up(world.store((None, "alice"), "1", Keep::OnDisk)).await;
    gate.add_permits(Semaphore::MAX_PERMITS);
    world.store((None, "bob"), "2", Keep::OnDisk).await.unwrap();
    assert_eq!(world.erase(Some("alice"), None).await, Ok(1));
    world.restart();
    assert_eq!(world.get_safely(None, Some("alice"), true).await, Ok(None));
    // Somebody erases, and hangs up; what is stored afterwards stays.
    hold();
    give_up(world.erase(Some("bob"), None)).await;
    gate.add_permits(Semaphore::MAX_PERMITS);
    world.store((None, "bob"), "3", Keep::OnDisk).await.unwrap();
    world.restart();
    assert_eq!(world.get_safely(None, Some("bob"), true).await, Ok(Some(pair("bob", "3"))));
}

#[tokio::test]
async fn the_order_survives_a_restart_and_trouble_is_told_until_it_is_over() {
    let mut world = World::new();
    for name in ["zed", "amy", "mia"] {
        world.store((None, name), name, Keep::OnDisk).await.unwrap();
        world.clock.pass(1);
    }
    world.restart();
    assert_eq!(world.get_safely(None, None, true).await, Ok(Some(pair("mia", "mia"))));
    assert_eq!(world.vault.safe_state().unwrap().trouble, None);
    world.safe.fails.store(true, Ordering::SeqCst);
    world.restart();
    assert!(world.get_safely(None, None, true).await.is_err());
    assert_eq!(world.vault.safe_state().unwrap().trouble.as_deref(), Some("the disk is broken"));
    world.safe.fails.store(false, Ordering::SeqCst);
    world.clock.pass(LULL.as_secs());
    world.vault.load().await.unwrap();
    assert_eq!(world.vault.safe_state().unwrap().trouble, None);
}

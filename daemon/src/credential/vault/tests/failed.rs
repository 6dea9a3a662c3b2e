//! One that could not be written, as it seemed, and is on disk nevertheless.

use super::*;

const ALICE: (Option<&str>, &str) = (None, "alice");

impl World {
    /// What is stored on disk gets there, and is said not to have.
    async fn store_late(&self, name: &str, password: &str) {
        self.safe.fails_late.store(true, Ordering::SeqCst);
        let told = self.store((None, name), password, Keep::OnDisk).await;
        assert_eq!(told, Err(VaultError("the disk is broken".into())));
        self.safe.fails_late.store(false, Ordering::SeqCst);
    }

    /// The passwords on disk.
    fn passwords(&self) -> Vec<String> {
        let contents = self.safe.contents.lock().unwrap();
        let password = |credential: &Arc<Credential>| match &credential.secret {
            Secret::Password(secret) => secret.expose_secret().to_owned(),
            Secret::Header { .. } => panic!("no password"),
        };
        contents.values().map(password).collect()
    }
}

#[tokio::test]
async fn one_that_failed_after_it_was_written_does_not_come_back() {
    let mut world = World::new();
    world.store_late("alice", "failed").await;
    assert_eq!((world.get(None, None).await, world.passwords()), (None, vec!["failed".to_owned()]));
    world.safe.fails.store(true, Ordering::SeqCst);
    for secret in [None, Some("failed")] {
        let told = world.erase(Some("alice"), secret).await.unwrap_err().0;
        assert!(told.contains("still there"), "{told}");
    }
    assert_eq!(world.erase(Some("alice"), Some("another")).await, Ok(0));
    assert_eq!(world.erase(Some("bob"), None).await, Ok(0), "it is nobody else's");
    assert!(world.store(ALICE, "new", MINUTE).await.unwrap_err().0.contains("kept in memory"));
    world.safe.fails.store(false, Ordering::SeqCst);
    world.store(ALICE, "new", MINUTE).await.unwrap();
    assert_eq!(world.get(None, None).await, Some(pair("alice", "new")));
    world.restart();
    assert_eq!(world.get_safely(None, None, true).await, Ok(None));
}

#[tokio::test]
async fn one_that_failed_after_it_was_written_is_erased_and_is_taken_off_the_disk_by_itself() {
    let world = World::new();
    for (name, secret) in [("alice", None), ("bob", Some("failed"))] {
        world.store_late(name, "failed").await;
        world.erase(Some(name), secret).await.unwrap();
        assert!(world.passwords().is_empty());
    }
    world.store(ALICE, "older", Keep::OnDisk).await.unwrap();
    let keeping = tokio::spawn(Arc::clone(&world.vault).keep_in_time());
    world.store_late("alice", "failed").await;
    while !world.passwords().is_empty() {
        tokio::task::yield_now().await;
    }
    keeping.abort();
    assert_eq!(world.get(None, None).await, None);
}

#[tokio::test]
async fn the_same_secret_that_fails_after_it_was_written_leaves_what_lasts() {
    let mut world = World::new();
    world.store(ALICE, "same", Keep::OnDisk).await.unwrap();
    world.store((None, "bob"), "same", MINUTE).await.unwrap();
    world.store_late("alice", "same").await;
    world.store_late("bob", "same").await;
    // What is in memory alone is to be nowhere else.
    world.store((None, "bob"), "same", MINUTE).await.unwrap();
    assert_eq!(world.vault.counts(), Counts { fleeting: 1, lasting: 1 });
    world.restart();
    assert_eq!(world.get_safely(None, Some("alice"), true).await, Ok(Some(pair("alice", "same"))));
    assert_eq!(world.get(None, Some("bob")).await, None);
}

#[tokio::test]
async fn what_cannot_be_taken_off_the_disk_counts_as_on_it() {
    let world = World::new();
    world.safe.fails_late.store(true, Ordering::SeqCst);
    for number in 0..MAX_LASTING {
        assert!(world.store((None, &number.to_string()), "p", Keep::OnDisk).await.is_err());
    }
    assert!(world.store(ALICE, "p", Keep::OnDisk).await.unwrap_err().0.contains("erase some"));
    assert_eq!(world.passwords().len(), MAX_LASTING);
    world.safe.fails_late.store(false, Ordering::SeqCst);
    world.store((None, "0"), "p", Keep::OnDisk).await.unwrap();
    world.store((None, "0"), "q", MINUTE).await.unwrap();
    world.store(ALICE, "p", Keep::OnDisk).await.unwrap();
}

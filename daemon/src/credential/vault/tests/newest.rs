//! Of a name what was stored last is all that is known.

use super::*;
use crate::credential::vault::MAX_UNSEEN;

impl World {
    fn fails(&self, fails: bool) {
        self.safe.fails.store(fails, Ordering::SeqCst);
    }

    /// A disk that cannot be read, as it is known by now.
    async fn restart_unread(&mut self) {
        self.restart();
        self.fails(true);
        assert!(self.vault.load().await.is_err());
    }

    /// It can be read again.
    async fn read(&self) {
        self.fails(false);
        self.clock.pass(LULL.as_secs());
        self.vault.load().await.unwrap();
    }

    fn on_disk(&self) -> usize {
        self.safe.contents.lock().unwrap().len()
    }

    /// The same password each time, and what it is renewed with.
    async fn store_renewable(&self, username: &str, refresh_token: Option<&str>, keep: Keep) {
        let key = CredentialKey { collection: "git".into(), site: site(None), username: username.into() };
        let credential = Credential {
            username: username.into(),
            stored_at: self.clock.now().wall,
            secret: Secret::Password("p".into()),
            expires_at: None,
            oauth_refresh_token: refresh_token.map(SecretString::from),
        };
        self.vault.store((key, Arc::new(credential)), keep).await.unwrap();
    }

    async fn alices(&self) -> Option<String> {
        self.get(None, Some("alice")).await.map(|(_, password)| password)
    }
}

const ALICE: (Option<&str>, &str) = (None, "alice");

#[tokio::test]
async fn what_is_kept_in_memory_takes_an_older_one_off_the_disk_before_the_answer() {
    let mut world = World::new();
    world.store(ALICE, "old", Keep::OnDisk).await.unwrap();
    world.store((None, "bob"), "b", Keep::OnDisk).await.unwrap();
    world.store(ALICE, "new", MINUTE).await.unwrap();
    assert_eq!((world.on_disk(), world.alices().await.as_deref()), (1, Some("new")));
    assert_eq!(world.vault.counts(), Counts { fleeting: 1, lasting: 1 });
    world.clock.pass(60);
    assert_eq!(world.alices().await, None, "the older one does not come back");
    world.restart();
    assert_eq!(world.get_safely(None, None, true).await, Ok(Some(pair("bob", "b"))));
}

#[tokio::test]
async fn what_is_to_last_takes_the_place_of_what_is_in_memory() {
    let world = World::new();
    world.store(ALICE, "old", MINUTE).await.unwrap();
    world.store(ALICE, "new", Keep::OnDisk).await.unwrap();
    assert_eq!(world.vault.counts(), Counts { fleeting: 0, lasting: 1 });
    world.clock.pass(60);
    assert_eq!(world.alices().await.as_deref(), Some("new"));
    assert_eq!(world.erase(None, Some("old")).await, Ok(0));
}

#[tokio::test]
async fn the_same_secret_once_more_shortens_nothing() {
    let mut world = World::new();
    for lines in [[Keep::OnDisk, MINUTE], [MINUTE, Keep::OnDisk]] {
        for (name, keep) in lines.iter().flat_map(|keep| [("alice", *keep), ("bob", *keep), ("alice", *keep)])
        {
            world.store((None, name), name, keep).await.unwrap();
        }
        assert_eq!(world.vault.counts(), Counts { fleeting: 0, lasting: 2 });
        assert_eq!(world.get(None, None).await, Some(pair("alice", "alice")), "it was stored last");
        world.clock.pass(60);
        assert_eq!(world.alices().await.as_deref(), Some("alice"));
        world.restart();
        assert_eq!(world.get_safely(None, Some("bob"), true).await, Ok(Some(pair("bob", "bob"))));
    }
    // One that has expired is none.
    world.store_until(ALICE, "short", Some(10), Keep::OnDisk).await.unwrap();
    world.clock.pass(10);
    world.store(ALICE, "short", MINUTE).await.unwrap();
    assert_eq!((world.alices().await.as_deref(), world.on_disk()), (Some("short"), 1));
}

#[tokio::test]
async fn the_same_secret_that_is_valid_for_longer_is_known_for_longer() {
    for is_read in [true, false] {
        let mut world = World::new();
        world.store_until(ALICE, "same", Some(30), Keep::OnDisk).await.unwrap();
        world.store_until((None, "bob"), "same", Some(90), Keep::OnDisk).await.unwrap();
        if !is_read {
            world.restart_unread().await;
        }
        for name in ["alice", "bob"] {
            world.store_until((None, name), "same", Some(100), MINUTE).await.unwrap();
        }
        if !is_read {
            world.read().await;
        }
        assert_eq!(world.vault.counts(), Counts { fleeting: 0, lasting: 2 });
        let alices = world.vault.get(&query(None, Some("alice")), false).await.unwrap().unwrap();
        assert!(alices.expires_at.unwrap() > world.clock.now().wall + Duration::from_secs(90));
        world.clock.pass(40);
        assert_eq!(world.alices().await.as_deref(), Some("same"));
        world.clock.pass(20);
        assert_eq!(world.alices().await, None);
        assert_eq!(world.get(None, Some("bob")).await, Some(pair("bob", "same")), "nothing is shortened");
        world.restart();
        assert_eq!(world.get_safely(None, Some("alice"), true).await, Ok(None));
    }
}

#[tokio::test]
async fn an_older_one_that_cannot_be_taken_off_the_disk_is_not_answered_and_tried_again() {
    let world = World::new();
    world.store(ALICE, "old", Keep::OnDisk).await.unwrap();
    world.fails(true);
    let told = world.store(ALICE, "new", MINUTE).await.unwrap_err().0;
    assert!(told.contains("kept in memory") && told.contains("the disk is broken"), "{told}");
    assert!(world.store(ALICE, "new", MINUTE).await.is_err(), "nor does it work when it is said again");
    assert_eq!(world.vault.safe_state().unwrap().trouble.as_deref(), Some("the disk is broken"));
    assert_eq!(world.alices().await.as_deref(), Some("new"));
    world.store((None, "bob"), "b", MINUTE).await.expect("it is nobody else's");
    assert!(world.erase(Some("alice"), None).await.unwrap_err().0.contains("still there"));
    assert_eq!((world.alices().await, world.on_disk()), (None, 1));
    let keeping = tokio::spawn(Arc::clone(&world.vault).keep_in_time());
    tokio::task::yield_now().await;
    world.fails(false);
    while world.on_disk() > 0 {
        world.clock.pass(1);
        tokio::task::yield_now().await;
    }
    keeping.abort();
    assert_eq!(world.alices().await, None);
}

#[tokio::test]
async fn one_that_was_to_last_and_could_not_be_written_leaves_no_older_one() {
    let world = World::new();
    world.store(ALICE, "same", Keep::OnDisk).await.unwrap();
    world.store((None, "bob"), "old", Keep::OnDisk).await.unwrap();
    world.store((None, "carol"), "old", MINUTE).await.unwrap();
    world.fails(true);
    for (name, password) in [("alice", "same"), ("bob", "new"), ("carol", "new")] {
        let told = world.store((None, name), password, Keep::OnDisk).await.unwrap_err().0;
        assert_eq!(told, "the disk is broken");
    }
    assert_eq!(world.alices().await.as_deref(), Some("same"), "that is on disk as it was");
    assert_eq!(world.get(None, Some("bob")).await, None);
    assert_eq!(world.get(None, Some("carol")).await, None);
    world.fails(false);
    world.store((None, "bob"), "newest", Keep::OnDisk).await.unwrap();
    assert_eq!(world.get(None, Some("bob")).await, Some(pair("bob", "newest")));
    // The one that was outdated has been replaced, and nothing takes that out.
    assert_eq!(world.erase(Some("carol"), None).await, Ok(0));
    assert_eq!(world.on_disk(), 2);
}

#[tokio::test]
async fn what_is_stored_while_the_disk_cannot_be_read_is_newer_than_what_is_there() {
    let mut world = World::new();
    let stored = || async {
        for name in ["alice", "bob", "carol", "dave", "erin"] {
            world.store((None, name), "old", Keep::OnDisk).await.unwrap();
        }
    };
    stored().await;
    world.restart_unread().await;
    world.store(ALICE, "new", Keep::For(Duration::from_secs(90))).await.unwrap();
    world.store((None, "bob"), "new", MINUTE).await.unwrap();
    // What was known to be the same stays, though its own time is over.
    world.store((None, "carol"), "old", MINUTE).await.unwrap();
    // The same, but a server has refused it since.
    world.store((None, "dave"), "old", MINUTE).await.unwrap();
    assert_eq!(world.erase(Some("dave"), Some("old")).await, Ok(1));
    assert!(world.store((None, "erin"), "new", Keep::OnDisk).await.is_err());
    world.clock.pass(60);
    world.read().await;
    let mut known = Vec::new();
    for name in ["alice", "bob", "carol", "dave", "erin"] {
        known.push(world.get(None, Some(name)).await.map(|(_, password)| password));
    }
    assert_eq!(known, [Some("new".to_owned()), None, Some("old".to_owned()), None, None]);
    assert_eq!(world.on_disk(), 1, "they have been taken off the disk");
}

#[tokio::test]
async fn what_is_stored_while_the_disk_cannot_be_read_is_bounded() {
    let mut world = World::new();
    world.restart_unread().await;
    for number in 0..MAX_UNSEEN {
        world.store((None, &number.to_string()), "p", MINUTE).await.unwrap();
    }
    assert!(world.store((None, "more"), "p", MINUTE).await.unwrap_err().0.contains("usher status"));
    world.store((None, "0"), "q", MINUTE).await.unwrap();
    world.read().await;
    world.store((None, "more"), "p", MINUTE).await.unwrap();
}

#[tokio::test]
async fn one_that_is_stored_while_an_older_one_is_being_removed_stays() {
    let mut world = World::new();
    world.store(ALICE, "old", Keep::OnDisk).await.unwrap();
    let gate = Arc::clone(&world.safe.gate);
    gate.forget_permits(Semaphore::MAX_PERMITS);
    give_up(world.store(ALICE, "between", MINUTE)).await;
    give_up(world.store(ALICE, "new", Keep::OnDisk)).await;
    give_up(world.store(ALICE, "last", MINUTE)).await;
    give_up(world.store(ALICE, "new", Keep::OnDisk)).await;
    gate.add_permits(Semaphore::MAX_PERMITS);
    // Whoever is alone with the disk after these has seen all of it done.
    world.store((None, "bob"), "b", Keep::OnDisk).await.unwrap();
    assert_eq!(world.alices().await.as_deref(), Some("new"));
    world.restart();
    assert_eq!(world.get_safely(None, Some("alice"), true).await, Ok(Some(pair("alice", "new"))));
}

#[tokio::test]
async fn a_refresh_token_that_is_stored_while_the_disk_cannot_be_read_is_newer_than_what_is_there() {
    let mut world = World::new();
    for name in ["alice", "bob", "carol", "dave"] {
        world.store_renewable(name, Some("R1"), Keep::OnDisk).await;
    }
    world.restart_unread().await;
    world.store_renewable("alice", Some("R2"), Keep::For(Duration::from_secs(90))).await;
    world.store_renewable("bob", Some("R2"), MINUTE).await;
    world.store_renewable("carol", Some("R1"), MINUTE).await;
    // Who stores it once more without one says nothing about it.
    world.store_renewable("carol", None, MINUTE).await;
    world.store_renewable("dave", Some("R2"), MINUTE).await;
    world.store_renewable("dave", None, MINUTE).await;
    world.clock.pass(60);
    world.read().await;
    let mut known = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        let found = world.vault.get(&query(None, Some(name)), false).await.unwrap();
        let token =
            found.and_then(|found| Some(found.oauth_refresh_token.as_ref()?.expose_secret().to_owned()));
        known.push(token);
    }
    assert_eq!(known, [Some("R2".to_owned()), None, Some("R1".to_owned()), None]);
    assert_eq!(world.on_disk(), 1, "they have been taken off the disk");
}

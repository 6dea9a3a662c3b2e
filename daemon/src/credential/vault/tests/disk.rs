//! A disk that cannot be read, slowly.

use super::*;

/// All that can go on has gone on.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_tried_once_for_all_who_want_it() {
    let world = World::new();
    world.safe.fails.store(true, Ordering::SeqCst);
    let loads = || world.safe.loads.load(Ordering::SeqCst);
    world.safe.gate.forget_permits(Semaphore::MAX_PERMITS);
    let ask = || {
        let vault = Arc::clone(&world.vault);
        tokio::spawn(async move { vault.get(&query(None, None), true).await.map(drop) })
    };
    let asking: Vec<_> = (0..50).map(|_| ask()).collect();
    settle().await;
    assert_eq!(loads(), 1);
    world.safe.gate.add_permits(Semaphore::MAX_PERMITS);
    let broken = VaultError("the disk is broken".into());
    for asking in asking {
        assert_eq!(asking.await.unwrap(), Err(broken.clone()));
    }
    assert_eq!(world.store((None, "alice"), "1", Keep::OnDisk).await, Err(broken.clone()));
    world.safe.fails.store(false, Ordering::SeqCst);
    world.clock.pass(LULL.as_secs() - 1);
    assert_eq!((world.vault.load().await, loads()), (Err(broken), 1), "it has just been tried");
    world.clock.pass(1);
    assert_eq!((world.vault.load().await, loads()), (Ok(()), 2));
}

#[tokio::test(start_paused = true)]
async fn who_wants_nothing_of_the_disk_waits_little_for_it_and_once() {
    let world = World::new();
    world.store((None, "alice"), "old", Keep::OnDisk).await.unwrap();
    let vault = Arc::new(Vault::new(world.clock.clone(), Some(world.safe.clone())));
    let world = World { vault, ..world };
    world.safe.gate.forget_permits(Semaphore::MAX_PERMITS);
    let begun = tokio::time::Instant::now();
    world.store((None, "alice"), "new", MINUTE).await.unwrap();
    assert_eq!(begun.elapsed(), LOOK);
    world.safe.fails.store(true, Ordering::SeqCst);
    world.safe.gate.add_permits(Semaphore::MAX_PERMITS);
    assert!(world.vault.load().await.is_err());
    world.clock.pass(LULL.as_secs());
    let loads = world.safe.loads.load(Ordering::SeqCst);
    world.store((None, "bob"), "2", MINUTE).await.unwrap();
    assert_eq!(world.erase(Some("bob"), None).await, Ok(1));
    assert_eq!(world.safe.loads.load(Ordering::SeqCst), loads, "a key's program is not run for those");
}

#[tokio::test]
async fn a_disk_that_hangs_is_not_waited_for_by_more_and_more() {
    let world = World::new();
    for name in ["alice", "bob"] {
        world.store((None, name), "old", Keep::OnDisk).await.unwrap();
    }
    world.safe.gate.forget_permits(Semaphore::MAX_PERMITS);
    for number in 1..MAX_WORKS {
        give_up(world.store((None, &number.to_string()), "p", Keep::OnDisk)).await;
    }
    give_up(world.erase(Some("alice"), None)).await;
    let is_full = |told: &str| told.contains("64 others wait for the store") && told.contains("try again");
    let told = world.store((None, "bob"), "new", Keep::OnDisk).await.unwrap_err().0;
    assert!(is_full(&told), "{told}");
    assert_eq!(
        world.get(None, Some("bob")).await,
        None,
        "the older one is not answered, as after every failure"
    );
    let told = world.erase(Some("alice"), None).await.unwrap_err().0;
    assert!(is_full(&told) && told.contains("still there"), "{told}");
    let told = world.store((None, "alice"), "new", MINUTE).await.unwrap_err().0;
    assert!(is_full(&told) && told.contains("kept in memory"), "{told}");
    assert_eq!(world.get(None, None).await, Some(pair("alice", "new")));
    world.store((None, "carol"), "c", MINUTE).await.expect("it has nothing to do with the disk");
    world.safe.gate.add_permits(Semaphore::MAX_PERMITS);
    world.vault.places.acquire_many(u32::try_from(MAX_WORKS).unwrap()).await.map(drop).unwrap();
    // What had its place has been done, and there are places again.
    world.store((None, "bob"), "new", Keep::OnDisk).await.unwrap();
    assert_eq!(world.vault.counts(), Counts { fleeting: 2, lasting: MAX_WORKS });
}

#[tokio::test]
async fn who_waits_for_the_disk_to_be_read_and_goes_takes_nobodys_place() {
    let world = World::new();
    world.safe.gate.forget_permits(Semaphore::MAX_PERMITS);
    for _ in 0..=MAX_WORKS {
        give_up(world.vault.get(&query(None, None), true)).await;
    }
    give_up(world.store((None, "alice"), "1", Keep::OnDisk)).await;
    world.safe.gate.add_permits(Semaphore::MAX_PERMITS);
    world.store((None, "bob"), "2", Keep::OnDisk).await.unwrap();
    assert_eq!((world.vault.counts().lasting, world.safe.loads.load(Ordering::SeqCst)), (2, 1));
}

//! Tokens that nobody asks for any more.

use std::time::Duration;

use super::world::{HOUR, World, profiles, request, with_grant};
use crate::{
    domain::profile::{ClientCredentials, Profile},
    token::{ports::ExpiresIn, service::Source, watch::Watcher},
};

const MINUTE: Duration = Duration::from_secs(60);

fn profile(change: impl FnOnce(&mut ClientCredentials)) -> Profile {
    with_grant("p", |grant| {
        grant.revocation_url = Some("https://idp.example/revoke".parse().unwrap());
        grant.revoke_unused_after = Some(20 * MINUTE);
        change(grant);
    })
}

/// A world whose engine looks ahead and revokes.
fn world(profile: Profile) -> World {
    let world = World::new();
    world.engine.apply(&profiles([profile]));
    tokio::spawn(world.engine.clone().refresh_ahead());
    tokio::spawn(world.engine.clone().revoke_queued());
    world
}

impl World {
    async fn minutes(&self, minutes: u64) {
        for _ in 0..minutes {
            self.settle().await;
            self.pass(60);
        }
        self.settle().await;
    }

    fn holds_a_token(&self) -> bool {
        !self.engine.tokens_last().is_zero()
    }
}

#[tokio::test]
async fn a_token_that_goes_unused_is_dropped_and_revoked_in_its_time() {
    let world = world(profile(|_| {}));
    world.token().await;
    world.minutes(19).await;
    assert!(world.holds_a_token() && world.idp.revoked().is_empty());
    world.minutes(1).await;
    assert_eq!(world.idp.revoked(), ["token-1"]);
    assert!(!world.holds_a_token());
    assert_eq!(world.get().await.unwrap().source, Source::Fetched);
    world.minutes(20).await;
    assert_eq!(world.idp.revoked(), ["token-1", "token-2"]);
}

#[tokio::test]
async fn a_token_that_is_used_stays_through_its_refreshes() {
    let world = world(profile(|_| {}));
    for _ in 0..20 {
        world.token().await;
        world.minutes(10).await;
    }
    assert!(world.idp.revoked().is_empty());
    assert!(world.requests() > 2);
    world.minutes(9).await;
    assert!(world.idp.revoked().is_empty());
    world.minutes(1).await;
    assert_eq!(world.idp.revoked().len(), 1, "only the one that is held");
}

#[tokio::test]
async fn a_watched_token_counts_as_used_until_the_watch_ends() {
    let world = world(profile(|_| {}));
    let mut watcher = Watcher::new(world.engine.clone(), request());
    let watch = tokio::spawn(async move { while watcher.next().await.is_ok() {} });
    world.minutes(100).await;
    assert!(world.idp.revoked().is_empty());
    watch.abort();
    world.settle().await;
    world.minutes(19).await;
    assert!(world.idp.revoked().is_empty());
    world.minutes(1).await;
    assert_eq!(world.idp.revoked().len(), 1);
}

#[tokio::test]
async fn without_an_endpoint_it_is_dropped_only() {
    let world = world(profile(|grant| grant.revocation_url = None));
    world.token().await;
    world.minutes(20).await;
    assert!(!world.holds_a_token() && world.idp.revoked().is_empty());
}

#[tokio::test]
async fn a_wall_clock_that_is_set_uses_nothing_up() {
    let world = world(profile(|_| {}));
    world.token().await;
    world.set(|now| now.wall += Duration::from_secs(HOUR / 2));
    world.minutes(19).await;
    assert!(world.holds_a_token());
    world.minutes(1).await;
    assert!(!world.holds_a_token());
}

#[tokio::test]
async fn a_reload_can_bring_the_limit_and_take_it_away() {
    let world = world(profile(|grant| grant.revoke_unused_after = None));
    world.token().await;
    let next = || world.engine.shared.agenda.next().unwrap();
    let before = next();
    world.minutes(30).await;
    assert!(world.holds_a_token());
    assert_eq!(next(), before, "nobody looks");
    world.engine.apply(&profiles([profile(|_| {})]));
    world.minutes(1).await;
    assert_eq!(world.idp.revoked(), ["token-1"], "it has been unused for long enough");

    world.token().await;
    world.engine.apply(&profiles([profile(|grant| grant.revoke_unused_after = None)]));
    world.minutes(25).await;
    assert!(world.holds_a_token());
}

#[tokio::test]
async fn a_reload_can_shorten_the_time_and_it_counts_from_the_last_use() {
    let with = |minutes: u32| profiles([profile(|grant| grant.revoke_unused_after = Some(minutes * MINUTE))]);
    let world = world(profile(|_| {}));
    world.idp.set_expires_in(ExpiresIn::After(24 * 60 * MINUTE));
    world.engine.apply(&with(20 * 60));
    world.token().await;
    world.minutes(3).await;
    world.engine.apply(&with(10));
    world.minutes(6).await;
    assert!(world.holds_a_token());
    world.minutes(1).await;
    assert_eq!(world.idp.revoked(), ["token-1"]);

    // Longer, it is that as well.
    world.token().await;
    world.engine.apply(&with(30));
    world.minutes(29).await;
    assert!(world.holds_a_token());
    world.minutes(1).await;
    assert_eq!(world.idp.revoked(), ["token-1", "token-2"]);
}

#[tokio::test]
async fn one_look_at_a_time_is_on_the_agenda() {
    let world = world(profile(|_| {}));
    for _ in 0..100 {
        world.token().await;
        world.engine.apply(&profiles([profile(|grant| grant.default_lifetime += MINUTE)]));
        world.engine.apply(&profiles([profile(|_| {})]));
        world.minutes(1).await;
    }
    let now = world.engine.now();
    let looks = world.engine.shared.agenda.take(now + Duration::from_secs(24 * HOUR)).len();
    assert_eq!(looks, 2, "one of each kind");
}

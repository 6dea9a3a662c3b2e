//! Refreshes that nobody waits for.

use std::time::Duration;

use super::world::{HOUR, World, limit, profile, profiles, request, text, with_grant};
use crate::token::{
    ports::IssueErrorKind,
    service::{Source, TokenRequest},
};

/// A world whose engine looks ahead.
pub(super) fn world() -> World {
    let world = World::new();
    tokio::spawn(world.engine.clone().refresh_ahead());
    world
}

impl World {
    /// Time passes in steps of a minute, in which everything happens that wants to.
    pub(super) async fn live(&self, minutes: u64) {
        for _ in 0..minutes {
            self.pass(60);
            self.settle().await;
        }
    }
}

#[tokio::test]
async fn a_key_that_is_used_is_refreshed_before_anybody_has_to_wait() {
    let world = world();
    assert_eq!(world.token().await, "token-1");
    // Without jitter it is time after 75 %.
    for minute in 1..=44 {
        world.live(1).await;
        assert_eq!((world.token().await.as_str(), world.requests()), ("token-1", 1), "minute {minute}");
    }
    world.live(1).await;
    assert_eq!(world.requests(), 2, "no caller was there");
    let answer = world.get().await.unwrap();
    assert_eq!((text(&answer).as_str(), answer.source), ("token-2", Source::Cache));
}

#[tokio::test]
async fn a_key_that_nobody_uses_is_left_alone() {
    let world = world();
    world.token().await;
    world.live(24 * 60).await;
    assert_eq!(world.requests(), 1);
    // Used once more, it is fetched for that.
    assert_eq!(world.get().await.unwrap().source, Source::Refreshed);
}

#[tokio::test]
async fn the_last_call_decides_how_long_it_goes_on() {
    let world = world();
    world.token().await;
    world.live(35).await;
    world.token().await;
    world.live(10).await;
    assert_eq!(world.requests(), 2, "used ten minutes ago");
    world.live(24 * 60).await;
    assert_eq!(world.requests(), 2, "and never since");
}

#[tokio::test]
async fn a_failed_refresh_is_tried_again_as_the_back_off_allows_and_costs_no_token() {
    let world = world();
    world.token().await;
    world.live(40).await;
    for _ in 0..3 {
        world.idp.fail(IssueErrorKind::Unreachable);
    }
    for _ in 0..9 {
        world.token().await;
        world.live(1).await;
    }
    // After 1 s, 2 s and 4 s it was tried again, but time goes by minutes here.
    assert_eq!(world.requests(), 5);
    assert_eq!(world.token().await, "token-5");
}

#[tokio::test]
async fn what_the_budget_does_not_allow_is_not_sent() {
    let world = world();
    world.engine.apply(&profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(1, 7200)))]));
    for _ in 0..59 {
        world.token().await;
        world.live(1).await;
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_machine_that_has_slept_catches_up_when_it_wakes() {
    let world = world();
    world.token().await;
    world.live(30).await;
    world.token().await;
    // Suspended for a quarter of an hour: only the boot clock tells.
    world.set(|now| now.boot += Duration::from_secs(15 * 60));
    world.settle().await;
    assert_eq!(world.requests(), 2);
    // ... and for so long that the token has expired: the next caller fetches.
    world.set(|now| now.boot += Duration::from_secs(9 * HOUR));
    world.settle().await;
    assert_eq!(world.requests(), 2);
    assert_eq!(world.get().await.unwrap().source, Source::Refreshed);
}

#[tokio::test]
async fn a_key_that_a_reload_took_away_is_not_refreshed() {
    let world = world();
    world.token().await;
    world.live(44).await;
    world.token().await;
    world.engine.apply(&profiles([with_grant("p", |grant| grant.client_id = "new".into())]));
    world.live(60).await;
    assert_eq!(world.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_keys_that_age_at_once_are_refreshed_by_one_timer() {
    let world = world();
    let name = |number: u32| format!("p{number}");
    world.engine.apply(&profiles((0..10_000).map(|number| profile(&name(number)))));
    let ask = |number| TokenRequest { profile: name(number), ..request() };
    for number in 0..10_000 {
        world.ask(&ask(number)).await.unwrap();
    }
    world.pass(40 * 60);
    for number in 0..10_000 {
        world.ask(&ask(number)).await.unwrap();
    }
    assert_eq!(world.requests(), 10_000);
    world.pass(6 * 60);
    // As many as were used since, which all were; eight at a time.
    while world.requests() < 20_000 {
        world.settle().await;
    }
}

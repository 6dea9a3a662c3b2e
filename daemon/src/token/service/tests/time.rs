//! What the passing of time does.

use std::time::Duration;

use super::world::{HOUR, World, profiles, request, text, with_grant};
use crate::token::{
    ports::{ExpiresIn, IssueErrorKind},
    service::{Source, TokenRequest},
};

fn min_ttl(seconds: u64) -> TokenRequest {
    TokenRequest { min_ttl: Duration::from_secs(seconds), ..request() }
}

#[tokio::test]
async fn an_ageing_token_is_answered_and_refreshed_behind_the_callers_back() {
    let world = World::new();
    world.token().await;
    world.pass(2700);
    world.idp.hold();
    for _ in 0..10 {
        assert_eq!(world.token().await, "token-1", "nobody waits");
    }
    world.settle().await;
    assert_eq!(world.requests(), 2, "one refresh for all of them");
    world.idp.open();
    world.settle().await;
    let answer = world.get().await.unwrap();
    assert_eq!((text(&answer).as_str(), answer.source), ("token-2", Source::Cache));
}

#[tokio::test]
async fn a_due_token_is_refreshed_before_it_is_answered() {
    let world = World::new();
    world.token().await;
    world.pass(HOUR - 60);
    let answer = world.get().await.unwrap();
    assert_eq!((text(&answer).as_str(), answer.source), ("token-2", Source::Refreshed));
}

#[tokio::test(start_paused = true)]
async fn a_due_token_still_serves_where_its_refresh_fails_or_hangs() {
    let world = World::new();
    world.token().await;
    world.pass(HOUR - 60);
    world.idp.fail(IssueErrorKind::Unreachable);
    let answer = world.ask(&min_ttl(300)).await.unwrap();
    assert_eq!((text(&answer).as_str(), answer.source), ("token-1", Source::Cache));
    assert!(answer.below_min_ttl);
    assert!(!world.get().await.unwrap().below_min_ttl, "who asked for nothing gets no warning");
    world.pass(2); // past the back-off
    world.idp.hold();
    let answer = world.get().await.unwrap();
    assert_eq!(text(&answer), "token-1", "the fetch hangs, the caller's patience ends");
    assert_eq!(world.requests(), 3);
}

#[tokio::test]
async fn an_expired_token_is_never_answered() {
    for jump in [
        (|now| now.wall += Duration::from_secs(HOUR)) as fn(&mut crate::domain::time::Moment),
        |now| now.boot += Duration::from_secs(HOUR), // suspend
        |now| now.wall += Duration::from_secs(10 * 365 * 24 * HOUR),
        |now| {
            now.wall = Duration::from_secs(1);
            now.boot += Duration::from_secs(HOUR);
        },
    ] {
        let world = World::new();
        world.token().await;
        world.set(jump);
        world.idp.fail(IssueErrorKind::Unreachable);
        assert!(world.get().await.is_err());
        world.pass(2);
        assert_eq!(world.token().await, "token-3");
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_costs_nothing() {
    let world = World::new();
    world.token().await;
    world.set(|now| now.wall = Duration::from_secs(1));
    for _ in 0..10 {
        assert_eq!(world.token().await, "token-1");
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn min_ttl_is_kept_up_to_three_quarters_of_a_life() {
    let world = World::new();
    world.token().await;
    world.pass(HOUR / 2);
    assert_eq!(text(&world.ask(&min_ttl(1700)).await.unwrap()), "token-1");
    let answer = world.ask(&min_ttl(1900)).await.unwrap();
    assert_eq!((text(&answer).as_str(), answer.below_min_ttl), ("token-2", false));
}

#[tokio::test]
async fn asking_for_more_than_there_is_burns_no_quota() {
    let world = World::new();
    for _ in 0..HOUR {
        let answer = world.ask(&min_ttl(1_000_000)).await.unwrap();
        assert!(answer.below_min_ttl);
        world.pass(1);
    }
    assert!(world.requests() <= 4, "{} requests in an hour", world.requests());
}

#[tokio::test]
async fn without_expires_in_the_profile_decides() {
    let world = World::new();
    world
        .engine
        .apply(&profiles([with_grant("p", |grant| grant.default_lifetime = Duration::from_secs(600))]));
    world.idp.set_expires_in(ExpiresIn::Unknown);
    let lifetime = world.get().await.unwrap().token.lifetime.unwrap();
    assert_eq!(lifetime.length, Duration::from_secs(600));
}

#[tokio::test]
async fn a_token_that_is_over_at_once_is_answered_once() {
    let world = World::new();
    world.idp.set_expires_in(ExpiresIn::Over);
    let answer = world.ask(&min_ttl(1)).await.unwrap();
    assert!(answer.token.lifetime.is_none() && answer.below_min_ttl);
    assert_eq!(text(&answer), "token-1");
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn a_life_of_years_is_cut_to_a_day() {
    let world = World::new();
    world.idp.set_expires_in(ExpiresIn::After(Duration::from_secs(1 << 63)));
    assert_eq!(world.token().await, "token-1");
    world.pass(24 * HOUR);
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn a_short_life_is_not_fetched_on_every_call() {
    let world = World::new();
    world.idp.set_expires_in(ExpiresIn::After(Duration::from_secs(300)));
    for _ in 0..300 {
        world.token().await;
        world.settle().await;
        world.pass(1);
    }
    assert_eq!(world.requests(), 2);
}

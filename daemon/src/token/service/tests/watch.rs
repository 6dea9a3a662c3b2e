//! What those who watch a key are told.

use std::time::Duration;

use tokio::{task::JoinHandle, time::sleep};

use super::world::{World, profile, profiles, request, text, with_grant};
use crate::{
    domain::{
        profile::{BasicEncoding, Grant, Profile, StaticToken},
        secret::SecretRef,
    },
    token::{
        error::TokenError,
        ports::IssueErrorKind,
        watch::{Event, Watcher},
    },
};

/// A world whose engine looks ahead, and a watcher of `p`.
fn world() -> (World, Watcher) {
    let world = World::new();
    tokio::spawn(world.engine.clone().refresh_ahead());
    let watcher = Watcher::new(world.engine.clone(), request());
    (world, watcher)
}

/// What the watcher is told next, in a task of its own.
fn next(mut watcher: Watcher) -> JoinHandle<(Watcher, Result<Event, TokenError>)> {
    tokio::spawn(async move {
        let event = watcher.next().await;
        (watcher, event)
    })
}

fn token(event: Result<Event, TokenError>) -> String {
    match event.unwrap() {
        Event::Token(answer) => text(&answer),
        Event::Trouble(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_watcher_gets_the_token_now_and_the_next_before_it_expires() {
    let (world, watcher) = world();
    let (watcher, first) = next(watcher).await.unwrap();
    assert_eq!(token(first), "token-1");
    let mut waiting = next(watcher);
    for (requests, expected) in [(2, "token-2"), (3, "token-3")] {
        world.pass(44 * 60);
        world.settle().await;
        assert!(!waiting.is_finished(), "there is nothing new yet");
        world.pass(60);
        world.settle().await;
        let (watcher, event) = waiting.await.unwrap();
        assert_eq!((token(event).as_str(), world.requests()), (expected, requests));
        waiting = next(watcher);
    }
}

#[tokio::test]
async fn a_key_that_nobody_watches_any_more_is_left_alone() {
    let (world, watcher) = world();
    let (watcher, _) = next(watcher).await.unwrap();
    drop(watcher);
    for _ in 0..10 {
        world.pass(30 * 60);
        world.settle().await;
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_token() {
    let (world, watcher) = world();
    let (watcher, _) = next(watcher).await.unwrap();
    for _ in 0..3 {
        world.pass(45 * 60);
        world.settle().await;
    }
    assert_eq!(world.requests(), 4);
    let (_, event) = next(watcher).await.unwrap();
    assert_eq!(token(event), "token-4");
}

#[tokio::test]
async fn each_failure_is_told_once_and_the_token_comes_when_the_idp_is_back() {
    let (world, mut watcher) = world();
    for _ in 0..3 {
        world.idp.fail(IssueErrorKind::Unavailable);
    }
    for (requests, back_off) in [(1, 1), (2, 2), (3, 4)] {
        let (back, event) = next(watcher).await.unwrap();
        assert!(matches!(event, Ok(Event::Trouble(TokenError::Issue { .. }))), "{event:?}");
        assert_eq!(world.requests(), requests);
        let waiting = next(back);
        world.settle().await;
        assert!(!waiting.is_finished(), "it is told twice");
        waiting.abort();
        watcher = Watcher::new(world.engine.clone(), request());
        world.pass(back_off);
    }
    assert_eq!(token(next(watcher).await.unwrap().1), "token-4");
}

#[tokio::test]
async fn a_refresh_that_fails_is_told_though_the_token_still_serves() {
    let (world, watcher) = world();
    let (watcher, _) = next(watcher).await.unwrap();
    world.idp.fail(IssueErrorKind::Unavailable);
    let waiting = next(watcher);
    world.pass(45 * 60);
    world.settle().await;
    let (watcher, event) = waiting.await.unwrap();
    assert!(matches!(event, Ok(Event::Trouble(_))), "{event:?}");
    let waiting = next(watcher);
    world.pass(2);
    world.settle().await;
    assert_eq!(token(waiting.await.unwrap().1), "token-3");
}

#[tokio::test]
async fn a_watch_outlives_a_reload_and_ends_with_its_profile() {
    let (world, watcher) = world();
    let (watcher, _) = next(watcher).await.unwrap();
    let waiting = next(watcher);
    world.settle().await;
    world.engine.apply(&profiles([with_grant("p", |grant| grant.client_id = "new".into())]));
    world.settle().await;
    let (watcher, event) = waiting.await.unwrap();
    assert_eq!(token(event), "token-2");
    let waiting = next(watcher);
    world.settle().await;
    world.engine.apply(&profiles([profile("q")]));
    world.settle().await;
    let (_, event) = waiting.await.unwrap();
    assert!(matches!(event, Err(TokenError::ProfileUnknown { .. })), "{event:?}");
}

#[tokio::test]
async fn a_token_that_others_dropped_is_replaced_for_the_watcher_too() {
    let (world, watcher) = world();
    let (watcher, _) = next(watcher).await.unwrap();
    let waiting = next(watcher);
    world.settle().await;
    world.engine.forget("p").unwrap();
    world.settle().await;
    assert_eq!(token(waiting.await.unwrap().1), "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_long_lived_token_that_cannot_be_read_is_told_once_and_its_program_run_now_and_then() {
    let file = SecretRef::File("/s".into());
    let program = SecretRef::Command(vec!["pass".to_owned()]);
    for (api_token, reads, trouble) in [(file, 41, "no such entry"), (program, 5, "locked")] {
        let grant = StaticToken {
            account_id: "id".to_owned(),
            api_token,
            encoding: BasicEncoding::Raw,
            revoked_at: None,
        };
        let (world, watcher) = world();
        world.engine.apply(&profiles([Profile { grant: Grant::Static(grant), ..profile("p") }]));
        world.set_secret(Err(trouble));
        let (watcher, event) = next(watcher).await.unwrap();
        assert!(matches!(event, Ok(Event::Trouble(TokenError::Secret { .. }))), "{event:?}");
        let waiting = next(watcher);
        sleep(Duration::from_secs(20 * 60 + 1)).await;
        assert!(!waiting.is_finished(), "it is told twice");
        assert_eq!(world.secret_reads(), reads);
        world.set_secret(Err("another reason"));
        let (watcher, event) = waiting.await.unwrap();
        assert!(matches!(event, Ok(Event::Trouble(_))), "{event:?}");
        world.set_secret(Ok("there"));
        let (watcher, event) = next(watcher).await.unwrap();
        assert_eq!(token(event), "there");
        world.set_secret(Err("another reason"));
        let (_, event) = next(watcher).await.unwrap();
        assert!(matches!(event, Ok(Event::Trouble(_))), "it is news again: {event:?}");
    }
}

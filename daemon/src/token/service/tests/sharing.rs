//! One fetch for everybody.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::world::{HOUR, World, limit, profile, profiles, request, text, with_grant};
use crate::domain::scope::ScopeSet;
use crate::token::{
    error::TokenError,
    ports::IssueErrorKind,
    service::{Source, TokenRequest},
    watch::Watcher,
};

#[tokio::test]
async fn the_second_call_is_answered_from_memory() {
    let world = World::new();
    let first = world.get().await.unwrap();
    let second = world.get().await.unwrap();
    assert_eq!((first.source, second.source), (Source::Fetched, Source::Cache));
    assert_eq!(text(&first), text(&second));
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_token_replaces_another_only_if_there_was_one() {
    let world = World::new();
    assert_eq!(world.get().await.unwrap().source, Source::Fetched);
    world.engine.forget("p").unwrap();
    assert_eq!(world.get().await.unwrap().source, Source::Fetched, "after forget there was none");
    world.pass(HOUR);
    assert_eq!(world.get().await.unwrap().source, Source::Refreshed, "an expired one was there");
}

#[tokio::test]
async fn a_thousand_cold_callers_cost_one_request_even_if_the_first_is_cut_off() {
    let world = World::new();
    world.idp.hold();
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.token().await })
        })
        .collect();
    world.settle().await;
    callers[0].abort();
    world.settle().await;
    world.idp.open();
    for (index, caller) in callers.into_iter().enumerate() {
        let outcome = caller.await;
        assert!(if index == 0 { outcome.is_err() } else { outcome.unwrap() == "token-1" }, "caller {index}");
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn the_order_of_scopes_makes_no_second_key() {
    let world = World::new();
    let ask = |scopes: &[&str], audience: &str| TokenRequest {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        audience: audience.to_owned(),
        ..request()
    };
    for (scopes, audience, requests) in [
        (&["read", "write"][..], "", 1),
        (&["write", "read", "read"], "aud", 1),
        (&["read"], "", 2),
        (&[], "", 2), // read is the default
        (&[], "other", 3),
    ] {
        world.ask(&ask(scopes, audience)).await.unwrap();
        assert_eq!(world.requests(), requests, "{scopes:?} {audience:?}");
    }
    for (scopes, audience) in [(&["admin"][..], ""), (&[], "elsewhere"), (&["a b"], "")] {
        let error = world.ask(&ask(scopes, audience)).await.unwrap_err();
        assert!(
            matches!(
                error,
                TokenError::ScopeNotAllowed { .. }
                    | TokenError::AudienceNotAllowed { .. }
                    | TokenError::Invalid(_)
            ),
            "{error}"
        );
    }
    assert_eq!(world.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_callers_deadline_does_not_end_the_fetch() {
    let world = World::new();
    world.idp.hold();
    let impatient = TokenRequest { patience: Duration::from_secs(1), ..request() };
    let error = world.ask(&impatient).await.unwrap_err();
    assert!(matches!(error, TokenError::Deadline { .. }), "{error}");
    world.idp.open();
    assert_eq!(world.token().await, "token-1");
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_fetch_that_panics_does_not_wedge_its_key() {
    let world = World::new();
    world.idp.panic.store(true, Ordering::SeqCst);
    let error = world.get().await.unwrap_err();
    assert!(matches!(error, TokenError::Internal(_)), "{error}");
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn everybody_who_waits_hears_of_the_failure() {
    let world = World::new();
    world.idp.hold();
    world.idp.fail(IssueErrorKind::Unreachable);
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.get().await })
        })
        .collect();
    world.settle().await;
    world.idp.open();
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert!(matches!(error, TokenError::Issue { .. }), "{error}");
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn the_keys_of_a_profile_are_bounded_and_none_comes_back_with_a_new_budget() {
    let world = World::new();
    let scopes: Vec<String> = (0..11).map(|number| format!("s{number}")).collect();
    let mut wide = profile("p");
    wide.scopes = ScopeSet::new(&scopes).unwrap();
    world.engine.apply(&profiles([wide]));
    let subset = |bits: u32| {
        let chosen = scopes.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1);
        TokenRequest { scopes: chosen.map(|(_, scope)| scope.clone()).collect(), ..request() }
    };
    let mut answered = 0;
    for bits in 1..2048 {
        match world.ask(&subset(bits)).await {
            Ok(_) => answered += 1,
            Err(error) => assert!(matches!(error, TokenError::RateLimited { .. }), "{error}"),
        }
    }
    let slot = world.engine.directory().get("p").unwrap().clone();
    assert_eq!((answered, slot.entries().len()), (1023, 1024), "the default key has its place");
    assert_eq!(world.requests(), 1023, "who was refused cost nothing");
    world.token().await;
    world.pass(2 * HOUR);
    world.ask(&subset(2047)).await.unwrap();
    assert_eq!(slot.entries().len(), 1024, "a key whose requests no longer count made room");
    assert!(
        Arc::ptr_eq(&slot.entries()[0], slot.default_entry()),
        "the default key stays, and is told first"
    );
    assert_eq!(world.engine.forget("p").unwrap().count, 1024);
}

#[tokio::test]
async fn who_makes_room_is_neither_watched_nor_holds_a_valid_token() {
    let world = World::new();
    let scopes: Vec<String> = (0..11).map(|number| format!("s{number}")).collect();
    let mut wide = with_grant("p", |grant| grant.max_token_requests = Some(limit(1, 60)));
    wide.scopes = ScopeSet::new(&scopes).unwrap();
    world.engine.apply(&profiles([wide]));
    let subset = |bits: u32| {
        let chosen = scopes.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1);
        TokenRequest { scopes: chosen.map(|(_, scope)| scope.clone()).collect(), ..request() }
    };
    let mut watcher = Watcher::new(world.engine.clone(), subset(1));
    watcher.next().await.unwrap();
    world.pass(1);
    for bits in 2..1023 {
        world.ask(&subset(bits)).await.unwrap();
    }
    world.pass(1);
    // The one that was asked for last has no token.
    world.idp.fail(IssueErrorKind::Invalid);
    world.ask(&subset(1023)).await.unwrap_err();
    world.pass(120);
    let is_there = |bits: u32| {
        let wanted = subset(bits);
        let slot = world.engine.directory().get("p").unwrap().clone();
        let wanted = ScopeSet::new(&wanted.scopes).unwrap();
        slot.entries().iter().any(|entry| entry.id.scopes == wanted)
    };
    world.ask(&subset(1024)).await.unwrap();
    assert!(is_there(1) && is_there(2) && !is_there(1023), "first the one without a token");
    world.ask(&subset(1025)).await.unwrap();
    let gone = (2..1023).filter(|bits| !is_there(*bits)).count();
    assert!(is_there(1) && gone == 1, "then one of those that nobody watches");
}

#[tokio::test(start_paused = true)]
async fn five_hundred_cold_profiles_ask_their_idp_eight_at_a_time() {
    let world = World::new();
    world.engine.apply(&profiles((0..500).map(|number| profile(&format!("p{number}")))));
    world.idp.hold();
    let callers: Vec<_> = (0..500)
        .map(|number| {
            let world = world.clone();
            let request = TokenRequest { profile: format!("p{number}"), ..request() };
            tokio::spawn(async move { world.ask(&request).await })
        })
        .collect();
    world.settle().await;
    assert_eq!(world.requests(), 8);
    world.idp.open();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(world.requests(), 500);
}

#[tokio::test(start_paused = true)]
async fn whom_the_queue_has_no_place_for_is_told_at_once() {
    let world = World::new();
    world.engine.apply(&profiles((0..1100).map(|number| profile(&format!("p{number}")))));
    world.idp.hold();
    let callers: Vec<_> = (0..1100)
        .map(|number| {
            let world = world.clone();
            let request = TokenRequest { profile: format!("p{number}"), ..request() };
            tokio::spawn(async move { world.ask(&request).await })
        })
        .collect();
    world.settle().await;
    let refused = callers.iter().filter(|caller| caller.is_finished()).count();
    assert_eq!(refused, 1100 - 8 - 1024);
    world.idp.open();
    let mut told = 0;
    for caller in callers {
        if let Err(error) = caller.await.unwrap() {
            assert!(
                matches!(&error, TokenError::RateLimited { why, .. } if why.contains("1024 more")),
                "{error}"
            );
            told += 1;
        }
    }
    assert_eq!((told, world.requests()), (refused, 8 + 1024));
    // Asked again, they have their turn.
    world.ask(&TokenRequest { profile: "p1099".to_owned(), ..request() }).await.unwrap();
}

//! What a reload and a `forget` do to tokens.

use std::time::Duration;

use super::world::{HOUR, World, failure, limit, profile, profiles, request, with_grant};
use crate::{
    domain::scope::ScopeSet,
    token::{
        cache::Changes,
        error::TokenError,
        ports::{IssueError, IssueErrorKind},
        service::TokenRequest,
    },
};

#[tokio::test]
async fn a_changed_profile_loses_its_own_tokens_only() {
    let world = World::new();
    world.engine.apply(&profiles([profile("p"), profile("q")]));
    let ask = |name: &str| TokenRequest { profile: name.to_owned(), ..request() };
    world.ask(&ask("p")).await.unwrap();
    world.ask(&ask("q")).await.unwrap();
    let changes = world
        .engine
        .apply(&profiles([profile("p"), with_grant("q", |grant| grant.client_id = "new".into())]));
    assert_eq!(changes, Changes { changed: vec!["q".into()], unchanged: 1, ..Changes::default() });
    world.ask(&ask("p")).await.unwrap();
    assert_eq!(world.requests(), 2);
    world.ask(&ask("q")).await.unwrap();
    assert_eq!(world.requests(), 3);
}

#[tokio::test]
async fn what_decides_no_token_may_change_without_losing_one() {
    let world = World::new();
    world.token().await;
    let mut wider = profile("p");
    wider.scopes = ScopeSet::new(["read", "write", "admin"]).unwrap();
    wider.audiences.clear();
    let changes = world.engine.apply(&profiles([wider]));
    assert_eq!(changes.changed, ["p"]);
    assert_eq!(world.token().await, "token-1");
}

#[tokio::test]
async fn a_new_limit_costs_no_token_and_forgives_no_request() {
    let world = World::new();
    world.token().await;
    let stricter = with_grant("p", |grant| grant.max_token_requests = Some(limit(1, 7200)));
    assert_eq!(world.engine.apply(&profiles([stricter])).changed, ["p"]);
    assert_eq!(world.token().await, "token-1");
    world.pass(HOUR);
    let error = world.get().await.unwrap_err();
    assert!(matches!(error, TokenError::RateLimited { .. }), "{error}");
}

#[tokio::test]
async fn a_reload_gives_a_refusal_another_try_and_its_wait_goes_on_doubling() {
    let world = World::new();
    for wait in [30, 60] {
        world.idp.fail(IssueErrorKind::Refused);
        let error = world.get().await.unwrap_err();
        assert!(matches!(error, TokenError::Issue { retry_in, .. } if retry_in.as_secs() == wait), "{error}");
        world.engine.apply(&profiles([profile("p")]));
    }
    assert_eq!(world.token().await, "token-3");
}

#[tokio::test]
async fn what_the_idp_asked_for_outlives_a_reload_that_changes_what_it_does_not_see() {
    let slow_down =
        IssueError { retry_after: Some(Duration::from_secs(600)), ..failure(IssueErrorKind::Unavailable) };
    for (error, wait) in [(slow_down, 600), (failure(IssueErrorKind::Unreachable), 1)] {
        let world = World::new();
        world.idp.next(Err(error));
        world.get().await.unwrap_err();
        for requests in 1..10 {
            let other = with_grant("p", |grant| grant.max_token_requests = Some(limit(requests + 10, 1000)));
            world.engine.apply(&profiles([other]));
            let error = world.get().await.unwrap_err();
            assert!(
                matches!(error, TokenError::Issue { retry_in, .. } if retry_in.as_secs() == wait),
                "{error}"
            );
        }
        assert_eq!(world.requests(), 1);
    }
}

#[tokio::test]
async fn an_idp_that_is_reached_another_way_now_is_tried_at_once() {
    let world = World::new();
    world.idp.fail(IssueErrorKind::Unreachable);
    world.get().await.unwrap_err();
    let other_way = with_grant("p", |grant| grant.network.ca_file = Some("/ca.pem".into()));
    world.engine.apply(&profiles([other_way]));
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn a_changed_profile_forgets_a_refusal_and_a_secret_that_could_not_be_read() {
    let world = World::new();
    world.idp.fail(IssueErrorKind::Refused);
    world.get().await.unwrap_err();
    let other = with_grant("p", |grant| grant.max_token_requests = Some(limit(20, 1000)));
    world.engine.apply(&profiles([other]));
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn a_removed_profile_is_gone_and_so_is_what_was_on_its_way() {
    let world = World::new();
    world.idp.hold();
    let caller = {
        let world = world.clone();
        tokio::spawn(async move { world.get().await })
    };
    world.settle().await;
    let changes = world.engine.apply(&profiles([]));
    assert_eq!(changes.removed, ["p"]);
    for error in [caller.await.unwrap().unwrap_err(), world.get().await.unwrap_err()] {
        assert!(matches!(error, TokenError::ProfileUnknown { .. }), "{error}");
    }
    world.idp.open();
    world.engine.apply(&profiles([profile("p")]));
    assert_eq!(world.token().await, "token-2", "the old flight filled no cache");
}

#[tokio::test]
async fn a_call_gets_the_token_of_the_profile_as_it_is_after_the_reload() {
    let world = World::new();
    world.idp.hold();
    let caller = {
        let world = world.clone();
        tokio::spawn(async move { world.token().await })
    };
    world.settle().await;
    world.engine.apply(&profiles([with_grant("p", |grant| grant.client_id = "new".into())]));
    world.settle().await;
    world.idp.open();
    assert_eq!(caller.await.unwrap(), "token-2");
    let clients =
        world.idp.requests.lock().unwrap().iter().map(|r| r.grant.client_id.clone()).collect::<Vec<_>>();
    assert_eq!(clients, ["id", "new"]);
}

#[tokio::test]
async fn how_long_tokens_last_is_known_until_they_are_gone() {
    let world = World::new();
    assert!(world.engine.tokens_last().is_zero());
    world.token().await;
    assert_eq!(world.engine.tokens_last().as_secs(), HOUR);
    world.pass(HOUR);
    assert!(world.engine.tokens_last().is_zero());
    world.token().await;
    world.engine.apply(&profiles([]));
    assert!(world.engine.tokens_last().is_zero());
}

#[tokio::test]
async fn a_changed_grant_is_asked_at_once_after_a_refusal() {
    let world = World::new();
    world.idp.fail(IssueErrorKind::Refused);
    assert!(world.get().await.is_err());
    world.engine.apply(&profiles([with_grant("p", |grant| grant.client_id = "right".into())]));
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn forget_drops_also_the_token_that_is_on_its_way() {
    let world = World::new();
    assert_eq!(world.engine.forget("p").unwrap().count, 0);
    world.token().await;
    assert_eq!(world.engine.forget("p").unwrap().count, 1);
    world.idp.hold();
    let caller = {
        let world = world.clone();
        tokio::spawn(async move { world.token().await })
    };
    world.settle().await;
    world.engine.forget("p").unwrap();
    world.idp.open();
    assert_eq!(caller.await.unwrap(), "token-2", "who waits is answered");
    assert_eq!(world.token().await, "token-3");
    assert!(matches!(world.engine.forget("x"), Err(TokenError::ProfileUnknown { .. })));
}

//! What failures cost, and what they do not.

use std::time::Duration;

use super::world::{HOUR, World, failure, limit, profile, profiles, request, text, with_grant};
use crate::{
    domain::scope::ScopeSet,
    token::{
        error::TokenError,
        ports::{ExpiresIn, IssueError, IssueErrorKind, Issued},
        service::TokenRequest,
    },
};

/// How long a failed call says to wait, in seconds.
fn retry_in(error: &TokenError) -> u64 {
    match error {
        TokenError::Issue { retry_in, .. } | TokenError::RateLimited { retry_in, .. } => retry_in.as_secs(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn transient_failures_back_off_and_are_forgotten_with_the_next_token() {
    let world = World::new();
    for wait in [1, 2, 4] {
        world.idp.fail(IssueErrorKind::Unavailable);
        assert_eq!(retry_in(&world.get().await.unwrap_err()), wait);
        let before = world.requests();
        assert_eq!(retry_in(&world.get().await.unwrap_err()), wait);
        assert_eq!(world.requests(), before, "no request during the back-off");
        world.pass(wait);
    }
    world.token().await;
    world.pass(HOUR);
    world.idp.fail(IssueErrorKind::Unavailable);
    assert_eq!(retry_in(&world.get().await.unwrap_err()), 1, "the count began anew");
}

#[tokio::test]
async fn what_the_idp_asks_for_is_honoured() {
    let world = World::new();
    let slow_down =
        IssueError { retry_after: Some(Duration::from_secs(90)), ..failure(IssueErrorKind::Unavailable) };
    world.idp.next(Err(slow_down));
    assert_eq!(retry_in(&world.get().await.unwrap_err()), 90);
    world.pass(89);
    assert_eq!(retry_in(&world.get().await.unwrap_err()), 1);
    world.pass(1);
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn a_refusal_is_remembered_until_the_secret_changes() {
    let world = World::new();
    world.idp.fail(IssueErrorKind::Refused);
    for _ in 0..20 {
        assert_eq!(retry_in(&world.get().await.unwrap_err()), 30);
    }
    assert_eq!(world.requests(), 1);
    world.set_secret(Ok("mended"));
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn a_refused_client_is_not_tried_with_every_other_set_of_scopes() {
    let world = World::new();
    let refuse = || {
        let oauth_error = Some("invalid_client".to_owned());
        world.idp.next(Err(IssueError { oauth_error, ..failure(IssueErrorKind::Refused) }));
    };
    let with_scope = |scope: &str| TokenRequest { scopes: vec![scope.to_owned()], ..request() };
    refuse();
    assert_eq!(retry_in(&world.get().await.unwrap_err()), 30);
    world.pass(10);
    assert_eq!(retry_in(&world.ask(&with_scope("write")).await.unwrap_err()), 20);
    assert_eq!(world.requests(), 1);
    world.pass(20);
    refuse();
    assert_eq!(retry_in(&world.ask(&with_scope("write")).await.unwrap_err()), 30);
    world.set_secret(Ok("mended"));
    world.ask(&with_scope("write")).await.unwrap();
    world.get().await.unwrap();
    assert_eq!(world.requests(), 4);
}

#[tokio::test]
async fn refusals_double_their_wait() {
    let world = World::new();
    for wait in [30, 60, 120, 240, 480, 600, 600] {
        world.idp.fail(IssueErrorKind::Refused);
        assert_eq!(retry_in(&world.get().await.unwrap_err()), wait);
        world.pass(wait);
    }
}

#[tokio::test]
async fn each_class_of_failure_has_a_count_of_its_own() {
    let world = World::new();
    for kind in [IssueErrorKind::Unreachable; 10] {
        world.idp.fail(kind);
        let error = world.get().await.unwrap_err();
        world.pass(retry_in(&error));
    }
    world.idp.fail(IssueErrorKind::Refused);
    assert_eq!(retry_in(&world.get().await.unwrap_err()), 30, "the first refusal after an outage");
    world.pass(30);
    world.idp.fail(IssueErrorKind::Unreachable);
    assert_eq!(retry_in(&world.get().await.unwrap_err()), 1);
}

#[tokio::test]
async fn a_new_secret_is_noticed_also_while_a_token_still_serves() {
    let world = World::new();
    world.token().await;
    world.pass(2700);
    world.idp.fail(IssueErrorKind::Refused);
    world.token().await;
    world.settle().await;
    world.set_secret(Ok("mended"));
    world.token().await; // looks
    world.settle().await;
    world.token().await; // refreshes
    world.settle().await;
    assert_eq!(world.token().await, "token-3");
}

#[tokio::test]
async fn a_failed_refresh_neither_drops_the_token_nor_ends_refreshing() {
    let world = World::new();
    world.token().await;
    world.pass(2700);
    world.idp.fail(IssueErrorKind::Refused);
    for _ in 0..5 {
        assert_eq!(world.token().await, "token-1");
        world.settle().await;
    }
    assert_eq!(world.requests(), 2);
    world.pass(30);
    assert_eq!(world.token().await, "token-1");
    world.settle().await;
    assert_eq!(world.token().await, "token-3");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_costs_the_idp_nothing() {
    let world = World::new();
    world.set_secret(Err("no such file"));
    for _ in 0..5 {
        let error = world.get().await.unwrap_err();
        assert!(matches!(error, TokenError::Secret { .. }), "{error}");
    }
    assert_eq!(world.requests(), 0);
    world.set_secret(Ok("there"));
    assert_eq!(world.token().await, "token-1", "at once, without a back-off");
}

#[tokio::test]
async fn the_budget_is_never_exceeded() {
    let world = World::new();
    world.engine.apply(&profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(3, 1000)))]));
    world.idp.set_expires_in(ExpiresIn::Over);
    for _ in 0..3 {
        world.token().await;
        world.pass(10);
    }
    for _ in 0..10 {
        assert_eq!(retry_in(&world.get().await.unwrap_err()), 970);
    }
    world.engine.forget("p").unwrap();
    assert_eq!(retry_in(&world.get().await.unwrap_err()), 970, "forgetting buys no request");
    world.pass(970);
    world.token().await;
    assert_eq!(world.requests(), 4);
}

#[tokio::test]
async fn without_a_limit_the_default_one_holds() {
    let world = World::new();
    world.idp.set_expires_in(ExpiresIn::Over);
    let mut answered = 0;
    for _ in 0..100 {
        answered += usize::from(world.get().await.is_ok());
    }
    assert_eq!((answered, world.requests()), (30, 30));
}

#[tokio::test]
async fn a_rejected_token_is_replaced_and_a_newer_one_kept() {
    let world = World::new();
    let first = world.get().await.unwrap();
    let reject = |id: &str| TokenRequest { rejected_token_id: id.to_owned(), ..request() };
    let second = world.ask(&reject(&first.token.id.0)).await.unwrap();
    assert_eq!(text(&second), "token-2");
    for _ in 0..5 {
        assert_eq!(text(&world.ask(&reject(&first.token.id.0)).await.unwrap()), "token-2", "it is newer");
    }
    assert_eq!(text(&world.ask(&reject("unknown")).await.unwrap()), "token-2");
    assert_eq!(world.requests(), 2);
    let error = world.ask(&reject(&second.token.id.0)).await.unwrap_err();
    assert_eq!(retry_in(&error), 1, "the second rejection in a row waits");
    assert_eq!(world.token().await, "token-2", "for others it still serves");
    world.pass(1);
    let third = world.ask(&reject(&second.token.id.0)).await.unwrap();
    assert_eq!(text(&third), "token-3");
    assert_eq!(retry_in(&world.ask(&reject(&third.token.id.0)).await.unwrap_err()), 2);
    world.pass(602);
    let fourth = world.ask(&reject(&third.token.id.0)).await.unwrap();
    assert_eq!(text(&fourth), "token-4");
    world.pass(1);
    let fifth = world.ask(&reject(&fourth.token.id.0)).await.unwrap();
    assert_eq!(text(&fifth), "token-5", "the count began anew: the wait was 1 s");
}

#[tokio::test]
async fn a_rejection_that_may_not_be_followed_by_a_fetch_drops_nothing() {
    let world = World::new();
    world.engine.apply(&profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(1, 1000)))]));
    let first = world.get().await.unwrap();
    let reject = TokenRequest { rejected_token_id: first.token.id.0.clone(), ..request() };
    assert_eq!(retry_in(&world.ask(&reject).await.unwrap_err()), 1000);
    assert_eq!(world.token().await, "token-1");
}

/// Rejects the token of `p` while no fetch can succeed; tells whom it serves, and that it is not kept.
async fn reject_in_vain(world: &World, first: &str) {
    let reject = TokenRequest { rejected_token_id: first.to_owned(), ..request() };
    let before = world.requests();
    for _ in 0..3 {
        world.ask(&reject).await.unwrap_err();
        assert_eq!(world.token().await, "token-1", "the others go on with it");
    }
    assert_eq!(world.requests(), before);
    let entry = world.engine.directory().get("p").unwrap().default_entry().clone();
    assert!(entry.status(world.engine.now()).token.is_none(), "it is not told as the key's token");
    let kept = entry.record(world.engine.now());
    assert!(kept.is_none_or(|record| record.token.is_none()), "no restart brings it back");
}

#[tokio::test]
async fn a_rejection_while_the_idp_is_down_takes_the_token_from_nobody_else() {
    let world = World::new();
    world.engine.apply(&profiles((0..3).map(|number| profile(&format!("q{number}"))).chain([profile("p")])));
    let first = world.get().await.unwrap();
    for number in 0..3 {
        world.idp.fail(IssueErrorKind::Unreachable);
        world.ask(&TokenRequest { profile: format!("q{number}"), ..request() }).await.unwrap_err();
    }
    reject_in_vain(&world, &first.token.id.0).await;
    world.pass(1);
    world.idp.fail(IssueErrorKind::Unreachable);
    assert_eq!(world.token().await, "token-1", "the next one is tried for, with that to fall back on");
    let requests = world.requests();
    world.pass(2);
    assert_eq!(world.token().await, format!("token-{}", requests + 1));
    let reject = TokenRequest { rejected_token_id: first.token.id.0.clone(), ..request() };
    assert_eq!(text(&world.ask(&reject).await.unwrap()), format!("token-{}", requests + 1));
}

#[tokio::test]
async fn a_rejection_while_the_client_is_refused_takes_the_token_from_nobody_else() {
    let world = World::new();
    let first = world.get().await.unwrap();
    let oauth_error = Some("invalid_client".to_owned());
    world.idp.next(Err(IssueError { oauth_error, ..failure(IssueErrorKind::Refused) }));
    let other = TokenRequest { scopes: vec!["write".to_owned()], ..request() };
    world.ask(&other).await.unwrap_err();
    reject_in_vain(&world, &first.token.id.0).await;
    world.pass(HOUR);
    assert_eq!(world.token().await, "token-3", "an expired one is no spare");
}

#[tokio::test]
async fn who_rejects_a_token_does_not_get_it_back_with_a_new_secret() {
    let world = World::new();
    let first = world.get().await.unwrap();
    world.pass(2700);
    world.idp.fail(IssueErrorKind::Refused);
    world.token().await;
    world.settle().await;
    world.set_secret(Ok("mended"));
    let reject = TokenRequest { rejected_token_id: first.token.id.0.clone(), ..request() };
    assert_eq!(text(&world.ask(&reject).await.unwrap()), "token-3");
}

#[tokio::test]
async fn a_refresh_that_brings_a_much_shorter_life_costs_no_longer_one() {
    let world = World::new();
    world.token().await;
    world.pass(HOUR / 2);
    world.idp.set_expires_in(ExpiresIn::After(Duration::from_secs(5)));
    let wish = TokenRequest { min_ttl: Duration::from_secs(2000), ..request() };
    world.ask(&wish).await.unwrap();
    world.pass(10);
    assert_eq!(world.token().await, "token-1");
}

#[tokio::test]
async fn lives_that_become_shorter_burn_no_quota() {
    let world = World::new();
    tokio::spawn(world.engine.clone().refresh_ahead());
    world.idp.set_expires_in(ExpiresIn::After(Duration::from_secs(24 * HOUR)));
    world.token().await;
    world.pass(17 * HOUR);
    world.idp.set_expires_in(ExpiresIn::After(Duration::from_secs(600)));
    let long = TokenRequest { min_ttl: Duration::from_secs(20 * HOUR), ..request() };
    for call in 0..60 {
        assert_eq!(world.token().await, "token-1", "it is the better one, call {call}");
        world.ask(&long).await.unwrap();
        world.settle().await;
        world.pass(60);
        world.settle().await;
    }
    assert!(world.requests() <= 10, "{} requests in an hour", world.requests());
    world.idp.set_expires_in(ExpiresIn::After(Duration::from_secs(24 * HOUR)));
    world.pass(500);
    world.token().await;
    world.settle().await;
    assert_ne!(world.token().await, "token-1", "a better one is taken as soon as there is one");
}

#[tokio::test]
async fn a_scope_that_was_not_granted_is_an_error_only_for_who_named_it() {
    let world = World::new();
    let narrow = || {
        Ok(Issued {
            access_token: "narrow".into(),
            expires_in: ExpiresIn::After(Duration::from_secs(HOUR)),
            scopes: Some(ScopeSet::new(["write"]).unwrap()),
            server_time: None,
        })
    };
    world.idp.next(narrow());
    let answer = world.get().await.unwrap();
    assert_eq!(answer.token.scopes.to_string(), "write");
    let explicit = TokenRequest { scopes: vec!["read".into(), "write".into()], ..request() };
    world.idp.next(narrow());
    for _ in 0..5 {
        let error = world.ask(&explicit).await.unwrap_err();
        assert!(matches!(&error, TokenError::ScopeNotGranted { scope, .. } if scope == "read"), "{error}");
    }
    assert_eq!(world.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_keys_of_a_dead_idp_do_not_make_five_hundred_requests() {
    let world = World::new();
    let name = |number: u32| format!("p{number}");
    world.engine.apply(&profiles((0..500).map(|number| profile(&name(number)))));
    for _ in 0..500 {
        world.idp.fail(IssueErrorKind::Unreachable);
    }
    let ask_all = async || {
        let mut refused = 0;
        for number in 0..500 {
            let answer = world.ask(&TokenRequest { profile: name(number), ..request() }).await;
            refused += u32::from(answer.is_err());
        }
        refused
    };
    assert_eq!((ask_all().await, world.requests()), (500, 3));
    // One finds out; all others are told what it found.
    world.pass(2);
    assert_eq!((ask_all().await, world.requests()), (500, 4));
    // It is back: of all who ask at once one gets through, and then the others, too.
    world.idp.script.lock().unwrap().clear();
    world.pass(60);
    world.idp.hold();
    let callers = (0..500).map(|number| {
        let (world, request) = (world.clone(), TokenRequest { profile: name(number), ..request() });
        tokio::spawn(async move { world.ask(&request).await })
    });
    let callers: Vec<_> = callers.collect();
    world.settle().await;
    assert_eq!(world.requests(), 5);
    world.idp.open();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(world.requests(), 504);
}

//! A watched key is looked at again and again: whatever happens to it, its next token comes in time.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    ahead::world,
    world::{HOUR, World, failure, limit, profiles, request, text, with_grant},
};
use crate::{
    domain::profile::{Profiles, RequestLimit},
    token::{
        error::TokenError,
        ports::{ExpiresIn, IssueError, IssueErrorKind},
        service::TokenRequest,
        watch::{Event, Watcher},
    },
};

impl World {
    fn watcher(&self) -> Watcher {
        Watcher::new(self.engine.clone(), request())
    }

    /// How many looks are to come within a day.
    fn looks(&self) -> usize {
        self.engine.shared.agenda.take(self.engine.now() + Duration::from_secs(24 * HOUR)).len()
    }
}

/// What a watcher is told next; nothing if there is no news.
async fn told(world: &World, watcher: &mut Watcher) -> Option<String> {
    let event = tokio::select! {
        biased;
        event = watcher.next() => event.unwrap(),
        () = world.settle() => return None,
    };
    Some(match event {
        Event::Token(answer) => text(&answer),
        Event::Trouble(TokenError::Internal(_)) => "internal".to_owned(),
        Event::Trouble(_) => "trouble".to_owned(),
    })
}

/// `p` with this budget.
fn with_budget(budget: RequestLimit) -> Profiles {
    profiles([with_grant("p", |grant| grant.max_token_requests = Some(budget))])
}

#[tokio::test]
async fn a_fetch_that_uses_the_budget_up_is_followed_by_the_next_in_time() {
    let world = world();
    world.engine.apply(&with_budget(limit(1, 600)));
    let mut watcher = world.watcher();
    for number in 1..=3 {
        assert_eq!(told(&world, &mut watcher).await.unwrap(), format!("token-{number}"));
        world.live(44).await;
        assert_eq!(told(&world, &mut watcher).await, None);
        world.live(1).await;
    }
}

#[tokio::test]
async fn a_watch_that_begins_during_a_back_off_gets_its_token_when_that_is_over() {
    let world = world();
    world.idp.fail(IssueErrorKind::Unavailable);
    assert!(world.get().await.is_err());
    let mut watcher = world.watcher();
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "trouble");
    assert_eq!((told(&world, &mut watcher).await, world.requests()), (None, 1));
    world.pass(1);
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-2");
}

#[tokio::test]
async fn a_watch_that_begins_while_a_used_up_budget_holds_the_refresh_back_gets_it_then() {
    let world = world();
    world.token().await;
    // Nobody uses it: it is not looked at any more.
    world.live(46).await;
    world.engine.apply(&with_budget(limit(1, 50 * 60)));
    let mut watcher = world.watcher();
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-1");
    world.live(3).await;
    assert_eq!(told(&world, &mut watcher).await, None);
    world.live(1).await;
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-2");
}

#[tokio::test]
async fn a_watch_that_begins_while_an_empty_quota_holds_the_refresh_back_gets_it_then() {
    let world = world();
    world.issue_with("t1", world.quota(0, 50 * 60));
    world.token().await;
    world.live(46).await;
    let mut watcher = world.watcher();
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "t1");
    world.live(3).await;
    assert_eq!(told(&world, &mut watcher).await, None);
    world.live(1).await;
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-2");
}

#[tokio::test]
async fn a_fetch_that_ends_by_a_panic_is_made_up_for() {
    let world = world();
    let mut watcher = world.watcher();
    world.idp.panic.store(true, Ordering::SeqCst);
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "internal");
    world.pass(30);
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-2");
    // Behind everybody's back, too.
    world.live(44).await;
    world.idp.panic.store(true, Ordering::SeqCst);
    world.live(1).await;
    assert_eq!((told(&world, &mut watcher).await, world.requests()), (None, 3));
    world.live(1).await;
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-4");
}

#[tokio::test]
async fn a_reload_that_allows_more_requests_is_noticed_at_once() {
    let world = world();
    world.engine.apply(&with_budget(limit(1, 3 * HOUR)));
    let mut watcher = world.watcher();
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-1");
    world.live(50).await;
    assert_eq!(told(&world, &mut watcher).await, None);
    world.engine.apply(&with_budget(limit(2, 3 * HOUR)));
    world.live(1).await;
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-2");
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forward_is_noticed_at_once() {
    for (minutes, then, requests) in
        [(70, 0, 2), (50, 0, 2), (40, 4, 1), (40, 5, 2), (-70, 44, 1), (-70, 45, 2)]
    {
        let world = world();
        let mut watcher = world.watcher();
        assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-1");
        // As on a machine that was paused, clocks and all.
        world.set(|now| {
            let set = now.wall.as_secs().saturating_add_signed(minutes * 60);
            now.wall = Duration::from_secs(set);
        });
        world.settle().await;
        world.live(then).await;
        assert_eq!(world.requests(), requests, "{minutes}, then {then}");
        let next = (requests == 2).then(|| "token-2".to_owned());
        assert_eq!(told(&world, &mut watcher).await, next, "{minutes}, then {then}");
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forward_ends_no_back_off() {
    let world = world();
    let error = failure(IssueErrorKind::Unavailable);
    world.idp.next(Err(IssueError { retry_after: Some(Duration::from_secs(120)), ..error }));
    let mut watcher = world.watcher();
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "trouble");
    world.set(|now| now.wall += Duration::from_secs(HOUR));
    assert!(world.get().await.is_err());
    world.pass(119);
    assert_eq!((told(&world, &mut watcher).await, world.requests()), (None, 1));
    world.pass(1);
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-2");
}

#[tokio::test]
async fn tokens_that_may_not_be_kept_are_not_fetched_over_and_over_for_who_watches() {
    let world = world();
    world.idp.set_expires_in(ExpiresIn::Over);
    let mut watcher = world.watcher();
    assert_eq!(told(&world, &mut watcher).await.unwrap(), "token-1");
    world.live(60).await;
    let after_an_hour = world.requests();
    assert!(after_an_hour <= 8, "{after_an_hour}");
    world.live(24 * 60).await;
    let in_a_day = world.requests() - after_an_hour;
    assert!(in_a_day <= 24, "{in_a_day}");
    assert_eq!(told(&world, &mut watcher).await, None);
    // One that may be is told.
    world.idp.set_expires_in(ExpiresIn::After(Duration::from_secs(HOUR)));
    world.live(60).await;
    assert!(told(&world, &mut watcher).await.is_some_and(|token| token.starts_with("token-")));
    let before = world.requests();
    world.live(45).await;
    assert!(world.requests() - before <= 1);
}

#[tokio::test]
async fn a_client_that_is_refused_for_one_key_costs_the_callers_of_the_others_nothing() {
    let world = world();
    world.token().await;
    world.live(46).await;
    let refusal = IssueError { http_status: Some(401), ..failure(IssueErrorKind::Refused) };
    world.idp.next(Err(refusal));
    let other = TokenRequest { scopes: vec!["write".to_owned()], ..request() };
    assert!(world.ask(&other).await.is_err());
    let (requests, reads) = (world.requests(), world.secret_reads());
    for _ in 0..500 {
        assert_eq!(world.token().await, "token-1");
        world.settle().await;
    }
    assert_eq!(world.requests(), requests);
    assert!(world.secret_reads() - reads <= 2, "{}", world.secret_reads() - reads);
    let looks = world.looks();
    assert!(looks <= 2, "{looks}");
    // Another secret is worth a try at once.
    world.set_secret(Ok("right"));
    world.pass(5);
    for _ in 0..2 {
        world.token().await;
        world.settle().await;
    }
    assert_eq!(world.token().await, format!("token-{}", requests + 1));
}

#[tokio::test]
async fn however_often_a_key_is_fetched_one_look_at_it_is_to_come() {
    let world = world();
    world.engine.apply(&with_budget(limit(1000, HOUR)));
    for _ in 0..100 {
        world.token().await;
        world.engine.forget("p").unwrap();
        world.pass(1);
        world.settle().await;
    }
    world.token().await;
    assert_eq!(world.requests(), 101);
    world.settle().await;
    assert_eq!(world.looks(), 1);
}

//! What an IdP says of its quotas, and what nobody waits for leaves alone.

use std::time::Duration;

use super::{
    ahead::world,
    world::{HOUR, World, failure, profile, profiles, request, text},
};
use crate::{
    domain::{quota::Quota, time::Moment},
    token::{
        ports::{ExpiresIn, IssueErrorKind, Issued, Reply},
        service::TokenRequest,
        watch::Watcher,
    },
};

impl World {
    pub(super) fn quota(&self, remaining: u64, resets_in: u64) -> Vec<Quota> {
        let resets_at = Some(self.now().wall + Duration::from_secs(resets_in));
        vec![Quota { name: "per_hour".into(), limit: Some(10), remaining, resets_at }]
    }

    fn now(&self) -> Moment {
        self.engine.now()
    }

    /// What is left of the only bucket, if it is known.
    fn left(&self) -> Option<u64> {
        let directory = self.engine.directory();
        let known = directory.get("p").unwrap().default_entry().standing.quotas(self.now());
        assert!(known.len() <= 1, "{known:?}");
        known.first().map(|known| known.quota.remaining)
    }

    /// The next token comes with this quota.
    pub(super) fn issue_with(&self, token: &str, quotas: Vec<Quota>) {
        let expires_in = ExpiresIn::After(Duration::from_secs(HOUR));
        let issued = Issued { access_token: token.into(), expires_in, scopes: None, server_time: None };
        self.idp.next(Reply { outcome: Ok(issued), quotas });
    }
}

#[tokio::test]
async fn a_quota_is_learnt_from_tokens_and_from_errors_for_all_keys_of_the_client() {
    let world = World::new();
    assert_eq!(world.left(), None);
    world.issue_with("t1", world.quota(7, 3000));
    world.token().await;
    assert_eq!(world.left(), Some(7));
    let other = TokenRequest { scopes: vec!["write".to_owned()], ..request() };
    let outcome = Err(failure(IssueErrorKind::Unavailable));
    world.idp.next(Reply { outcome, quotas: world.quota(0, 3000) });
    assert!(world.ask(&other).await.is_err());
    assert_eq!(world.left(), Some(0));
    // A reload that changes nothing keeps it, and its reset ends it.
    world.engine.apply(&profiles([profile("p")]));
    assert_eq!(world.left(), Some(0));
    world.pass(3000);
    assert_eq!(world.left(), None);
}

#[tokio::test]
async fn a_refresh_that_nobody_waits_for_waits_for_an_empty_quota_to_be_reset() {
    let world = world();
    // To be refreshed after 45 minutes, and full again after 50.
    world.issue_with("t1", world.quota(0, 50 * 60));
    for minute in 0..50 {
        assert_eq!((world.token().await.as_str(), world.requests()), ("t1", 1), "minute {minute}");
        world.live(1).await;
    }
    assert_eq!(world.requests(), 2, "it was reset");
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn who_waits_for_a_token_has_the_idp_decide() {
    let world = world();
    world.issue_with("t1", world.quota(0, 5 * HOUR));
    world.token().await;
    for _ in 0..58 {
        world.live(1).await;
        assert_eq!((world.token().await.as_str(), world.requests()), ("t1", 1));
    }
    // The last minute: the next token is waited for, quota or not.
    world.live(1).await;
    assert_eq!(text(&world.get().await.unwrap()), "token-2");
    assert_eq!(world.requests(), 2);
    // Nor is another key, without any token, kept from asking.
    let other = TokenRequest { scopes: vec!["write".to_owned()], ..request() };
    assert_eq!(text(&world.ask(&other).await.unwrap()), "token-3");
}

#[tokio::test]
async fn a_key_that_is_watched_is_asked_for_in_the_last_minute_of_its_token_quota_or_not() {
    let world = world();
    world.issue_with("t1", world.quota(0, 5 * HOUR));
    world.token().await;
    let mut watcher = Watcher::new(world.engine.clone(), request());
    watcher.next().await.unwrap();
    world.live(58).await;
    assert_eq!(world.requests(), 1);
    world.live(1).await;
    assert_eq!((world.requests(), world.token().await.as_str()), (2, "token-2"));
}

#[tokio::test]
async fn a_refresh_goes_ahead_as_long_as_something_is_left() {
    let world = world();
    world.issue_with("t1", world.quota(1, 5 * HOUR));
    world.token().await;
    for _ in 0..46 {
        world.live(1).await;
        world.token().await;
    }
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn what_replaced_a_token_is_counted_as_a_refresh_too() {
    let world = World::new();
    world.token().await;
    world.pass(HOUR + 1);
    world.token().await;
    world.engine.forget("p").unwrap();
    world.token().await;
    let status = world.engine.directory().get("p").unwrap().default_entry().status(world.now());
    assert_eq!((status.fetched, status.refreshed, status.failed), (3, 1, 0));
    assert_eq!((status.budget.requests, status.budget_left), (30, 28));
}

//! What a restart costs: nothing, where an archive keeps what there was.

use std::time::Duration;

use super::{
    archive::FakeArchive,
    world::{HOUR, World, failure, limit, profile, profiles, request, text, with_grant},
};
use crate::domain::time::Moment;
use crate::token::{
    error::TokenError,
    ports::IssueErrorKind,
    revocations::Progress,
    service::{Source, TokenRequest},
};

fn url() -> url::Url {
    "https://idp.example/revoke".parse().unwrap()
}

/// A world whose engine keeps what it has.
async fn keeping() -> (World, FakeArchive) {
    let archive = FakeArchive::default();
    let mut world = World::new();
    world.restart(&archive, &profiles([profile("p")])).await;
    (world, archive)
}

#[tokio::test]
async fn a_token_survives_a_restart_under_the_same_name() {
    let (mut world, archive) = keeping().await;
    let before = world.get().await.unwrap();
    world.settle().await;
    world.pass(600);
    world.restart(&archive, &profiles([profile("p")])).await;
    let after = world.get().await.unwrap();
    assert_eq!((text(&after).as_str(), after.source), ("token-1", Source::Cache));
    assert_eq!(after.token.id, before.token.id, "who was told of it can still reject it");
    assert_eq!(after.token.lifetime, before.token.lifetime);
    assert_eq!(world.requests(), 1);
    world.pass(HOUR);
    assert_eq!(world.token().await, "token-2", "and ends when it would have ended");
}

#[tokio::test]
async fn what_was_dropped_or_has_expired_does_not_come_back() {
    let (mut world, archive) = keeping().await;
    let first = world.get().await.unwrap();
    let rejecting = TokenRequest { rejected_token_id: first.token.id.0.clone(), ..request() };
    world.idp.fail(IssueErrorKind::Unreachable);
    assert!(world.ask(&rejecting).await.is_err());
    world.settle().await;
    world.pass(2);
    world.restart(&archive, &profiles([profile("p")])).await;
    assert_eq!(world.token().await, "token-3", "the one that was rejected is gone");
    world.engine.forget("p").unwrap();
    world.settle().await;
    world.restart(&archive, &profiles([profile("p")])).await;
    assert_eq!(world.token().await, "token-4", "forgotten");
    world.settle().await;
    world.pass(HOUR);
    world.restart(&archive, &profiles([profile("p")])).await;
    world.settle().await;
    assert_eq!(archive.len(), 0, "expired, and no request counts any more");
}

#[tokio::test]
async fn the_budget_survives_a_restart() {
    let (mut world, archive) = keeping().await;
    let strict = || profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(3, HOUR)))]);
    for number in 1..=3 {
        world.restart(&archive, &strict()).await;
        assert_eq!(world.token().await, format!("token-{number}"));
        world.engine.forget("p").unwrap();
        world.settle().await;
        world.pass(60);
    }
    world.restart(&archive, &strict()).await;
    let error = world.get().await.unwrap_err();
    let TokenError::RateLimited { retry_in, .. } = error else { panic!("{error}") };
    assert_eq!(retry_in, Duration::from_secs(HOUR - 180));
    world.pass(HOUR - 180);
    assert_eq!(world.token().await, "token-4");
}

#[tokio::test]
async fn a_restored_token_is_refreshed_in_its_time_though_its_request_used_the_budget_up() {
    let (mut world, archive) = keeping().await;
    let strict = || profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(1, 600)))]);
    world.restart(&archive, &strict()).await;
    world.token().await;
    world.settle().await;
    world.restart(&archive, &strict()).await;
    tokio::spawn(world.engine.clone().refresh_ahead());
    world.live(40).await;
    world.token().await;
    assert_eq!(world.requests(), 1);
    world.live(5).await;
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn a_request_counts_from_before_it_is_answered() {
    let (mut world, archive) = keeping().await;
    let once = || profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(1, HOUR)))]);
    world.restart(&archive, &once()).await;
    world.idp.hold();
    let (engine, request) = (world.engine.clone(), request());
    let asking = tokio::spawn(async move { engine.get_token(&request).await.map(drop) });
    world.settle().await;
    asking.abort();
    world.idp.open();
    world.restart(&archive, &once()).await;
    assert!(matches!(world.get().await, Err(TokenError::RateLimited { .. })));
}

#[tokio::test]
async fn a_profile_that_asks_for_other_tokens_loses_its_own_and_no_others() {
    let (mut world, archive) = keeping().await;
    world.restart(&archive, &profiles([profile("p"), profile("q"), profile("r")])).await;
    for name in ["p", "q", "r"] {
        world.ask(&TokenRequest { profile: name.into(), ..request() }).await.unwrap();
    }
    world.settle().await;
    assert_eq!(archive.len(), 3);
    // p stays, q has another client, r is gone.
    let now = || profiles([profile("p"), with_grant("q", |grant| grant.client_id = "other".into())]);
    world.restart(&archive, &now()).await;
    world.settle().await;
    assert_eq!((world.token().await.as_str(), archive.len()), ("token-1", 1));
    let other = world.ask(&TokenRequest { profile: "q".into(), ..request() }).await.unwrap();
    assert_eq!(text(&other), "token-4");
    world.settle().await;
    // The same by a reload.
    world.engine.apply(&profiles([profile("p")]));
    world.settle().await;
    assert_eq!(archive.len(), 1);
}

#[tokio::test]
async fn scopes_that_are_no_longer_allowed_do_not_come_back() {
    let (mut world, archive) = keeping().await;
    let writing = TokenRequest { scopes: vec!["write".into()], ..request() };
    world.ask(&writing).await.unwrap();
    world.settle().await;
    let mut narrower = profile("p");
    narrower.scopes = narrower.default_scopes.clone();
    world.restart(&archive, &profiles([narrower])).await;
    world.settle().await;
    assert_eq!(archive.len(), 0);
}

#[tokio::test]
async fn after_a_reboot_a_token_serves_until_a_minute_before_its_end() {
    for (wall, expected) in [(HOUR - 200, "token-1"), (HOUR - 60, "token-2")] {
        let (mut world, archive) = keeping().await;
        world.token().await;
        world.settle().await;
        archive.reboot();
        world.set(|now| {
            now.wall += Duration::from_secs(wall);
            now.boot = Duration::from_secs(9);
        });
        world.restart(&archive, &profiles([profile("p")])).await;
        assert_eq!(world.token().await, expected, "{wall} s later");
    }
    let (mut world, archive) = keeping().await;
    world.token().await;
    world.settle().await;
    archive.reboot();
    world.set(|now| now.wall -= Duration::from_secs(1));
    world.restart(&archive, &profiles([profile("p")])).await;
    assert_eq!(world.token().await, "token-2", "the wall clock was set back, nobody knows how old it is");
}

#[tokio::test]
async fn what_outlived_a_reboot_is_from_then_on_told_by_the_boot_clock() {
    let (mut world, archive) = keeping().await;
    world.token().await;
    world.settle().await;
    archive.reboot();
    world.set(|now| now.boot = Duration::from_secs(9));
    world.restart(&archive, &profiles([profile("p")])).await;
    world.settle().await;
    world.set(|now| now.wall -= Duration::from_secs(30 * 24 * HOUR));
    world.restart(&archive, &profiles([profile("p")])).await;
    assert_eq!(world.token().await, "token-1", "a wall clock that is set back costs nothing");
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_fails_stops_nobody_and_catches_up() {
    let (mut world, archive) = keeping().await;
    archive.set_fails(true);
    for number in 1..=3 {
        assert_eq!(world.token().await, format!("token-{number}"));
        world.engine.forget("p").unwrap();
        world.pass(60);
    }
    assert_eq!(world.token().await, "token-4");
    world.settle().await;
    assert_eq!(archive.len(), 0);
    archive.set_fails(false);
    world.engine.keep_all(Duration::from_secs(120)).await;
    assert_eq!(archive.len(), 1);
    world.restart(&archive, &profiles([profile("p")])).await;
    assert_eq!(world.token().await, "token-4");
}

#[tokio::test]
async fn what_waits_to_be_revoked_is_revoked_after_the_restart_and_once() {
    let (mut world, archive) = keeping().await;
    let revoking = || profiles([with_grant("p", |grant| grant.revocation_url = Some(url()))]);
    world.restart(&archive, &revoking()).await;
    world.token().await;
    world.idp.revocation_fails(failure(IssueErrorKind::Unreachable));
    let revoker = tokio::spawn(world.engine.clone().revoke_queued());
    let forgotten = world.engine.forget_and_revoke("p", Duration::from_secs(1)).await.unwrap();
    assert!(matches!(forgotten.revocations[0].progress, Progress::Later { .. }), "{forgotten:?}");
    world.settle().await;
    revoker.abort();
    for _ in 0..2 {
        world.restart(&archive, &revoking()).await;
        let revoker = tokio::spawn(world.engine.clone().revoke_queued());
        world.settle().await;
        revoker.abort();
    }
    assert_eq!(world.idp.revoked(), ["token-1", "token-1"], "once in vain, once more after the restart");
    assert_eq!(world.engine.pending_revocations("p").count, 0);
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn what_was_issued_before_a_restart_is_known_for_it_afterwards() {
    let (mut world, archive) = keeping().await;
    let revoking = || profiles([with_grant("p", |grant| grant.revocation_url = Some(url())), profile("q")]);
    world.restart(&archive, &revoking()).await;
    world.token().await;
    world.idp.revocation_fails(failure(IssueErrorKind::Unreachable));
    world.engine.forget_and_revoke("p", Duration::from_millis(1)).await.unwrap();
    for name in ["p", "q"] {
        world.ask(&TokenRequest { profile: name.into(), ..request() }).await.unwrap();
    }
    world.settle().await;
    // One waits to be revoked, one is of use, and the profile of one is gone.
    world.restart(&archive, &profiles([profile("p")])).await;
    for token in ["token-1", "token-2", "token-3"] {
        assert!(world.engine.has_issued(&token.into()), "{token}");
    }
    assert!(!world.engine.has_issued(&"token-4".into()));
    let elsewhere = FakeArchive::default();
    world.restart(&elsewhere, &profiles([profile("p")])).await;
    assert!(!world.engine.has_issued(&"token-2".into()), "without what was kept nobody knows it");
}

#[tokio::test]
async fn an_unused_token_that_is_dropped_does_not_come_back() {
    let (mut world, archive) = keeping().await;
    let short =
        || profiles([with_grant("p", |grant| grant.revoke_unused_after = Some(Duration::from_secs(600)))]);
    world.restart(&archive, &short()).await;
    let looking = tokio::spawn(world.engine.clone().refresh_ahead());
    world.token().await;
    world.settle().await;
    world.pass(600);
    world.settle().await;
    looking.abort();
    world.restart(&archive, &short()).await;
    assert_eq!(world.token().await, "token-2");
    // It counts from the restart on, too.
    world.settle().await;
    world.restart(&archive, &short()).await;
    let looking = tokio::spawn(world.engine.clone().refresh_ahead());
    world.pass(600);
    world.settle().await;
    looking.abort();
    assert_eq!(world.token().await, "token-3");
}

#[tokio::test]
async fn a_call_from_memory_writes_nothing() {
    let (world, archive) = keeping().await;
    world.token().await;
    world.settle().await;
    let before = archive.written();
    for _ in 0..100 {
        world.token().await;
    }
    world.settle().await;
    assert_eq!(archive.written(), before);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_at_the_start_is_read_later_and_not_written_over() {
    let (mut world, archive) = keeping().await;
    let strict = || profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(2, 24 * HOUR)))]);
    world.restart(&archive, &strict()).await;
    world.token().await;
    world.settle().await;
    archive.set_fails(true);
    world.restart(&archive, &strict()).await;
    assert_eq!(world.token().await, "token-2", "nobody waits for it");
    archive.set_fails(false);
    world.engine.keep_all(Duration::from_secs(120)).await;
    world.restart(&archive, &strict()).await;
    assert_eq!(world.token().await, "token-2", "the newer one is kept");
    world.engine.forget("p").unwrap();
    assert!(matches!(world.get().await, Err(TokenError::RateLimited { .. })), "and both requests count");
}

#[tokio::test]
async fn what_is_dropped_before_it_is_read_does_not_come_back() {
    let (mut world, archive) = keeping().await;
    world.token().await;
    world.settle().await;
    world.start_without_restoring(&archive, &profiles([profile("p")]));
    world.engine.forget("p").unwrap();
    world.keep();
    world.engine.has_looked().await;
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn a_long_window_outlives_reboots_and_ends() {
    let (mut world, archive) = keeping().await;
    let month =
        || profiles([with_grant("p", |grant| grant.max_token_requests = Some(limit(1, 30 * 24 * HOUR)))]);
    world.restart(&archive, &month()).await;
    world.token().await;
    // Booted daily.
    for day in 1..=30 {
        world.settle().await;
        archive.reboot();
        world.set(|now| {
            *now = Moment { wall: now.wall + Duration::from_secs(24 * HOUR), boot: Duration::from_secs(20) }
        });
        world.restart(&archive, &month()).await;
        match world.get().await {
            Err(TokenError::RateLimited { retry_in, .. }) => {
                assert_eq!(retry_in.as_secs(), (30 - day) * 24 * HOUR, "day {day}");
            }
            answer => assert!(day == 30 && answer.is_ok(), "day {day}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn what_comes_late_takes_the_place_of_nothing_newer() {
    let (mut world, archive) = keeping().await;
    world.token().await;
    world.settle().await;
    world.start_without_restoring(&archive, &profiles([profile("p")]));
    assert_eq!(world.token().await, "token-2", "a caller did not wait for it");
    world.keep();
    world.engine.has_looked().await;
    assert_eq!(world.token().await, "token-2");
    assert_eq!(world.requests(), 2);
}

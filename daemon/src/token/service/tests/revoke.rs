//! Tokens that are taken back.

use std::{sync::atomic::Ordering, time::Duration};

use super::world::{HOUR, World, failure, profile, profiles, request, with_grant};
use crate::{
    domain::{
        profile::{BasicEncoding, ClientCredentials, Grant, Profile, StaticToken},
        secret::SecretRef,
    },
    token::{
        ports::{IssueError, IssueErrorKind},
        revocations::Progress,
        revoke::Forgotten,
        service::{Source, TokenRequest},
    },
};

const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn with_endpoint(grant: &mut ClientCredentials) {
    grant.revocation_url = Some("https://idp.example/revoke".parse().unwrap());
}

/// A world whose engine revokes, and whose profile `p` knows where.
fn world() -> World {
    let world = World::new();
    world.engine.apply(&profiles([with_grant("p", with_endpoint)]));
    tokio::spawn(world.engine.clone().revoke_queued());
    world
}

impl World {
    async fn take_back(&self) -> Forgotten {
        self.engine.forget_and_revoke("p", PATIENCE).await.unwrap()
    }

    async fn later(&self, seconds: u64) {
        self.pass(seconds);
        self.settle().await;
    }

    fn pending(&self) -> usize {
        self.engine.pending_revocations("p").count
    }
}

fn progress(forgotten: &Forgotten) -> Vec<&Progress> {
    forgotten.revocations.iter().map(|revocation| &revocation.progress).collect()
}

fn refused(code: &str) -> IssueError {
    IssueError { oauth_error: Some(code.to_owned()), ..failure(IssueErrorKind::Refused) }
}

/// Three keys of `p`, each with its token.
async fn three_tokens(world: &World) {
    for scopes in [&["read"][..], &["write"], &["read", "write"]] {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        world.ask(&TokenRequest { scopes, ..request() }).await.unwrap();
    }
}

#[tokio::test]
async fn all_tokens_of_a_profile_are_dropped_and_revoked() {
    let world = world();
    three_tokens(&world).await;
    let forgotten = world.take_back().await;
    assert_eq!(forgotten.count, 3);
    assert_eq!(progress(&forgotten), [&Progress::Revoked; 3]);
    let mut revoked = world.idp.revoked.lock().unwrap().clone();
    revoked.sort_unstable();
    let expected = [1, 2, 3].map(|number| (format!("token-{number}"), "secret".to_owned()));
    assert_eq!(revoked, expected);
    assert_eq!(world.get().await.unwrap().source, Source::Fetched);
    assert_eq!(world.pending(), 0);
}

#[tokio::test]
async fn a_token_that_is_on_its_way_is_revoked_when_it_comes_and_who_waits_gets_the_next() {
    let world = world();
    world.token().await;
    world.pass(HOUR - 60);
    world.idp.hold();
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { world.token().await }
    });
    world.settle().await;
    let forgotten = world.take_back().await;
    assert_eq!(progress(&forgotten), [&Progress::Revoked]);
    world.idp.open();
    assert_eq!(waiting.await.unwrap(), "token-3", "neither of those that were taken back");
    world.settle().await;
    assert_eq!(world.idp.revoked(), ["token-1", "token-2"]);
    assert_eq!((world.token().await.as_str(), world.requests()), ("token-3", 3));
}

#[tokio::test]
async fn a_token_on_its_way_that_cannot_be_revoked_is_for_who_waits_for_it() {
    let world = World::new();
    world.idp.hold();
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { world.token().await }
    });
    world.settle().await;
    world.take_back().await;
    world.idp.open();
    assert_eq!(waiting.await.unwrap(), "token-1");
    assert_eq!(world.token().await, "token-2");
}

#[tokio::test]
async fn only_tokens_that_are_still_valid_are_revoked() {
    let world = world();
    world.token().await;
    world.pass(HOUR);
    let forgotten = world.take_back().await;
    assert_eq!((forgotten.count, forgotten.revocations.len(), world.idp.revoked().len()), (1, 0, 0));
    let forgotten = world.take_back().await;
    assert_eq!((forgotten.count, forgotten.revocations.len()), (0, 0));
}

#[tokio::test]
async fn without_being_asked_to_nothing_is_revoked() {
    let world = world();
    world.token().await;
    assert_eq!(world.engine.forget("p").unwrap().count, 1);
    world.settle().await;
    assert_eq!(world.idp.revoked().len(), 0);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_tried_again_as_the_back_off_allows() {
    let world = world();
    world.token().await;
    for _ in 0..2 {
        world.idp.revocation_fails(failure(IssueErrorKind::Unreachable));
    }
    let begun = world.engine.now();
    let forgotten = world.take_back().await;
    let later = Progress::Later { why: "Unreachable".into(), at: begun + Duration::from_secs(1) };
    assert_eq!(progress(&forgotten), [&later]);
    let pending = world.engine.pending_revocations("p");
    assert_eq!((pending.count, pending.error.as_deref()), (1, Some("Unreachable")));
    assert_eq!(world.get().await.unwrap().source, Source::Fetched, "it is gone here all the same");
    for (seconds, tries) in [(0, 1), (1, 2), (1, 2), (1, 3)] {
        world.later(seconds).await;
        assert_eq!(world.idp.revoked(), vec!["token-1"; tries]);
    }
    assert_eq!(world.pending(), 0);
    world.later(HOUR).await;
    assert_eq!(world.idp.revoked().len(), 3, "once it is revoked that is all");
}

#[tokio::test]
async fn retry_after_is_kept_to() {
    let world = world();
    world.token().await;
    let busy =
        IssueError { retry_after: Some(Duration::from_secs(100)), ..failure(IssueErrorKind::Unavailable) };
    world.idp.revocation_fails(busy);
    world.take_back().await;
    world.later(99).await;
    assert_eq!(world.idp.revoked().len(), 1);
    world.later(1).await;
    assert_eq!((world.idp.revoked().len(), world.pending()), (2, 0));
}

#[tokio::test]
async fn a_client_that_is_refused_is_not_asked_for_each_of_its_tokens() {
    let world = world();
    three_tokens(&world).await;
    world.idp.revocation_fails(refused("invalid_client"));
    let forgotten = world.take_back().await;
    assert!(
        progress(&forgotten).iter().all(|progress| matches!(progress, Progress::Later { .. })),
        "{forgotten:?}"
    );
    world.later(29).await;
    assert_eq!(world.idp.revoked().len(), 1);
    // Mended meanwhile, and read anew.
    world.set_secret(Ok("better"));
    world.later(1).await;
    assert_eq!((world.idp.revoked().len(), world.pending()), (4, 0));
    assert_eq!(world.idp.revoked.lock().unwrap()[3].1, "better");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_read_again() {
    let world = world();
    world.token().await;
    world.set_secret(Err("locked"));
    let forgotten = world.take_back().await;
    let Progress::Later { why, .. } = &forgotten.revocations[0].progress else { panic!("{forgotten:?}") };
    assert!(why.contains("the secret cannot be read: locked"), "{why}");
    world.set_secret(Ok("secret"));
    world.later(1).await;
    assert_eq!((world.idp.revoked().len(), world.pending()), (1, 0));
}

#[tokio::test]
async fn what_no_retry_can_change_is_tried_once() {
    for (error, expected) in [
        (failure(IssueErrorKind::Unsupported), Progress::NotPossible("Unsupported".into())),
        (refused("invalid_request"), Progress::Failed("Refused".into())),
    ] {
        let world = world();
        world.token().await;
        world.idp.revocation_fails(error);
        assert_eq!(progress(&world.take_back().await), [&expected]);
        world.later(HOUR / 2).await;
        assert_eq!((world.idp.revoked().len(), world.pending()), (1, 0));
    }
}

#[tokio::test]
async fn one_token_that_fails_does_not_keep_the_others_waiting() {
    let world = world();
    three_tokens(&world).await;
    world.idp.revocation_fails(failure(IssueErrorKind::Unavailable));
    world.take_back().await;
    let first = world.idp.revoked()[0].clone();
    world.later(1).await;
    assert_eq!(world.idp.revoked().last(), Some(&first), "the others went first");
    assert_eq!((world.idp.revoked().len(), world.pending()), (4, 0));
}

#[tokio::test]
async fn a_token_that_expires_by_itself_is_given_up() {
    let world = world();
    world.token().await;
    for _ in 0..100 {
        world.idp.revocation_fails(failure(IssueErrorKind::Unreachable));
    }
    world.take_back().await;
    for _ in 0..HOUR / 60 {
        world.later(60).await;
    }
    let tries = world.idp.revoked().len();
    assert!((2..30).contains(&tries), "{tries}");
    assert_eq!(world.pending(), 0);
    world.later(HOUR).await;
    assert_eq!(world.idp.revoked().len(), tries);
}

#[tokio::test]
async fn a_fault_of_ours_is_tried_again_and_is_not_the_end_of_all_others() {
    let world = world();
    three_tokens(&world).await;
    world.idp.panic.store(true, Ordering::SeqCst);
    let forgotten = world.take_back().await;
    let Progress::Later { why, .. } = &forgotten.revocations[0].progress else { panic!("{forgotten:?}") };
    assert!(why.contains("a fault of usherd"), "{why}");
    world.later(1).await;
    assert_eq!((world.idp.revoked().len(), world.pending()), (4, 0));
}

#[tokio::test]
async fn an_idp_that_is_down_is_not_asked_for_each_of_its_profiles() {
    let world = world();
    let mut names: Vec<_> = (0..100).map(|number| format!("p{number}")).collect();
    world.engine.apply(&profiles(names.iter().map(|name| with_grant(name, with_endpoint))));
    let late = names.pop().unwrap();
    for name in &names {
        world.ask(&TokenRequest { profile: name.clone(), ..request() }).await.unwrap();
        world.idp.revocation_fails(failure(IssueErrorKind::Unreachable));
        let forgotten = world.engine.forget_and_revoke(name, PATIENCE).await.unwrap();
        assert!(matches!(progress(&forgotten)[..], [Progress::Later { .. }]), "{forgotten:?}");
    }
    assert_eq!(world.idp.revoked().len(), 3, "then the circuit is open");
    world.later(1).await;
    assert_eq!(world.idp.revoked().len(), 4, "one finds out");
    world.ask(&TokenRequest { profile: late.clone(), ..request() }).await.unwrap();
    let forgotten = world.engine.forget_and_revoke(&late, PATIENCE).await.unwrap();
    let later = Progress::Later { why: "Unreachable".into(), at: world.engine.now() + 2 * SECOND };
    assert_eq!(progress(&forgotten), [&later], "it comes when the circuit is to be closed");
    world.idp.revocations.lock().unwrap().clear();
    for _ in 0..60 {
        world.later(1).await;
    }
    assert_eq!(world.idp.revoked().len(), 4 + 100);
    assert!(world.engine.tokens_last().is_zero(), "all are revoked");
}

#[tokio::test]
async fn a_reload_that_removes_the_profile_loses_no_revocation() {
    let world = world();
    world.token().await;
    world.idp.revocation_fails(failure(IssueErrorKind::Unreachable));
    world.take_back().await;
    world.engine.apply(&profiles([profile("q")]));
    assert!(!world.engine.tokens_last().is_zero(), "it is worth staying for");
    world.later(1).await;
    assert_eq!(world.idp.revoked(), ["token-1", "token-1"]);
    assert!(world.engine.tokens_last().is_zero());
}

#[tokio::test]
async fn an_idp_without_an_endpoint_is_told_of_at_once() {
    let world = World::new();
    world.token().await;
    let forgotten = world.take_back().await;
    assert_eq!(forgotten.count, 1);
    let Progress::NotPossible(why) = &forgotten.revocations[0].progress else { panic!("{forgotten:?}") };
    assert!(why.contains("idp.example") && why.contains("revocation_url"), "{why}");
}

#[tokio::test]
async fn a_static_token_is_for_its_owner_to_revoke() {
    let world = World::new();
    for (known, place) in [(Some("the console"), "in the console"), (None, "the service that issued it")] {
        let grant = Grant::Static(StaticToken {
            account_id: "a".into(),
            api_token: SecretRef::Env("S".into()),
            encoding: BasicEncoding::Raw,
            revoked_at: known.map(str::to_owned),
        });
        world.engine.apply(&profiles([Profile { grant, ..profile("p") }]));
        world.token().await;
        let forgotten = world.take_back().await;
        assert_eq!((forgotten.count, forgotten.revocations.len()), (0, 0));
        assert!(forgotten.advice.as_ref().unwrap().contains(place), "{forgotten:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_a_few_seconds_and_no_token_request_waits_for_a_revocation() {
    let world = world();
    let names: Vec<_> = (0..20).map(|number| format!("p{number}")).collect();
    world.engine.apply(&profiles(names.iter().map(|name| with_grant(name, with_endpoint))));
    world.idp.hold_revocations();
    for name in &names {
        let request = TokenRequest { profile: name.clone(), ..request() };
        world.ask(&request).await.unwrap();
        let begun = tokio::time::Instant::now();
        let forgotten = world.engine.forget_and_revoke(name, PATIENCE).await.unwrap();
        assert_eq!(progress(&forgotten), [&Progress::Waiting]);
        assert_eq!(begun.elapsed().as_secs(), 5);
        let forgotten = world.engine.forget_and_revoke(name, Duration::ZERO).await.unwrap();
        assert_eq!(forgotten.count, 0);
        world.ask(&request).await.unwrap();
    }
    assert_eq!(world.idp.revoked().len(), 8, "at a time");
}

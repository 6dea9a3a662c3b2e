//! Which profile a request means.

use super::world::{World, profile, profiles, request};
use crate::token::{error::TokenError, service::TokenRequest};

/// The profiles that a request could have meant, by the error that says so.
async fn choice(world: &World, request: TokenRequest) -> Vec<String> {
    match world.ask(&request).await.unwrap_err() {
        TokenError::ProfileAmbiguous { known, .. } | TokenError::ProfileUnknown { known, .. } => known,
        other => panic!("{other}"),
    }
}

fn unnamed() -> TokenRequest {
    TokenRequest { profile: String::new(), ..request() }
}

#[tokio::test]
async fn the_only_profile_needs_no_name_and_one_of_several_does() {
    let world = World::new();
    assert_eq!(world.ask(&unnamed()).await.unwrap().profile.name, "p");
    world.engine.apply(&profiles([profile("q"), profile("p"), profile("a")]));
    assert_eq!(choice(&world, unnamed()).await, ["a", "p", "q"]);
    let other = TokenRequest { profile: "x".to_owned(), ..request() };
    assert_eq!(choice(&world, other).await, ["a", "p", "q"]);
    let mut with_default = profiles([profile("q"), profile("p")]);
    with_default.default_profile = Some("q".to_owned());
    world.engine.apply(&with_default);
    assert_eq!(world.ask(&unnamed()).await.unwrap().profile.name, "q");
    world.engine.apply(&profiles([]));
    assert!(choice(&world, unnamed()).await.is_empty());
}

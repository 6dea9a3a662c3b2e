//! Which profile a request means.

use super::world::{World, profile, profiles, request};
use crate::{
    domain::{profile::Profile, url::UrlPrefix},
    token::{error::TokenError, service::TokenRequest},
};

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

#[tokio::test]
async fn a_url_chooses_who_says_that_it_is_for_it_before_whose_preset_does() {
    let world = World::new();
    let with = |name: &str, url: &str, urls_are_presets, by_name_only| Profile {
        urls: vec![UrlPrefix::new(url, false).unwrap()],
        urls_are_presets,
        by_name_only,
        ..profile(name)
    };
    world.engine.apply(&profiles([
        with("preset1", "https://api.example/a", true, false),
        with("preset2", "https://api.example/a/", true, false),
        with("host", "https://api.example", false, false),
        with("deep", "https://api.example/a/b", true, false),
        with("written", "https://api.example/a/b", false, false),
        with("named", "https://api.example/a/b/c", false, true),
    ]));
    let to = |url: &str| TokenRequest { url: url.to_owned(), ..unnamed() };
    for (url, expected) in [
        ("https://api.example/a/b/c", "written"),
        ("https://api.example/a/b", "written"),
        ("https://api.example/x", "host"),
    ] {
        assert_eq!(world.ask(&to(url)).await.unwrap().profile.name, expected, "{url}");
    }
    assert_eq!(choice(&world, to("https://api.example/a/x")).await, ["preset1", "preset2"]);
    let named = TokenRequest { profile: "named".to_owned(), ..to("https://api.example/a/b/c") };
    assert_eq!(world.ask(&named).await.unwrap().profile.name, "named");
}

//! Which profile answers a request, and that its token stays within its `urls`.

use usher_proto::{error::ErrorReason, v1::GetTokenRequest};
use usher_testkit::idp::FakeIdp;

use super::{ask, failure, get};
use crate::support::{World, named};

#[test]
fn the_profile_follows_from_the_url_and_the_token_stays_within_its_urls() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let named = |name, extra: &str| named(name, sandbox, ca, idp, extra);
        named("a", "base_url = \"https://api.example.com/v1/a\"")
            + &named("deep", "urls = [\"https://api.example.com/v1/a/deep\"]")
            + &named("twin1", "urls = [\"https://twin.example.com\"]")
            + &named("twin2", "urls = [\"https://twin.example.com/\"]\nby_name_only = true")
    });
    let ask = |profile: &str, url: &str| GetTokenRequest { url: url.into(), ..ask(profile) };
    for (profile, url, answers, becomes) in [
        ("a", "/shares", "a", "https://api.example.com/v1/a/shares"),
        ("a", "https://api.example.com/v1/a", "a", "https://api.example.com/v1/a"),
        ("", "https://API.example.com:443/v1/a/x?q=1", "a", "https://api.example.com/v1/a/x?q=1"),
        ("", "https://api.example.com/v1/a/deep/x", "deep", "https://api.example.com/v1/a/deep/x"),
        ("", "https://api.example.com/v1/a/deep/../y", "a", "https://api.example.com/v1/a/y"),
        ("", "https://api.example.com/v1/a/deeper", "a", "https://api.example.com/v1/a/deeper"),
        ("", "https://twin.example.com/x", "twin1", "https://twin.example.com/x"),
        ("twin2", "https://twin.example.com/x", "twin2", "https://twin.example.com/x"),
    ] {
        let answer = get(&world.usherd, ask(profile, url)).unwrap();
        assert_eq!((answer.profile.as_str(), answer.url.as_str()), (answers, becomes), "{profile} {url}");
    }
    for (profile, url, reason) in [
        ("a", "https://elsewhere.example.com/v1/a/x", ErrorReason::UrlNotAllowed),
        ("a", "https://api.example.com/v1/ab", ErrorReason::UrlNotAllowed),
        ("a", "https://api.example.com:444/v1/a/x", ErrorReason::UrlNotAllowed),
        ("a", "/../b", ErrorReason::UrlNotAllowed),
        ("deep", "https://api.example.com/v1/a/x", ErrorReason::UrlNotAllowed),
        ("", "https://elsewhere.example.com/", ErrorReason::UrlNotAllowed),
        ("a", "https://api.example.com@evil.example.com/v1/a", ErrorReason::RequestInvalid),
        ("a", "https://api.example.com/v1/a/%2e%2e%2fb", ErrorReason::RequestInvalid),
        ("a", "http://api.example.com/v1/a/x", ErrorReason::RequestInvalid),
        ("a", "shares", ErrorReason::RequestInvalid),
        ("deep", "/shares", ErrorReason::RequestInvalid),
        ("", "/shares", ErrorReason::ProfileAmbiguous),
    ] {
        let (_, failure) = failure(&world.usherd, ask(profile, url));
        assert_eq!(failure.reason, reason, "{profile} {url}: {failure:?}");
    }
}

#[test]
fn the_default_profile_answers_who_names_none_and_so_does_the_only_one() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let base = "base_url = \"https://api.example.com/b\"";
        let two = named("a", sandbox, ca, idp, "") + &named("b", sandbox, ca, idp, base);
        format!("default_profile = \"b\"\n{two}")
    });
    assert_eq!(get(&world.usherd, ask("")).unwrap().profile, "b");
    let path = GetTokenRequest { url: "/x".into(), ..ask("") };
    assert_eq!(get(&world.usherd, path).unwrap().url, "https://api.example.com/b/x");
    assert_eq!(get(&world.usherd, ask("a")).unwrap().profile, "a");
    let only = World::new("");
    assert_eq!(get(&only.usherd, ask("")).unwrap().profile, "frontdoor");
}

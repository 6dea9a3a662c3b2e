//! Places and `urls`: what is taken means the same to everybody, and what a prefix covers lies below it.
//!
//! An input is `PREFIX|PROTOCOL|HOST|PATH`.

#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use url::Url;
use usher_daemon::domain::{
    place::{self, Place},
    url::{UrlPrefix, canonical},
};

fuzz_target!(|text: &str| {
    let mut fields = text.splitn(4, '|');
    let [prefix, protocol, host, path] = [(); 4].map(|()| fields.next().unwrap_or_default());
    for allow_loopback_http in [false, true] {
        let url = canonical(prefix, allow_loopback_http).ok();
        if let Some(url) = &url {
            means_the_same_to_everybody(url, prefix, allow_loopback_http);
        }
        if let Ok(below) = UrlPrefix::new(prefix, allow_loopback_http) {
            prefix_is_sound(&below, url.as_ref().expect("a prefix is canonical"));
            let place = place::of_parts(protocol, host, path).ok().flatten();
            place.into_iter().flat_map(|place| place.urls).for_each(|url| covers_soundly(&below, &url));
        }
    }
    if let Ok(Some(place)) = place::of_parts(protocol, host, path) {
        parts_are_sound(&place, protocol, host, path);
    }
    let server = if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") };
    for server in [server, format!("{protocol}://{host}/{path}")] {
        if let Ok(place) = place::of_server(&server) {
            server_is_sound(&place, &server);
        }
    }
});

/// What is true of every URL that is taken from `given`.
fn means_the_same_to_everybody(url: &Url, given: &str, allow_loopback_http: bool) {
    let text = url.as_str();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{given:?} became {text:?}");
    assert_eq!(canonical(text, allow_loopback_http).as_ref(), Ok(url), "{given:?} is not canonical at once");
    let (scheme, rest) = text.split_once("://").expect("an absolute URL");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!authority.contains(['@', '%', '\\']), "{given:?} has a user name or worse: {text}");
    let host = host_of(authority);
    assert!(!host.is_empty() && !host.ends_with('.'), "{given:?} has no sound host: {text}");
    assert!(scheme == "https" || scheme == "http" && allow_loopback_http && is_loopback(host), "{given:?}");
    // Nobody who reads it in his own way comes to another host.
    let (_, given_rest) = given.split_once("://").expect("an absolute URL was given");
    let given_authority = given_rest.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(host_of(given_authority).eq_ignore_ascii_case(host), "{given:?} leads to {host}");
    let path = rest[authority.len()..].split(['?', '#']).next().unwrap_or_default();
    assert!(!path.split('/').any(|name| matches!(name, "." | "..")), "{given:?} has dot segments: {text}");
    assert!(!has_line_end(path), "{given:?} has a line end: {text}");
}

/// Without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_loopback(host: &str) -> bool {
    let v6 = || host.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()) || v6().is_some_and(|ip| ip.is_loopback())
}

fn has_line_end(path: &str) -> bool {
    percent_decode_str(path).any(|byte| matches!(byte, 0 | b'\n' | b'\r'))
}

fn prefix_is_sound(prefix: &UrlPrefix, own: &Url) {
    assert_eq!(prefix.to_string(), own.as_str());
    assert!(prefix.covers(own), "{prefix} does not cover itself");
    assert!(!prefix.server().ends_with('/'), "{}", prefix.server());
    for (path, is_below) in [("/x", true), ("/", true), ("x", false)] {
        let text = prefix.join(path);
        if let Ok(url) = canonical(&text, true) {
            covers_soundly(prefix, &url);
            assert!(!is_below || prefix.covers(&url), "{prefix} does not cover {url}");
        }
    }
}

/// What is covered has the prefix's text before it, up to the end of a segment.
fn covers_soundly(prefix: &UrlPrefix, url: &Url) {
    let text = url.as_str().split(['?', '#']).next().unwrap_or_default();
    let own = prefix.to_string();
    let begins = text.strip_prefix(own.trim_end_matches('/'));
    let is_below = begins.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    assert_eq!(prefix.covers(url), is_below, "{prefix} and {url}");
}

fn parts_are_sound(place: &Place, protocol: &str, host: &str, path: &str) {
    let given = format!("{protocol}://{host}/");
    for part in [protocol, host, path] {
        assert!(
            !part.bytes().any(|byte| byte < b' ' || byte == 0x7f),
            "{given:?} {path:?} has a control byte"
        );
    }
    let [url] = place.urls.as_slice() else { panic!("{given} has {} URLs", place.urls.len()) };
    means_the_same_to_everybody(url, &given, true);
    assert_eq!(place.site.host, url.as_str()[..place.site.host.len()], "{given}");
    let stored = place.site.path.as_deref().unwrap_or_default();
    let decoded = percent_decode_str(stored).decode_utf8().expect("what was text is text");
    assert_eq!(decoded, path.trim_end_matches('/'), "another path would be stored");
    let (scheme, authority) = place.site.host.split_once("://").expect("an absolute URL");
    let again = place::of_parts(scheme, authority, &decoded).ok().flatten().map(|place| place.site);
    assert_eq!(again.as_ref(), Some(&place.site), "{given} {path:?} is another place the second time");
}

fn server_is_sound(place: &Place, server: &str) {
    assert_eq!(place.site.host, server);
    assert!(!place.urls.is_empty(), "{server:?} is nowhere");
    for url in &place.urls {
        let given =
            if server.contains("://") { server.to_owned() } else { format!("{}://{server}", url.scheme()) };
        means_the_same_to_everybody(url, &given, true);
    }
}

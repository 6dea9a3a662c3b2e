//! Where a profile's token may be presented, in the words of the tools.

use std::time::Duration;

use usher_proto::v1::{ProfileStatus, StatusRequest};

use super::docker;
use crate::{args::Tool, call::with_started_daemon, caller::Caller, error::Error};

/// How long usherd may take to tell.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of a profile's URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    scheme: String,
    /// With its port, unless that is the scheme's own.
    host: String,
    /// Empty, or with `/` before and none behind.
    path: String,
    /// The URL alone does not tell whose token is meant: it chooses no profile, or another has the same.
    pub(super) by_name: bool,
    /// No URL chooses the profile at all.
    pub(super) by_name_only: bool,
}

/// The places of `profile` for `tool`, as usherd knows them.
pub(super) fn of(profile: &str, tool: Tool, caller: &mut Caller<'_>) -> Result<Vec<Place>, Error> {
    let profiles = with_started_daemon(caller, PATIENCE, async |daemon| {
        // Where there is none of that name usherd says so.
        daemon.status(StatusRequest { profile: profile.to_owned() }).await?;
        Ok(daemon.status(StatusRequest::default()).await?.profiles)
    })?;
    let places = places(profile, &profiles);
    if places.is_empty() {
        return Err(Error::Configuration(format!(
            "the profile {profile} has no `urls`, so that nobody knows for which hosts it is: name them in its \
             configuration, then `usher reload`"
        )));
    }
    if tool == Tool::Docker {
        docker::check(profile, &places)?;
    }
    Ok(places)
}

fn places(profile: &str, profiles: &[ProfileStatus]) -> Vec<Place> {
    let (own, others): (Vec<_>, Vec<_>) = profiles.iter().partition(|status| status.name == profile);
    let read = |of: Vec<&ProfileStatus>| -> Vec<Place> {
        of.iter().flat_map(|status| &status.urls).filter_map(|url| Place::read(url)).collect()
    };
    let is_by_name = own.iter().any(|status| status.by_name_only);
    let others = read(others);
    let mut places = read(own);
    for place in &mut places {
        place.by_name = is_by_name || others.contains(place);
        place.by_name_only = is_by_name;
    }
    // By scheme, host and path alone: each of them once.
    let mut seen: Vec<Place> = Vec::new();
    places.retain(|place| {
        let new = !seen.contains(place);
        seen.push(place.clone());
        new
    });
    places
}

impl Place {
    pub(super) fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let own = if scheme == "https" { ":443" } else { ":80" };
        Some(Self {
            scheme: scheme.to_owned(),
            host: host.strip_suffix(own).unwrap_or(host).to_owned(),
            path: Some(path.trim_end_matches('/'))
                .filter(|path| !path.is_empty())
                .map(|path| format!("/{path}"))
                .unwrap_or_default(),
            by_name: false,
            by_name_only: false,
        })
    }

    /// As git is to match it. It has all else of a path encoded when it compares.
    pub(super) fn url(&self) -> String {
        // What is encoded already stays.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
        let encoded = self.path.bytes().map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        format!("{}://{}{}", self.scheme, self.host, encoded.collect::<String>())
    }

    /// Whether it is less than a host.
    pub(super) fn has_path(&self) -> bool {
        !self.path.is_empty()
    }

    /// As docker names a registry.
    pub(super) fn registry(&self) -> String {
        // By that docker knows its own Hub, and by nothing else.
        if self.host == "index.docker.io" {
            return "https://index.docker.io/v1/".to_owned();
        }
        self.host.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, urls: &[&str]) -> ProfileStatus {
        let urls = urls.iter().map(|&url| url.to_owned()).collect();
        ProfileStatus { name: name.to_owned(), urls, ..Default::default() }
    }

    #[test]
    fn urls_are_told_as_the_tools_have_them() {
        for (url, for_git, for_docker) in [
            ("https://a.example.com/", "https://a.example.com", "a.example.com"),
            ("https://a.example.com", "https://a.example.com", "a.example.com"),
            ("https://a.example.com:443/x/y/", "https://a.example.com/x/y", "a.example.com"),
            ("https://a.example.com:8443/x", "https://a.example.com:8443/x", "a.example.com:8443"),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("https://[::1]:5000/v2/", "https://[::1]:5000/v2", "[::1]:5000"),
            (
                "https://a.example.com/x+@,:$();'\u{e4}%2B~/",
                "https://a.example.com/x%2B%40%2C%3A%24%28%29%3B%27%C3%A4%2B~",
                "a.example.com",
            ),
            ("https://index.docker.io/", "https://index.docker.io", "https://index.docker.io/v1/"),
        ] {
            let place = Place::read(url).unwrap();
            assert_eq!((place.url().as_str(), place.registry().as_str()), (for_git, for_docker), "{url}");
            assert_eq!(place.has_path(), for_git.matches('/').count() > 2, "{url}");
        }
    }

    #[test]
    fn a_url_that_another_profile_has_too_is_shared() {
        let both = [
            profile("a", &["https://a.example.com/", "https://b.example.com/x", "https://a.example.com"]),
            profile("b", &["https://b.example.com/x/", "https://a.example.com/deeper"]),
        ];
        let of_a: Vec<_> = places("a", &both).into_iter().map(|place| (place.url(), place.by_name)).collect();
        let expected =
            [("https://a.example.com".to_owned(), false), ("https://b.example.com/x".to_owned(), true)];
        assert_eq!(of_a, expected);
        assert_eq!(places("c", &both), []);
    }
}

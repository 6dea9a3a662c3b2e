//! The variables that NetFoundry's own tools (nfctl, the Ansible collection, the Python module) read, and
//! which of its environments a profile is for.

use usher_proto::v1::ProfileStatus;

use super::Setting;

pub(super) const NAMES: [&str; 3] = ["NETFOUNDRY_API_TOKEN", "MOPENV", "MOPURL"];

/// Whether the profile is made of one of NetFoundry's presets.
pub(super) fn is_one(profile: &ProfileStatus) -> bool {
    let rest = profile.preset.strip_prefix("netfoundry");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The variables with their values. An environment that is not known is unset: one that is left over from
/// another profile would send the token there.
pub(super) fn settings(profile: &ProfileStatus, token: &str) -> Vec<Setting> {
    let environment = environment(profile);
    let url = environment.map(|name| format!("https://gateway.{name}.netfoundry.io/"));
    let values = [Some(token.to_owned()), environment.map(str::to_owned), url];
    NAMES.into_iter().map(str::to_owned).zip(values).collect()
}

/// `production`, `staging` and such: said by whatever names the gateway, or else by where tokens come from.
fn environment(profile: &ProfileStatus) -> Option<&str> {
    let ProfileStatus { base_url, urls, audience, scopes, default_scopes, token_url, .. } = profile;
    let named = [base_url, audience].into_iter().chain(urls).chain(scopes).chain(default_scopes);
    named.chain([token_url]).find_map(|url| of_gateway(host(url)?)).or_else(|| of_idp(host(token_url)?))
}

/// The host of an https URL without a user's name in it.
fn host(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://")?.split(['/', '?', '#', '\\']).next()?;
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    (!authority.contains('@')).then_some(host)
}

/// `gateway.production.netfoundry.io`
fn of_gateway(host: &str) -> Option<&str> {
    label(host.strip_prefix("gateway.")?.strip_suffix(".netfoundry.io")?)
}

/// `netfoundry-production.auth0.com`, `netfoundry-production-xfjiye.auth.us-east-1.amazoncognito.com`
fn of_idp(host: &str) -> Option<&str> {
    let (first, domain) = host.split_once('.')?;
    if domain != "auth0.com" && !domain.ends_with(".amazoncognito.com") {
        return None;
    }
    label(first.strip_prefix("netfoundry-")?.split('-').next()?)
}

fn label(text: &str) -> Option<&str> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!text.is_empty() && text.bytes().all(good)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: impl FnOnce(&mut ProfileStatus)) -> ProfileStatus {
        let mut profile = ProfileStatus { preset: "netfoundry-frontdoor".into(), ..Default::default() };
        set(&mut profile);
        profile
    }

    #[test]
    fn presets_of_netfoundry_are_known_by_name() {
        let is = |preset: &str| is_one(&ProfileStatus { preset: preset.into(), ..Default::default() });
        assert!(is("netfoundry") && is("netfoundry-frontdoor") && is("netfoundry-auth0"));
        assert!(!is("") && !is("auth0") && !is("netfoundryish") && !is("my-netfoundry"));
    }

    #[test]
    fn the_environment_follows_from_what_names_the_gateway() {
        let cases = [
            with(|p| p.base_url = "https://gateway.staging.netfoundry.io/frontdoor/id".into()),
            with(|p| p.audience = "https://gateway.staging.netfoundry.io/".into()),
            with(|p| {
                p.urls = vec!["https://x.example/".into(), "https://gateway.staging.netfoundry.io".into()];
            }),
            with(|p| p.scopes = vec!["https://gateway.staging.netfoundry.io//ignore-scope".into()]),
            with(|p| p.token_url = "https://gateway.staging.netfoundry.io:443/token".into()),
            with(|p| p.token_url = "https://netfoundry-staging.auth0.com/oauth/token".into()),
            with(|p| {
                p.token_url =
                    "https://netfoundry-staging-mlvyyc.auth.us-east-1.amazoncognito.com/oauth2/token".into();
            }),
        ];
        for profile in cases {
            assert_eq!(environment(&profile), Some("staging"), "{profile:?}");
            let values: Vec<_> =
                settings(&profile, "t").into_iter().map(|(_, value)| value.unwrap()).collect();
            assert_eq!(values, ["t", "staging", "https://gateway.staging.netfoundry.io/"]);
        }
    }

    #[test]
    fn an_environment_that_nothing_names_is_unset() {
        for url in [
            "",
            "http://gateway.staging.netfoundry.io/",
            "https://gateway.netfoundry.io/",
            "https://gateway.a.b.netfoundry.io/",
            "https://gateway.staging.netfoundry.io.evil.example/",
            "https://gateway.x'$(id).netfoundry.io/",
            "https://gateway.staging.netfoundry.io@evil.example/",
            "https://evil.example/?https://gateway.staging.netfoundry.io/",
            "https://netfoundry-staging.example.com/",
            "https://netfoundry-.auth0.com/",
        ] {
            let profile = with(|p| {
                p.base_url = url.into();
                p.token_url = url.into();
            });
            assert_eq!(environment(&profile), None, "{url}");
            assert_eq!(settings(&profile, "t")[1..], [("MOPENV".into(), None), ("MOPURL".into(), None)]);
        }
    }
}

//! A `[profile.NAME]` table into a [`Profile`].

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use ::url::Url;

use super::{
    Context,
    preset::{self, Preset},
    secret_ref,
    section::{Section, closest},
};
use crate::domain::{
    profile::{
        BasicEncoding, Body, ClientAuth, ClientCredentials, Grant, Network, Profile, RequestLimit,
        StaticToken, TokenEndpoint,
    },
    scope::ScopeSet,
    url::{self, UrlError, UrlPrefix},
};

/// What a token response without `expires_in` means unless the profile says more.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// Token lifetimes are clamped to this, given or default.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Parameters that have keys of their own, or follow from them.
const OWN_PARAMETERS: [&str; 6] =
    ["grant_type", "client_id", "client_secret", "audience", "scope", "resource"];
/// The longest stretch that a limit can count in.
const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The most requests that a limit can count: each costs memory.
const MAX_REQUESTS: u32 = 10_000;
/// The longest user name, in bytes.
const MAX_USERNAME: usize = 256;
/// For how long a token may go unused before it is revoked: less would revoke what is in use.
const UNUSED: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 60 * 60);

#[derive(Clone, Copy)]
enum GrantName {
    ClientCredentials,
    Static,
}

/// Reads a profile. None if anything in it is wrong, all of which is then in the section's document.
pub(super) fn read(name: &str, mut section: Section<'_>, context: &Context) -> Option<Profile> {
    if !is_name(name) {
        section.problem("", "a profile's name is up to 64 letters, digits, dots, dashes and underscores");
    }
    let preset = preset(&section)?;
    section.fill_from(preset);
    let allow_loopback_http = section.boolean("allow_loopback_http");
    let by_name_only = section.boolean("by_name_only");
    let grant = section.choice(
        "grant",
        &[("client_credentials", GrantName::ClientCredentials), ("static", GrantName::Static)],
    );
    let grant = match grant {
        Some(GrantName::ClientCredentials) => client_credentials(&section, context, allow_loopback_http),
        Some(GrantName::Static) => static_token(&section, context, preset.revoked_at.clone()),
        None => None,
    };
    let scopes = scopes(&section, "scopes");
    let default_scopes = scopes_within(&section, "default_scopes", scopes.as_ref());
    let audience = section.string("audience").map(Arc::from);
    let audiences = section.strings("audiences").unwrap_or_default().into_iter().map(Arc::from).collect();
    let base_url =
        section.string("base_url").and_then(|text| prefix(&section, "base_url", &text, allow_loopback_http));
    let urls = if section.has("base_url") && !section.has("urls") {
        section.know("urls");
        Some(base_url.iter().cloned().collect())
    } else {
        let urls = section.strings("urls").unwrap_or_default();
        urls.iter()
            .map(|text| prefix(&section, "urls", text, allow_loopback_http))
            .collect::<Option<Vec<_>>>()
    };
    if let (Some(base), Some(urls)) = (&base_url, &urls)
        && !url::canonical(&base.to_string(), true)
            .is_ok_and(|base| urls.iter().any(|prefix| prefix.covers(&base)))
    {
        section.problem("base_url", "lies outside of urls, so that the token could not be presented there");
    }
    let username = username(&section);
    section.check_required();
    section.finish();
    Some(Profile {
        name: name.to_owned(),
        preset: preset.name.to_owned(),
        grant: grant?,
        scopes: scopes?,
        default_scopes: default_scopes?,
        audience,
        audiences,
        base_url,
        urls: urls?,
        urls_are_presets: !section.has("urls") && !section.has("base_url"),
        allow_loopback_http,
        by_name_only,
        username: transpose(username)?,
    })
}

/// What goes before the colon in `Basic` (RFC 7617 section 2).
#[expect(clippy::option_option, reason = "not given, given and wrong, given and right")]
fn username(section: &Section<'_>) -> Option<Option<String>> {
    let text = section.string("username")?;
    let fits = (1..=MAX_USERNAME).contains(&text.len())
        && text.chars().all(|letter| !letter.is_control() && letter != ':');
    if !fits {
        section.problem("username", "is no user name: up to 256 bytes, without a colon or control character");
    }
    Some(fits.then_some(text))
}

/// The preset that the profile names. One that was probably meant is gone on with, so that everything else
/// that is wrong is told, too.
fn preset(section: &Section<'_>) -> Option<&'static Preset> {
    let name = section.string("preset").unwrap_or_else(|| preset::DEFAULT.to_owned());
    if let Some(preset) = preset::find(&name) {
        return Some(preset);
    }
    let names = || preset::all().iter().map(|preset| preset.name);
    let meant = closest(&name, names());
    let known = names().collect::<Vec<_>>().join(", ");
    section.problem(
        "preset",
        match meant {
            Some(meant) => format!("{name:?} is not a preset; did you mean {meant:?}? There are {known}"),
            None => format!("{name:?} is not a preset; there are {known}"),
        },
    );
    meant.and_then(preset::find)
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && !name.starts_with(['-', '.'])
}

fn client_credentials(section: &Section<'_>, context: &Context, loopback: bool) -> Option<Grant> {
    let token_endpoint = token_endpoint(section, loopback);
    let client_id = section.required("client_id", "the identifier that the IdP gave your client");
    let client_secret = secret_ref::read(section, "client_secret", context);
    let body = section.choice("body", &[("json", Body::Json), ("form", Body::Form)]);
    let client_auth = section.choice(
        "client_auth",
        &[
            ("body", Some(ClientAuth::Body)),
            ("basic", Some(ClientAuth::Basic)),
            ("basic-bare", Some(ClientAuth::BasicBare)),
            ("discovered", None),
        ],
    );
    if let (Some(None), Some(TokenEndpoint::Known(_))) = (client_auth, &token_endpoint) {
        section.problem("client_auth", "can be discovered only where issuer is given in place of token_url");
    }
    let resources = section.strings("resource").unwrap_or_default();
    if let Some(wrong) =
        resources.iter().find(|uri| !Url::parse(uri).is_ok_and(|uri| uri.fragment().is_none()))
    {
        section.problem(
            "resource",
            format!("{wrong:?} is no absolute URI without a fragment (RFC 8707 section 2)"),
        );
    }
    let params = section.map("params");
    if let Some(name) = params.keys().find(|name| OWN_PARAMETERS.contains(&name.as_str())) {
        section.problem("params", format!("{name} is set by usher itself; there is a key for it"));
    }
    let network = network(section, context);
    let default_lifetime = section.string("default_lifetime").map(|text| lifetime(section, &text));
    let max_token_requests = section.string("max_token_requests").map(|text| request_limit(section, &text));
    let revocation_url = revocation_url(section, loopback);
    let revoke_unused_after = section.string("revoke_unused_after").map(|text| unused(section, &text));
    Some(Grant::ClientCredentials(Box::new(ClientCredentials {
        token_endpoint: token_endpoint?,
        client_id: client_id?,
        client_secret: client_secret?,
        body: body?,
        client_auth: client_auth?,
        resources,
        params,
        network: network?,
        default_lifetime: transpose(default_lifetime)?.unwrap_or(DEFAULT_LIFETIME),
        max_token_requests: transpose(max_token_requests)?,
        revocation_url: transpose(revocation_url)?,
        revoke_unused_after: transpose(revoke_unused_after)?,
    })))
}

/// `token_url`, or `issuer` to find it.
fn token_endpoint(section: &Section<'_>, loopback: bool) -> Option<TokenEndpoint> {
    if let Some(text) = section.string("issuer") {
        section.know("token_url");
        if section.has("token_url") {
            section.problem("token_url", "is given beside issuer: write the one or the other");
            return None;
        }
        let issuer = endpoint_url(section, "issuer", &text, loopback)?;
        if issuer.path().contains("/.well-known/") {
            section.problem("issuer", "is where its metadata are; write what stands before /.well-known");
            return None;
        }
        if issuer.query().is_some() {
            section.problem("issuer", "has a query (RFC 8414 section 2)");
            return None;
        }
        return Some(TokenEndpoint::Discovered { issuer });
    }
    if section.why_required("issuer").is_some() && !section.has("token_url") {
        // Not there, which is told as such.
        section.know("token_url");
        return None;
    }
    let text = section.required("token_url", "the IdP's token endpoint, https://...")?;
    endpoint_url(section, "token_url", &text, loopback).map(TokenEndpoint::Known)
}

/// What the profile says; what its preset does, if its server is asked for tokens, too.
#[expect(clippy::option_option, reason = "not given, given and wrong, given and right")]
fn revocation_url(section: &Section<'_>, loopback: bool) -> Option<Option<Url>> {
    section.know("revocation_url");
    if !section.has("revocation_url") && (section.has("token_url") || section.has("issuer")) {
        return None;
    }
    let text = section.string("revocation_url")?;
    Some(endpoint_url(section, "revocation_url", &text, loopback))
}

/// How the IdP is reached: what the profile says, else what the file says for all.
fn network(section: &Section<'_>, context: &Context) -> Option<Network> {
    let general = &context.network;
    let ca_file = match section.string("ca_file") {
        Some(text) => Some(secret_ref::path(section, "ca_file", &text, context)?),
        None => general.ca_file.clone(),
    };
    let proxy = match section.string("proxy").as_deref() {
        // Said to be none, whatever holds for the others.
        Some("") => None,
        Some(text) => Some(proxy(section, text)?),
        None => general.proxy.clone(),
    };
    let no_proxy = section.strings("no_proxy").unwrap_or_else(|| general.no_proxy.clone());
    if let Some(wrong) = no_proxy.iter().find(|entry| !is_exception(entry)) {
        section
            .problem("no_proxy", format!("{wrong:?} is neither a host's name, nor an address or CIDR block"));
        return None;
    }
    Some(Network { ca_file, proxy, no_proxy })
}

/// The network settings at the top of the file, which hold for every profile that has none of its own.
pub(super) fn general_network(root: &Section<'_>, context: &Context) -> Network {
    network(root, context).unwrap_or_default()
}

/// A name, `.suffix`, address or CIDR block, or `*`. Anything else, a port say, would never match.
fn is_exception(entry: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let block = entry.split_once('/').is_some_and(|(address, length)| {
        let bits = address.parse::<IpAddr>().map(|address| if address.is_ipv4() { 32 } else { 128 });
        length.parse::<u8>().is_ok_and(|length| bits.is_ok_and(|bits| length <= bits))
    });
    entry == "*" || entry.parse::<IpAddr>().is_ok() || block || (!entry.is_empty() && entry.bytes().all(name))
}

/// `http://host:port`: what is sent through it is https all the same.
fn proxy(section: &Section<'_>, text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| {
        url.scheme() == "http" && url.has_host() && matches!(url.path(), "" | "/") && url.query().is_none()
    });
    match url {
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            section.problem("proxy", "has a user name or password in it, which usher does not send");
            None
        }
        Some(url) => Some(url),
        None => {
            section.problem("proxy", "is no proxy; write \"http://proxy.example.com:3128\"");
            None
        }
    }
}

/// `Some(None)`, given and wrong, becomes `None`; the problem is noted already.
#[expect(clippy::option_option, reason = "not given, given and wrong, given and right")]
fn transpose<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    value.map_or(Some(None), |value| value.map(Some))
}

fn static_token(section: &Section<'_>, context: &Context, revoked_at: Option<String>) -> Option<Grant> {
    let account_id = section.required("account_id", "the identifier of the API account");
    let api_token = secret_ref::read(section, "api_token", context);
    let encoding =
        section.choice("encoding", &[("raw", BasicEncoding::Raw), ("base64", BasicEncoding::Base64)]);
    if let Some(id) = &account_id
        && !id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
    {
        section.problem("account_id", "has characters that cannot stand before the colon of a Basic header");
        return None;
    }
    let (account_id, api_token, encoding) = (account_id?, api_token?, encoding?);
    Some(Grant::Static(StaticToken { account_id, api_token, encoding, revoked_at }))
}

fn endpoint_url(section: &Section<'_>, key: &str, text: &str, loopback: bool) -> Option<Url> {
    match url::canonical(text, loopback) {
        Ok(url) if url.fragment().is_some() => {
            section.problem(key, "has a fragment (RFC 6749 section 3.2)");
        }
        Ok(url) => return Some(url),
        Err(error) => section.problem(key, error.to_string()),
    }
    None
}

fn prefix(section: &Section<'_>, key: &str, text: &str, loopback: bool) -> Option<UrlPrefix> {
    UrlPrefix::new(text, loopback)
        .map_err(|error| match error {
            // What stands before the @ may be a password.
            UrlError::UserInfo => section.problem(key, error.to_string()),
            _ => section.problem(key, format!("{text:?} {error}")),
        })
        .ok()
}

fn scopes(section: &Section<'_>, key: &str) -> Option<ScopeSet> {
    ScopeSet::new(section.strings(key).unwrap_or_default())
        .map_err(|error| section.problem(key, error.to_string()))
        .ok()
}

fn scopes_within(section: &Section<'_>, key: &str, all: Option<&ScopeSet>) -> Option<ScopeSet> {
    if !section.has(key) {
        let _ = section.strings(key);
        return all.cloned();
    }
    let some = scopes(section, key)?;
    if let Some(scope) = some.first_not_in(all?) {
        section.problem(key, format!("{scope:?} is not one of the profile's scopes"));
        return None;
    }
    Some(some)
}

fn lifetime(section: &Section<'_>, text: &str) -> Option<Duration> {
    match humantime::parse_duration(text) {
        Ok(span) if !span.is_zero() && span <= MAX_LIFETIME => return Some(span),
        Ok(_) => section.problem("default_lifetime", "must be more than nothing and at most 24h"),
        Err(_) => section.problem("default_lifetime", "is no duration; write one such as \"10m\""),
    }
    None
}

fn unused(section: &Section<'_>, text: &str) -> Option<Duration> {
    match humantime::parse_duration(text) {
        Ok(span) if UNUSED.contains(&span) => return Some(span),
        Ok(_) => section.problem("revoke_unused_after", "must be at least 1m and at most 366d"),
        Err(_) => section.problem("revoke_unused_after", "is no duration; write one such as \"30m\""),
    }
    None
}

fn request_limit(section: &Section<'_>, text: &str) -> Option<RequestLimit> {
    let limit = text.split_once('/').and_then(|(requests, window)| {
        let limit = RequestLimit {
            requests: requests.trim().parse().ok()?,
            window: humantime::parse_duration(window.trim()).ok()?,
        };
        ((1..=MAX_REQUESTS).contains(&limit.requests)
            && (Duration::from_secs(1)..=MAX_WINDOW).contains(&limit.window))
        .then_some(limit)
    });
    if limit.is_none() {
        section.problem(
            "max_token_requests",
            "is no limit; write how many in how long, such as \"10/8h\" (at most 10000, in at most 366d)",
        );
    }
    limit
}

//! A profile: who is the client, where its tokens come from, and what they are for.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use super::{scope::ScopeSet, secret::SecretRef, settings::Settings, url::UrlPrefix};

/// All that a configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles {
    /// The profiles by name.
    pub by_name: BTreeMap<String, Arc<Profile>>,
    /// The profile that is meant when a caller names none.
    pub default_profile: Option<String>,
    /// What concerns the daemon itself.
    pub settings: Settings,
}

/// A profile of the configuration, validated, with its preset filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name in the configuration.
    pub name: String,
    /// The preset that filled it.
    pub preset: String,
    /// How its tokens are obtained.
    pub grant: Grant,
    /// The most anyone may ask for.
    pub scopes: ScopeSet,
    /// What is asked for when the caller names none.
    pub default_scopes: ScopeSet,
    /// What is asked for when the caller names none.
    pub audience: Option<Arc<str>>,
    /// The other audiences that a caller may name.
    pub audiences: Vec<Arc<str>>,
    /// What paths are relative to.
    pub base_url: Option<UrlPrefix>,
    /// Where the token may be presented.
    pub urls: Vec<UrlPrefix>,
    /// The preset says so, and not the profile itself.
    pub urls_are_presets: bool,
    /// http to a literal loopback address is allowed.
    pub allow_loopback_http: bool,
    /// It is never chosen by URL: its `urls` say where its token may go, and no more.
    pub by_name_only: bool,
    /// The user name that goes with the token where a client knows only users and passwords.
    pub username: Option<String>,
}

impl Profile {
    /// How good a claim to `url` the profile has, if it may be chosen by URL: the longest prefix wins, and one that
    /// was written for this profile before one of a preset.
    pub fn claim(&self, url: &Url) -> Option<(usize, bool)> {
        let length = self.covers(url).filter(|_| !self.by_name_only)?;
        Some((length, !self.urls_are_presets))
    }

    /// The length of the longest of `urls` that covers `url`; none if the token has no business there.
    pub fn covers(&self, url: &Url) -> Option<usize> {
        self.urls.iter().filter(|prefix| prefix.covers(url)).map(UrlPrefix::path_len).max()
    }
}

/// How tokens are obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// OAuth 2.0 client credentials (RFC 6749 section 4.4).
    ClientCredentials(Box<ClientCredentials>),
    /// A long-lived API-account token, handed out as it is.
    Static(StaticToken),
}

impl Grant {
    /// As the configuration calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials(_) => "client_credentials",
            Self::Static(_) => "static",
        }
    }

    /// All that decides which token comes back, and nothing secret: grants with the same one issue the same tokens,
    /// so that a reload or a restart from the one to the other keeps them. What decides no more than how and how
    /// often the IdP is reached is not in it. Files have it: what it is made of must not change by chance.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::ClientCredentials(grant) => grant.fingerprint(),
            // Its tokens are never kept.
            Self::Static(StaticToken { account_id, api_token, encoding, revoked_at: _ }) => {
                format!("{account_id:?} {api_token:?} {encoding:?}")
            }
        }
    }

    /// Where the secret comes from.
    pub fn secret(&self) -> &SecretRef {
        match self {
            Self::ClientCredentials(grant) => &grant.client_secret,
            Self::Static(grant) => &grant.api_token,
        }
    }
}

/// What a client-credentials request is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// Where to ask.
    pub token_endpoint: TokenEndpoint,
    /// The client identifier.
    pub client_id: String,
    /// Where the client secret comes from.
    pub client_secret: SecretRef,
    /// How the parameters are written.
    pub body: Body,
    /// How the client authenticates; never probed. None: as the IdP's metadata says.
    pub client_auth: Option<ClientAuth>,
    /// What the token is for (RFC 8707), beside or in place of the audience.
    pub resources: Vec<String>,
    /// Further parameters, by name. None of them is one of usher's own.
    pub params: BTreeMap<String, String>,
    /// How the IdP is reached.
    pub network: Network,
    /// What a token response without `expires_in` means.
    pub default_lifetime: Duration,
    /// How many token requests a key may cost.
    pub max_token_requests: Option<RequestLimit>,
    /// Where tokens are revoked (RFC 7009). None: where the IdP's metadata say, if they are asked for.
    pub revocation_url: Option<Url>,
    /// A token that nobody has asked for for so long is revoked and dropped. None: it is kept.
    pub revoke_unused_after: Option<Duration>,
}

impl ClientCredentials {
    /// Whether there may be a place where tokens are revoked: one is known, or can be found.
    pub fn may_revoke(&self) -> bool {
        self.revocation_url.is_some() || matches!(self.token_endpoint, TokenEndpoint::Discovered { .. })
    }

    fn fingerprint(&self) -> String {
        let Self {
            token_endpoint,
            client_id,
            client_secret,
            body,
            client_auth,
            resources,
            params,
            network: _,
            default_lifetime: _,
            max_token_requests: _,
            revocation_url: _,
            revoke_unused_after: _,
        } = self;
        let endpoint = match token_endpoint {
            TokenEndpoint::Known(url) => ("token_url", url),
            TokenEndpoint::Discovered { issuer } => ("issuer", issuer),
        };
        let body = match body {
            Body::Json => "json",
            Body::Form => "form",
        };
        let client_auth = match client_auth {
            Some(ClientAuth::Body) => "body",
            Some(ClientAuth::Basic) => "basic",
            Some(ClientAuth::BasicBare) => "basic-bare",
            None => "discovered",
        };
        let secret = match client_secret {
            SecretRef::File(path) => vec!["file".into(), path.to_string_lossy()],
            SecretRef::Env(name) => vec!["env".into(), name.into()],
            SecretRef::Command(argv) => {
                std::iter::once("command".into()).chain(argv.iter().map(Into::into)).collect()
            }
            SecretRef::Credential(name) => vec!["credential".into(), name.into()],
        };
        // Debug of strings and of lists of them: each quoted, so that no two grants look alike.
        format!(
            "{} {:?} client_id {client_id:?} secret {secret:?} body {body} client_auth {client_auth} \
             resource {resources:?} params {params:?}",
            endpoint.0,
            endpoint.1.as_str()
        )
    }
}

/// Where tokens are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenEndpoint {
    /// At this URL.
    Known(Url),
    /// Where the metadata of this issuer say (RFC 8414, OpenID Connect Discovery 1.0).
    Discovered {
        /// The issuer, exactly as its metadata have to name it.
        issuer: Url,
    },
}

impl TokenEndpoint {
    /// The URL that the configuration gives: the endpoint, or the issuer.
    pub fn configured(&self) -> &Url {
        match self {
            Self::Known(url) | Self::Discovered { issuer: url } => url,
        }
    }
}

/// How an IdP is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Network {
    /// The certificates that the IdP is checked against, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy for https, `http://host:port`.
    pub proxy: Option<Url>,
    /// Hosts that are reached without it: names, `.suffixes`, addresses, CIDR blocks.
    pub no_proxy: Vec<String>,
}

/// How the parameters of a token request are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A JSON object, as NetFoundry's guide shows it and Auth0 takes it.
    Json,
    /// `application/x-www-form-urlencoded` (RFC 6749 section 4.4.2).
    Form,
}

/// How the client authenticates to the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_id` and `client_secret` as parameters (`client_secret_post`).
    Body,
    /// HTTP Basic, both form-urlencoded first (`client_secret_basic`, RFC 6749 section 2.3.1).
    Basic,
    /// HTTP Basic, both as they are: for servers that do not decode them.
    BasicBare,
}

/// An API account's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticToken {
    /// The account's identifier.
    pub account_id: String,
    /// Where its token comes from.
    pub api_token: SecretRef,
    /// How both are written into the header.
    pub encoding: BasicEncoding,
    /// Where its owner revokes it, in words; none if nobody knows.
    pub revoked_at: Option<String>,
}

/// How `ACCOUNT_ID:API_TOKEN` is written behind `Basic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasicEncoding {
    /// As it is: what NetFoundry's guide shows.
    Raw,
    /// In base64 (RFC 7617).
    Base64,
}

/// So many requests in any stretch of so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimit {
    /// How many, at least one.
    pub requests: u32,
    /// In how long a stretch.
    pub window: Duration,
}

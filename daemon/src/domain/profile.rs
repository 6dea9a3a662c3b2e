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
    /// http to a literal loopback address is allowed.
    pub allow_loopback_http: bool,
}

impl Profile {
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

    /// Whether a token that this grant obtained is as good for `other`, so that a reload from the one to
    /// the other keeps it: all fields are equal but those that decide no more than how and how often the
    /// IdP is reached.
    pub fn issues_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ClientCredentials(one), Self::ClientCredentials(other)) => {
                let ClientCredentials { network, default_lifetime, max_token_requests, .. } = &**other;
                **other
                    == ClientCredentials {
                        network: network.clone(),
                        default_lifetime: *default_lifetime,
                        max_token_requests: *max_token_requests,
                        ..(**one).clone()
                    }
            }
            _ => self == other,
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

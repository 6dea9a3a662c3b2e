//! What callers are told when there is no token.

use std::time::Duration;

use super::ports::{IssueError, SecretError};
use crate::domain::url::UrlError;

/// Why a call got no token, by what the caller can do about it. The sentences hold no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// No such profile.
    #[error("there is no profile {:?}; {}", beginning(name), known_profiles(known))]
    ProfileUnknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Nothing says which profile.
    #[error("{why}; {}", known_profiles(known))]
    ProfileAmbiguous {
        /// Why none follows.
        why: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A scope beyond the profile's.
    #[error("the profile {profile} does not list the scope {scope:?}; it lists {}", listed(allowed))]
    ScopeNotAllowed {
        /// The profile.
        profile: String,
        /// The scope.
        scope: String,
        /// What it lists.
        allowed: Vec<String>,
    },
    /// An audience beyond the profile's.
    #[error("the profile {profile} does not list the audience {audience:?}; it lists {}", listed(allowed))]
    AudienceNotAllowed {
        /// The profile.
        profile: String,
        /// The audience.
        audience: String,
        /// What it lists.
        allowed: Vec<String>,
    },
    /// A URL that is not well-formed or not safe.
    #[error("the URL {0}")]
    UrlInvalid(#[from] UrlError),
    /// A URL that no profile's token may be presented to.
    #[error("no profile's urls cover {url}")]
    NoProfileForUrl {
        /// The URL without its query.
        url: String,
    },
    /// A URL where the token has no business.
    #[error("the token of {profile} may not be presented to {url}; its urls are {}", listed(allowed))]
    UrlNotAllowed {
        /// The profile.
        profile: String,
        /// The URL without its query.
        url: String,
        /// Where it may.
        allowed: Vec<String>,
    },
    /// The IdP granted less than was asked for.
    #[error("the IdP granted {profile} a token without the scope {scope:?}; it granted {granted:?}")]
    ScopeNotGranted {
        /// The profile.
        profile: String,
        /// The scope that is missing.
        scope: String,
        /// What was granted.
        granted: String,
    },
    /// The secret cannot be read.
    #[error("the secret of {profile} cannot be read: {error}")]
    Secret {
        /// The profile.
        profile: String,
        /// Why.
        error: SecretError,
    },
    /// The IdP gave no token.
    #[error("{profile}: {error}")]
    Issue {
        /// The profile.
        profile: String,
        /// What happened.
        error: IssueError,
        /// No request to the IdP before this time has passed.
        retry_in: Duration,
    },
    /// No request may be sent now.
    #[error("{profile}: {why}")]
    RateLimited {
        /// The profile.
        profile: String,
        /// What holds it back.
        why: String,
        /// For how long.
        retry_in: Duration,
    },
    /// The API refused a token that does not come from an IdP.
    #[error(
        "the API refused the account token of {profile}, which does not renew itself: \
         make a new one in the console and put it into {secret}"
    )]
    TokenRejected {
        /// The profile.
        profile: String,
        /// Where the token comes from.
        secret: String,
    },
    /// The caller's time is over. The fetch goes on.
    #[error(
        "{profile}: no token within the caller's deadline; the request goes on, the next call may find its result"
    )]
    Deadline {
        /// The profile.
        profile: String,
    },
    /// A reload took the key away while its token was fetched, or the machine slept for longer than that lives. No
    /// caller is told: the request is looked at anew.
    #[error("what was waited for is of no use any more")]
    Overtaken,
    /// A fault of ours.
    #[error("{0}")]
    Internal(&'static str),
}

impl TokenError {
    /// Whether it is the request that is wrong, whatever the IdP does.
    pub fn is_of_the_request(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_)
                | Self::ProfileUnknown { .. }
                | Self::ProfileAmbiguous { .. }
                | Self::ScopeNotAllowed { .. }
                | Self::AudienceNotAllowed { .. }
                | Self::UrlInvalid(_)
                | Self::NoProfileForUrl { .. }
                | Self::UrlNotAllowed { .. }
        )
    }
}

/// As much of a name as a profile's can be long.
fn beginning(name: &str) -> String {
    const MAX: usize = 64;
    let mut shown: String = name.chars().take(MAX).collect();
    if shown.len() < name.len() {
        shown.push_str("...");
    }
    shown
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn known_profiles(known: &[String]) -> String {
    const SHOWN: usize = 20;
    match known {
        [] => "the configuration has no profile yet".to_owned(),
        [one] => format!("there is {one}"),
        many if many.len() > SHOWN => {
            format!("there are {}, and {} more", many[..SHOWN].join(", "), many.len() - SHOWN)
        }
        many => format!("there are {}", many.join(", ")),
    }
}

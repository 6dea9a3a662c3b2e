//! A credential that a helper stores, and what it is found by.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    place::Site,
    secret::{ExposeSecret as _, SecretString},
};

/// Names a stored credential: there is one of each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialKey {
    /// Whose tools store it: what one collection has no other is given.
    pub collection: String,
    /// What it is for.
    pub site: Site,
    /// Its user, where there can be several. Empty where there is one.
    pub username: String,
}

/// What a user, or another helper, has given a tool to authenticate with.
pub struct Credential {
    /// The user. May be empty.
    pub username: String,
    /// The secret itself.
    pub secret: Secret,
    /// When it stops being valid, since the Unix epoch; none: nobody knows.
    pub expires_at: Option<Duration>,
    /// What another helper renews it with.
    pub oauth_refresh_token: Option<SecretString>,
    /// When it was stored, since the Unix epoch: of several the last one is answered.
    pub stored_at: Duration,
}

/// What is sent.
pub enum Secret {
    /// With the user name.
    Password(SecretString),
    /// As it is, in an Authorization header (RFC 9110 section 11.4).
    Header {
        /// The scheme.
        authtype: String,
        /// What stands behind it.
        credential: SecretString,
    },
}

impl Secret {
    /// Whether this is it, be it password or credential.
    pub fn is(&self, secret: &SecretString) -> bool {
        let (Self::Password(own) | Self::Header { credential: own, .. }) = self;
        own.expose_secret() == secret.expose_secret()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What somebody looks for (gitcredentials(7)): what is not given may be anything.
#[derive(Debug, Clone)]
pub struct Query {
    /// The collection.
    pub collection: String,
    /// Host and path; no path: any.
    pub site: Site,
    /// The user; none: any.
    pub username: Option<String>,
}

impl Query {
    /// Whether this credential is meant.
    pub fn matches(&self, key: &CredentialKey, credential: &Credential) -> bool {
        self.covers(key, &credential.username)
    }

    /// Whether a credential of this name and this user is meant.
    pub fn covers(&self, key: &CredentialKey, username: &str) -> bool {
        self.collection == key.collection
            && self.site.host == key.site.host
            && (self.site.path.is_none() || self.site.path == key.site.path)
            && self.username.as_ref().is_none_or(|name| name == username)
    }
}

/// A credential and its name.
pub type Stored = (CredentialKey, Arc<Credential>);

#[cfg(test)]
mod tests {
    use super::*;

    fn site(path: Option<&str>) -> Site {
        Site { host: "https://git.example.com".into(), path: path.map(str::to_owned) }
    }

    fn alices() -> Credential {
        Credential {
            username: "alice".into(),
            secret: Secret::Password("CANARY".into()),
            expires_at: None,
            oauth_refresh_token: Some("CANARY".into()),
            stored_at: Duration::ZERO,
        }
    }

    #[test]
    fn a_credential_matches_as_git_documents_it() {
        let key = |path, username: &str| CredentialKey {
            collection: "git".into(),
            site: site(path),
            username: username.into(),
        };
        let query = |path, username: Option<&str>| Query {
            collection: "git".into(),
            site: site(path),
            username: username.map(str::to_owned),
        };
        for (asked, stored, matches) in [
            (query(None, None), key(None, "alice"), true),
            (query(None, None), key(Some("a.git"), "alice"), true),
            (query(None, Some("alice")), key(None, "alice"), true),
            (query(None, Some("bob")), key(None, "alice"), false),
            (query(Some("a.git"), None), key(Some("a.git"), "alice"), true),
            (query(Some("a.git"), None), key(Some("b.git"), "alice"), false),
            (query(Some("a.git"), None), key(None, "alice"), false),
        ] {
            assert_eq!(asked.matches(&stored, &alices()), matches, "{asked:?} {stored:?}");
        }
        let mut other = query(None, None);
        other.collection = "docker".into();
        assert!(!other.matches(&key(None, "alice"), &alices()));
        let mut other = query(None, None);
        other.site.host = "https://git.example.com:8443".into();
        assert!(!other.matches(&key(None, "alice"), &alices()));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", alices()).contains("CANARY"));
    }
}

//! An access token and how long it lives.

use std::{fmt, time::Duration};

use super::{
    scope::ScopeSet,
    secret::{ExposeSecret as _, SecretString},
    time::Moment,
};

/// A keyed hash of a token, in hexadecimal: names it, is safe to log, and tells nothing about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenId(pub String);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a token lives, and when it is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When it ends. Counted from when the request was sent: the issuer's clock cannot have started later.
    pub expires_at: Moment,
    /// When a refresh is due to be tried, jittered.
    pub refresh_at: Moment,
    /// `expires_in`, in whole.
    pub length: Duration,
}

impl Lifetime {
    /// What is left of it: zero once either clock says so.
    pub fn left(&self, now: Moment) -> Duration {
        self.expires_at.after(now)
    }
}

/// A token as it is handed out.
#[derive(Debug, Clone)]
pub struct Token {
    /// The access token itself.
    pub access_token: SecretString,
    /// The scheme of the Authorization header.
    pub scheme: Scheme,
    /// The value of the Authorization header.
    pub authorization: SecretString,
    /// Its name.
    pub id: TokenId,
    /// What was granted.
    pub scopes: ScopeSet,
    /// None: it is answered once and never from memory (`expires_in` of 0 or less), or it has no known
    /// end (a static profile's).
    pub lifetime: Option<Lifetime>,
    /// It took the place of an older one.
    pub replaces: bool,
}

impl Token {
    /// What stands behind the scheme in the Authorization header.
    pub fn credential(&self) -> Option<SecretString> {
        self.authorization.expose_secret().split_once(' ').map(|(_, credential)| credential.into())
    }

    /// Whether this is the token that `id` names.
    pub fn is(&self, id: &str) -> bool {
        self.id.0 == id
    }
}

/// The scheme of an Authorization header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 7617, or NetFoundry's unencoded form of it.
    Basic,
}

impl Scheme {
    /// As the header has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Basic => "Basic",
        }
    }
}

/// A credential with anything but visible ASCII in it would end or split a header line: refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// Spaces, line ends, control bytes or non-ASCII characters.
    #[error("has characters other than visible ASCII, such as a space or a line end")]
    NotVisibleAscii,
}

/// Checks that `credential` can stand in a header: visible ASCII (RFC 6749 appendix A.12) and not empty.
pub fn check_credential(credential: &SecretString) -> Result<(), CredentialError> {
    let text = credential.expose_secret();
    if text.is_empty() {
        Err(CredentialError::Empty)
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(CredentialError::NotVisibleAscii)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_could_split_a_header_is_refused() {
        for bad in ["a b", "a\r\nX: y", "a\n", "\u{1b}", "\u{e4}", "\0"] {
            assert_eq!(check_credential(&bad.into()), Err(CredentialError::NotVisibleAscii), "{bad:?}");
        }
        assert_eq!(check_credential(&"".into()), Err(CredentialError::Empty));
        assert_eq!(check_credential(&"eyJhbGciOi.-_~+/=".into()), Ok(()));
    }

    #[test]
    fn debug_shows_no_token() {
        let token = Token {
            access_token: "CANARY".into(),
            scheme: Scheme::Bearer,
            authorization: "Bearer CANARY".into(),
            id: TokenId("0badcafe".into()),
            scopes: ScopeSet::default(),
            lifetime: None,
            replaces: false,
        };
        let shown = format!("{token:?}");
        assert!(shown.contains("0badcafe") && !shown.contains("CANARY"), "{shown}");
    }
}

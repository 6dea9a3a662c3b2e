//! Debug of the messages that carry a secret: everything but the secret.

use std::fmt;

use crate::v1::{Credential, EraseCredentialRequest, GetTokenResponse};

impl fmt::Debug for GetTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetTokenResponse")
            .field("profile", &self.profile)
            .field("token_type", &self.token_type)
            .field("token_id", &self.token_id)
            .field("expires_at", &self.expires_at)
            .field("scopes", &self.scopes)
            .field("source", &self.source())
            .field("below_min_ttl", &self.below_min_ttl)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("username", &self.username)
            .field("authtype", &self.authtype)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EraseCredentialRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EraseCredentialRequest")
            .field("collection", &self.collection)
            .field("place", &self.place)
            .field("username", &self.username)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::StoreCredentialRequest;

    #[test]
    fn debug_shows_no_token() {
        let answer = GetTokenResponse {
            access_token: "CANARY-token".into(),
            authorization: "Bearer CANARY-token".into(),
            profile: "frontdoor".into(),
            ..Default::default()
        };
        let shown = format!("{answer:?}");
        assert!(shown.contains("frontdoor") && !shown.contains("CANARY"), "{shown}");
    }

    #[test]
    fn debug_shows_no_stored_secret() {
        let credential = Credential {
            username: "alice".into(),
            password: "CANARY-password".into(),
            credential: "CANARY-credential".into(),
            oauth_refresh_token: "CANARY-refresh".into(),
            ..Default::default()
        };
        let erase = EraseCredentialRequest {
            username: "alice".into(),
            secret: "CANARY-secret".into(),
            ..Default::default()
        };
        let store = StoreCredentialRequest { credential: Some(credential.clone()), ..Default::default() };
        for shown in [format!("{credential:?}"), format!("{erase:?}"), format!("{store:?}")] {
            assert!(shown.contains("alice") && !shown.contains("CANARY"), "{shown}");
        }
    }
}

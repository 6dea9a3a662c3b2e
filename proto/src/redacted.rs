//! Debug of the messages that carry a secret: everything but the secret.

use std::fmt;

use crate::v1::GetTokenResponse;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}

//! Profiles that hand out a long-lived API-account token as it is.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use super::name::Namer;
use crate::domain::{
    profile::{BasicEncoding, StaticToken},
    scope::ScopeSet,
    secret::{ExposeSecret as _, SecretString},
    token::{CredentialError, Scheme, Token, check_credential},
};

/// The token as it is handed out, in its header.
pub fn token(grant: &StaticToken, secret: SecretString, namer: &Namer) -> Result<Token, CredentialError> {
    check_credential(&secret)?;
    let credentials = Zeroizing::new(format!("{}:{}", grant.account_id, secret.expose_secret()));
    let authorization = match grant.encoding {
        BasicEncoding::Raw => format!("Basic {}", credentials.as_str()),
        BasicEncoding::Base64 => {
            let encoded = Zeroizing::new(BASE64_STANDARD.encode(credentials.as_bytes()));
            format!("Basic {}", encoded.as_str())
        }
    };
    Ok(Token {
        id: namer.token(&secret),
        access_token: secret,
        scheme: Scheme::Basic,
        authorization: authorization.into(),
        scopes: ScopeSet::default(),
        lifetime: None,
        replaces: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::SecretRef;

    #[test]
    fn the_header_is_as_the_guide_shows_it_or_as_rfc_7617_does() {
        let namer = Namer::new().unwrap();
        for (encoding, header) in [
            (BasicEncoding::Raw, "Basic e2c7a6d0:XXXX"),
            (BasicEncoding::Base64, "Basic ZTJjN2E2ZDA6WFhYWA=="),
        ] {
            let api_token = SecretRef::Env("T".into());
            let grant = StaticToken { account_id: "e2c7a6d0".into(), api_token, encoding, revoked_at: None };
            let token = token(&grant, "XXXX".into(), &namer).unwrap();
            assert_eq!(token.authorization.expose_secret(), header);
            assert_eq!(token.access_token.expose_secret(), "XXXX");
        }
    }
}

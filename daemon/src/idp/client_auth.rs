//! How a client proves who it is to the token endpoint (RFC 6749 section 2.3.1).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::grants::Parameters;
use crate::domain::{
    profile::{ClientAuth, ClientCredentials},
    secret::{ExposeSecret as _, SecretString},
};

/// Adds the client's credentials to the parameters, or answers the Authorization header for them.
pub fn authenticate<'a>(
    grant: &'a ClientCredentials,
    secret: &'a SecretString,
    parameters: &mut Parameters<'a>,
) -> Option<HeaderValue> {
    match grant.client_auth {
        ClientAuth::Body => {
            parameters.client_id = Some(&grant.client_id);
            parameters.client_secret = Some(secret.expose_secret());
            None
        }
        ClientAuth::Basic => Some(basic(&grant.client_id, secret)),
    }
}

/// Both parts are form-urlencoded first: what is special in a header is then not special any more.
fn basic(client_id: &str, secret: &SecretString) -> HeaderValue {
    let mut pair =
        Zeroizing::new(String::with_capacity(3 * (client_id.len() + secret.expose_secret().len()) + 1));
    pair.extend(byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.expose_secret().as_bytes()));
    let header = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
    // Base64 is always a valid header; the fallback is never met.
    let mut value = HeaderValue::from_str(&header).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_urlencoded_before_base64() {
        let header = basic("my id", &"s3cr3t with space+%&".into());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), b"my+id:s3cr3t+with+space%2B%25%26");
        assert!(!format!("{header:?}").contains(encoded));
    }
}

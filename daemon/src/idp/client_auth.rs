//! How a client proves who it is to the IdP (RFC 6749 section 2.3.1).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::domain::{
    profile::{ClientAuth, ClientCredentials},
    secret::{ExposeSecret as _, SecretString},
};

/// The client's credentials as they are sent: as parameters, or as a header.
pub struct Credentials<'a> {
    /// The parameters `client_id` and `client_secret`.
    pub parameters: Option<(&'a str, &'a str)>,
    /// The Authorization header.
    pub header: Option<HeaderValue>,
}

/// The client's credentials, by this method.
pub fn authenticate<'a>(
    grant: &'a ClientCredentials,
    method: ClientAuth,
    secret: &'a SecretString,
) -> Credentials<'a> {
    let header = match method {
        ClientAuth::Body => {
            let parameters = Some((grant.client_id.as_str(), secret.expose_secret()));
            return Credentials { parameters, header: None };
        }
        ClientAuth::Basic => basic(&grant.client_id, secret),
        ClientAuth::BasicBare => bare(&grant.client_id, secret),
    };
    Credentials { parameters: None, header: Some(header) }
}

/// What was sent, to find it again in what comes back: a server that quotes a request must not make us
/// pass the secret on.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// The client.
    pub client_id: &'a str,
    /// Its secret.
    pub secret: &'a SecretString,
    /// The token that is to be revoked.
    pub token: Option<&'a SecretString>,
}

impl Sent<'_> {
    /// Whether `text` holds the secret, or the token, in one of the forms in which it is sent.
    pub fn is_in(self, text: &str) -> bool {
        if self.token.is_some_and(|token| Self::token_is_in(token, text)) {
            return true;
        }
        let secret = self.secret.expose_secret();
        let encoded: Zeroizing<String> = Zeroizing::new(byte_serialize(secret.as_bytes()).collect());
        let spaces = Zeroizing::new(encoded.replace('+', "%20"));
        let headers = [basic(self.client_id, self.secret), bare(self.client_id, self.secret)];
        let [encoded_pair, bare_pair] = headers.each_ref().map(|header| {
            header.to_str().ok().and_then(|header| header.strip_prefix("Basic ")).unwrap_or_default()
        });
        let json = Zeroizing::new(serde_json::to_string(secret).unwrap_or_default());
        [secret, &encoded, &spaces, json.trim_matches('"'), encoded_pair, bare_pair]
            .into_iter()
            .any(|form| !form.is_empty() && text.contains(form))
    }

    fn token_is_in(token: &SecretString, text: &str) -> bool {
        let token = token.expose_secret();
        let encoded: Zeroizing<String> = Zeroizing::new(byte_serialize(token.as_bytes()).collect());
        let json = Zeroizing::new(serde_json::to_string(token).unwrap_or_default());
        [token, &encoded, json.trim_matches('"')].into_iter().any(|form| text.contains(form))
    }
}

/// Both parts are form-urlencoded first: what is special in a header is then not special any more.
fn basic(client_id: &str, secret: &SecretString) -> HeaderValue {
    let mut pair =
        Zeroizing::new(String::with_capacity(3 * (client_id.len() + secret.expose_secret().len()) + 1));
    pair.extend(byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.expose_secret().as_bytes()));
    header(&pair)
}

/// Neither part encoded: what curl and python-requests send, and some servers want.
fn bare(client_id: &str, secret: &SecretString) -> HeaderValue {
    header(&Zeroizing::new(format!("{client_id}:{}", secret.expose_secret())))
}

fn header(pair: &str) -> HeaderValue {
    let header = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair)));
    // Base64 is always a valid header; the fallback is never met.
    let mut value = HeaderValue::from_str(&header).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_found_in_every_form_in_which_it_is_sent() {
        let secret = "s3cr3t with space+%&\"'".into();
        let token = "a.token+/=\"".into();
        let sent = Sent { client_id: "my id", secret: &secret, token: Some(&token) };
        for quoted in [
            "got s3cr3t with space+%&\"'",
            "got {\"client_secret\":\"s3cr3t with space+%&\\\"'\"}",
            "got client_secret=s3cr3t+with+space%2B%25%26%22%27&x",
            "got client_secret=s3cr3t%20with%20space%2B%25%26%22%27&x",
            "got Authorization: Basic bXkraWQ6czNjcjN0K3dpdGgrc3BhY2UlMkIlMjUlMjYlMjIlMjc=",
            "got a.token+/=\"",
            "got token=a.token%2B%2F%3D%22&x",
            "got {\"token\":\"a.token+/=\\\"\"}",
        ] {
            assert!(sent.is_in(quoted), "{quoted}");
        }
        assert!(!sent.is_in("got s3cr3t with space"));
    }

    #[test]
    fn id_and_secret_are_urlencoded_before_base64() {
        let header = basic("my id", &"s3cr3t with space+%&".into());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), b"my+id:s3cr3t+with+space%2B%25%26");
        assert!(!format!("{header:?}").contains(encoded));
        let header = bare("my id", &"s3cr3t+%&".into());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), b"my id:s3cr3t+%&");
    }
}

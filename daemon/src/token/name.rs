//! Keyed hashes that stand for tokens and secrets: equal for equal ones, and telling nothing else.

use std::fmt::Write as _;

use ring::{error::Unspecified, hmac, rand::SystemRandom};

use crate::domain::{
    secret::{ExposeSecret as _, SecretString},
    token::TokenId,
};

/// Stands for a secret, to tell whether it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretTag([u8; 16]);

/// Makes names with a key of this process: nobody can try out guesses against a name from a log.
#[derive(Debug)]
pub struct Namer {
    key: hmac::Key,
}

impl Namer {
    /// With a new key. Fails only if the system has no random numbers.
    pub fn new() -> Result<Self, Unspecified> {
        Ok(Self { key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())? })
    }

    /// The name of a token: 128 bits in hexadecimal.
    pub fn token(&self, token: &SecretString) -> TokenId {
        let mut name = String::with_capacity(32);
        for byte in self.tag(token).0 {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        TokenId(name)
    }

    /// The tag of a secret.
    pub fn tag(&self, secret: &SecretString) -> SecretTag {
        let mut tag = [0; 16];
        let mac = hmac::sign(&self.key, secret.expose_secret().as_bytes());
        tag.copy_from_slice(&mac.as_ref()[..16]);
        SecretTag(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_depends_on_token_and_key() {
        let namer = Namer::new().unwrap();
        let name = namer.token(&"a".into());
        assert_eq!(name.0.len(), 32);
        assert_eq!(name, namer.token(&"a".into()));
        assert_ne!(name, namer.token(&"b".into()));
        assert_ne!(name, Namer::new().unwrap().token(&"a".into()));
    }
}

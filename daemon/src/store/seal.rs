//! Names and contents of files, by the store's key. All keys are derived from one secret (HKDF, RFC 5869); contents are
//! sealed with ChaCha20-Poly1305 (RFC 8439), each bound to its file's name, so that no file passes for another.

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use crate::domain::{
    record::KeyId,
    secret::{ExposeSecret as _, SecretString},
};

/// The shortest secret that is taken for a key, in characters: half a byte each, as `openssl rand -hex 32` prints
/// twice as many.
pub(super) const MIN_SECRET: usize = 32;

/// What is sealed belongs to this format.
const FORMAT: &[u8] = b"usher store 1";

/// The store's keys.
pub(super) struct Sealer {
    contents: LessSafeKey,
    names: hmac::Key,
    /// Stands for the key, and tells nothing about it.
    pub(super) check: String,
}

/// Neither contents nor names can be made: the system has no random numbers, or the secret is unfit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    /// Guessed too easily.
    #[error("is shorter than {MIN_SECRET} characters; `openssl rand -hex 32` prints a good one")]
    Short,
    /// The library refused.
    #[error("cannot be used for encryption")]
    Refused,
}

impl From<ring::error::Unspecified> for SealError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Refused
    }
}

impl Sealer {
    /// With keys derived from this secret.
    pub(super) fn new(secret: &SecretString) -> Result<Self, SealError> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < MIN_SECRET {
            return Err(SealError::Short);
        }
        let root = Salt::new(HKDF_SHA256, FORMAT).extract(secret);
        let contents = UnboundKey::from(root.expand(&[b"contents"], &CHACHA20_POLY1305)?);
        let hmac_key = |info: &'static [u8]| {
            Ok::<_, SealError>(hmac::Key::from(root.expand(&[info], hmac::HMAC_SHA256)?))
        };
        let check = hmac::sign(&hmac_key(b"check")?, b"");
        Ok(Self {
            contents: LessSafeKey::new(contents),
            names: hmac_key(b"names")?,
            check: hex(&check.as_ref()[..16]),
        })
    }

    /// The name of a file, without its ending, for what is described so: tells nobody what it is.
    pub(super) fn name(&self, text: &str) -> String {
        hex(&hmac::sign(&self.names, text.as_bytes()).as_ref()[..16])
    }

    /// The name of a key's file.
    pub(super) fn key_name(&self, id: &KeyId) -> String {
        // Debug quotes each of them: no two keys are written alike.
        let audience = id.audience.as_deref();
        self.name(&format!(
            "{:?} {:?} {audience:?} {:?}",
            id.owner.profile,
            id.owner.grant,
            id.scopes.to_string()
        ))
    }

    /// Seals what is in `contents`, for the file of this name.
    pub(super) fn seal(&self, name: &str, mut contents: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, SealError> {
        let mut sealed = vec![0; NONCE_LEN];
        SystemRandom::new().fill(&mut sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed)?;
        let tag = self.contents.seal_in_place_separate_tag(nonce, aad(name), &mut contents)?;
        sealed.extend_from_slice(&contents);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What was sealed for the file of this name; none if it was not, or not by this key, or is damaged.
    pub(super) fn unseal(&self, name: &str, sealed: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(sealed);
        let nonce = Nonce::try_assume_unique_for_key(bytes.get(..NONCE_LEN)?).ok()?;
        let opened = self.contents.open_within(nonce, aad(name), &mut bytes, NONCE_LEN..).ok()?.len();
        bytes.truncate(opened);
        Some(bytes)
    }
}

fn aad(name: &str) -> Aad<Vec<u8>> {
    Aad::from([FORMAT, b"\0", name.as_bytes()].concat())
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{record::Owner, scope::ScopeSet};

    fn sealer(letter: &str) -> Sealer {
        Sealer::new(&letter.repeat(MIN_SECRET).into()).unwrap()
    }

    fn id(profile: &str, grant: &str, audience: Option<&str>, scopes: &str) -> KeyId {
        let owner = Owner { profile: profile.to_owned(), grant: grant.to_owned() };
        let audience = audience.map(Into::into);
        KeyId { owner: Arc::new(owner), audience, scopes: ScopeSet::from_parameter(scopes) }
    }

    fn seal(sealer: &Sealer, name: &str) -> Vec<u8> {
        sealer.seal(name, Zeroizing::new(b"contents".to_vec())).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_under_its_own_name_and_key_alone() {
        let (one, other) = (sealer("a"), sealer("b"));
        let sealed = seal(&one, "name");
        assert_eq!(one.unseal("name", sealed.clone()).unwrap().as_slice(), b"contents");
        assert!(one.unseal("other", sealed.clone()).is_none());
        assert!(other.unseal("name", sealed.clone()).is_none());
        assert_ne!(sealed, seal(&one, "name"), "a nonce is used once");
        assert_ne!(one.check, other.check);
        assert_eq!(one.check, sealer("a").check);
    }

    #[test]
    fn every_flip_and_every_truncation_is_noticed() {
        let sealer = sealer("a");
        let whole = seal(&sealer, "name");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.unseal("name", flipped).is_none(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(sealer.unseal("name", whole[..length].to_vec()).is_none(), "length {length}");
        }
    }

    #[test]
    fn each_key_has_its_own_name() {
        let sealer = sealer("a");
        let ids = [
            id("p", "g", None, ""),
            id("q", "g", None, ""),
            id("p", "h", None, ""),
            id("p", "g", Some(""), ""),
            id("p", "g", Some("a"), ""),
            id("p", "g", None, "a"),
            id("p", "g", None, "a b"),
            id("p\" \"g", "", None, ""),
        ];
        let names: std::collections::BTreeSet<_> = ids.iter().map(|id| sealer.key_name(id)).collect();
        assert_eq!(names.len(), ids.len());
        assert_eq!(sealer.key_name(&id("p", "g", None, "a b")), sealer.key_name(&id("p", "g", None, "b a")));
    }

    #[test]
    fn a_short_secret_is_no_key() {
        assert_eq!(Sealer::new(&"x".repeat(MIN_SECRET - 1).into()).err(), Some(SealError::Short));
    }
}

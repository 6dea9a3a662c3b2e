//! The list of issued tokens that IdP, API and leak scanner share.

use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::{SecureRandom as _, SystemRandom};

/// Tokens in the order of their issue. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct Issued(Arc<Mutex<Vec<String>>>);

impl Issued {
    /// Makes a token that cannot occur by chance, and lists it.
    pub fn issue(&self) -> String {
        let mut list = self.lock();
        let token = canary(&format!("TOKEN-{}", list.len() + 1));
        list.push(token.clone());
        token
    }

    /// Lists a token that a test made up itself.
    pub fn add(&self, token: &str) {
        self.lock().push(token.to_owned());
    }

    /// Whether `token` was issued here.
    pub fn contains(&self, token: &str) -> bool {
        self.lock().iter().any(|issued| issued == token)
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A string to look for in logs: `CANARY-<what>-<64 random bits>`.
pub fn canary(what: &str) -> String {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).expect("random numbers");
    format!("CANARY-{what}-{:016x}", u64::from_be_bytes(random))
}

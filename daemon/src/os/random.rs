//! Randomness from the system, for what is spread and not for what is secret.

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::token::ports::Jitter;

/// Evenly spread.
#[derive(Debug)]
pub struct SystemJitter(SystemRandom);

impl SystemJitter {
    /// From getrandom(2).
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemJitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Jitter for SystemJitter {
    fn unit(&self) -> f64 {
        let mut bytes = [0; 4];
        // Without random numbers everything happens at its middle.
        match self.0.fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
            Err(_) => 0.5,
        }
    }
}

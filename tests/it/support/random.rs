//! Chance that can be repeated: `USHER_SEED=N` has a test do again what it did.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Numbers by chance. Its seed is printed, and so shows where the test fails.
pub(crate) struct Random(u64);

impl Random {
    /// Another sequence every time, or that of `USHER_SEED`.
    #[expect(clippy::print_stdout, reason = "whoever repeats a failure needs it")]
    pub(crate) fn new() -> Self {
        let seed = std::env::var("USHER_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one("seed"));
        println!("USHER_SEED={seed}");
        // Xorshift never leaves 0.
        Self(seed.max(1))
    }

    /// A number from 0 up to, not including, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// A time shorter than this.
    pub(crate) fn span(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1)))
    }
}

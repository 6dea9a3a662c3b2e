//! What an IdP says of how many token requests are left.

use std::time::Duration;

/// One bucket of a quota, as the IdP told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The IdP's name for it, such as `client per_hour`.
    pub name: String,
    /// How many requests it holds when it is full, if the IdP said.
    pub limit: Option<u64>,
    /// How many are left.
    pub remaining: u64,
    /// When it is full again, since the Unix epoch, if the IdP said.
    pub resets_at: Option<Duration>,
}

impl Quota {
    /// Whether it nearly runs out: a tenth or a single request is left, of more than that.
    pub fn is_low(&self) -> bool {
        match self.limit {
            Some(limit) => self.remaining < limit && (self.remaining <= 1 || self.remaining <= limit / 10),
            None => self.remaining <= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_or_a_single_request_is_low() {
        for (remaining, limit, low) in [
            (0, Some(10), true),
            (1, Some(10), true),
            (2, Some(10), false),
            (10, Some(100), true),
            (11, Some(100), false),
            (1, Some(2), true),
            (0, Some(1), true),
            (1, Some(1), false),
            (1, None, true),
            (2, None, false),
            (u64::MAX, Some(u64::MAX), false),
        ] {
            let quota = Quota { name: "b".into(), limit, remaining, resets_at: None };
            assert_eq!(quota.is_low(), low, "{remaining} of {limit:?}");
        }
    }
}

//! Tokens by their names: whether a key holds one, and that an API has refused it.

use super::Entry;
use crate::domain::time::Moment;

impl Entry {
    /// Drops the token that the API rejected, if it is the one that `id` names; not if no other may be fetched now.
    pub fn reject(&self, now: Moment, id: &str) -> bool {
        let dropped = self.lock().reject(now, id).is_ok_and(|dropped| dropped);
        if dropped {
            self.changed();
        }
        dropped
    }

    /// Whether this is its token, or the one before.
    pub fn holds(&self, id: &str) -> bool {
        let state = self.lock();
        state.token.iter().chain(&state.rejected).any(|token| token.is(id))
    }
}

//! How a client stands with its IdP, for all keys of its profile together: a secret that was refused for
//! one set of scopes is not tried with each of the others, which could lock the account.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{name::SecretTag, ports::IssueError};
use crate::domain::time::Moment;

/// Whether the client's secret has been refused.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Option<Refused>>);

#[derive(Debug)]
struct Refused {
    secret: SecretTag,
    error: IssueError,
    until: Moment,
}

impl Standing {
    /// Why this secret is not to be tried at `now`, and for how long.
    pub fn refusal(&self, secret: SecretTag, now: Moment) -> Option<(IssueError, Duration)> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = refused.as_ref().filter(|refused| refused.secret == secret)?;
        let wait = refused.until.after(now);
        (!wait.is_zero()).then(|| (refused.error.clone(), wait))
    }

    /// A request failed. If the IdP refused the client itself, no key tries this secret before `until`.
    pub fn failed(&self, secret: SecretTag, error: &IssueError, until: Moment) {
        if error.refuses_client() {
            let refused = Refused { secret, error: error.clone(), until };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        }
    }

    /// The client is accepted, or worth another try.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

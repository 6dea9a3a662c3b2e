//! One fetch that any number of callers wait for, and that none of them can cancel.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::error::TokenError;
use crate::domain::token::Token;

/// How a fetch ended.
pub type Outcome = Result<Arc<Token>, TokenError>;

/// The callers' end.
#[derive(Debug, Clone)]
pub struct Flight(watch::Receiver<Option<Outcome>>);

/// The fetching task's end. Dropped without a landing, it tells the callers so.
#[derive(Debug)]
pub struct Pilot(watch::Sender<Option<Outcome>>);

/// A new flight.
pub fn begin() -> (Pilot, Flight) {
    let (sender, receiver) = watch::channel(None);
    (Pilot(sender), Flight(receiver))
}

impl Pilot {
    /// Tells everybody who waits, and everybody who will still come.
    pub fn land(self, outcome: Outcome) {
        self.0.send_replace(Some(outcome));
    }
}

impl Flight {
    /// Waits for the landing, at most for `patience`. None: the time is over.
    pub async fn wait(mut self, patience: Duration) -> Option<Outcome> {
        let landing = tokio::time::timeout(patience, self.0.wait_for(Option::is_some));
        match landing.await {
            Ok(Ok(outcome)) => outcome.clone(),
            Ok(Err(_)) => {
                Some(Err(TokenError::Internal("the fetch was broken off; the daemon's log says why")))
            }
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everybody_hears_of_the_landing() {
        let (pilot, flight) = begin();
        let early = tokio::spawn(flight.clone().wait(Duration::from_secs(5)));
        tokio::task::yield_now().await;
        pilot.land(Err(TokenError::Internal("landed")));
        for outcome in [early.await.unwrap(), flight.wait(Duration::ZERO).await] {
            assert!(matches!(outcome, Some(Err(TokenError::Internal("landed")))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let (_pilot, flight) = begin();
        assert!(flight.wait(Duration::from_secs(5)).await.is_none());
    }

    #[tokio::test]
    async fn a_lost_pilot_is_an_error_not_a_hang() {
        let (pilot, flight) = begin();
        drop(pilot);
        assert!(matches!(flight.wait(Duration::from_secs(5)).await, Some(Err(TokenError::Internal(_)))));
    }
}

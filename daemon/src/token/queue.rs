//! How many token requests one IdP gets at a time, and who waits for a turn. An IdP that is asked for
//! hundreds of tokens at once, as after a reboot, refuses most of them; asked for a few at a time, it answers
//! all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Requests to one IdP at a time.
pub const AT_A_TIME: usize = 8;
/// Requests that wait for their turn. One more is refused at once.
pub const WAITING: usize = 1024;
/// No caller waits longer than this, so that no request does.
const PATIENCE: Duration = Duration::from_secs(60);

/// The queue before each IdP, which is told by its origin: profiles share the one that they ask.
#[derive(Debug, Default)]
pub struct Queues(Mutex<HashMap<String, Queue>>);

#[derive(Debug)]
struct Queue {
    /// Those that wait and those whose turn it is.
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// The right to send one request. Dropped when the answer is there.
#[derive(Debug)]
pub struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Crowded {
    /// Too many wait already.
    #[error(
        "its IdP is asked for {AT_A_TIME} tokens already, and {WAITING} more requests wait for their turn"
    )]
    Full,
    /// It did not come in time.
    #[error("its IdP is slow, and this request has waited in vain for those before it")]
    Late,
}

impl Queues {
    /// Waits for a turn at this IdP, first come, first served.
    pub async fn turn(&self, idp: &Url) -> Result<Turn, Crowded> {
        let (place, turns) = self.place(idp).ok_or(Crowded::Full)?;
        let turn = tokio::time::timeout(PATIENCE, turns.acquire_owned()).await;
        // The semaphore is never closed.
        let turn = turn.ok().and_then(Result::ok).ok_or(Crowded::Late)?;
        Ok(Turn { _turn: turn, _place: place })
    }

    /// A place in the queue, if there is one left, and what those who have one wait for.
    fn place(&self, idp: &Url) -> Option<(OwnedSemaphorePermit, Arc<Semaphore>)> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One where nobody stands is as good as none: a reload may have taken its IdP away.
        queues.retain(|_, queue| queue.places.available_permits() < AT_A_TIME + WAITING);
        let queue = queues.entry(idp.origin().ascii_serialization()).or_default();
        // Under the lock: taken later, the queue might be gone, and another be there in its place.
        Arc::clone(&queue.places).try_acquire_owned().ok().map(|place| (place, Arc::clone(&queue.turns)))
    }
}

impl Default for Queue {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { places: semaphore(AT_A_TIME + WAITING), turns: semaphore(AT_A_TIME) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn idp(url: &str) -> Url {
        url.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_idp_is_asked_by_so_many_and_another_by_as_many_more() {
        let queues = Arc::new(Queues::default());
        let (a, b) = (idp("https://a.example/token"), idp("https://b.example/token"));
        let mut turns = Vec::new();
        for _ in 0..AT_A_TIME {
            turns.push(queues.turn(&a).await.unwrap());
        }
        let same = idp("https://a.example:443/other/token?x");
        let next = tokio::spawn({
            let queues = Arc::clone(&queues);
            async move { queues.turn(&same).await }
        });
        tokio::task::yield_now().await;
        assert!(!next.is_finished(), "it has its turn though {AT_A_TIME} have theirs");
        for _ in 0..AT_A_TIME {
            turns.push(queues.turn(&b).await.unwrap());
        }
        turns.remove(0);
        assert!(next.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_a_long_one_in_time() {
        let queues = Arc::new(Queues::default());
        let url = idp("https://a.example/token");
        let mut asking = JoinSet::new();
        for _ in 0..AT_A_TIME + WAITING {
            let (queues, url) = (Arc::clone(&queues), url.clone());
            asking.spawn(async move {
                // Those whose turn it is keep it.
                let turn = queues.turn(&url).await;
                if turn.is_ok() {
                    std::future::pending::<()>().await;
                }
                turn.map(drop)
            });
        }
        let before = tokio::time::Instant::now();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(queues.turn(&url).await.map(drop), Err(Crowded::Full));
        assert_eq!(before.elapsed(), Duration::ZERO);
        for _ in 0..WAITING {
            assert_eq!(asking.join_next().await.unwrap().unwrap(), Err(Crowded::Late));
        }
        assert!(
            (PATIENCE..PATIENCE + Duration::from_secs(1)).contains(&before.elapsed()),
            "{:?}",
            before.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_idp_that_nobody_asks_costs_nothing() {
        let queues = Queues::default();
        for number in 0..100 {
            drop(queues.turn(&idp(&format!("https://{number}.example/"))).await.unwrap());
        }
        assert_eq!(queues.0.lock().unwrap().len(), 1);
    }
}

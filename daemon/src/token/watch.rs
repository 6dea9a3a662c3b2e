//! A key that somebody watches: its token now, and each next one before the old one expires.
//!
//! The watcher has no timer: the key counts as used for as long as it is watched, so that it is refreshed
//! ahead of expiry ([`super::ahead`]), and whatever happens to it is told. Who reads slowly misses the tokens
//! in between and holds nobody up.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};

use super::{
    entry::Entry,
    error::TokenError,
    service::{Answer, Engine, TokenRequest},
};
use crate::domain::{time::Moment, token::TokenId};

/// How long the first token, or the next, may take before that is told as an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a static profile's secret is looked at: nobody tells when its file changes.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What a watcher is told.
#[derive(Debug)]
pub enum Event {
    /// This is the token from now on.
    Token(Answer),
    /// There is no new one, and this is why. It goes on being tried for.
    Trouble(TokenError),
}

/// Somebody's watch over a key.
pub struct Watcher {
    engine: Engine,
    request: TokenRequest,
    /// What was told last.
    told: Option<TokenId>,
    /// The last failure that was told, by the time of the next try.
    trouble: Option<Moment>,
    key: Option<(Arc<Entry>, watch::Receiver<()>)>,
    /// Whether something may have happened since.
    looked: bool,
}

impl Watcher {
    /// Of what this request means, also after a reload.
    pub fn new(engine: Engine, request: TokenRequest) -> Self {
        let request = TokenRequest { patience: PATIENCE, rejected_token_id: String::new(), ..request };
        Self { engine, request, told: None, trouble: None, key: None, looked: false }
    }

    /// What is new. An error is the end: the request means nothing (any more).
    pub async fn next(&mut self) -> Result<Event, TokenError> {
        loop {
            if self.looked {
                self.wait().await;
            }
            let entry = self.listen()?;
            let answer = self.engine.get_token(&self.request).await;
            // What happened meanwhile is in the answer.
            self.listen()?;
            self.looked = true;
            let trouble = entry.trouble_until();
            let is_news = trouble.is_some() && trouble != self.trouble;
            self.trouble = trouble;
            match answer {
                Ok(answer) if self.told.as_ref() != Some(&answer.token.id) => {
                    self.told = Some(answer.token.id.clone());
                    return Ok(Event::Token(answer));
                }
                Ok(answer) => {
                    if let Some(error) = entry.trouble(&answer.profile, self.engine.now()).filter(|_| is_news)
                    {
                        return Ok(Event::Trouble(error));
                    }
                }
                Err(error) if error.is_of_the_request() => return Err(error),
                Err(error) => return Ok(Event::Trouble(error)),
            }
        }
    }

    /// Has the key that the request means by now, and marks what happened to it as seen.
    fn listen(&mut self) -> Result<Arc<Entry>, TokenError> {
        let entry = self.engine.entry_of(&self.request)?;
        match &mut self.key {
            Some((watched, news)) if Arc::ptr_eq(watched, &entry) => drop(news.borrow_and_update()),
            key => *key = Some((Arc::clone(&entry), entry.watch())),
        }
        Ok(entry)
    }

    /// Waits until something happens to the key.
    async fn wait(&mut self) {
        let is_static = self.engine.is_static(&self.request);
        let Some((_, news)) = &mut self.key else { return };
        // The key cannot go while it is held here.
        let happened = async { drop(news.changed().await) };
        if is_static {
            let _ = time::timeout(LOOK_EVERY, happened).await;
        } else {
            happened.await;
        }
    }
}

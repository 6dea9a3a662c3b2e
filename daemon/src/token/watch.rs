//! A key that somebody watches: its token now, and each next one before the old one expires.
//!
//! The watcher has no timer: the key counts as used for as long as it is watched, so that it is refreshed
//! ahead of expiry ([`super::ahead`]), and whatever happens to it is told. Who reads slowly misses the tokens
//! in between and holds nobody up.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};

use super::{
    entry::{Entry, Glance},
    error::TokenError,
    service::{Answer, Engine, TokenRequest},
};
use crate::domain::{secret::SecretRef, token::TokenId};

/// How long the first token, or the next, may take before that is told as an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a static profile's secret is looked at: nobody tells when its file changes.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The same if a program has to be run for it: that may cost something, or ask somebody.
const RUN_EVERY: Duration = Duration::from_secs(5 * 60);

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
    key: Option<Key>,
}

/// The key that is watched, and what of it has been told.
struct Key {
    entry: Arc<Entry>,
    news: watch::Receiver<()>,
    told: Option<TokenId>,
    /// Why a static profile has none, as it was told.
    trouble: Option<String>,
    /// How it was when it was last asked for, or looked at.
    seen: Glance,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            key.entry.unwatched(self.engine.now());
        }
    }
}

impl Watcher {
    /// Of what this request means, also after a reload.
    pub fn new(engine: Engine, request: TokenRequest) -> Self {
        let request = TokenRequest { patience: PATIENCE, rejected_token_id: String::new(), ..request };
        Self { engine, request, key: None }
    }

    /// What is new. An error is the end: the request means nothing (any more).
    pub async fn next(&mut self) -> Result<Event, TokenError> {
        loop {
            let (entry, now) = (self.engine.entry_of(&self.request)?, self.engine.now());
            let Some(key) = self.key.as_mut().filter(|key| Arc::ptr_eq(&key.entry, &entry)) else {
                if let Some(event) = self.ask().await? {
                    return Ok(event);
                }
                continue;
            };
            // What has happened until now is seen now.
            key.news.borrow_and_update();
            let seen = entry.glance();
            if seen.trouble != key.seen.trouble {
                key.seen.trouble = seen.trouble;
                if let Some(error) = self.engine.trouble(&self.request, now)? {
                    return Ok(Event::Trouble(error));
                }
            }
            // Who watches asks for what is new, and for what was dropped, once. What was tried and failed, or may
            // not be kept, is tried again in its time, by nobody's asking.
            if seen == key.seen {
                self.wait().await;
            } else if let Some(event) = self.ask().await? {
                return Ok(event);
            }
        }
    }

    /// Asks for the token as a caller does. None: it is the one that was told already.
    async fn ask(&mut self) -> Result<Option<Event>, TokenError> {
        let entry = self.engine.entry_of(&self.request)?;
        // Listens before it asks, so that nothing is missed in between.
        let news = entry.watch();
        let (before, trouble_before) = self.key.take().map(|key| (key.told, key.trouble)).unwrap_or_default();
        let dropped = entry.glance().dropped;
        let answer = self.engine.get_token(&self.request).await;
        // What holds the next one back may have been there before anybody watched.
        self.engine.note_ahead(&entry.id.owner.profile, &entry);
        // What was dropped meanwhile is still to be asked for.
        let seen = Glance { dropped, ..entry.glance() };
        let told = answer.as_ref().ok().map(|answer| answer.token.id.clone()).or_else(|| before.clone());
        // Others are told of each request that fails; here it is only looked again.
        let is_static = self.engine.static_secret(&self.request).is_some();
        let trouble = answer.as_ref().err().filter(|_| is_static).map(ToString::to_string);
        let is_told = trouble.is_some() && trouble == trouble_before;
        let key = self.key.insert(Key { entry, news, told, trouble, seen });
        match answer {
            Ok(_) if key.told == before => Ok(None),
            Ok(answer) => Ok(Some(Event::Token(answer))),
            Err(error) if error.is_of_the_request() => Err(error),
            Err(_) if is_told => Ok(None),
            Err(error) => Ok(Some(Event::Trouble(error))),
        }
    }

    /// Waits until something happens to the key.
    async fn wait(&mut self) {
        let secret = self.engine.static_secret(&self.request);
        let Some(key) = &mut self.key else { return };
        // The key cannot go while it is held here.
        let happened = async { drop(key.news.changed().await) };
        let every = match secret {
            None => return happened.await,
            Some(SecretRef::Command(_)) => RUN_EVERY,
            Some(_) => LOOK_EVERY,
        };
        if time::timeout(every, happened).await.is_err() {
            // Its secret is read when it is asked for.
            key.seen.dropped = u64::MAX;
        }
    }
}

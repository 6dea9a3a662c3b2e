//! Somebody who watches a key, and what they were told.

use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use super::{schedule::check, world::SimIdp};
use crate::{
    domain::{time::Moment, token::Lifetime},
    token::{
        service::{Engine, TokenRequest},
        watch::{Event, Watcher},
    },
};

pub(super) struct Watch {
    request: TokenRequest,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    /// Of the last token.
    lifetime: Option<Lifetime>,
    /// It ended: what is watched means nothing any more.
    ended: bool,
}

impl Watch {
    /// Also the task that watches, which ends with the engine.
    pub(super) fn begin(
        engine: Engine,
        request: TokenRequest,
        idp: &Arc<SimIdp>,
        wrong: &Arc<Mutex<Vec<String>>>,
    ) -> (Self, JoinHandle<()>) {
        let told: Arc<Mutex<Told>> = Arc::default();
        let mut watcher = Watcher::new(engine, request.clone());
        let (keep, idp, wrong) = (Arc::clone(&told), Arc::clone(idp), Arc::clone(wrong));
        let task = tokio::spawn(async move {
            while let Ok(event) = watcher.next().await {
                if let Event::Token(answer) = event {
                    check(&answer, &idp, &wrong);
                    keep.lock().unwrap().lifetime = answer.token.lifetime;
                }
            }
            keep.lock().unwrap().ended = true;
        });
        (Self { request, told }, task)
    }

    /// What is wrong with what they know, where nothing keeps the daemon from tokens.
    pub(super) fn wrong(&self, now: Moment) -> Option<String> {
        let told = self.told.lock().unwrap();
        let valid = told.lifetime.is_some_and(|lifetime| !lifetime.left(now).is_zero());
        let TokenRequest { profile, scopes, .. } = &self.request;
        (!told.ended && !valid)
            .then(|| format!("who watches {profile} {scopes:?} has no valid token: {told:?}"))
    }
}

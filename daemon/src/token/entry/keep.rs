//! What of a key is kept over a restart.

use std::{sync::Arc, time::Duration};

use super::Entry;
use crate::domain::{
    record::{KeptToken, Record},
    time::Moment,
    token::Token,
};

impl Entry {
    /// What is worth keeping; none if nothing is.
    pub fn record(&self, now: Moment) -> Option<Record> {
        let state = self.lock();
        let held = state.token.as_ref().and_then(|token| Some((token, token.lifetime?)));
        let token =
            held.filter(|(_, lifetime)| !lifetime.left(now).is_zero()).map(|(token, lifetime)| KeptToken {
                access_token: token.access_token.clone(),
                id: token.id.clone(),
                scopes: token.scopes.clone(),
                left: lifetime.left(now),
                refresh_in: lifetime.refresh_at.after(now),
                length: lifetime.length,
            });
        let sent_ago: Vec<_> = state.budget.counting(now).collect();
        let kept = !state.retired && (token.is_some() || !sent_ago.is_empty());
        kept.then(|| Record {
            key: self.id.clone(),
            written: now,
            token,
            sent_ago,
            window: state.budget.limit().window,
            unrevoked: Vec::new(),
            has_dropped: state.has_dropped,
        })
    }

    /// Takes over what was kept. A token that has come meanwhile is the better one, and one that has been dropped
    /// meanwhile does not come back. Whether anything was of use.
    pub fn restore(
        &self,
        token: Option<Token>,
        sent_ago: &[Duration],
        window: Duration,
        now: Moment,
    ) -> bool {
        let mut state = self.lock();
        state.budget.restore(sent_ago, window, now);
        if state.token.is_none() && state.fetched == 0 && !state.has_dropped && !state.retired {
            state.token = token.map(Arc::new);
        }
        // Whether anybody needs it is seen from now on.
        state.last_watched.get_or_insert(now);
        self.news.send_replace(());
        state.token.is_some() || !state.budget.is_untouched(now)
    }
}

//! Refreshes ahead of expiry, behind everybody's back: callers of a key that is used never wait for it.
//!
//! A key that nobody has used lately is left alone: quotas are tight and billed. Its next caller sets its
//! refresh off.

use std::future;

use super::{
    agenda::{Item, What},
    entry::Ahead,
    service::Engine,
};
use crate::domain::profile::Grant;

impl Engine {
    /// Looks at each key when its time has come, for ever.
    pub async fn refresh_ahead(self) {
        let agenda = &self.shared.agenda;
        loop {
            let next = async {
                match agenda.next() {
                    Some(at) => self.shared.ports.clock.sleep_until(at).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = agenda.sooner() => {}
                () = next => agenda.take(self.now()).into_iter().for_each(|item| self.look_ahead(&item)),
            }
        }
    }

    fn look_ahead(&self, item: &Item) {
        let directory = self.directory();
        let (Some(entry), Some(slot)) = (item.entry.upgrade(), directory.get(&item.profile)) else { return };
        let Grant::ClientCredentials(grant) = &slot.profile.grant else { return };
        let now = self.now();
        if item.what == What::Unused {
            return self.look_unused(item, now, &entry, grant);
        }
        match entry.look_ahead(now) {
            Ahead::TakeOff(takeoff) => self.take_off(&slot.profile, grant, &entry, takeoff),
            Ahead::Later(wait) => self.shared.agenda.note(now + wait, &item.profile, &entry),
            Ahead::Nothing => {}
        }
    }
}

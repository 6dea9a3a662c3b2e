//! Refreshes ahead of expiry, behind everybody's back: callers of a key that is used never wait for it.
//!
//! A key that nobody has used lately is left alone: quotas are tight and billed. Its next caller sets its
//! refresh off.

use std::{future, sync::Arc};

use super::{
    agenda::{Item, What},
    entry::{Ahead, Entry},
    service::Engine,
};
use crate::domain::profile::Grant;

impl Engine {
    /// Looks at each key when its time has come, for ever.
    pub async fn refresh_ahead(self) {
        let (agenda, clock) = (&self.shared.agenda, &self.shared.ports.clock);
        let mut set = clock.wall_is_set();
        loop {
            let next = async {
                match agenda.next() {
                    Some(at) => clock.sleep_until(at).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = agenda.sooner() => {}
                () = &mut set => {
                    // Before the time is read: no later change is missed.
                    set = clock.wall_is_set();
                    agenda.wall_was_set(self.now());
                }
                () = next => agenda.take(self.now()).into_iter().for_each(|item| self.look_ahead(&item)),
            }
        }
    }

    /// Has a key looked at when it may want to be fetched without a caller, if ever.
    pub(super) fn note_ahead(&self, profile: &str, entry: &Arc<Entry>) {
        if let Some(at) = entry.next_look(self.now()) {
            self.shared.agenda.note(at, profile, entry);
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

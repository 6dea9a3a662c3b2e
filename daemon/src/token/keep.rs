//! What survives a restart: tokens, and the requests that count in their budgets.
//!
//! Whatever changes a key notes it ([`super::unkept`]); one task has the archive write what has changed, as it is by
//! then, one batch after the other. No caller waits for that: a request to the IdP is noted before it is sent, and
//! written while it is under way.

use std::{future, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{
    backoff,
    entry::Entry,
    ports::{ArchiveState, Kept},
    restore,
    service::Engine,
};
use crate::domain::{
    profile::Grant,
    record::{KeyId, Record},
};

impl Engine {
    /// Takes over what was kept before. What cannot be used any more is no longer kept.
    pub async fn restore(&self) {
        let Some(archive) = self.shared.ports.archive.clone() else { return };
        let mut restored = 0_usize;
        for kept in archive.load().await {
            let id = kept.record.key.clone();
            match self.directory().find(&id, self.now()) {
                Some(entry) if self.restore_key(&entry, kept) => restored += 1,
                _ => self.shared.unkept.note(&id),
            }
        }
        if restored > 0 {
            info!(keys = restored, "taken over from before the restart");
        }
    }

    /// Whether there was anything of use.
    fn restore_key(&self, entry: &Arc<Entry>, kept: Kept) -> bool {
        let (Kept { mut record, this_boot }, now) = (kept, self.now());
        let mut unrevoked = std::mem::take(&mut record.unrevoked);
        unrevoked.retain_mut(|token| self.revoke_again(entry, token, record.written, this_boot));
        let sent = restore::sent(&record, this_boot, now);
        let token = record.token.and_then(|token| {
            let lifetime = restore::lifetime(&token, record.written, this_boot, now)?;
            Some(restore::token(token, lifetime))
        });
        let restored = entry.restore(token, sent, record.window, now);
        if let Some(at) = entry.next_look(now) {
            self.shared.agenda.note(at, &entry.id.owner.profile, entry);
        }
        if let Some(slot) = self.directory().get(&entry.id.owner.profile)
            && let Grant::ClientCredentials(grant) = &slot.profile.grant
        {
            self.note_unused(&slot.profile.name, grant, entry);
        }
        restored || !unrevoked.is_empty()
    }

    /// Has the archive keep what changes, for ever.
    pub async fn keep(self) {
        let Some(archive) = self.shared.ports.archive.clone() else { return future::pending().await };
        let mut failures = 0;
        loop {
            let ids = self.shared.unkept.take().await;
            let failed = archive.keep(self.records(ids)).await;
            let all_kept = failed.is_empty();
            self.shared.unkept.kept(failed);
            if all_kept {
                failures = 0;
            } else {
                failures += 1;
                sleep(backoff::unkept(failures)).await;
            }
        }
    }

    /// Waits until all is kept, for so long at most, and not at all for an archive that fails.
    pub async fn keep_all(&self, patience: Duration) {
        let fails = self.archive().is_some_and(|(state, _)| state.trouble.is_some());
        let patience = if fails { Duration::ZERO } else { patience };
        if timeout(patience, self.shared.unkept.all_kept()).await.is_err() {
            warn!("some tokens could not be kept: after the restart they are fetched anew");
        }
    }

    /// The keys as they are now.
    fn records(&self, ids: Vec<KeyId>) -> Vec<(KeyId, Option<Record>)> {
        let (directory, now) = (self.directory(), self.now());
        let record = |id: &KeyId| {
            let record = directory.peek(id).and_then(|entry| entry.record(now));
            let unrevoked = self.shared.revocations.unrevoked(id, now);
            match record {
                Some(record) => Some(Record { unrevoked, ..record }),
                // The key is gone; what is to be revoked of it is not.
                None if !unrevoked.is_empty() => Some(Record::of_unrevoked(id.clone(), now, unrevoked)),
                None => None,
            }
        };
        ids.into_iter().map(|id| (record(&id), id)).map(|(record, id)| (id, record)).collect()
    }

    /// Whether all is kept as it is now.
    #[cfg(test)]
    pub(super) fn has_kept_all(&self) -> bool {
        self.shared.unkept.count() == 0
    }

    /// How the archive fares, and how many keys it has yet to keep; none if nothing is kept.
    pub fn archive(&self) -> Option<(ArchiveState, usize)> {
        let archive = self.shared.ports.archive.as_ref()?;
        Some((archive.state(), self.shared.unkept.count()))
    }
}

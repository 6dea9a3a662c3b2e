//! What survives a restart: tokens, and the requests that count in their budgets.
//!
//! Whatever changes a key notes it ([`super::unkept`]); one task has the archive write what has changed, as it is by
//! then, one batch after the other. No caller waits for that: a request to the IdP is noted before it is sent, and
//! written while it is under way.

use std::{future, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    backoff,
    entry::Entry,
    ports::{Archive, ArchiveState, Kept},
    restore,
    service::Engine,
};
use crate::domain::{
    profile::Grant,
    record::{KeyId, Record, Unrevoked},
};

/// How long whoever has tokens dropped waits for the archive to have dropped them, too.
const WIPE_PATIENCE: Duration = Duration::from_secs(1);

/// A write that takes longer is told of.
const SLOW: Duration = Duration::from_secs(5);

/// How long an archive that fails may take for its last try.
const LAST_TRY: Duration = Duration::from_millis(500);

impl Engine {
    /// Takes over what was kept before, and then has the archive keep what changes, for ever. As long as what was kept
    /// cannot be read, nothing is written over it.
    pub async fn keep(self) {
        let Some(archive) = self.shared.ports.archive.clone() else { return future::pending().await };
        let unkept = &self.shared.unkept;
        let mut failures = 0;
        while !self.restore(&*archive).await {
            unkept.looked();
            failures += 1;
            self.pause(failures).await;
        }
        unkept.looked();
        failures = 0;
        loop {
            let ids = unkept.take().await;
            let failed = archive.keep(self.records(ids)).await;
            let all_kept = failed.is_empty();
            unkept.kept(failed);
            if all_kept {
                failures = 0;
            } else {
                failures += 1;
                self.pause(failures).await;
            }
        }
    }

    /// After so many failures in a row.
    async fn pause(&self, failures: u32) {
        let _ = timeout(backoff::unkept(failures), self.shared.unkept.hurried()).await;
    }

    /// Waits until what was kept before is there, or is known not to be there for now.
    pub async fn has_looked(&self) {
        self.shared.unkept.has_looked().await;
    }

    /// Takes over what was kept before. What cannot be used any more is no longer kept. Whether it could be read.
    async fn restore(&self, archive: &dyn Archive) -> bool {
        let Some(all) = archive.load().await else { return false };
        let mut restored = 0_usize;
        for kept in all {
            let this_boot = kept.this_boot;
            let (id, unrevoked) = (kept.record.key.clone(), kept.record.unrevoked.len());
            self.note_kept(&kept.record);
            match self.directory().find(&id, self.now()) {
                Some(entry) if self.restore_key(&entry, kept) => {
                    restored += 1;
                    if !this_boot {
                        // From now on the boot clock tells its age: nobody can set that.
                        self.shared.unkept.note(&id);
                    }
                }
                Some(_) => self.shared.unkept.note(&id),
                None => {
                    tell_given_up(&id, unrevoked);
                    self.shared.unkept.note(&id);
                }
            }
        }
        if restored > 0 {
            info!(keys = restored, "taken over from before the restart");
        }
        true
    }

    /// These were issued here, whether they are of use to us or not.
    fn note_kept(&self, record: &Record) {
        let unrevoked = record.unrevoked.iter().map(|token| &token.access_token);
        let own = record.token.iter().map(|token| &token.access_token);
        unrevoked.chain(own).for_each(|token| self.note_issued(token));
    }

    /// Whether there was anything of use.
    fn restore_key(&self, entry: &Arc<Entry>, kept: Kept) -> bool {
        let (Kept { mut record, this_boot }, now) = (kept, self.now());
        let unrevoked = std::mem::take(&mut record.unrevoked);
        let again = |token: &&Unrevoked| self.revoke_again(entry, token, record.written, this_boot);
        let goes_on = unrevoked.iter().filter(again).count();
        let sent_ago = restore::sent_ago(&record, this_boot, now);
        let token = record.token.and_then(|token| {
            let lifetime = restore::lifetime(&token, record.written, this_boot, now)?;
            Some(restore::token(token, lifetime))
        });
        let restored = entry.restore(token, &sent_ago, record.window, now);
        self.note_ahead(&entry.id.owner.profile, entry);
        if let Some(slot) = self.directory().get(&entry.id.owner.profile)
            && let Grant::ClientCredentials(grant) = &slot.profile.grant
        {
            self.note_unused(&slot.profile.name, grant, entry);
        }
        restored || goes_on > 0
    }

    /// Waits until all is kept, for so long at most. An archive that fails has one more try.
    pub async fn keep_all(&self, patience: Duration) {
        let fails = self.archive().is_some_and(|(state, _)| state.trouble.is_some());
        self.shared.unkept.hurry();
        let patience = if fails { LAST_TRY } else { patience };
        if timeout(patience, self.shared.unkept.all_kept(|_| true)).await.is_err() {
            warn!("some tokens could not be kept: after the restart they are fetched anew");
        }
    }

    /// Waits until all keys of a profile are kept as they are, and no longer than an archive takes that is well. Whether
    /// they are.
    pub async fn keeps_profile(&self, profile: &str) -> bool {
        let kept = self.shared.unkept.all_kept(|id| id.owner.profile == profile);
        timeout(WIPE_PATIENCE, kept).await.is_ok()
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
        let (mut state, unkept) = (self.shared.ports.archive.as_ref()?.state(), &self.shared.unkept);
        if unkept.takes() > SLOW && state.trouble.is_none() {
            state.trouble = Some(format!("{} does not answer: a write is still under way", state.place));
        }
        Some((state, unkept.count()))
    }
}

/// Tokens were to be revoked of a key that is gone.
fn tell_given_up(key: &KeyId, tokens: usize) {
    if tokens > 0 {
        warn!(
            profile = key.owner.profile,
            tokens,
            "not revoked: the profile is not the one any more that they were of; they stay valid until they expire"
        );
    }
}

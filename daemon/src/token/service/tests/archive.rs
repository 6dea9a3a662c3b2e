//! An archive in memory, which outlives the engine that it is of.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crate::{
    domain::record::{KeptToken, KeyId, Record, Unrevoked},
    token::ports::{Archive, ArchiveState, BoxFuture, Kept},
};

/// Clones are the same one.
#[derive(Clone, Default)]
pub(in crate::token) struct FakeArchive(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    records: HashMap<KeyId, (Record, u64)>,
    fails: bool,
    boot: u64,
    written: usize,
}

impl FakeArchive {
    /// From now on it cannot be read or written, or it can again.
    pub(in crate::token) fn set_fails(&self, fails: bool) {
        self.0.lock().unwrap().fails = fails;
    }

    /// Whether it cannot be read or written now.
    pub(in crate::token) fn fails(&self) -> bool {
        self.0.lock().unwrap().fails
    }

    /// What was kept until now is of another boot of the machine.
    pub(in crate::token) fn reboot(&self) {
        self.0.lock().unwrap().boot += 1;
    }

    /// How many records have been written.
    pub(in crate::token) fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }

    /// How many keys it has something of.
    pub(in crate::token) fn len(&self) -> usize {
        self.0.lock().unwrap().records.len()
    }

    /// Does at once what it is asked for; answers what failed.
    pub(in crate::token) fn put(&self, changes: Vec<(KeyId, Option<Record>)>) -> Vec<KeyId> {
        let mut kept = self.0.lock().unwrap();
        if kept.fails {
            return changes.into_iter().map(|(id, _)| id).collect();
        }
        kept.written += changes.len();
        let boot = kept.boot;
        for (id, record) in changes {
            match record {
                Some(record) => drop(kept.records.insert(id, (record, boot))),
                None => drop(kept.records.remove(&id)),
            }
        }
        Vec::new()
    }

    fn all(&self) -> Vec<Kept> {
        let kept = self.0.lock().unwrap();
        kept.records
            .values()
            .map(|(record, boot)| Kept { record: copy(record), this_boot: *boot == kept.boot })
            .collect()
    }
}

fn copy(record: &Record) -> Record {
    let token = record.token.as_ref().map(|token| KeptToken {
        access_token: token.access_token.clone(),
        id: token.id.clone(),
        scopes: token.scopes.clone(),
        ..*token
    });
    let unrevoked = record.unrevoked.iter().map(|token| Unrevoked {
        access_token: token.access_token.clone(),
        id: token.id.clone(),
        ..*token
    });
    let (sent_ago, unrevoked) = (record.sent_ago.clone(), unrevoked.collect());
    Record { key: record.key.clone(), token, sent_ago, unrevoked, ..*record }
}

impl Archive for FakeArchive {
    fn load(&self) -> BoxFuture<'_, Option<Vec<Kept>>> {
        Box::pin(async { (!self.fails()).then(|| self.all()) })
    }

    fn keep(&self, changes: Vec<(KeyId, Option<Record>)>) -> BoxFuture<'_, Vec<KeyId>> {
        Box::pin(async move { self.put(changes) })
    }

    fn state(&self) -> ArchiveState {
        ArchiveState { place: "memory".into(), key: "none".into(), weak_key: false, trouble: None }
    }
}

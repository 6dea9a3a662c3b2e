//! An archive that takes its time, and may have done what it was asked for, or not, when nobody waits any more.

use std::sync::Mutex;

use tokio::time::sleep;

use super::random::Random;
use crate::{
    domain::record::{KeyId, Record},
    token::{
        ports::{Archive, ArchiveState, BoxFuture, Kept},
        service::tests::archive::FakeArchive,
    },
};

pub(super) struct SimArchive {
    pub(super) disk: FakeArchive,
    random: Mutex<Random>,
}

impl SimArchive {
    pub(super) fn new(seed: u64) -> Self {
        Self { disk: FakeArchive::default(), random: Mutex::new(Random::new(seed)) }
    }
}

impl Archive for SimArchive {
    fn load(&self) -> BoxFuture<'_, Option<Vec<Kept>>> {
        self.disk.load()
    }

    fn keep(&self, changes: Vec<(KeyId, Option<Record>)>) -> BoxFuture<'_, Vec<KeyId>> {
        Box::pin(async move {
            let (takes, before) = {
                let mut random = self.random.lock().unwrap();
                (random.millis(0..50), random.one_in(2))
            };
            if before {
                let failed = self.disk.put(changes);
                sleep(takes).await;
                failed
            } else {
                sleep(takes).await;
                self.disk.put(changes)
            }
        })
    }

    fn state(&self) -> ArchiveState {
        self.disk.state()
    }
}

//! A disk in memory that can lose its power: of what has not been synced, any part may have happened.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::store::disk::Disk;

/// The disk. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<Platters>>);

#[derive(Default)]
struct Platters {
    /// What survives for sure: the directory as it was last synced.
    lasting: BTreeMap<String, Bytes>,
    /// What has been done to it since, in order.
    steps: Vec<Step>,
    /// So many operations from now the power goes; none: never.
    power_left: Option<usize>,
    /// So many operations from now one fails.
    fails_in: Option<usize>,
    created: u64,
}

type Bytes = Arc<Vec<u8>>;

#[derive(Clone)]
enum Step {
    Put(String, Bytes),
    /// What is in the new file was synced, whatever becomes of the name that it had.
    Persist(String, String, Bytes),
    Rename(String, String),
    Remove(String),
}

fn apply(files: &mut BTreeMap<String, Bytes>, step: &Step) {
    match step {
        Step::Put(name, bytes) => drop(files.insert(name.clone(), Arc::clone(bytes))),
        Step::Persist(new, name, bytes) => {
            files.remove(new);
            files.insert(name.clone(), Arc::clone(bytes));
        }
        Step::Rename(from, to) => {
            if let Some(bytes) = files.remove(from) {
                files.insert(to.clone(), bytes);
            }
        }
        Step::Remove(name) => drop(files.remove(name)),
    }
}

impl SimDisk {
    pub(super) fn cut_power_in(&self, operations: usize) {
        self.lock().power_left = Some(operations);
    }

    pub(super) fn fail_in(&self, operations: usize) {
        self.lock().fails_in = Some(operations);
    }

    /// Nothing fails any more.
    pub(super) fn mend(&self) {
        self.lock().fails_in = None;
    }

    /// The power is back. Of what had not been synced, `survives` tells for each step whether it happened: a journal
    /// need not keep the order of names. What is in a file was synced before it got its name.
    pub(super) fn reboot(&self, mut survives: impl FnMut() -> bool) {
        let mut disk = self.lock();
        let steps = std::mem::take(&mut disk.steps);
        for step in steps.iter().filter(|_| survives()) {
            apply(&mut disk.lasting, step);
        }
        disk.power_left = None;
    }

    /// Changes a file behind the store's back.
    pub(super) fn tamper(&self, change: impl FnOnce(&mut BTreeMap<String, Bytes>)) {
        let mut disk = self.lock();
        let mut files = disk.files();
        change(&mut files);
        (disk.lasting, disk.steps) = (files, Vec::new());
    }

    pub(super) fn files(&self) -> BTreeMap<String, Bytes> {
        self.lock().files()
    }

    fn operate(&self) -> io::Result<MutexGuard<'_, Platters>> {
        let mut disk = self.lock();
        if let Some(left) = &mut disk.power_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::from_raw_os_error(5))?;
        }
        if let Some(left) = &mut disk.fails_in {
            let Some(fewer) = left.checked_sub(1) else {
                disk.fails_in = None;
                return Err(io::ErrorKind::StorageFull.into());
            };
            *left = fewer;
        }
        Ok(disk)
    }

    fn lock(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().unwrap()
    }
}

impl Platters {
    /// As whoever looks sees it, as long as there is power.
    fn files(&self) -> BTreeMap<String, Bytes> {
        let mut files = self.lasting.clone();
        self.steps.iter().for_each(|step| apply(&mut files, step));
        files
    }
}

impl Disk for SimDisk {
    /// Its name until it has one, and what is in it.
    type New = (String, Bytes);

    fn names(&self, max: usize) -> io::Result<(Vec<String>, bool)> {
        let files = self.operate()?.files();
        Ok((files.keys().take(max).cloned().collect(), files.len() <= max))
    }

    fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        let files = self.operate()?.files();
        let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        if bytes.len() as u64 > max { Err(io::Error::other("too large")) } else { Ok(bytes.to_vec()) }
    }

    fn create(&self, bytes: &[u8]) -> io::Result<(String, Bytes)> {
        let mut disk = self.operate()?;
        disk.created += 1;
        let (name, bytes) = (format!(".new-{}", disk.created), Arc::new(bytes.to_vec()));
        disk.steps.push(Step::Put(name.clone(), Arc::clone(&bytes)));
        Ok((name, bytes))
    }

    fn persist(&self, (new, bytes): (String, Bytes), name: &str) -> io::Result<()> {
        self.operate()?.steps.push(Step::Persist(new, name.to_owned(), bytes));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate()?.steps.push(Step::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate()?.steps.push(Step::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.operate()?;
        (disk.lasting, disk.steps) = (disk.files(), Vec::new());
        Ok(())
    }
}

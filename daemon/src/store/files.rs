//! The files of a store that is open: reading all of them, replacing one, and putting aside what is damaged.

use std::io;

use tracing::warn;

use super::{credentials::CREDENTIAL, disk::Disk, format, seal::Sealer};
use crate::{
    domain::record::{KeyId, Record},
    os::store::{NEW, is_foreign},
    token::ports::Kept,
};

/// The ending of a key's file.
const TOKEN: &str = ".token";
/// The ending of what is put aside, after its whole name.
const CORRUPT: &str = ".corrupt";

/// No file of a key is larger, in bytes: a token, and as many that wait to be revoked as are kept, each as large as an
/// IdP's answer may be, and escaped.
const MAX_FILE: u64 = 20 * 1024 * 1024;
/// No more files are looked at.
const MAX_FILES: usize = 100_000;
/// No more than this is read, in bytes.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// No more damaged files are put aside; what comes after is removed.
const MAX_CORRUPT: usize = 100;

/// The name of a file that is sealed, without its ending.
fn sealed_stem(name: &str) -> Option<&str> {
    [TOKEN, CREDENTIAL].iter().find_map(|ending| name.strip_suffix(ending))
}

/// A kind of files.
pub(super) struct Kind {
    /// What their names end in.
    pub(super) ending: &'static str,
    /// None of them is larger, in bytes.
    pub(super) max_file: u64,
    /// What is lost costs one fetch; else it is never removed, and what cannot be read now is an error.
    pub(super) is_spare: bool,
}

/// What could not be written.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) ids: Vec<KeyId>,
    pub(super) why: String,
    /// There is no such directory any more.
    pub(super) is_gone: bool,
}

/// A store that is open.
pub(super) struct Files<D> {
    pub(super) disk: D,
    pub(super) sealer: Sealer,
    pub(super) boot_id: Option<String>,
}

impl<D: Disk> Files<D> {
    /// Whether there is anything that is sealed.
    pub(super) fn has_contents(disk: &D) -> bool {
        disk.names(MAX_FILES).is_ok_and(|(names, _)| names.iter().any(|name| sealed_stem(name).is_some()))
    }

    /// Whether the key is the one of what is there, as far as that can be told: some of it opens, or nothing is there.
    pub(super) fn has_right_key(&self) -> bool {
        let Ok((names, _)) = self.disk.names(MAX_FILES) else { return true };
        let mut sealed =
            names.iter().filter_map(|name| Some((name, sealed_stem(name)?))).take(MAX_CORRUPT).peekable();
        let opens = |(name, stem): (&String, &str)| {
            let sealed = self.disk.read(name, MAX_FILE);
            sealed.is_ok_and(|sealed| self.sealer.unseal(stem, sealed).is_some())
        };
        sealed.peek().is_none() || sealed.any(opens)
    }

    /// All records.
    pub(super) fn read(&self) -> Result<Vec<Kept>, String> {
        let kind = Kind { ending: TOKEN, max_file: MAX_FILE, is_spare: true };
        self.read_all(&kind, |stem, sealed| self.open(stem, sealed))
    }

    /// All that is in files of this kind, as `open` finds it. What is damaged or foreign is put aside.
    pub(super) fn read_all<T>(
        &self,
        kind: &Kind,
        open: impl Fn(&str, Vec<u8>) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let (names, all) =
            self.disk.names(MAX_FILES).map_err(|error| format!("it cannot be read: {error}"))?;
        let is_aside =
            |name: &&String| name.strip_suffix(CORRUPT).is_some_and(|name| name.ends_with(kind.ending));
        let mut set_aside = names.iter().filter(is_aside).count();
        let (mut found, mut bytes, mut unread) = (Vec::new(), 0, None);
        for name in &names {
            let Some(stem) = name.strip_suffix(kind.ending) else { continue };
            if bytes > MAX_BYTES {
                break;
            }
            match self.disk.read(name, kind.max_file) {
                Ok(sealed) => {
                    bytes += sealed.len();
                    match open(stem, sealed) {
                        Some(contents) => found.push(contents),
                        None => {
                            self.set_aside(kind, name, "it is damaged, or not of this store", &mut set_aside);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if is_foreign(&error) => {
                    self.set_aside(kind, name, &error.to_string(), &mut set_aside);
                }
                Err(error) => unread = Some(format!("{name} cannot be read: {error}")),
            }
        }
        if !all || bytes > MAX_BYTES {
            warn!("the store is far larger than any of ours: not all of it was looked at");
        }
        match unread {
            Some(unread) if !kind.is_spare => return Err(unread),
            Some(unread) => warn!("{unread}"),
            None => {}
        }
        Ok(found)
    }

    /// Takes away what a crash has left. Only when the store is opened: later it may be what somebody writes.
    pub(super) fn tidy(&self) {
        let Ok((names, _)) = self.disk.names(MAX_FILES) else { return };
        for name in names.iter().filter(|name| name.starts_with(NEW)) {
            let _ = self.disk.remove(name);
        }
    }

    fn open(&self, stem: &str, sealed: Vec<u8>) -> Option<Kept> {
        let contents = self.sealer.unseal(stem, sealed)?;
        let kept = format::decode(&contents, self.boot_id.as_deref())?;
        // What is in it has to be what it is called.
        (self.sealer.key_name(&kept.record.key) == stem).then_some(kept)
    }

    fn set_aside(&self, kind: &Kind, name: &str, why: &str, so_far: &mut usize) {
        let corrupt = format!("{name}{CORRUPT}");
        let is_put_aside = *so_far < MAX_CORRUPT || !kind.is_spare;
        *so_far += 1;
        let done = if is_put_aside { self.disk.rename(name, &corrupt) } else { self.disk.remove(name) };
        match done {
            Ok(()) if !is_put_aside => {
                warn!(file = name, "removed, as a hundred are put aside already: {why}");
            }
            Ok(()) => warn!(file = name, "put aside as {corrupt}: {why}"),
            Err(error) => warn!(file = name, "cannot be put aside ({error}), and is passed over: {why}"),
        }
    }

    /// Writes these.
    pub(super) fn write(&self, changes: Vec<(KeyId, Option<Record>)>) -> Result<(), Unwritten> {
        let (mut written, mut failed, mut error) = (Vec::new(), Vec::new(), None);
        for (id, record) in changes {
            match self.replace(&id, record.as_ref()) {
                Ok(()) => written.push(id),
                Err(why) => {
                    failed.push(id);
                    error = Some(why);
                }
            }
        }
        if !written.is_empty()
            && let Err(why) = self.disk.sync()
        {
            failed.append(&mut written);
            error = Some(why);
        }
        match error {
            Some(error) => {
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                Err(Unwritten { ids: failed, why: error.to_string(), is_gone })
            }
            None => Ok(()),
        }
    }

    fn replace(&self, id: &KeyId, record: Option<&Record>) -> io::Result<()> {
        let stem = self.sealer.key_name(id);
        let name = format!("{stem}{TOKEN}");
        let Some(record) = record else { return self.disk.remove(&name) };
        let written = self.put(&stem, &name, record);
        if written.is_err() && record.has_dropped {
            // What is there may be a token that was forgotten, or rejected: rather nothing than that. It takes no room.
            self.disk.remove(&name)?;
        }
        written
    }

    fn put(&self, stem: &str, name: &str, record: &Record) -> io::Result<()> {
        let contents = format::encode(record, self.boot_id.as_deref());
        let sealed = self.sealer.seal(stem, contents).map_err(io::Error::other)?;
        let new = self.disk.create(&sealed)?;
        self.disk.persist(new, name)
    }
}

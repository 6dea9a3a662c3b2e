//! How a store is opened, or made: its directory, its key, and whether they belong together.
//!
//! Where the key comes from is recorded when the store is made. Without the right key nothing is read, and nothing
//! written over what another key has sealed; there is no fallback to another key, and none to plain text.

use std::{
    io,
    path::{Path, PathBuf},
};

use tracing::{info, warn};

use super::{
    Location,
    disk::Disk,
    files::Files,
    header::{self, Header, Unreadable},
    seal::{Sealer, hex},
};
use crate::{
    domain::secret::{ExposeSecret as _, SecretRef, SecretString},
    os::{private, store::DiskDirectory},
    token::ports::Secrets,
};

/// The bytes of a key that is made here.
const KEY_BYTES: usize = 32;

/// Opens the store there. Why not is told for people.
pub(super) async fn open(
    location: &Location,
    secrets: &dyn Secrets,
    boot_id: Option<String>,
) -> Result<Files<DiskDirectory>, String> {
    let Location { directory, key } = location.clone();
    let made = blocking(move || {
        let disk = DiskDirectory::make(&directory).map_err(|error| error.to_string())?;
        match &key {
            SecretRef::File(path) if lies_within(path, &directory) => Err(format!(
                "the store's key, {}, lies in the store's own directory: whoever copies the one has the other; move it",
                path.display()
            )),
            _ => Ok(disk),
        }
    });
    let disk = made.await??;
    let (disk, recorded) =
        blocking(move || (read_header(&disk), disk)).await.map(|(header, disk)| (disk, header))?;
    let recorded = recorded.map_err(|why| format!("{} {why}", location.directory.display()))?;
    let secret = match secrets.resolve(&location.key).await {
        Ok(secret) => secret,
        Err(error) => match (&location.key, &recorded) {
            (SecretRef::File(path), None) if path.symlink_metadata().is_err() => {
                if Files::has_contents(&disk) {
                    return Err(lost_key(location));
                }
                let path = path.clone();
                blocking(move || make_key(&path)).await??
            }
            _ => return Err(unreadable_key(location, &error.to_string())),
        },
    };
    let sealer =
        Sealer::new(&secret).map_err(|error| format!("the store's key ({}) {error}", location.key))?;
    let header = Header { key: location.key.to_string(), check: sealer.check.clone() };
    let is_new = recorded.is_none();
    let is_news = match recorded {
        Some(recorded) if recorded.check != header.check => return Err(wrong_key(location, &recorded)),
        Some(recorded) if recorded.key == header.key => false,
        Some(recorded) => {
            warn!(before = recorded.key, now = header.key, "the store's key comes from somewhere else now");
            true
        }
        None => {
            info!(directory = %location.directory.display(), key = header.key, "a store was made");
            true
        }
    };
    let files = Files { disk, sealer, boot_id };
    let lost = lost_header(location);
    blocking(move || {
        files.tidy();
        if !is_news {
            return Ok(files);
        }
        // Of which key it is was in the header, if there was one.
        if is_new && !files.has_right_key() {
            return Err(lost);
        }
        let recorded = write_header(&files.disk, &header);
        recorded.map(|()| files).map_err(|error| format!("the store cannot be written: {error}"))
    })
    .await?
}

fn unreadable_key(location: &Location, error: &str) -> String {
    let directory = location.directory.display();
    format!(
        "the key of the store in {directory} cannot be read: {error}; put it right; or, to begin anew, stop usherd and \
         remove {directory}"
    )
}

fn lost_key(location: &Location) -> String {
    let directory = location.directory.display();
    format!(
        "the store in {directory} has lost its key, {}: put it back; or, to begin anew, stop usherd and remove {directory}",
        location.key
    )
}

fn lost_header(location: &Location) -> String {
    let directory = location.directory.display();
    format!(
        "the store in {directory} has lost its header, and {} opens nothing of it: put the right key there; or, to begin \
         anew, stop usherd and remove {directory}",
        location.key
    )
}

/// Whether the key's file is in the store's directory, by whatever way.
fn lies_within(key: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let within = |path: Option<PathBuf>| {
        path.zip(real(directory)).is_some_and(|(path, store)| path.starts_with(store))
    };
    within(real(key)) || within(key.parent().and_then(real))
}

fn wrong_key(location: &Location, recorded: &Header) -> String {
    let directory = location.directory.display();
    format!(
        "the store in {directory} was made with another key than the one that comes from {} now{}: put the right one back; \
         or, to begin anew with this one, stop usherd and remove {directory}",
        location.key,
        if recorded.key == location.key.to_string() {
            String::new()
        } else {
            format!(" (it came from {})", recorded.key)
        }
    )
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| "opening the store was broken off".to_owned())
}

/// What the store says of itself; none if it is a new one. A damaged header is put aside: whether the key is the right
/// one is then seen by what it opens.
pub(super) fn read_header(disk: &impl Disk) -> Result<Option<Header>, String> {
    let bytes = match disk.read(header::NAME, header::MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("has a header that cannot be read: {error}")),
    };
    match header::decode(&bytes) {
        Ok(header) => Ok(Some(header)),
        Err(Unreadable::Newer(format)) => Err(format!(
            "was made by a newer usherd (format {format}) and is left as it is: use that one, or give this one \
             another directory ([store], directory)"
        )),
        Err(Unreadable::Damaged) => {
            let aside = format!("{}.corrupt", header::NAME);
            disk.rename(header::NAME, &aside).map_err(|error| format!("has a damaged header: {error}"))?;
            warn!("the store's header is damaged: put aside as {aside}");
            Ok(None)
        }
    }
}

pub(super) fn write_header(disk: &impl Disk, header: &Header) -> io::Result<()> {
    let new = disk.create(&header::encode(header))?;
    disk.persist(new, header::NAME)?;
    disk.sync()
}

/// Makes a key file that is not there, for us alone.
fn make_key(path: &Path) -> Result<SecretString, String> {
    use ring::rand::{SecureRandom as _, SystemRandom};
    let failed = |why: String| {
        format!(
            "the store has no key, and {} cannot be made: {why}; `openssl rand -hex 32` prints one",
            path.display()
        )
    };
    let mut bytes = zeroize::Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new()
        .fill(&mut *bytes)
        .map_err(|_| failed("the system has no random numbers".to_owned()))?;
    let key = SecretString::from(hex(&*bytes));
    if let Some(directory) = path.parent().filter(|directory| directory.symlink_metadata().is_err()) {
        private::Directory::make(directory).map_err(|error| failed(error.to_string()))?;
    }
    private::write_new(path, key.expose_secret().as_bytes()).map_err(|error| failed(error.to_string()))?;
    info!(file = %path.display(), "a key for the store was made");
    Ok(key)
}

//! Whether the socket's path still leads to our socket (inotify(7)).

use std::{io, path::Path, time::Duration};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::time::{self, MissedTickBehavior};
use tracing::debug;

use super::{listener::Place, readable::Readable};

/// How often it is looked where the system has no inotify instance left for us.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Ends once somebody else has put something in the place of our socket, or taken it away.
pub async fn lost(place: &Place) {
    let mut changes = match Changes::of(place.path()) {
        Ok(changes) => Some(changes),
        Err(error) => {
            debug!(%error, "the socket's directory cannot be watched; looking every second");
            None
        }
    };
    let mut looks = time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while place.is_ours() {
        match &mut changes {
            None => drop(looks.tick().await),
            Some(watched) => {
                if watched.next().await.is_err() {
                    changes = None;
                }
            }
        }
    }
}

/// Changes of a directory's entries.
struct Changes(Readable<Inotify>);

impl Changes {
    /// Of the directory that `path` is in.
    fn of(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let entries = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(path.parent().unwrap_or(Path::new("/")), entries)?;
        Ok(Self(Readable::new(inotify)?))
    }

    /// Waits for the next ones.
    async fn next(&mut self) -> io::Result<()> {
        let events = self.0.read(Inotify::read_events).await?;
        // The directory itself is gone or elsewhere: what follows is not told any more.
        if events.iter().any(|event| event.name.is_none()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }
}

//! What the log is told of peers, so that none of them can fill it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use super::limits::{NOTICE, NOTICES};

/// What is told at most once in a while of each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Notice {
    /// Not let in.
    Refused,
    /// Nobody knows whose it is.
    Unknown,
    /// What came is not gRPC.
    Junk,
    /// Too slow to send or to read.
    Slow,
    /// Had to give its place to others.
    Crowded,
    /// No connection can go for another.
    Full,
}

/// Who was told of, when, and how often since.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<HashMap<(Notice, u32), Told>>);

#[derive(Debug)]
struct Told {
    at: Instant,
    kept_back: u64,
}

impl Notices {
    /// Says it by `say`, which is given how many of the kind were kept back before it; or keeps it back.
    pub(super) fn tell(&self, notice: Notice, uid: u32, say: impl FnOnce(u64)) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&(notice, uid)) && all.len() >= NOTICES {
            all.retain(|_, told| told.at + NOTICE > now);
            if all.len() >= NOTICES {
                return;
            }
        }
        let mut kept_back = 0;
        if let Some(told) = all.get_mut(&(notice, uid)) {
            if told.at + NOTICE > now {
                told.kept_back += 1;
                return;
            }
            kept_back = told.kept_back;
        }
        all.insert((notice, uid), Told { at: now, kept_back: 0 });
        drop(all);
        say(kept_back);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_user_and_minute_which_counts_the_others() {
        let notices = Notices::default();
        let tell = |uid| {
            let mut said = None;
            notices.tell(Notice::Junk, uid, |kept_back| said = Some(kept_back));
            said
        };
        assert_eq!([tell(1), tell(1), tell(2), tell(1)], [Some(0), None, Some(0), None]);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!([tell(1), tell(1), tell(2)], [Some(2), None, Some(0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_users_are_kept_in_mind() {
        let notices = Notices::default();
        let mut said = 0;
        for uid in 0..1000 {
            notices.tell(Notice::Refused, uid, |_| said += 1);
        }
        assert_eq!(said, NOTICES);
        tokio::time::advance(Duration::from_secs(61)).await;
        notices.tell(Notice::Refused, 5000, |_| said += 1);
        assert_eq!((said, notices.0.lock().unwrap().len()), (NOTICES + 1, 1));
    }
}

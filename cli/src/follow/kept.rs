//! The file with the token in it. What cannot be written now is written later.

use std::{future, pin::pin, time::Duration};

use usher_proto::v1::GetTokenResponse;

use crate::{
    caller::Caller,
    error::Error,
    time::{Deadline, now},
    token_file::TokenFile,
};

/// How long to wait before the file is written again: the first time, and at most.
const WRITE_MIN: Duration = Duration::from_secs(1);
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How long to sleep at most where an expiry is waited for: a suspended machine's sleep lasts longer.
const LOOK: Duration = Duration::from_secs(60);

/// A file that holds a token, and what is known of it.
pub(crate) struct Kept<'a> {
    file: &'a TokenFile,
    text: &'a dyn Fn(&GetTokenResponse) -> Result<String, Error>,
    /// The newest token, in the file or not.
    newest: String,
    /// When the one in the file expires, if that is still to be told.
    expires: Option<i64>,
    /// It is told that there is something wrong with the file.
    told: bool,
    late: Option<Late>,
}

/// A token that could not be written.
struct Late {
    token: GetTokenResponse,
    again: Duration,
    due: Deadline,
}

impl<'a> Kept<'a> {
    /// Writes the first token. A place that is wrong from the start is an error.
    pub(crate) fn begin(
        file: &'a TokenFile,
        text: &'a dyn Fn(&GetTokenResponse) -> Result<String, Error>,
        first: &GetTokenResponse,
    ) -> Result<Self, Error> {
        file.write(&text(first)?)?;
        let (newest, expires) = (first.token_id.clone(), expiry(first));
        Ok(Self { file, text, newest, expires, told: false, late: None })
    }

    /// Has the file hold this token: now, or as soon as it can be written.
    pub(super) fn take(&mut self, token: GetTokenResponse, caller: &mut Caller<'_>) {
        if token.token_id == self.newest {
            return;
        }
        self.newest.clone_from(&token.token_id);
        let again = self.late.take().map_or(WRITE_MIN, |late| late.again);
        self.put(token, again, caller);
    }

    /// Waits for `work`, and does meanwhile what falls due for the file.
    pub(super) async fn meanwhile<T>(&mut self, caller: &mut Caller<'_>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.due() => self.attend(caller),
            }
        }
    }

    /// Returns when there may be something to do.
    async fn due(&self) {
        let left = |at: i64| Duration::from_secs(at.saturating_sub(now()).max(0).unsigned_abs()).min(LOOK);
        let waits = [self.late.as_ref().map(|late| late.due.left()), self.expires.map(left)];
        match waits.into_iter().flatten().min() {
            Some(wait) => tokio::time::sleep(wait).await,
            None => future::pending().await,
        }
    }

    fn attend(&mut self, caller: &mut Caller<'_>) {
        if let Some(late) = self.late.take_if(|late| late.due.left().is_zero()) {
            self.put(late.token, late.again, caller);
        }
        if let Some(at) = self.expires.take_if(|at| *at <= now()) {
            caller.warn(&format!(
                "the token in {} has expired (at {at}); it is replaced as soon as there is a new one",
                self.file.name()
            ));
            self.told = true;
        }
    }

    fn put(&mut self, token: GetTokenResponse, again: Duration, caller: &mut Caller<'_>) {
        let written = (self.text)(&token).and_then(|text| self.file.write(&text));
        match written {
            Ok(()) => {
                self.expires = expiry(&token);
                if std::mem::take(&mut self.told) {
                    caller.note(&format!("{} holds the newest token again", self.file.name()));
                }
            }
            Err(error) => {
                // Said once: whether this is the first failure in a row.
                if again == WRITE_MIN {
                    caller.warn(&format!("{error}; the new token is written as soon as that works"));
                    self.told = true;
                }
                let due = Deadline::after(again);
                self.late = Some(Late { token, again: (again * 2).min(WRITE_MAX), due });
            }
        }
    }
}

fn expiry(token: &GetTokenResponse) -> Option<i64> {
    token.expires_at.map(|at| at.seconds)
}

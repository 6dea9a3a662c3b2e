//! Tokens that are taken back: dropped here at once, and revoked at the IdP behind everybody's back.

use std::{future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _,
    stream::{FuturesUnordered, StreamExt as _},
};
use tokio::{sync::watch, time};
use tracing::{debug, info, warn};

use super::{
    agenda::Item as Look,
    circuit::Way,
    entry::{Entry, Unused},
    error::TokenError,
    ports::{IssueError, IssueErrorKind, RevokeRequest},
    restore,
    revocations::{Attempt, Item, Pending, Progress},
    select::select,
    service::{Engine, Shared},
};
use crate::domain::{
    profile::{ClientCredentials, Grant, Profile},
    record::{KeyId, Unrevoked},
    time::Moment,
    token::{Token, TokenId},
};

/// The longest that a caller waits for what becomes of its revocations. They go on all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long a turn at a crowded IdP may be had.
const CROWDED_RETRY: Duration = Duration::from_secs(1);

/// What has become of a profile's tokens.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// How many have been dropped here.
    pub count: u32,
    /// How far it has come with those that were still valid.
    pub revocations: Vec<Revocation>,
    /// Where its owner revokes what usher cannot.
    pub advice: Option<String>,
}

/// How far it has come with one token.
#[derive(Debug)]
pub struct Revocation {
    /// The token.
    pub id: TokenId,
    /// How far.
    pub progress: Progress,
}

impl Engine {
    /// Drops the tokens of a profile. How many there were, and what that does not do.
    pub fn forget(&self, profile: &str) -> Result<Forgotten, TokenError> {
        let dropped = self.drop_tokens(profile, false)?;
        let advice = advice(&dropped.profile);
        Ok(Forgotten { count: dropped.count(), advice, ..Forgotten::default() })
    }

    /// Drops the tokens of a profile at once, and has those that are still valid revoked. Answers when that
    /// has been tried, and within `patience`.
    pub async fn forget_and_revoke(
        &self,
        profile: &str,
        patience: Duration,
    ) -> Result<Forgotten, TokenError> {
        let dropped = self.drop_tokens(profile, true)?;
        let Dropped { profile, tokens } = &dropped;
        let grant = match &profile.grant {
            Grant::ClientCredentials(grant) => grant,
            Grant::Static(_) => return Ok(Forgotten { advice: advice(profile), ..Forgotten::default() }),
        };
        let deadline = time::Instant::now() + patience.min(PATIENCE);
        let queued: Vec<_> =
            tokens.iter().filter_map(|(key, token)| self.revoke(key, grant, token)).collect();
        let mut revocations = Vec::with_capacity(queued.len());
        for (id, mut progress) in queued {
            let tried = progress.wait_for(|progress| *progress != Progress::Waiting);
            drop(time::timeout_at(deadline, tried).await);
            revocations.push(Revocation { id, progress: progress.borrow().clone() });
        }
        Ok(Forgotten { count: dropped.count(), revocations, advice: None })
    }

    /// `revoke`: also those that are on their way are to be revoked, if they can be.
    fn drop_tokens(&self, profile: &str, revoke: bool) -> Result<Dropped, TokenError> {
        let directory = self.directory();
        let (slot, _) = select(&directory, profile, "")?;
        let revoke =
            revoke && matches!(&slot.profile.grant, Grant::ClientCredentials(grant) if grant.may_revoke());
        let forget = |entry: &Arc<Entry>| Some((entry.id.clone(), entry.forget(revoke)?));
        let tokens: Vec<_> = slot.entries().iter().filter_map(forget).collect();
        info!(profile = slot.profile.name, forgotten = tokens.len(), "tokens forgotten");
        Ok(Dropped { profile: Arc::clone(&slot.profile), tokens })
    }

    /// Has a token revoked that nobody gets any more; tells how far it has come with it. None: it is no longer
    /// valid.
    fn revoke(
        &self,
        key: &KeyId,
        grant: &ClientCredentials,
        token: &Token,
    ) -> Option<(TokenId, watch::Receiver<Progress>)> {
        let expires_at = token.lifetime?.expires_at;
        if expires_at.reached(self.now()) {
            return None;
        }
        let id = token.id.clone();
        if !grant.may_revoke() {
            let idp = grant.token_endpoint.configured().authority();
            let message = format!(
                "no revocation endpoint is known for the IdP {idp}; if it has one, write revocation_url"
            );
            return Some((id, watch::channel(Progress::NotPossible(message)).1));
        }
        let (key, grant) = (key.clone(), Arc::new(grant.clone()));
        let item = Item { key, grant, token: token.access_token.clone(), id: id.clone(), expires_at };
        Some((id, self.queue(item)))
    }

    /// Has a token revoked that was on its way when it was to be.
    pub(super) fn revoke_late(&self, profile: &Profile, entry: &Entry, token: &Token) {
        if let Grant::ClientCredentials(grant) = &profile.grant {
            info!(profile = profile.name, token_id = %token.id, "token forgotten that was on its way");
            drop(self.revoke(&entry.id, grant, token));
        }
    }

    fn queue(&self, item: Item) -> watch::Receiver<Progress> {
        let key = item.key.clone();
        let (progress, given_up) = self.shared.revocations.add(item, self.now());
        self.shared.unkept.note(&key);
        if let Some(token_id) = given_up {
            warn!(%token_id, "too many tokens wait to be revoked: the one that expires first is given up");
        }
        progress
    }

    /// Goes on with what was to be revoked before a restart. Whether there is anything to go on with.
    pub(super) fn revoke_again(
        &self,
        entry: &Entry,
        token: &Unrevoked,
        written: Moment,
        this_boot: bool,
    ) -> bool {
        let directory = self.directory();
        let Some(slot) = directory.get(&entry.id.owner.profile) else { return false };
        let Grant::ClientCredentials(grant) = &slot.profile.grant else { return false };
        let Some(expires_at) = restore::expires_at(token, written, this_boot, self.now()) else {
            return false;
        };
        if !grant.may_revoke() {
            let profile = &slot.profile.name;
            warn!(profile, token_id = %token.id, "not revoked: no revocation endpoint is known any more");
            return false;
        }
        let (key, grant) = (entry.id.clone(), Arc::new(ClientCredentials::clone(grant)));
        let (token, id) = (token.access_token.clone(), token.id.clone());
        drop(self.queue(Item { key, grant, token, id, expires_at }));
        true
    }

    /// Revokes what is to be revoked, for ever.
    pub async fn revoke_queued(self) {
        let revocations = &self.shared.revocations;
        let mut attempts = FuturesUnordered::new();
        loop {
            let (due, expired) = revocations.due(self.now());
            for token_id in expired {
                warn!(%token_id, "token not revoked: it has expired before it could be");
            }
            attempts.extend(due.into_iter().map(|attempt| self.attempt(attempt)));
            let next = async {
                match revocations.next() {
                    Some(at) => self.shared.ports.clock.sleep_until(at).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                Some(()) = attempts.next() => {}
                () = revocations.added() => {}
                () = next => {}
            }
        }
    }

    async fn attempt(&self, attempt: Attempt) {
        let Shared { ports, revocations, .. } = &*self.shared;
        let (item, profile) = (attempt.item(), attempt.item().profile());
        let id = &item.id;
        // A fault of ours with one token must not be the end of all others.
        let sent = AssertUnwindSafe(self.send(attempt.item())).catch_unwind().await;
        let fault = || IssueError::new(IssueErrorKind::Invalid, "a fault of usherd; its log says more");
        let Err(error) = sent.unwrap_or_else(|_| Err(fault())) else {
            info!(profile, token_id = %id, "token revoked");
            return self.ended(&attempt, Progress::Revoked);
        };
        let ended = match error.kind {
            IssueErrorKind::Unsupported => Progress::NotPossible(error.message),
            // Nothing of it changes by itself. What a client is refused for may be mended.
            IssueErrorKind::Refused if !error.refuses_client() => Progress::Failed(error.message),
            _ => {
                let now = self.now();
                let at = revocations.failed(&attempt, &error, now, ports.jitter.unit());
                warn!(profile, token_id = %id, %error, retry_in = ?at.after(now), "token not revoked yet");
                return;
            }
        };
        if let Progress::NotPossible(why) | Progress::Failed(why) = &ended {
            warn!(profile, token_id = %id, "token not revoked: {why}");
        }
        self.ended(&attempt, ended);
    }

    fn ended(&self, attempt: &Attempt, progress: Progress) {
        self.shared.revocations.ended(attempt, progress);
        self.shared.unkept.note(&attempt.item().key);
    }

    async fn send(&self, item: &Item) -> Result<(), IssueError> {
        let Shared { ports, revocations, .. } = &*self.shared;
        let grant = &item.grant;
        let unavailable = |message: String| IssueError::new(IssueErrorKind::Unavailable, message);
        let secret = ports.secrets.resolve(&grant.client_secret).await;
        let secret = secret.map_err(|error| unavailable(format!("the secret cannot be read: {error}")))?;
        let idp = grant.revocation_url.as_ref().unwrap_or_else(|| grant.token_endpoint.configured());
        let _turn = revocations.queues.turn(idp).await.map_err(|crowded| IssueError {
            retry_after: Some(CROWDED_RETRY),
            ..unavailable(crowded.to_string())
        })?;
        let way = Way::new(idp, &grant.network);
        let passage = revocations.circuits.permit(&way, || self.now()).await;
        let passage = passage.map_err(|(error, wait)| IssueError { retry_after: Some(wait), ..error })?;
        debug!(profile = item.profile(), token_id = %item.id, "revocation");
        let request =
            RevokeRequest { grant: ClientCredentials::clone(grant), secret, token: item.token.clone() };
        let answer = ports.issuer.revoke(request).await;
        match &answer {
            Ok(()) => passage.answered(),
            Err(error) => drop(passage.failed(error, self.now(), ports.jitter.unit())),
        }
        answer
    }

    /// What waits to be revoked of a profile.
    pub fn pending_revocations(&self, profile: &str) -> Pending {
        self.shared.revocations.pending(profile, self.now())
    }

    /// The profiles that are gone and of which something waits to be revoked, or was not.
    pub fn removed_with_revocations(&self) -> Vec<String> {
        let (directory, profiles) = (self.directory(), self.shared.revocations.profiles(self.now()));
        profiles.into_iter().filter(|profile| directory.get(profile).is_none()).collect()
    }

    /// Tells how many tokens stay valid because usherd ends.
    pub fn tell_unrevoked(&self) {
        let is_kept = self.archive().is_some_and(|(state, unkept)| state.trouble.is_none() && unkept == 0);
        let directory = self.directory();
        let (all, found) = self.shared.revocations.kept(|key| is_kept && directory.peek(key).is_some());
        if found > 0 {
            info!(
                pending = found,
                "tokens wait to be revoked: usherd goes on with that when it is started again"
            );
        }
        if all > found {
            warn!(pending = all - found, "tokens that were to be revoked stay valid until they expire");
        }
    }

    /// Has a key looked at when its token may have gone unused for too long, if its profile says how long
    /// that is.
    pub(super) fn note_unused(&self, profile: &str, grant: &ClientCredentials, entry: &Arc<Entry>) {
        if let Some(span) = grant.revoke_unused_after
            && let Some(at) = entry.next_unused_look(self.now(), span)
        {
            self.shared.agenda.note_unused(at, profile, entry);
        }
    }

    /// Looks whether a key's token has gone unused for too long.
    pub(super) fn look_unused(
        &self,
        look: &Look,
        now: Moment,
        entry: &Arc<Entry>,
        grant: &ClientCredentials,
    ) {
        // A reload may have taken the key's time away.
        let span = grant.revoke_unused_after.unwrap_or(Duration::MAX);
        match entry.look_unused(now, span) {
            Unused::Dropped(token) => {
                info!(profile = look.profile, token_id = %token.id, unused_for = ?span, "unused token dropped");
                self.shared.unkept.note(&entry.id);
                if grant.may_revoke() {
                    drop(self.revoke(&entry.id, grant, &token));
                }
            }
            Unused::Later(at) => self.shared.agenda.note_unused(at, &look.profile, entry),
            Unused::Nothing => {}
        }
    }
}

/// Where the owner of a long-lived token revokes it: usher cannot.
fn advice(profile: &Profile) -> Option<String> {
    let Grant::Static(grant) = &profile.grant else { return None };
    let place = grant.revoked_at.as_deref().unwrap_or("the service that issued it");
    Some(format!("usher cannot revoke the long-lived token of {}: revoke it in {place}", profile.name))
}

/// What a profile had.
struct Dropped {
    profile: Arc<Profile>,
    tokens: Vec<(KeyId, Arc<Token>)>,
}

impl Dropped {
    fn count(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }
}

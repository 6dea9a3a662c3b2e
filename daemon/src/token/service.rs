//! The engine as a whole: from a request to a token.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::Instant;
use url::Url;

use super::{
    agenda::Agenda,
    cache::{Changes, Directory, Slot},
    circuit::Circuits,
    entry::{Cause, Decision, Entry, Refusal},
    error::TokenError,
    flight::Outcome,
    issued::Recent,
    name::{Namer, SecretTag},
    ports::{Archive, Clock, IssueError, IssueErrorKind, Issuer, Jitter, SecretError, Secrets},
    queue::Queues,
    revocations::Revocations,
    secrets,
    select::select,
    static_token,
    unkept::Unkept,
};
use crate::domain::{
    profile::{ClientCredentials, Grant, Profile, Profiles, StaticToken},
    scope::ScopeSet,
    secret::{SecretRef, SecretString},
    time::Moment,
    token::Token,
};

/// When the requests of some key may no longer count, so that its place is free.
const TOO_MANY_KEYS_RETRY: Duration = Duration::from_secs(60);

/// How often one call is looked at anew.
const MAX_TRIES: usize = 3;

/// How long a look for a new secret may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// What a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// The profile. Empty: see [`select`].
    pub profile: String,
    /// Where the token is to be presented. Empty: not told.
    pub url: String,
    /// Empty: the profile's default.
    pub scopes: Vec<String>,
    /// Empty: the profile's own.
    pub audience: String,
    /// How long the token should last.
    pub min_ttl: Duration,
    /// The name of a token that the API rejected. Empty: none.
    pub rejected_token_id: String,
    /// How long the caller waits.
    pub patience: Duration,
}

/// What a caller gets.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The token.
    pub token: Arc<Token>,
    /// Where it came from.
    pub source: Source,
    /// It does not last as long as was asked for.
    pub below_min_ttl: bool,
    /// The profile.
    pub profile: Arc<Profile>,
    /// The URL in the form that was checked.
    pub url: Option<Url>,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Memory.
    Cache,
    /// The IdP; there was no token before.
    Fetched,
    /// The IdP; it replaced an older one.
    Refreshed,
}

/// The parts the engine works with.
#[derive(Clone)]
pub struct Ports {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Asks IdPs.
    pub issuer: Arc<dyn Issuer>,
    /// Reads secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Spreads refreshes and retries.
    pub jitter: Arc<dyn Jitter>,
    /// Keeps tokens over a restart; none: nothing does.
    pub archive: Option<Arc<dyn Archive>>,
}

/// The token engine. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) ports: Ports,
    pub(super) namer: Namer,
    pub(super) queues: Queues,
    pub(super) agenda: Agenda,
    pub(super) circuits: Circuits,
    pub(super) unkept: Arc<Unkept>,
    pub(super) revocations: Revocations,
    pub(super) issued: Recent,
    directory: ArcSwap<Directory>,
}

impl Engine {
    /// An engine without profiles.
    pub fn new(ports: Ports, namer: Namer) -> Self {
        let unkept = Arc::new(if ports.archive.is_some() { Unkept::default() } else { Unkept::off() });
        Self {
            shared: Arc::new(Shared {
                ports,
                namer,
                queues: Queues::default(),
                agenda: Agenda::default(),
                circuits: Circuits::default(),
                revocations: Revocations::default(),
                issued: Recent::default(),
                directory: ArcSwap::from_pointee(Directory::new(Arc::clone(&unkept))),
                unkept,
            }),
        }
    }

    /// Takes new profiles as a whole. Profiles that did not change keep their tokens; fetches for those that
    /// are gone, or ask for other tokens now, are broken off.
    pub fn apply(&self, profiles: &Profiles) -> Changes {
        let before = self.shared.directory.load_full();
        let (after, changes) = before.succeed(profiles);
        let after = Arc::new(after);
        self.shared.directory.store(Arc::clone(&after));
        before.retire_all_but(&after);
        for slot in after.iter() {
            // What held the next token of a watched key back may be gone.
            let watched = slot.entries().into_iter().filter(|entry| entry.is_watched());
            watched.for_each(|entry| self.note_ahead(&slot.profile.name, &entry));
            // A key that is not new may not have been looked at for this before, or not as soon.
            if let Grant::ClientCredentials(grant) = &slot.profile.grant
                && grant.revoke_unused_after.is_some()
            {
                slot.entries().iter().for_each(|entry| self.note_unused(&slot.profile.name, grant, entry));
            }
        }
        changes
    }

    /// The profiles in force.
    pub fn directory(&self) -> Arc<Directory> {
        self.shared.directory.load_full()
    }

    /// How long the last of the tokens in the cache can still be used, or revoked; nothing if there is none.
    pub fn tokens_last(&self) -> Duration {
        let (directory, now) = (self.shared.directory.load(), self.now());
        let entries = directory.iter().flat_map(|slot| slot.entries());
        let held = entries.map(|entry| entry.token_lasts(now)).max().unwrap_or_default();
        held.max(self.shared.revocations.last(now))
    }

    /// The time as the engine sees it.
    pub fn now(&self) -> Moment {
        self.shared.ports.clock.now()
    }

    /// Why secrets cannot be read now, by profile ([`secrets::unreadable`]).
    pub async fn unreadable_secrets(
        &self,
        profiles: impl IntoIterator<Item = Arc<Profile>>,
        patience: Duration,
    ) -> BTreeMap<String, SecretError> {
        secrets::unreadable(&*self.shared.ports.secrets, profiles, patience).await
    }

    /// A token for a caller.
    pub async fn get_token(&self, request: &TokenRequest) -> Result<Answer, TokenError> {
        let (slot, url, (token, source)) = self.find(request).await?;
        let now = self.now();
        let below_min_ttl = match (&token.lifetime, &slot.profile.grant) {
            (Some(lifetime), _) => lifetime.left(now) < request.min_ttl,
            (None, Grant::ClientCredentials(_)) => !request.min_ttl.is_zero(),
            (None, Grant::Static(_)) => false,
        };
        Ok(Answer { token, source, below_min_ttl, profile: Arc::clone(&slot.profile), url })
    }

    /// The profile that is meant, and its token. If what was waited for is overtaken by events, the request is
    /// looked at anew, with what is left of the caller's patience.
    async fn find(
        &self,
        request: &TokenRequest,
    ) -> Result<(Arc<Slot>, Option<Url>, (Arc<Token>, Source)), TokenError> {
        let patience = request.patience;
        let begun = Instant::now();
        let mut again = None;
        for _ in 0..MAX_TRIES {
            let request = again.as_ref().unwrap_or(request);
            let (slot, url) = select(&self.shared.directory.load(), &request.profile, &request.url)?;
            let answer = match &slot.profile.grant {
                Grant::Static(grant) => self.static_answer(&slot, grant, request).await,
                Grant::ClientCredentials(grant) => self.answer(&slot, grant, request).await,
            };
            match answer {
                Err(TokenError::Overtaken) => {}
                answer => return Ok((slot, url, answer?)),
            }
            let left = patience.saturating_sub(begun.elapsed());
            again = Some(TokenRequest { patience: left, ..request.clone() });
        }
        let message = "its tokens expire before they arrive, or its configuration changes all the time";
        let error = IssueError::new(IssueErrorKind::Invalid, message);
        Err(TokenError::Issue { profile: request.profile.clone(), error, retry_in: Duration::ZERO })
    }

    async fn static_answer(
        &self,
        slot: &Slot,
        grant: &StaticToken,
        request: &TokenRequest,
    ) -> Result<(Arc<Token>, Source), TokenError> {
        let profile = &slot.profile;
        wanted(profile, request)?;
        // Read for every call: a token that was just replaced is handed out at once.
        let secret = self.secret(profile, request.patience).await?;
        if slot.default_entry().is_retired() {
            return Err(TokenError::Overtaken);
        }
        let token =
            static_token::token(grant, secret, &self.shared.namer).map_err(|error| TokenError::Secret {
                profile: profile.name.clone(),
                error: SecretError(format!("what {} holds {error}", grant.api_token)),
            })?;
        self.note_issued(&token.access_token);
        if let Some(credential) = token.credential() {
            self.note_issued(&credential);
        }
        if token.is(&request.rejected_token_id) {
            return Err(TokenError::TokenRejected {
                profile: profile.name.clone(),
                secret: grant.api_token.to_string(),
            });
        }
        let entry = slot.default_entry();
        entry.touch(self.now());
        entry.count_served();
        Ok((Arc::new(token), Source::Cache))
    }

    async fn answer(
        &self,
        slot: &Slot,
        grant: &ClientCredentials,
        request: &TokenRequest,
    ) -> Result<(Arc<Token>, Source), TokenError> {
        let profile = &slot.profile;
        let (entry, explicit) = self.key(slot, request)?;
        let mut decision = entry.decide(self.now(), request.min_ttl, &request.rejected_token_id);
        if let Decision::Refuse(Refusal::Trouble(Cause::Issue { secret, error }, _)) = &decision
            && error.kind == IssueErrorKind::Refused
            // A file is looked at for every call; a program is not run for every one.
            && (!matches!(grant.client_secret, SecretRef::Command(_)) || entry.may_look(self.now()))
            && self.has_new_secret(profile, *secret, request.patience).await
        {
            if entry.is_retired() {
                return Err(TokenError::Overtaken);
            }
            entry.forgive(*secret);
            decision = entry.decide(self.now(), request.min_ttl, &request.rejected_token_id);
        }
        let (token, source) = match decision {
            Decision::Answer(token) => (token, Source::Cache),
            Decision::AnswerAndRefresh(token, takeoff) => {
                self.take_off(profile, grant, &entry, takeoff);
                (token, Source::Cache)
            }
            Decision::AnswerAndLook(token, secret) => {
                self.look_for_new_secret(profile, &entry, secret);
                (token, Source::Cache)
            }
            Decision::Wait { flight, takeoff, fallback } => {
                if let Some(takeoff) = takeoff {
                    self.take_off(profile, grant, &entry, takeoff);
                }
                let outcome = flight
                    .wait(request.patience)
                    .await
                    .unwrap_or_else(|| Err(TokenError::Deadline { profile: profile.name.clone() }));
                if entry.is_retired() {
                    return Err(TokenError::Overtaken);
                }
                self.landing(outcome, fallback)?
            }
            Decision::Refuse(refusal) => return Err(refused(profile, refusal)),
        };
        if let Some(scope) = explicit.first_not_in(&token.scopes) {
            return Err(TokenError::ScopeNotGranted {
                profile: profile.name.clone(),
                scope: scope.to_owned(),
                granted: token.scopes.to_string(),
            });
        }
        entry.count_served();
        Ok((token, source))
    }

    /// The key that a request means now.
    pub fn entry_of(&self, request: &TokenRequest) -> Result<Arc<Entry>, TokenError> {
        let (slot, _) = select(&self.shared.directory.load(), &request.profile, &request.url)?;
        Ok(self.key(&slot, request)?.0)
    }

    /// Why the last token request for what a request means failed; none if it did not.
    pub fn trouble(&self, request: &TokenRequest, now: Moment) -> Result<Option<TokenError>, TokenError> {
        let (slot, _) = select(&self.shared.directory.load(), &request.profile, &request.url)?;
        let (entry, _) = self.key(&slot, request)?;
        Ok(entry.trouble(&slot.profile, now))
    }

    /// Where the long-lived token comes from that a request means; none: it means another kind of profile.
    pub fn static_secret(&self, request: &TokenRequest) -> Option<SecretRef> {
        let (slot, _) = select(&self.shared.directory.load(), &request.profile, &request.url).ok()?;
        matches!(slot.profile.grant, Grant::Static(_)).then(|| slot.profile.grant.secret().clone())
    }

    /// The key that a request means, and the scopes that the caller named itself.
    fn key(&self, slot: &Slot, request: &TokenRequest) -> Result<(Arc<Entry>, ScopeSet), TokenError> {
        let Some(Wanted { audience, scopes, explicit }) = wanted(&slot.profile, request)? else {
            return Ok((Arc::clone(slot.default_entry()), ScopeSet::default()));
        };
        let entry = slot.entry(audience, scopes, self.now()).ok_or_else(|| TokenError::RateLimited {
            profile: slot.profile.name.clone(),
            why: "callers have asked for too many different sets of scopes lately".to_owned(),
            retry_in: TOO_MANY_KEYS_RETRY,
        })?;
        Ok((entry, explicit))
    }

    /// The token that a flight brought, else the one that is still valid, else why there is none.
    fn landing(
        &self,
        outcome: Outcome,
        fallback: Option<Arc<Token>>,
    ) -> Result<(Arc<Token>, Source), TokenError> {
        let now = self.now();
        let valid = |token: &Arc<Token>| token.lifetime.is_none_or(|lifetime| !lifetime.left(now).is_zero());
        let brought = match outcome {
            Ok(token) if valid(&token) => {
                let source = if token.replaces { Source::Refreshed } else { Source::Fetched };
                Ok((token, source))
            }
            // The machine slept for longer than it lives.
            Ok(_) => Err(TokenError::Overtaken),
            // What there was has been taken back, too.
            Err(TokenError::Overtaken) => return Err(TokenError::Overtaken),
            Err(error) => Err(error),
        };
        brought.or_else(|error| fallback.filter(valid).map(|token| (token, Source::Cache)).ok_or(error))
    }

    async fn secret(&self, profile: &Profile, patience: Duration) -> Result<SecretString, TokenError> {
        let reading = self.shared.ports.secrets.resolve(profile.grant.secret());
        match tokio::time::timeout(patience, reading).await {
            Ok(read) => read.map_err(|error| TokenError::Secret { profile: profile.name.clone(), error }),
            Err(_) => Err(TokenError::Deadline { profile: profile.name.clone() }),
        }
    }

    /// Whether the secret is no longer the one that was refused.
    async fn has_new_secret(&self, profile: &Profile, refused: SecretTag, patience: Duration) -> bool {
        self.secret(profile, patience).await.is_ok_and(|secret| self.shared.namer.tag(&secret) != refused)
    }

    /// The same behind the caller's back: the next caller profits.
    fn look_for_new_secret(&self, profile: &Arc<Profile>, entry: &Arc<Entry>, refused: SecretTag) {
        let (engine, profile, entry) = (self.clone(), Arc::clone(profile), Arc::clone(entry));
        tokio::spawn(async move {
            if engine.has_new_secret(&profile, refused, LOOK_PATIENCE).await {
                entry.forgive(refused);
            }
        });
    }
}

/// What a request asks of its profile.
struct Wanted {
    audience: Option<Arc<str>>,
    scopes: ScopeSet,
    /// The scopes that the caller named itself.
    explicit: ScopeSet,
}

/// What a request asks for, if the profile allows it. None: nothing but the default.
fn wanted(profile: &Profile, request: &TokenRequest) -> Result<Option<Wanted>, TokenError> {
    if request.scopes.is_empty() && request.audience.is_empty() {
        return Ok(None);
    }
    let explicit = ScopeSet::new(&request.scopes).map_err(|error| TokenError::Invalid(error.to_string()))?;
    if let Some(scope) = explicit.first_not_in(&profile.scopes) {
        return Err(TokenError::ScopeNotAllowed {
            profile: profile.name.clone(),
            scope: scope.to_owned(),
            allowed: profile.scopes.iter().map(str::to_owned).collect(),
        });
    }
    let audience = match request.audience.as_str() {
        "" => profile.audience.clone(),
        wanted => {
            let mut listed = profile.audience.iter().chain(&profile.audiences);
            let found = listed.find(|own| &***own == wanted).cloned();
            Some(found.ok_or_else(|| TokenError::AudienceNotAllowed {
                profile: profile.name.clone(),
                audience: wanted.to_owned(),
                allowed: profile.audience.iter().chain(&profile.audiences).map(ToString::to_string).collect(),
            })?)
        }
    };
    let scopes = if explicit.is_empty() { profile.default_scopes.clone() } else { explicit.clone() };
    Ok(Some(Wanted { audience, scopes, explicit }))
}

/// What a caller is told when no request may be sent.
pub(super) fn refused(profile: &Profile, refusal: Refusal) -> TokenError {
    let name = profile.name.clone();
    match refusal {
        Refusal::Trouble(Cause::Issue { error, .. }, retry_in) => issue_error(profile, error, retry_in),
        Refusal::Trouble(Cause::Secret(error), _) => TokenError::Secret { profile: name, error },
        Refusal::Rejections(retry_in) => TokenError::RateLimited {
            profile: name,
            why: "the API rejected one new token after another, so the next is not fetched at once; others go on with this one"
                .to_owned(),
            retry_in,
        },
        Refusal::Budget(limit, retry_in) => TokenError::RateLimited {
            profile: name,
            why: format!(
                "its budget of {} token requests in {} is used up (max_token_requests)",
                limit.requests,
                humantime::format_duration(limit.window)
            ),
            retry_in,
        },
    }
}

/// What a caller is told when a request failed.
pub(super) fn issue_error(profile: &Profile, error: IssueError, retry_in: Duration) -> TokenError {
    TokenError::Issue { profile: profile.name.clone(), error, retry_in }
}

#[cfg(test)]
pub(super) mod tests;

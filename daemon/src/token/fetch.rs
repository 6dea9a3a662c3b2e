//! One fetch, from the secret to the cache, in a task that no caller can cancel.

use std::{sync::Arc, time::Duration};

use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::{
    circuit::{Passage, Way},
    entry::{Cause, Entry, Takeoff},
    error::TokenError,
    freshness,
    name::SecretTag,
    ports::{ExpiresIn, IssueError, IssueRequest, Issued, Reply},
    queue::Crowded,
    service::{Engine, Shared, issue_error, refused},
};
use crate::domain::{
    profile::{ClientCredentials, Grant, Profile},
    quota::Quota,
    secret::ExposeSecret as _,
    time::Moment,
    token::{Scheme, Token},
};

/// After how long a turn at a crowded IdP may be had.
const CROWDED_RETRY: Duration = Duration::from_secs(1);

impl Engine {
    /// Fetches in a task of its own: no caller who hangs up takes the others' token along.
    pub(super) fn take_off(
        &self,
        profile: &Arc<Profile>,
        grant: &ClientCredentials,
        entry: &Arc<Entry>,
        takeoff: Takeoff,
    ) {
        let (engine, profile, grant) = (self.clone(), Arc::clone(profile), grant.clone());
        let guard = LostFlight { engine: self.clone(), entry: Arc::clone(entry), armed: true };
        let fetch = tokio::spawn(async move {
            engine.fetch(&profile, grant, &guard.entry, takeoff).await;
            engine.note_ahead(&profile.name, &guard.entry);
            if let Grant::ClientCredentials(grant) = &profile.grant {
                engine.note_unused(&profile.name, grant, &guard.entry);
            }
            guard.disarm();
        });
        entry.fetching(fetch.abort_handle());
    }

    async fn fetch(&self, profile: &Profile, grant: ClientCredentials, entry: &Entry, takeoff: Takeoff) {
        let Shared { ports, namer, queues, circuits, .. } = &*self.shared;
        let secret = match ports.secrets.resolve(&grant.client_secret).await {
            Ok(secret) => secret,
            Err(error) => {
                warn!(profile = profile.name, %error, "secret unavailable");
                let told = TokenError::Secret { profile: profile.name.clone(), error: error.clone() };
                let now = ports.clock.now();
                return entry.failed(takeoff, Cause::Secret(error), now, ports.jitter.unit(), |_| Err(told));
            }
        };
        // After the secret, which may take its time, and before the time from which the token's life counts.
        let idp = grant.token_endpoint.configured();
        let way = Way::new(idp, &grant.network);
        let _turn = match queues.turn(idp).await {
            Ok(turn) => turn,
            Err(crowded) => {
                warn!(profile = profile.name, %crowded, "token request not sent");
                return entry.grounded(takeoff, Err(crowd(profile, crowded)));
            }
        };
        let tag = namer.tag(&secret);
        let passage = match circuits.permit(&way, || ports.clock.now()).await {
            Ok(passage) => passage,
            Err((error, retry_in)) => {
                let told = Err(issue_error(profile, error.clone(), retry_in));
                let cause = Cause::Issue { error, secret: tag };
                return entry.postponed(takeoff, cause, ports.clock.now() + retry_in, told);
            }
        };
        let requested_at = ports.clock.now();
        if let Some((error, retry_in)) = entry.standing.refusal(tag, requested_at) {
            let told = Err(issue_error(profile, error.clone(), retry_in));
            let cause = Cause::Issue { error, secret: tag };
            return entry.postponed(takeoff, cause, requested_at + retry_in, told);
        }
        if let Err(refusal) = entry.spend(requested_at) {
            return entry.grounded(takeoff, Err(refused(profile, refusal)));
        }
        debug!(profile = profile.name, scopes = %entry.id.scopes, "token request");
        let default_lifetime = grant.default_lifetime;
        let (scopes, audience) = (entry.id.scopes.clone(), entry.id.audience.clone());
        let Reply { outcome, quotas } =
            ports.issuer.issue(IssueRequest { grant, secret, scopes, audience }).await;
        self.learn_quotas(profile, entry, quotas);
        match outcome {
            Ok(issued) => {
                let told =
                    issued.server_time.and_then(|time| entry.standing.learn_time(time, ports.clock.now()));
                if let Some(offset) = told {
                    warn!(
                        profile = profile.name,
                        offset_seconds = offset,
                        "the IdP's clock is far from ours"
                    );
                }
                let replaces = takeoff.replaces();
                let token = self.token(issued, entry, requested_at, default_lifetime, replaces);
                info!(
                    profile = profile.name,
                    token_id = %token.id,
                    scopes = %token.scopes,
                    lifetime_seconds = token.lifetime.map_or(0, |lifetime| lifetime.length.as_secs()),
                    replaces,
                    "token fetched"
                );
                entry.standing.clear();
                passage.answered();
                if let Some(token) = entry.landed(takeoff, token, ports.clock.now()) {
                    self.revoke_late(profile, entry, &token);
                }
            }
            Err(error) => self.failed(profile, passage, entry, takeoff, error, tag),
        }
    }

    fn failed(
        &self,
        profile: &Profile,
        passage: Passage<'_>,
        entry: &Entry,
        takeoff: Takeoff,
        error: IssueError,
        tag: SecretTag,
    ) {
        warn!(
            profile = profile.name,
            kind = ?error.kind,
            http_status = error.http_status,
            oauth_error = error.oauth_error,
            %error,
            "token request failed"
        );
        let ports = &self.shared.ports;
        let now = ports.clock.now();
        if passage.failed(&error, now, ports.jitter.unit()) {
            warn!(profile = profile.name, "the IdP seems to be down: it is asked by one at a time");
        }
        let cause = Cause::Issue { error: error.clone(), secret: tag };
        entry.failed(takeoff, cause, now, ports.jitter.unit(), |retry_in| {
            entry.standing.failed(tag, &error, now + retry_in);
            Err(issue_error(profile, error, retry_in))
        });
    }

    /// Takes note of what the IdP said of its quotas, and tells of one that nearly runs out.
    fn learn_quotas(&self, profile: &Profile, entry: &Entry, said: Vec<Quota>) {
        let now = self.now();
        for low in entry.standing.learn_quotas(said, now) {
            warn!(
                profile = profile.name,
                bucket = low.name,
                left = low.remaining,
                limit = low.limit,
                resets_in_seconds = low.resets_at.map(|at| at.saturating_sub(now.wall).as_secs()),
                "the IdP's quota of token requests nearly runs out: ask for fewer different sets of scopes, \
                 have the IdP issue tokens that live longer, or get a larger quota"
            );
        }
    }

    fn token(
        &self,
        issued: Issued,
        entry: &Entry,
        requested_at: Moment,
        default_lifetime: Duration,
        replaces: bool,
    ) -> Token {
        let length = match issued.expires_in {
            ExpiresIn::After(length) => Some(length),
            ExpiresIn::Unknown => Some(default_lifetime),
            ExpiresIn::Over => None,
        };
        let jitter = self.shared.ports.jitter.unit();
        let authorization = Zeroizing::new(format!("Bearer {}", issued.access_token.expose_secret()));
        self.note_issued(&issued.access_token);
        Token {
            id: self.shared.namer.token(&issued.access_token),
            authorization: authorization.as_str().into(),
            access_token: issued.access_token,
            scheme: Scheme::Bearer,
            scopes: issued.scopes.unwrap_or_else(|| entry.id.scopes.clone()),
            lifetime: length.map(|length| freshness::lifetime(requested_at, length, jitter)),
            replaces,
        }
    }
}

/// What a caller is told where too many ask the same IdP.
fn crowd(profile: &Profile, crowded: Crowded) -> TokenError {
    TokenError::RateLimited {
        profile: profile.name.clone(),
        why: crowded.to_string(),
        retry_in: CROWDED_RETRY,
    }
}

/// Frees a key whose fetch ended by a panic, or was broken off, and has it looked at again.
struct LostFlight {
    engine: Engine,
    entry: Arc<Entry>,
    armed: bool,
}

impl LostFlight {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for LostFlight {
    fn drop(&mut self) {
        if self.armed {
            self.entry.lost();
            self.engine.note_ahead(&self.entry.id.owner.profile, &self.entry);
        }
    }
}

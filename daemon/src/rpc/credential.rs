//! `CredentialService`: what credential helpers ask. All policy is here: helpers only carry words to and fro.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tonic::{Request, Response, Status};
use tracing::{debug, info};
use url::Url;
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{
        self, EraseCredentialRequest, EraseCredentialResponse, GetCredentialRequest, GetCredentialResponse,
        IssuedCredential, ListCredentialsRequest, ListCredentialsResponse, ListedCredential,
        StoreCredentialRequest, StoreCredentialResponse, StoreOutcome,
        credential_service_server::CredentialService, get_credential_response,
    },
};

use super::{
    convert,
    convert::credential as words,
    deadline, status,
    token::Issue,
    undropped::{Asker, Undropped},
};
use crate::{
    access::Peer,
    credential::vault::{Keep, Vault, VaultError},
    domain::{
        credential::{CredentialKey, Query},
        place::{Place, Site},
        profile::{Grant, Profile},
        secret::SecretString,
        url::UrlError,
    },
    token::{error::TokenError, issued::Ownership, service::TokenRequest},
};

/// For how long a credential is kept in memory if nobody says: what git credential-cache does.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(900);

/// Serves tokens of profiles, and what helpers have stored.
pub struct Credentials {
    issue: Issue,
    vault: Arc<Vault>,
    undropped: Undropped,
}

/// Whose a place is.
enum Whose {
    /// A profile's, and where its token goes.
    Owned(Arc<Profile>, Url, Spot),
    /// A profile's, and another one was named: nobody answers.
    OfAnother(Arc<Profile>),
    /// No profile's: what is stored for it counts.
    Unowned(Spot),
    /// Nothing that is reached by HTTP, of which nothing is kept.
    Foreign,
}

/// What is stored under.
struct Spot {
    site: Site,
    has_one_user: bool,
}

impl Credentials {
    /// Over this engine, and this vault.
    pub fn new(issue: Issue, vault: Arc<Vault>) -> Self {
        Self { issue, vault, undropped: Undropped::default() }
    }

    fn caller<M>(&self, request: &Request<M>) -> Result<Peer, Status> {
        self.issue.caller(request)
    }

    /// What is stored is the owner's: others who may ask for tokens are told of none, and store none.
    fn has_vault(&self, peer: Peer) -> bool {
        self.issue.policy.lets_administer(peer)
    }

    fn whose(&self, place: Option<v1::CredentialPlace>, profile: &str) -> Result<Whose, Status> {
        let place = words::place(place).map_err(|error| refused(&error))?;
        let Some(Place { urls, site, needs_leave, has_one_user }) = place else { return Ok(Whose::Foreign) };
        let spot = Spot { site, has_one_user };
        let ownership = self.issue.engine.ownership(profile, &urls);
        match ownership.map_err(|error| status::failure(&error))? {
            Ownership::Owned(profile, url) => Ok(Whose::Owned(profile, url, spot)),
            Ownership::OfAnother(profile) => Ok(Whose::OfAnother(profile)),
            Ownership::Unowned if needs_leave => Err(refused(&UrlError::LoopbackHttpNotAllowed)),
            Ownership::Unowned => Ok(Whose::Unowned(spot)),
        }
    }
}

#[tonic::async_trait]
impl CredentialService for Credentials {
    async fn get(
        &self,
        request: Request<GetCredentialRequest>,
    ) -> Result<Response<GetCredentialResponse>, Status> {
        let peer = self.caller(&request)?;
        let patience = deadline::patience(request.metadata());
        let request = request.into_inner();
        let collection = words::collection(request.collection)?;
        let answer = match self.whose(request.place, &request.profile)? {
            Whose::Owned(profile, url, _) => {
                let asker = Asker { uid: peer.uid, collection, place: url.clone() };
                let told = self.undropped.take(self.issue.engine.now(), &asker);
                let wanted = TokenRequest {
                    profile: profile.name.clone(),
                    url: url.to_string(),
                    min_ttl: convert::span(request.min_ttl)?,
                    rejected_token_id: some(request.rejected_token_id).or(told).unwrap_or_default(),
                    patience,
                    ..TokenRequest::default()
                };
                let answer = self.issue.answer(peer, &wanted).await;
                // Whatever it is: the profile is to answer, and nobody else.
                let answer =
                    answer.map_err(|status| Failure::from(&status).with("profile", &profile.name))?;
                let username = username(&answer.profile).unwrap_or_default().to_owned();
                let token = Some(convert::answer(&answer));
                Some(get_credential_response::Answer::Issued(IssuedCredential { token, username }))
            }
            Whose::Unowned(Spot { site, .. }) if self.has_vault(peer) => {
                let query = Query { collection, site, username: some(request.username) };
                let found = within(patience, self.vault.get(&query, request.persist)).await?;
                found.map(|stored| get_credential_response::Answer::Stored(words::credential(&stored)))
            }
            Whose::OfAnother(_) | Whose::Unowned(_) | Whose::Foreign => None,
        };
        Ok(Response::new(GetCredentialResponse { answer }))
    }

    async fn store(
        &self,
        request: Request<StoreCredentialRequest>,
    ) -> Result<Response<StoreCredentialResponse>, Status> {
        let peer = self.caller(&request)?;
        let patience = deadline::patience(request.metadata());
        let request = request.into_inner();
        let collection = words::collection(request.collection)?;
        let given = request.credential.unwrap_or_default();
        let secret = SecretString::from(if given.password.is_empty() {
            given.credential.as_str()
        } else {
            given.password.as_str()
        });
        let outcome = |outcome: StoreOutcome, profile: &str| {
            Ok(Response::new(StoreCredentialResponse {
                outcome: outcome.into(),
                profile: profile.to_owned(),
            }))
        };
        let is_ours = self.issue.engine.has_issued(&secret);
        let Spot { site, has_one_user } = match self.whose(request.place, &request.profile)? {
            Whose::Owned(profile, ..) if is_ours => return outcome(StoreOutcome::Issued, &profile.name),
            Whose::Owned(profile, ..) | Whose::OfAnother(profile) => {
                return outcome(StoreOutcome::Owned, &profile.name);
            }
            Whose::Unowned(_) if is_ours => return outcome(StoreOutcome::Issued, ""),
            Whose::Unowned(spot) => spot,
            Whose::Foreign => {
                let why = "nothing is stored for what is not reached by https";
                return Err(Failure::new(ErrorReason::RequestInvalid, why).into());
            }
        };
        if !self.has_vault(peer) {
            let what = "store credentials; that is for the user whom usherd runs as";
            return Err(super::denied(Some(peer), what));
        }
        let keep = match (request.persist, request.timeout) {
            (true, _) => Keep::OnDisk,
            (false, None) => Keep::For(DEFAULT_TIMEOUT),
            (false, told) => Keep::For(convert::span(told)?),
        };
        let credential = words::stored(given, self.issue.engine.now())?;
        let username = if has_one_user { String::new() } else { credential.username.clone() };
        let key = CredentialKey { collection, site, username };
        debug!(%peer, collection = key.collection, site = key.site.host, "credential stored");
        within(patience, self.vault.store((key, Arc::new(credential)), keep)).await?;
        outcome(StoreOutcome::Stored, "")
    }

    async fn erase(
        &self,
        request: Request<EraseCredentialRequest>,
    ) -> Result<Response<EraseCredentialResponse>, Status> {
        let peer = self.caller(&request)?;
        let patience = deadline::patience(request.metadata());
        let request = request.into_inner();
        let collection = words::collection(request.collection)?;
        let secret = Some(SecretString::from(request.secret)).filter(|secret| !is_empty(secret));
        let mut answer = EraseCredentialResponse::default();
        let spot = match self.whose(request.place, &request.profile)? {
            Whose::Owned(profile, url, spot) => {
                if let Some(secret) = &secret {
                    let rejected = self.issue.engine.reject(&profile.name, secret);
                    answer.token_dropped = rejected.dropped;
                    if let Some(id) = rejected.held.filter(|_| !request.asks_anew) {
                        let asker = Asker { uid: peer.uid, collection: collection.clone(), place: url };
                        self.undropped.note(self.issue.engine.now(), asker, id);
                    }
                    info!(%peer, profile = profile.name, dropped = answer.token_dropped, "token refused");
                }
                // It may have been stored before the place was the profile's.
                spot
            }
            Whose::Unowned(spot) => spot,
            Whose::OfAnother(_) | Whose::Foreign => return Ok(Response::new(answer)),
        };
        if self.has_vault(peer) {
            let query = Query { collection, site: spot.site, username: some(request.username) };
            let erased = within(patience, self.vault.erase(query, secret, request.persist)).await?;
            answer.erased = convert::count(erased);
        }
        Ok(Response::new(answer))
    }

    async fn list(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let peer = self.caller(&request)?;
        let patience = deadline::patience(request.metadata());
        let request = request.into_inner();
        let collection = words::collection(request.collection)?;
        let mut credentials: Vec<_> = self
            .issue
            .engine
            .directory()
            .sorted()
            .into_values()
            .filter(|slot| !slot.profile.by_name_only && slot.profile.username.is_some())
            .flat_map(|slot| of_profile(&slot.profile))
            .collect();
        if self.has_vault(peer) {
            let stored = within(patience, self.vault.list(&collection, request.persist)).await?;
            // What a profile answers for is not answered from here.
            credentials.extend(stored.into_iter().map(words::listed).filter(|listed| {
                !matches!(self.whose(listed.place.clone(), ""), Ok(Whose::Owned(..)) | Err(_))
            }));
        }
        Ok(Response::new(ListCredentialsResponse { credentials }))
    }
}

/// The user name that goes with a profile's token, or account.
fn username(profile: &Profile) -> Option<&str> {
    match &profile.grant {
        _ if profile.username.is_some() => profile.username.as_deref(),
        Grant::Static(grant) => Some(&grant.account_id),
        Grant::ClientCredentials(_) => None,
    }
}

fn of_profile(profile: &Profile) -> Vec<ListedCredential> {
    let listed = |prefix: &crate::domain::url::UrlPrefix| ListedCredential {
        place: Some(words::server(prefix.server())),
        username: profile.username.clone().unwrap_or_default(),
        profile: profile.name.clone(),
        persistent: false,
        until: None,
    };
    profile.urls.iter().map(listed).collect()
}

fn refused(error: &UrlError) -> Status {
    status::failure(&TokenError::from(error.clone())).into()
}

/// What the vault answers, while the caller still waits for it.
async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, VaultError>>,
) -> Result<T, Status> {
    let failure = match timeout(patience, work).await {
        Ok(done) => return done.map_err(|error| Failure::new(ErrorReason::StoreUnavailable, error.0).into()),
        Err(_) => Failure::new(
            ErrorReason::DeadlineExceeded,
            "the store did not answer before the caller's deadline: its key's program or its disk is slow; what was \
             begun may be done yet",
        ),
    };
    Err(failure.into())
}

fn is_empty(secret: &SecretString) -> bool {
    use crate::domain::secret::ExposeSecret as _;
    secret.expose_secret().is_empty()
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

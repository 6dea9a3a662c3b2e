//! `AdminService`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tonic::{Request, Response, Status};
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{
        ForgetRequest, ForgetResponse, ProfileStatus, ReloadRequest, ReloadResponse, StatusRequest,
        StatusResponse, StopRequest, StopResponse, admin_service_server::AdminService,
    },
    version::VERSION,
};

use super::{caller, convert, deadline, status};
use crate::{
    access::Policy,
    config::Report,
    credential::vault::Vault,
    token::{cache::Changes, error::TokenError, ports::BoxFuture, service::Engine},
};

/// How long `status` waits for secrets that are slow to read.
const SECRETS_PATIENCE: Duration = Duration::from_secs(2);

/// What the service needs of the daemon's life.
pub trait Control: Send + Sync {
    /// Reads the configuration again and takes it as a whole, or not at all.
    fn reload(&self) -> BoxFuture<'_, Result<Changes, Report>>;

    /// Has the daemon finish the calls in flight and end.
    fn stop(&self);

    /// How things stand.
    fn facts(&self) -> Facts;
}

/// How things stand.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where it listens. Empty for one that serves a single caller.
    pub socket: PathBuf,
    /// When the daemon started, since the Unix epoch.
    pub started_at: Duration,
    /// The configuration's file.
    pub config_path: PathBuf,
    /// When the configuration in force was read, since the Unix epoch.
    pub config_loaded_at: Duration,
    /// Why the file as it is now is not in force.
    pub config_error: Option<String>,
}

/// Serves those who may administer.
pub struct Admin {
    engine: Engine,
    vault: Arc<Vault>,
    policy: Arc<Policy>,
    control: Arc<dyn Control>,
}

impl Admin {
    /// Over this engine, this vault and this life.
    pub fn new(engine: Engine, vault: Arc<Vault>, policy: Arc<Policy>, control: Arc<dyn Control>) -> Self {
        Self { engine, vault, policy, control }
    }

    fn check<M>(&self, request: &Request<M>) -> Result<(), Status> {
        let may = |peer| self.policy.lets_administer(peer);
        let what = "see or steer the daemon, only ask it for tokens; that is for the user whom it runs as";
        caller(request, may, what).map(drop)
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.check(&request)?;
        let wanted = request.into_inner().profile;
        let directory = self.engine.directory();
        if !wanted.is_empty() && directory.get(&wanted).is_none() {
            let error = TokenError::ProfileUnknown { name: wanted, known: directory.names() };
            return Err(status::failure(&error).into());
        }
        let slots: Vec<_> = directory
            .sorted()
            .into_values()
            .filter(|slot| wanted.is_empty() || slot.profile.name == wanted)
            .collect();
        let now = self.engine.now();
        let secrets = slots.iter().map(|slot| Arc::clone(&slot.profile));
        let mut errors = self.engine.unreadable_secrets(secrets, SECRETS_PATIENCE).await;
        let profiles = slots.iter().map(|slot| {
            let pending = self.engine.pending_revocations(&slot.profile.name);
            let standing = &slot.default_entry().standing;
            ProfileStatus {
                tokens: slot.entries().iter().map(|entry| convert::entry(entry, now)).collect(),
                quotas: standing.quotas(now).into_iter().map(convert::quota).collect(),
                secret_error: errors
                    .remove(&slot.profile.name)
                    .map(|error| error.to_string())
                    .unwrap_or_default(),
                revocations_pending: convert::count(pending.count),
                revocations_given_up: convert::count(pending.given_up),
                revocation_retry_at: pending.retry_at.map(|at| convert::timestamp(at.wall)),
                revocation_error: pending.error.unwrap_or_default(),
                ..convert::profile(&slot.profile, standing.clock_offset())
            }
        });
        let profiles = profiles.collect();
        let removed = self.engine.removed_with_revocations().into_iter().filter(|_| wanted.is_empty());
        let removed_profiles =
            removed.map(|name| convert::removed(self.engine.pending_revocations(&name), name)).collect();
        let facts = self.control.facts();
        Ok(Response::new(StatusResponse {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            started_at: Some(convert::timestamp(facts.started_at)),
            socket: facts.socket.display().to_string(),
            config_path: facts.config_path.display().to_string(),
            config_error: facts.config_error.unwrap_or_default(),
            config_loaded_at: Some(convert::timestamp(facts.config_loaded_at)),
            profiles,
            removed_profiles,
            credentials: Some(convert::credential::counts(&self.vault)),
            store: self.engine.archive().map(|(state, pending)| convert::store(state, pending)),
            default_profile: directory.default_profile.clone().unwrap_or_default(),
        }))
    }

    async fn reload(&self, request: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        self.check(&request)?;
        let changes = self.control.reload().await.map_err(|report| status::broken_config(&report))?;
        Ok(Response::new(ReloadResponse {
            added: changes.added,
            changed: changes.changed,
            removed: changes.removed,
            unchanged: u32::try_from(changes.unchanged).unwrap_or(u32::MAX),
            settings_changed: changes.settings,
        }))
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Result<Response<ForgetResponse>, Status> {
        self.check(&request)?;
        let patience = deadline::patience(request.metadata());
        let ForgetRequest { profile, revoke } = request.into_inner();
        if profile.is_empty() {
            return Err(Failure::new(ErrorReason::RequestInvalid, "name the profile to forget").into());
        }
        let forgotten = if revoke {
            self.engine.forget_and_revoke(&profile, patience).await
        } else {
            self.engine.forget(&profile)
        };
        let forgotten = forgotten.map_err(|error| status::failure(&error))?;
        let still_on_disk = !self.engine.keeps_profile(&profile).await;
        Ok(Response::new(ForgetResponse { still_on_disk, ..convert::forgotten(forgotten) }))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        self.check(&request)?;
        self.control.stop();
        Ok(Response::new(StopResponse { pid: std::process::id() }))
    }
}

//! `TokenService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing::{debug, info};
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{GetTokenRequest, GetTokenResponse, WatchTokenRequest, token_service_server::TokenService},
};

use super::{
    caller, convert, deadline, denied, status,
    watch::{Events, Lent, events},
};
use crate::{
    access::Policy,
    token::{service::Engine, watch::Watcher},
};

/// What somebody is told who was let in and no longer is.
const NO_LONGER: &str = "ask for tokens any more: allowed_users does not list it now";

/// Serves tokens from the engine.
pub struct Tokens {
    engine: Engine,
    policy: Arc<Policy>,
}

impl Tokens {
    /// Of this engine, for those whom the policy admits.
    pub fn new(engine: Engine, policy: Arc<Policy>) -> Self {
        Self { engine, policy }
    }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn get_token(
        &self,
        request: Request<GetTokenRequest>,
    ) -> Result<Response<GetTokenResponse>, Status> {
        let may = |peer| self.policy.admits(peer);
        let peer = caller(&request, may, NO_LONGER)?;
        let patience = deadline::patience(request.metadata());
        let request = convert::request(request.into_inner(), patience)
            .ok_or_else(|| Failure::new(ErrorReason::RequestInvalid, "min_ttl must not be negative"))?;
        let answer = self.engine.get_token(&request).await;
        if !self.policy.admits(peer) {
            // Taken off the list while they waited.
            return Err(denied(Some(peer), NO_LONGER));
        }
        match answer {
            Ok(answer) => {
                debug!(%peer, profile = answer.profile.name, token_id = %answer.token.id, source = ?answer.source, "token answered");
                Ok(Response::new(convert::answer(&answer)))
            }
            Err(error) => {
                let failure = status::failure(&error);
                // What was given for a profile may be anything, even a token that was pasted.
                let profile =
                    Some(&request.profile).filter(|name| self.engine.directory().get(name).is_some());
                info!(%peer, profile, reason = usher_proto::error::name(failure.reason), "call failed");
                Err(failure.into())
            }
        }
    }

    type WatchTokenStream = Events;

    async fn watch_token(&self, request: Request<WatchTokenRequest>) -> Result<Response<Events>, Status> {
        let policy = Arc::clone(&self.policy);
        let peer = caller(&request, |peer| policy.admits(peer), NO_LONGER)?;
        let lent = request.extensions().get::<Lent>().cloned();
        let lent = lent.ok_or_else(|| Status::internal("the connection is unknown"))?;
        let wanted = convert::watch(request.into_inner());
        // What is wrong with the request is told at once.
        self.engine.entry_of(&wanted).map_err(|error| status::failure(&error))?;
        debug!(%peer, profile = wanted.profile, "watch");
        let watcher = Watcher::new(self.engine.clone(), wanted);
        let may = move || policy.admits(peer).then_some(()).ok_or_else(|| denied(Some(peer), NO_LONGER));
        Ok(Response::new(events(watcher, self.engine.clone(), &lent, may)?))
    }
}

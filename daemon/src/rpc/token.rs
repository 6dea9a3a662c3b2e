//! `TokenService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing::{debug, info};
use usher_proto::v1::{
    GetTokenRequest, GetTokenResponse, WatchTokenRequest, token_service_server::TokenService,
};

use super::{
    caller, convert, deadline, denied, status,
    watch::{Events, Lent, events},
};
use crate::{
    access::{Peer, Policy},
    token::{
        service::{Answer, Engine, TokenRequest},
        watch::Watcher,
    },
};

/// What somebody is told who was let in and no longer is.
const NO_LONGER: &str = "ask for tokens any more: allowed_users does not list it now";

/// Hands out tokens to those whom the policy admits.
#[derive(Clone)]
pub struct Issue {
    pub(super) engine: Engine,
    pub(super) policy: Arc<Policy>,
}

impl Issue {
    /// Who asks, if they still may.
    pub(super) fn caller<M>(&self, request: &Request<M>) -> Result<Peer, Status> {
        caller(request, |peer| self.policy.admits(peer), NO_LONGER)
    }

    /// What is asked for, if they may still have it then.
    pub(super) async fn answer(&self, peer: Peer, request: &TokenRequest) -> Result<Answer, Status> {
        let answer = self.engine.get_token(request).await;
        if !self.policy.admits(peer) {
            // Taken off the list while they waited.
            return Err(denied(Some(peer), NO_LONGER));
        }
        match answer {
            Ok(answer) => {
                debug!(%peer, profile = answer.profile.name, token_id = %answer.token.id, source = ?answer.source, "token answered");
                Ok(answer)
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
}

/// Serves tokens from the engine.
pub struct Tokens {
    issue: Issue,
}

impl Tokens {
    /// By this.
    pub fn new(issue: Issue) -> Self {
        Self { issue }
    }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn get_token(
        &self,
        request: Request<GetTokenRequest>,
    ) -> Result<Response<GetTokenResponse>, Status> {
        let peer = self.issue.caller(&request)?;
        let patience = deadline::patience(request.metadata());
        let request = convert::request(request.into_inner(), patience)?;
        let answer = self.issue.answer(peer, &request).await?;
        Ok(Response::new(convert::answer(&answer)))
    }

    type WatchTokenStream = Events;

    async fn watch_token(&self, request: Request<WatchTokenRequest>) -> Result<Response<Events>, Status> {
        let Issue { engine, policy } = self.issue.clone();
        let peer = self.issue.caller(&request)?;
        let lent = request.extensions().get::<Lent>().cloned();
        let lent = lent.ok_or_else(|| Status::internal("the connection is unknown"))?;
        let wanted = convert::watch(request.into_inner());
        // What is wrong with the request is told at once.
        engine.entry_of(&wanted).map_err(|error| status::failure(&error))?;
        debug!(%peer, profile = wanted.profile, "watch");
        let watcher = Watcher::new(engine.clone(), wanted);
        let may = move || policy.admits(peer).then_some(()).ok_or_else(|| denied(Some(peer), NO_LONGER));
        Ok(Response::new(events(watcher, engine, &lent, may)?))
    }
}

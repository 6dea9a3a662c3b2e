//! `TokenService`.

use tonic::{Request, Response, Status};
use tracing::{debug, info};
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{GetTokenRequest, GetTokenResponse, token_service_server::TokenService},
};

use super::{convert, deadline, status};
use crate::{access::Peer, token::service::Engine};

/// Serves tokens from the engine.
pub struct Tokens {
    engine: Engine,
}

impl Tokens {
    /// Of this engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn get_token(
        &self,
        request: Request<GetTokenRequest>,
    ) -> Result<Response<GetTokenResponse>, Status> {
        let patience = deadline::patience(request.metadata());
        let peer = request.extensions().get::<Peer>().copied();
        let peer = peer.map_or(0, |peer| peer.pid.unwrap_or(0));
        let request = convert::request(request.into_inner(), patience)
            .ok_or_else(|| Failure::new(ErrorReason::RequestInvalid, "min_ttl must not be negative"))?;
        match self.engine.get_token(&request).await {
            Ok(answer) => {
                debug!(peer, profile = answer.profile.name, token_id = %answer.token.id, source = ?answer.source, "token answered");
                Ok(Response::new(convert::answer(&answer)))
            }
            Err(error) => {
                let failure = status::failure(&error);
                // What was given for a profile may be anything, even a token that was pasted.
                let profile =
                    Some(&request.profile).filter(|name| self.engine.directory().get(name).is_some());
                info!(peer, profile, reason = usher_proto::error::name(failure.reason), "call failed");
                Err(failure.into())
            }
        }
    }
}

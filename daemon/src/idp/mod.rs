//! Identity providers: the only place that speaks HTTP.
//!
//! - [`client`]: HTTP clients that follow no redirect, speak https and give up in time
//! - [`exchange`]: one request and its answer
//! - [`discovery`]: where an issuer's token endpoint is
//! - [`grants`]: the parameters of a token request
//! - [`client_auth`]: how the client proves who it is
//! - [`revoke`]: one revocation and its answer
//! - [`wire`]: how parameters are written and answers are read
//! - [`slow_down`]: refusals that mean "not so fast"
//! - [`date`]: the server's clock, and when it wants to be asked again
//! - [`quota`]: how many requests it has left for us
//! - [`no_answer`]: why there is no answer, in words that help
//!
//! No body reaches a log or an error, and how a client authenticates is configured, never probed.

pub mod client;
pub mod client_auth;
pub mod date;
pub mod discovery;
pub mod exchange;
pub mod grants;
pub mod no_answer;
pub mod quota;
pub mod revoke;
mod slow_down;
pub mod wire;

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use zeroize::Zeroizing;

use self::{
    client::{Clients, Destination},
    discovery::{Discovery, Metadata, Revocation},
    exchange::Answer,
};
use crate::{
    domain::{
        profile::{ClientAuth, ClientCredentials, TokenEndpoint},
        quota::Quota,
    },
    token::ports::{
        BoxFuture, Clock, IssueError, IssueErrorKind, IssueRequest, Issued, Issuer, Reply, RevokeRequest,
    },
};

/// Asks IdPs over HTTP.
pub struct HttpIssuer {
    clients: Clients,
    discovery: Discovery,
    clock: Arc<dyn Clock>,
}

impl HttpIssuer {
    /// Clients are built when they are first needed.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clients: Clients::default(), discovery: Discovery::default(), clock }
    }

    async fn request(&self, request: IssueRequest, quotas: &mut Vec<Quota>) -> Result<Issued, IssueError> {
        let grant = &request.grant;
        let Metadata { token_endpoint, client_auth, .. } = self.endpoint(grant).await?;
        let mut parameters = grants::client_credentials::parameters(&request);
        let credentials = client_auth::authenticate(grant, client_auth, &request.secret);
        (parameters.client_id, parameters.client_secret) = credentials.parameters.unzip();
        let body = wire::encode(&parameters, grant.body);
        let to = Destination { url: &token_endpoint, network: &grant.network };
        let answer = self.post(to, wire::content_type(grant.body), credentials.header, body).await?;
        let now = self.clock.now();
        let sent = client_auth::Sent { client_id: &grant.client_id, secret: &request.secret, token: None };
        quotas
            .extend(quota::quotas(&answer.headers, now).into_iter().filter(|quota| !sent.is_in(&quota.name)));
        match wire::read(&answer, to.server(), sent) {
            Ok(issued) => Ok(Issued { server_time: date::server_time(&answer.headers), ..issued }),
            Err(error) if error.kind == IssueErrorKind::Unavailable => {
                let told = date::retry_after(&answer.headers, now);
                Err(IssueError { retry_after: told.or_else(|| quota::retry_after(quotas, now)), ..error })
            }
            Err(mut error) => {
                error.retry_after = date::retry_after(&answer.headers, now);
                if let (TokenEndpoint::Discovered { issuer }, IssueErrorKind::Refused) =
                    (&grant.token_endpoint, error.kind)
                {
                    // Perhaps it has moved, or wants another way to authenticate.
                    self.discovery.forget(issuer);
                }
                Err(error)
            }
        }
    }

    /// Sends a body and reads the answer.
    async fn post(
        &self,
        to: Destination<'_>,
        content_type: &'static str,
        authorization: Option<HeaderValue>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Answer, IssueError> {
        let client = self.clients.get(to.network, to.url.scheme() == "http").await?;
        let mut post = client
            .post(to.url.clone())
            .header(CONTENT_TYPE, content_type)
            .header(ACCEPT, "application/json")
            // Zeroed once it is sent.
            .body(Bytes::from_owner(body));
        if let Some(authorization) = authorization {
            post = post.header(AUTHORIZATION, authorization);
        }
        exchange::send(post, to).await
    }

    /// Where to ask, and how to authenticate there.
    async fn endpoint(&self, grant: &ClientCredentials) -> Result<Metadata, IssueError> {
        let found = match &grant.token_endpoint {
            // The configuration has it that client_auth is there, too.
            TokenEndpoint::Known(url) => {
                let revocation = Revocation::Nowhere;
                Metadata { token_endpoint: url.clone(), client_auth: ClientAuth::Basic, revocation }
            }
            TokenEndpoint::Discovered { issuer } => {
                let now = self.clock.now();
                self.discovery.metadata(issuer, &grant.network, &self.clients, now).await?
            }
        };
        Ok(Metadata { client_auth: grant.client_auth.unwrap_or(found.client_auth), ..found })
    }
}

impl Issuer for HttpIssuer {
    fn issue(&self, request: IssueRequest) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let mut quotas = Vec::new();
            let outcome = self.request(request, &mut quotas).await;
            Reply { outcome, quotas }
        })
    }

    fn revoke(&self, request: RevokeRequest) -> BoxFuture<'_, Result<(), IssueError>> {
        Box::pin(self.revocation(request))
    }
}

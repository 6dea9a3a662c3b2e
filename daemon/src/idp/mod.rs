//! Identity providers: the only place that speaks HTTP.
//!
//! - [`client`]: HTTP clients that follow no redirect, speak https and give up in time
//! - [`grants`]: the parameters of a token request
//! - [`client_auth`]: how the client proves who it is
//! - [`wire`]: how parameters are written and answers are read
//! - [`retry`]: when a server wants to be asked again
//! - [`no_answer`]: why there is no answer, in words that help
//!
//! No body reaches a log or an error, and how a client authenticates is configured, never probed.

pub mod client;
pub mod client_auth;
pub mod grants;
pub mod no_answer;
pub mod retry;
pub mod wire;

use std::sync::Arc;

use bytes::Bytes;
use reqwest::{
    Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use url::Url;
use zeroize::Zeroizing;

use self::{client::Clients, no_answer::no_answer};
use crate::domain::profile::ClientCredentials;
use crate::token::ports::{BoxFuture, Clock, IssueError, IssueErrorKind, IssueRequest, Issued, Issuer};

/// The largest token response, decompressed.
const MAX_BODY: usize = 256 * 1024;

/// Asks IdPs over HTTP.
pub struct HttpIssuer {
    clients: Clients,
    clock: Arc<dyn Clock>,
}

impl HttpIssuer {
    /// Clients are built when they are first needed.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clients: Clients::default(), clock }
    }

    async fn request(&self, request: IssueRequest) -> Result<Issued, IssueError> {
        let grant = &request.grant;
        let mut parameters = grants::client_credentials::parameters(&request);
        let authorization = client_auth::authenticate(grant, &request.secret, &mut parameters);
        let body = wire::encode(&parameters, grant.body);
        let mut post = self
            .clients
            .get(grant)
            .await?
            .post(grant.token_url.clone())
            .header(CONTENT_TYPE, wire::content_type(grant.body))
            .header(ACCEPT, "application/json")
            // Zeroed once it is sent.
            .body(Bytes::from_owner(body));
        if let Some(authorization) = authorization {
            post = post.header(AUTHORIZATION, authorization);
        }
        let response = post.send().await.map_err(|error| no_answer(grant, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(grant, response).await?;
        let sent = client_auth::Sent { client_id: &grant.client_id, secret: &request.secret };
        let answer =
            wire::Answer { server: server(&grant.token_url), status, headers: &headers, body: &body };
        wire::read(&answer, sent).map_err(|error| match error.kind {
            IssueErrorKind::Unavailable => {
                IssueError { retry_after: retry::hint(&headers, self.clock.now()), ..error }
            }
            _ => error,
        })
    }
}

impl Issuer for HttpIssuer {
    fn issue(&self, request: IssueRequest) -> BoxFuture<'_, Result<Issued, IssueError>> {
        Box::pin(self.request(request))
    }
}

/// Reads at most [`MAX_BODY`], counted after decompression: a small answer can unpack to gigabytes.
async fn read_body(
    grant: &ClientCredentials,
    mut response: Response,
) -> Result<Zeroizing<Vec<u8>>, IssueError> {
    let expected = response.content_length().and_then(|len| usize::try_from(len).ok());
    let mut body = Zeroizing::new(Vec::with_capacity(expected.unwrap_or(16 * 1024).min(MAX_BODY)));
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(grant, error))? {
        if body.len() + chunk.len() > MAX_BODY {
            let message = format!(
                "the IdP {} answered more than 256 KiB, which no token response is",
                server(&grant.token_url)
            );
            let http_status = Some(response.status().as_u16());
            return Err(IssueError { http_status, ..IssueError::new(IssueErrorKind::Invalid, message) });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Host and port: what errors and logs call an IdP.
fn server(url: &Url) -> String {
    url.authority().to_owned()
}

//! One request and its answer, whatever they are about.

use reqwest::{RequestBuilder, Response, StatusCode, header::HeaderMap};
use zeroize::Zeroizing;

use super::{client::Destination, no_answer::no_answer};
use crate::token::ports::{IssueError, IssueErrorKind};

/// The largest answer, decompressed.
const MAX_BODY: usize = 256 * 1024;

/// An answer in whole.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most 256 KiB.
    pub body: Zeroizing<Vec<u8>>,
}

/// Sends a request and reads the answer, within the client's deadline.
pub async fn send(request: RequestBuilder, to: Destination<'_>) -> Result<Answer, IssueError> {
    let response = request.send().await.map_err(|error| no_answer(to, error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = match read_body(response, to).await {
        // What a server's error page says matters less than that it is one, and than its Retry-After.
        Err(_) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Zeroizing::default(),
        body => body?,
    };
    Ok(Answer { status, headers, body })
}

/// Reads at most [`MAX_BODY`], counted after decompression: a small answer can unpack to gigabytes.
async fn read_body(mut response: Response, to: Destination<'_>) -> Result<Zeroizing<Vec<u8>>, IssueError> {
    let expected = response.content_length().and_then(|len| usize::try_from(len).ok());
    let mut body = Zeroizing::new(Vec::with_capacity(expected.unwrap_or(16 * 1024).min(MAX_BODY)));
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(to, error))? {
        if body.len() + chunk.len() > MAX_BODY {
            let message =
                format!("the IdP {} answered more than 256 KiB, far more than it should", to.server());
            let http_status = Some(response.status().as_u16());
            return Err(IssueError { http_status, ..IssueError::new(IssueErrorKind::Invalid, message) });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

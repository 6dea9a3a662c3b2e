//! One revocation and its answer (RFC 7009).

use reqwest::StatusCode;
use url::Url;

use super::{
    HttpIssuer,
    client::Destination,
    client_auth::{self, Sent},
    date,
    discovery::Revocation,
    exchange::Answer,
    wire,
};
use crate::{
    domain::{
        profile::{Body, ClientAuth, ClientCredentials, TokenEndpoint},
        secret::ExposeSecret as _,
        time::Moment,
    },
    token::ports::{IssueError, IssueErrorKind, RevokeRequest},
};

impl HttpIssuer {
    /// Has one token revoked.
    pub(super) async fn revocation(&self, request: RevokeRequest) -> Result<(), IssueError> {
        let RevokeRequest { grant, secret, token } = &request;
        let (endpoint, client_auth) = self.revocation_endpoint(grant).await?;
        let credentials = client_auth::authenticate(grant, client_auth, secret);
        let (client_id, client_secret) = credentials.parameters.unzip();
        let pairs = [
            ("token", Some(token.expose_secret())),
            ("token_type_hint", Some("access_token")),
            ("client_id", client_id),
            ("client_secret", client_secret),
        ];
        let pairs = || pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let room = pairs().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        let to = Destination { url: &endpoint, network: &grant.network };
        // Always a form (RFC 7009 section 2.1), however tokens are asked for.
        let body = wire::form(room, pairs());
        let answer = self.post(to, wire::content_type(Body::Form), credentials.header, body).await?;
        let sent = Sent { client_id: &grant.client_id, secret, token: Some(token) };
        let done = read(&answer, to.server(), sent, self.clock.now());
        if let (Err(error), TokenEndpoint::Discovered { issuer }) = (&done, &grant.token_endpoint)
            && error.kind == IssueErrorKind::Refused
        {
            // Perhaps it has moved, or wants another way to authenticate.
            self.discovery.forget(issuer);
        }
        done
    }

    /// Where tokens of this grant are revoked, and how to authenticate there.
    async fn revocation_endpoint(&self, grant: &ClientCredentials) -> Result<(Url, ClientAuth), IssueError> {
        if let (Some(url), Some(client_auth)) = (&grant.revocation_url, grant.client_auth) {
            return Ok((url.clone(), client_auth));
        }
        let metadata = match &grant.token_endpoint {
            TokenEndpoint::Known(url) => return Err(nowhere(url)),
            TokenEndpoint::Discovered { issuer } => {
                let now = self.clock.now();
                self.discovery.metadata(issuer, &grant.network, &self.clients, now).await?
            }
        };
        let configured = grant.token_endpoint.configured();
        match (&grant.revocation_url, metadata.revocation) {
            (Some(url), Revocation::At { client_auth, .. }) => {
                Ok((url.clone(), client_auth.unwrap_or(metadata.client_auth)))
            }
            (Some(url), _) => Ok((url.clone(), metadata.client_auth)),
            (None, Revocation::Nowhere) => Err(nowhere(configured)),
            (None, Revocation::Unusable(why)) => {
                Err(unsupported(format!("the metadata of the issuer {configured} {why}")))
            }
            (None, Revocation::At { endpoint, client_auth }) => {
                let Some(client_auth) = grant.client_auth.or(client_auth) else {
                    return Err(unsupported(format!(
                        "the revocation endpoint of the issuer {configured} supports neither client_secret_basic nor \
                         client_secret_post"
                    )));
                };
                Ok((endpoint, client_auth))
            }
        }
    }
}

fn nowhere(idp: &Url) -> IssueError {
    unsupported(format!(
        "no revocation endpoint is known for the IdP {}; if it has one, write revocation_url",
        idp.authority()
    ))
}

fn unsupported(message: String) -> IssueError {
    IssueError::new(IssueErrorKind::Unsupported, message)
}

/// Reads an answer: by its status alone (RFC 7009 section 2.2), unless it is an error.
fn read(answer: &Answer, server: &str, sent: Sent<'_>, now: Moment) -> Result<(), IssueError> {
    // RFC 7009 knows 200 alone. What has no content cannot mean anything else.
    if matches!(answer.status, StatusCode::OK | StatusCode::NO_CONTENT) {
        return Ok(());
    }
    let error = wire::refusal(answer, server, sent, hint);
    Err(match (error.kind, error.oauth_error.as_deref()) {
        (IssueErrorKind::Refused, Some("unsupported_token_type")) => {
            IssueError { kind: IssueErrorKind::Unsupported, ..error }
        }
        (IssueErrorKind::Unavailable, _) => {
            IssueError { retry_after: date::retry_after(&answer.headers, now), ..error }
        }
        _ => error,
    })
}

/// What to look at first.
fn hint(status: StatusCode, code: Option<&str>) -> Option<&'static str> {
    match (code, status.as_u16()) {
        (_, 200..=299) => Some("that is no answer to a revocation; check revocation_url"),
        (_, 300..=399) => {
            Some("usher follows no redirect with a token in hand: set revocation_url to where it leads")
        }
        (Some("invalid_client"), _) => Some("check client_id, the secret, and client_auth"),
        (Some("unsupported_token_type"), _) => Some("it does not revoke access tokens such as this one"),
        (None, 404 | 405) => Some("check revocation_url"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, RETRY_AFTER};

    use super::*;

    const NOW: Moment = Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(1) };

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Result<(), IssueError> {
        let headers = HeaderMap::from_iter(retry_after.map(|value| (RETRY_AFTER, value.parse().unwrap())));
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers, body: body.as_bytes().to_vec().into() };
        let (secret, token) = ("CANARY-secret".into(), "CANARY-token".into());
        read(&answer, "idp.example", Sent { client_id: "id", secret: &secret, token: Some(&token) }, NOW)
    }

    #[test]
    fn a_200_is_done_whatever_is_in_it() {
        for (status, body) in [(200, ""), (200, "<html>"), (200, r#"{"error":"invalid_token"}"#), (204, "")] {
            assert!(answer(status, None, body).is_ok(), "{status} {body}");
        }
    }

    #[test]
    fn what_is_no_revocation_says_what_can_be_done() {
        use IssueErrorKind as K;
        for (status, body, kind, said) in [
            (400, r#"{"error":"unsupported_token_type"}"#, K::Unsupported, "does not revoke access tokens"),
            (401, r#"{"error":"invalid_client"}"#, K::Refused, "check client_id"),
            (400, r#"{"error":"invalid_request"}"#, K::Refused, "400 invalid_request"),
            (404, "", K::Refused, "check revocation_url"),
            (302, "", K::Refused, "follows no redirect"),
            (202, "", K::Refused, "no answer to a revocation"),
            (500, "", K::Unavailable, "answered 500"),
            (429, "", K::Unavailable, "answered 429"),
        ] {
            let error = answer(status, None, body).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(said), "{error}");
        }
    }

    #[test]
    fn retry_after_is_understood() {
        let error = answer(503, Some("7"), "").unwrap_err();
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn neither_secret_nor_token_is_quoted() {
        for quoted in ["CANARY-secret", "CANARY-token"] {
            let body = format!(r#"{{"error":"invalid_request","error_description":"got {quoted}"}}"#);
            let error = answer(400, None, &body).unwrap_err();
            assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
            assert!(error.message.contains("withheld"), "{error}");
        }
    }
}

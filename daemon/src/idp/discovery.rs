//! Where an issuer's endpoints are and how clients authenticate there: OpenID Connect Discovery 1.0 section 4,
//! RFC 8414.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::url::Url;
use reqwest::{StatusCode, header::ACCEPT};
use serde::Deserialize;

use super::{
    client::{Clients, Destination},
    date,
    exchange::{self, Answer},
    wire,
};
use crate::{
    domain::{
        profile::{ClientAuth, Network},
        time::Moment,
        url,
    },
    token::ports::{IssueError, IssueErrorKind},
};

/// How long metadata is gone by before it is read again.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// If that fails, how long it is gone by before that is tried again: each time may take as long as an issuer that does
/// not answer.
const KEPT_ON: Duration = Duration::from_secs(60);
/// The most issuers that are remembered.
const MAX_ISSUERS: usize = 1024;

/// What an issuer says about itself, as far as a client without users needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The token endpoint.
    pub token_endpoint: Url,
    /// How to authenticate there.
    pub client_auth: ClientAuth,
    /// The revocation endpoint.
    pub revocation: Revocation,
}

/// What an issuer says of its revocation endpoint (RFC 7009).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// It has none.
    Nowhere,
    /// One that is not used, and why.
    Unusable(String),
    /// Here.
    At {
        /// The endpoint.
        endpoint: Url,
        /// How to authenticate there; none if it is no way that usher has.
        client_auth: Option<ClientAuth>,
    },
}

/// The metadata of all issuers that were asked about, each with until when it is gone by. What one profile
/// was told by way of its proxy and its certificates is not another's to believe.
#[derive(Default)]
pub struct Discovery(Mutex<HashMap<(Url, Network), (Metadata, Moment)>>);

impl Discovery {
    /// The metadata of an issuer: from memory, or from itself.
    pub async fn metadata(
        &self,
        issuer: &Url,
        network: &Network,
        clients: &Clients,
        now: Moment,
    ) -> Result<Metadata, IssueError> {
        let key = (issuer.clone(), network.clone());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((metadata, until)) = &known
            && !until.reached(now)
        {
            return Ok(metadata.clone());
        }
        match discover(issuer, network, clients, now).await {
            Ok(metadata) => {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if all.len() >= MAX_ISSUERS {
                    all.clear();
                }
                all.insert(key, (metadata.clone(), now + KEPT));
                Ok(metadata)
            }
            // What it said an hour ago is better than nothing; a refusal of what it says now is not.
            Err(error) if error.kind == IssueErrorKind::Refused => Err(error),
            Err(error) => {
                let (metadata, _) = known.ok_or(error)?;
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                // Unless they were forgotten meanwhile.
                if let Some((_, until)) = all.get_mut(&key) {
                    *until = now + KEPT_ON;
                }
                Ok(metadata)
            }
        }
    }

    /// Has the metadata read again the next time: what they said did not hold.
    pub fn forget(&self, issuer: &Url) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _), _| known != issuer);
    }
}

/// The two places where metadata may be, OpenID's first.
fn places(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut place = issuer.clone();
        place.set_path(&path);
        place
    };
    [
        at(format!("{path}/.well-known/openid-configuration")),
        // RFC 8414 section 3.1: between the host and the issuer's path.
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ]
}

async fn discover(
    issuer: &Url,
    network: &Network,
    clients: &Clients,
    now: Moment,
) -> Result<Metadata, IssueError> {
    let client = clients.get(network, issuer.scheme() == "http").await?;
    let mut other = None;
    for place in places(issuer) {
        let to = Destination { url: &place, network };
        let answer = exchange::send(client.get(place.clone()).header(ACCEPT, "application/json"), to).await?;
        match answer.status {
            StatusCode::OK => return read(issuer, &place, &answer),
            // That it has none there cannot be told from this.
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(busy(&place, &answer, now));
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {}
            status => other = Some(status),
        }
    }
    let status = other.unwrap_or(StatusCode::NOT_FOUND).as_u16();
    let message = format!(
        "the issuer {issuer} has no metadata, neither OpenID's nor OAuth's (it answered {status}): check issuer, or \
         give token_url in its place"
    );
    // A login page or a redirect may be gone in a minute; that there are none will not.
    let kind = if other.is_some() { IssueErrorKind::Invalid } else { IssueErrorKind::Refused };
    Err(IssueError { http_status: Some(status), ..IssueError::new(kind, message) })
}

fn busy(place: &Url, answer: &Answer, now: Moment) -> IssueError {
    let status = answer.status.as_u16();
    IssueError {
        http_status: Some(status),
        retry_after: date::retry_after(&answer.headers, now),
        ..IssueError::new(
            IssueErrorKind::Unavailable,
            format!("the metadata at {place} cannot be had: {status}"),
        )
    }
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    revocation_endpoint: Option<String>,
    revocation_endpoint_auth_methods_supported: Option<Vec<String>>,
}

fn read(issuer: &Url, place: &Url, answer: &Answer) -> Result<Metadata, IssueError> {
    let refused = |why: &str| {
        let message = format!("the metadata of the issuer {issuer}, at {place}, {why}");
        Err(IssueError::new(IssueErrorKind::Refused, message))
    };
    let Ok(document) = serde_json::from_slice::<Document>(&answer.body) else {
        let message = format!(
            "the metadata of the issuer {issuer}, at {place}, is no JSON with issuer and token_endpoint"
        );
        return Err(IssueError::new(IssueErrorKind::Invalid, message));
    };
    // Exactly (RFC 8414 section 3.3), but that "https://idp.example" may stand for its root: another issuer's
    // metadata could send the secret anywhere.
    let root = issuer.path() == "/" && document.issuer == issuer.as_str().trim_end_matches('/');
    if document.issuer != issuer.as_str() && !root {
        let named = wire::clean(&document.issuer, 100);
        return refused(&format!(
            "names another issuer, {named:?}, which is not the one that the configuration trusts"
        ));
    }
    let token_endpoint = match endpoint(issuer, &document.token_endpoint) {
        Ok(url) => url,
        Err(why) => return refused(&format!("has a token_endpoint that {why}")),
    };
    let Some(client_auth) = client_auth(document.token_endpoint_auth_methods_supported.as_deref()) else {
        return refused("supports neither client_secret_basic nor client_secret_post");
    };
    // One that is not right takes no token away from anybody.
    let revocation = match document.revocation_endpoint.map(|url| endpoint(issuer, &url)) {
        None => Revocation::Nowhere,
        Some(Ok(endpoint)) => {
            let methods = document.revocation_endpoint_auth_methods_supported;
            Revocation::At { endpoint, client_auth: self::client_auth(methods.as_deref()) }
        }
        Some(Err(why)) => Revocation::Unusable(format!("has a revocation_endpoint that {why}")),
    };
    Ok(Metadata { token_endpoint, client_auth, revocation })
}

/// An endpoint that the metadata of `issuer` name, or what is wrong with it.
fn endpoint(issuer: &Url, text: &str) -> Result<Url, String> {
    match url::canonical(text, issuer.scheme() == "http") {
        Ok(url) if url.scheme() == issuer.scheme() => Ok(url),
        Ok(_) => Err("is not https".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// How to authenticate where these methods are supported. RFC 8414 section 2: `client_secret_basic` where
/// nothing is said.
fn client_auth(methods: Option<&[String]>) -> Option<ClientAuth> {
    let supported = |method: &str| match methods {
        None => method == "client_secret_basic",
        Some(methods) => methods.iter().any(|supported| supported == method),
    };
    if supported("client_secret_basic") {
        Some(ClientAuth::Basic)
    } else if supported("client_secret_post") {
        Some(ClientAuth::Body)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
        net::TcpListener,
    };

    use super::*;

    /// An issuer that has metadata once, and cannot tell them again; and how often it was asked.
    async fn issuer_that_tells_once() -> (Url, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/", listener.local_addr().unwrap());
        let body = format!(r#"{{"issuer":"{issuer}","token_endpoint":"{issuer}t"}}"#);
        let (url, asked) = (issuer.parse().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap() > 2 {
                    line.clear();
                }
                let (status, body) =
                    if count.fetch_add(1, Ordering::SeqCst) == 0 { (200, body.as_str()) } else { (503, "") };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, asked)
    }

    #[tokio::test]
    async fn metadata_that_cannot_be_read_again_are_gone_by_for_a_while() {
        // Another test may have done so.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (issuer, asked) = issuer_that_tells_once().await;
        let (discovery, network, clients) = (Discovery::default(), Network::default(), Clients::default());
        let start = Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(5_000) };
        for (seconds, times) in [(0, 1), (3599, 1), (3600, 2), (3601, 2), (3659, 2), (3660, 3), (3661, 3)] {
            let now = start + Duration::from_secs(seconds);
            let metadata = discovery.metadata(&issuer, &network, &clients, now).await.unwrap();
            assert_eq!(metadata.token_endpoint.path(), "/t");
            assert_eq!(asked.load(Ordering::SeqCst), times, "after {seconds} s");
        }
        discovery.forget(&issuer);
        discovery.metadata(&issuer, &network, &clients, start).await.unwrap_err();
    }

    fn read_text(issuer: &str, body: &str) -> Result<Metadata, String> {
        let issuer: Url = issuer.parse().unwrap();
        let answer = Answer {
            status: StatusCode::OK,
            headers: reqwest::header::HeaderMap::new(),
            body: body.as_bytes().to_vec().into(),
        };
        read(&issuer, &places(&issuer)[0], &answer).map_err(|error| error.message)
    }

    #[test]
    fn metadata_are_where_the_specifications_say() {
        let issuer = "https://idp.example/tenant/".parse().unwrap();
        assert_eq!(
            places(&issuer).map(String::from),
            [
                "https://idp.example/tenant/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server/tenant",
            ]
        );
    }

    #[test]
    fn what_is_supported_decides_how_the_client_authenticates() {
        for (methods, expected) in [
            ("", Ok(ClientAuth::Basic)),
            (
                r#","token_endpoint_auth_methods_supported":["private_key_jwt","client_secret_basic"]"#,
                Ok(ClientAuth::Basic),
            ),
            (r#","token_endpoint_auth_methods_supported":["client_secret_post"]"#, Ok(ClientAuth::Body)),
            (r#","token_endpoint_auth_methods_supported":["private_key_jwt"]"#, Err("supports neither")),
        ] {
            let body = format!(
                r#"{{"issuer":"https://idp.example","token_endpoint":"https://idp.example/t"{methods}}}"#
            );
            match (read_text("https://idp.example", &body), expected) {
                (Ok(metadata), Ok(auth)) => assert_eq!(metadata.client_auth, auth),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, expected) => panic!("{found:?} for {expected:?}"),
            }
        }
    }

    #[test]
    fn a_revocation_endpoint_is_checked_and_one_that_is_wrong_takes_no_token_away() {
        let at =
            |client_auth| Revocation::At { endpoint: "https://idp.example/r".parse().unwrap(), client_auth };
        let methods = r#""https://idp.example/r","revocation_endpoint_auth_methods_supported""#;
        for (said, expected) in [
            ("null".to_owned(), Ok(Revocation::Nowhere)),
            (r#""https://idp.example/r""#.to_owned(), Ok(at(Some(ClientAuth::Basic)))),
            (format!(r#"{methods}:["client_secret_post"]"#), Ok(at(Some(ClientAuth::Body)))),
            (format!(r#"{methods}:["private_key_jwt"]"#), Ok(at(None))),
            (r#""http://idp.example/r""#.to_owned(), Err("revocation_endpoint that may be http only")),
            (r#""http://127.0.0.1/r""#.to_owned(), Err("revocation_endpoint that")),
            (r#""https://me@idp.example/r""#.to_owned(), Err("revocation_endpoint that has a user name")),
        ] {
            let body = format!(
                r#"{{"issuer":"https://idp.example","token_endpoint":"https://idp.example/t","revocation_endpoint":{said}}}"#
            );
            let metadata = read_text("https://idp.example", &body).unwrap();
            match (metadata.revocation, expected) {
                (Revocation::Unusable(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (found, expected) => assert_eq!(Ok(found), expected),
            }
        }
    }

    #[test]
    fn another_issuer_and_an_unsafe_endpoint_are_refused() {
        for (body, expected) in [
            (
                r#"{"issuer":"https://evil.example","token_endpoint":"https://idp.example/t"}"#,
                "names another issuer",
            ),
            (
                r#"{"issuer":"https://idp.example/x","token_endpoint":"https://idp.example/t"}"#,
                "names another issuer",
            ),
            (
                r#"{"issuer":"https://idp.example","token_endpoint":"http://idp.example/t"}"#,
                "token_endpoint that",
            ),
            (
                r#"{"issuer":"https://idp.example","token_endpoint":"http://127.0.0.1/t"}"#,
                "token_endpoint that",
            ),
            (r#"{"issuer":"https://idp.example"}"#, "is no JSON with issuer and token_endpoint"),
            ("<html>", "is no JSON with issuer and token_endpoint"),
        ] {
            let message = read_text("https://idp.example", body).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}

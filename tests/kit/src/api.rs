//! A fake API in the manner of Frontdoor: answers those who bring a token that the IdP issued, or an
//! API account's token, and writes down what it was sent.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    ca::{Ca, Identity},
    http::Recorded,
    idp::{FakeIdp, Reply},
    server::Server,
    tokens::{Issued, canary},
};

/// The Frontdoor id of the guide's examples.
pub const FRONTDOOR: &str = "3d6d2b6e-6c7a-4a7f-8c3d-9a9d2e1f0b1c";

/// The API account of the guide's examples.
pub const ACCOUNT: &str = "e2c7a6d0-e85a-4ca2-8e4b-3b2121cb3bec";

/// How the API is to be, before it starts.
#[derive(Debug)]
pub struct Builder {
    issued: Vec<Issued>,
    account: (String, String),
    base64: bool,
    identity: Option<Identity>,
}

/// A running API on 127.0.0.1, over https. Stops when it is dropped.
#[derive(Debug)]
pub struct FakeApi {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    issued: Vec<Issued>,
    revoked: Mutex<BTreeSet<String>>,
    account: (String, String),
    base64: bool,
}

impl Builder {
    /// Accepts the tokens of this IdP, now and later.
    #[must_use]
    pub fn accept(mut self, idp: &FakeIdp) -> Self {
        self.issued.push(idp.tokens());
        self
    }

    /// The API account, instead of the guide's with a token made up.
    #[must_use]
    pub fn account(mut self, id: &str, token: &str) -> Self {
        self.account = (id.to_owned(), token.to_owned());
        self
    }

    /// Another certificate than the authority's usual one.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Accepts the account as RFC 7617 encodes it, instead of raw as the guide shows it.
    #[must_use]
    pub fn base64(mut self) -> Self {
        self.base64 = true;
        self
    }

    /// Starts it.
    pub fn start(self, ca: &Ca) -> FakeApi {
        let state = Arc::new(State {
            issued: self.issued,
            revoked: Mutex::default(),
            account: self.account,
            base64: self.base64,
        });
        let answering = Arc::clone(&state);
        let server = Server::start(Some(self.identity.as_ref().unwrap_or(ca.server())), move |request| {
            answering.answer(request)
        });
        FakeApi { server, state }
    }
}

impl FakeApi {
    /// An API that accepts what `idp` issues.
    pub fn start(ca: &Ca, idp: &FakeIdp) -> Self {
        Self::builder().accept(idp).start(ca)
    }

    /// Something else.
    pub fn builder() -> Builder {
        let account = (ACCOUNT.to_owned(), canary("API-TOKEN"));
        Builder { issued: Vec::new(), account, base64: false, identity: None }
    }

    /// `https://127.0.0.1:PORT/frontdoor/<id>`: a profile's `base_url`.
    pub fn base_url(&self) -> String {
        format!("{}/frontdoor/{FRONTDOOR}", self.server.base_url())
    }

    /// `https://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        self.server.base_url()
    }

    /// A URL of this API that redirects to `target`.
    pub fn redirect_url(&self, target: &str) -> String {
        format!("{}/redirect?to={target}", self.server.base_url())
    }

    /// The API account's id.
    pub fn account_id(&self) -> &str {
        &self.state.account.0
    }

    /// The API account's long-lived token.
    pub fn api_token(&self) -> &str {
        &self.state.account.1
    }

    /// Refuses that token from now on, though it has not expired.
    pub fn revoke(&self, token: &str) {
        lock(&self.state.revoked).insert(token.to_owned());
    }

    /// Every request that arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// Waits until `count` requests have arrived; panics when they do not.
    pub fn wait_for_requests(&self, count: usize, timeout: Duration) {
        let came = self.server.wait(timeout, |log| log.requests.len() >= count);
        assert!(came, "{} of {count} requests came within {timeout:?}", self.requests().len());
    }
}

impl State {
    fn answer(&self, request: &Recorded) -> Reply {
        if request.route() == "/redirect" {
            return Reply::redirect(302, &request.query("to").unwrap_or_default());
        }
        if !request.header("authorization").is_some_and(|value| self.accepts(value)) {
            let body = json!({ "error": "unauthorized", "message": "Bearer token is missing or invalid" });
            return Reply::json(401, &body).header("WWW-Authenticate", "Bearer error=\"invalid_token\"");
        }
        let mut segments = request.route().trim_start_matches('/').split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("frontdoor"), Some(FRONTDOOR), Some(kind @ ("shares" | "environments")), None) => {
                page(kind, request)
            }
            _ => Reply::json(404, &json!({ "error": "not_found", "message": "No such resource" })),
        }
    }

    fn accepts(&self, authorization: &str) -> bool {
        if let Some(token) = authorization.strip_prefix("Bearer ") {
            return self.issued.iter().any(|issued| issued.contains(token))
                && !lock(&self.revoked).contains(token);
        }
        let (id, token) = &self.account;
        let raw = format!("{id}:{token}");
        let expected = if self.base64 { STANDARD.encode(raw) } else { raw };
        authorization.strip_prefix("Basic ") == Some(&expected) && !lock(&self.revoked).contains(token)
    }
}

fn page(kind: &str, request: &Recorded) -> Reply {
    let number = |name, usual| request.query(name).map_or(Ok(usual), |value| value.parse::<u64>());
    let (Ok(page), Ok(size)) = (number("page", 0), number("size", 20)) else {
        return Reply::json(400, &json!({ "error": "bad_request", "message": "page and size are numbers" }));
    };
    let names =
        if kind == "shares" { ["demo-web", "demo-ssh", "demo-api"] } else { ["lab", "edge", "office"] };
    let content: Vec<Value> = (0..)
        .zip(names)
        .skip(usize::try_from(page * size).unwrap_or(usize::MAX))
        .take(usize::try_from(size).unwrap_or(usize::MAX))
        .map(|(id, name): (u64, &str)| json!({ "id": format!("{kind}-{id}"), "name": name }))
        .collect();
    Reply::json(
        200,
        &json!({
            "content": content,
            "pageable": { "pageNumber": page, "pageSize": size },
            "totalElements": names.len(),
        }),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

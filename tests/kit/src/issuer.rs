//! An issuer that says about itself what a test wants, true or not.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::{ca::Ca, http::Recorded, idp::Reply, server::Server};

/// Where it has its metadata: OpenID's place.
const PLACE: &str = "/.well-known/openid-configuration";

/// An https server on 127.0.0.1 with metadata and nothing else. Stops when it is dropped.
#[derive(Debug)]
pub struct FakeIssuer {
    server: Server,
    metadata: Arc<Mutex<Reply>>,
}

impl FakeIssuer {
    /// Starts it without metadata.
    pub fn start(ca: &Ca) -> Self {
        let metadata = Arc::new(Mutex::new(Reply::status(404)));
        let answer = Arc::clone(&metadata);
        let server = Server::start(Some(ca.server()), move |request| match request.route() {
            PLACE => answer.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            _ => Reply::status(404),
        });
        Self { server, metadata }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.base_url()
    }

    /// From now on its metadata name this issuer and this token endpoint.
    pub fn say(&self, issuer: &str, token_endpoint: &str) {
        self.answer(Reply::json(200, &json!({ "issuer": issuer, "token_endpoint": token_endpoint })));
    }

    /// From now on this is what is answered where its metadata are.
    pub fn answer(&self, reply: Reply) {
        *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = reply;
    }

    /// Every request that arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }
}

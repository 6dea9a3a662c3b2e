//! A fake identity provider: strict about what it is asked, scriptable in what it answers.
//!
//! ```no_run
//! # use usher_testkit::{PATIENCE, ca::Ca, idp::{FakeIdp, Reply}};
//! let ca = Ca::new();
//! let idp = FakeIdp::start(&ca);
//! idp.push(Reply::status(503).header("Retry-After", "5"));
//! let (reply, gate) = Reply::token().hold();
//! idp.push(reply);
//! // ... two requests later:
//! gate.wait_arrived(PATIENCE);
//! gate.release();
//! assert_eq!(idp.token_requests(), 2);
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value, json};

pub use self::{
    gate::Gate,
    reply::Reply,
    rules::{Audience, BodyFormat},
};
use self::{
    revocation::Revocations,
    rules::{Granted, Rules},
};
use crate::{
    ca::{Ca, Identity},
    http::Recorded,
    server::Server,
    tokens::{Issued, canary},
};

mod gate;
mod reply;
mod revocation;
mod rules;
mod send;
#[cfg(test)]
mod tests;

/// The token endpoint's path unless a test wants another: Auth0's, as the guide has it.
const TOKEN_PATH: &str = "/oauth/token";

/// The revocation endpoint's path.
const REVOCATION_PATH: &str = "/oauth/revoke";

/// How the IdP is to be, before it starts.
#[derive(Debug)]
pub struct Builder {
    rules: Rules,
    first_client: (String, String),
    expires_in: Value,
    identity: Option<Identity>,
    plain_http: bool,
}

/// A running IdP on 127.0.0.1. Stops when it is dropped.
#[derive(Debug)]
pub struct FakeIdp {
    server: Server,
    state: Arc<State>,
    path: String,
    first_client: (String, String),
}

#[derive(Debug)]
struct State {
    rules: Mutex<Rules>,
    script: Mutex<VecDeque<Reply>>,
    default: Mutex<Reply>,
    expires_in: Value,
    issued: Issued,
    revocations: Mutex<Revocations>,
    pages: Mutex<BTreeMap<String, Reply>>,
}

impl Builder {
    /// One more client. The first one named replaces the client that is there by default.
    #[must_use]
    pub fn client(mut self, id: &str, secret: &str) -> Self {
        if self.rules.clients.len() == 1 && self.rules.clients.contains_key(DEFAULT_CLIENT) {
            self.rules.clients.clear();
            self.first_client = (id.to_owned(), secret.to_owned());
        }
        self.rules.clients.insert(id.to_owned(), secret.to_owned());
        self
    }

    /// The scopes that exist; by default `frontdoor.read` and `frontdoor.write`.
    #[must_use]
    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.rules.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self
    }

    /// What to do about `audience`; by default any is taken, and none.
    #[must_use]
    pub fn audience(mut self, audience: Audience) -> Self {
        self.rules.audience = audience;
        self
    }

    /// The body's format; by default JSON.
    #[must_use]
    pub fn body(mut self, format: BodyFormat) -> Self {
        self.rules.body = format;
        self
    }

    /// Client credentials in the `Authorization` header instead of the body.
    #[must_use]
    pub fn basic_auth(mut self) -> Self {
        self.rules.basic_auth = true;
        self
    }

    /// A parameter that may be sent beside the usual ones.
    #[must_use]
    pub fn allow_param(mut self, name: &str) -> Self {
        self.rules.params.insert(name.to_owned());
        self
    }

    /// The token endpoint's path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.rules.path);
        self
    }

    /// The lifetime that is answered, in seconds; by default 3600.
    #[must_use]
    pub fn expires_in(mut self, seconds: u64) -> Self {
        self.expires_in = json!(seconds);
        self
    }

    /// Another certificate than the CA's good one.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// HTTP without TLS.
    #[must_use]
    pub fn plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Starts it.
    pub fn start(self, ca: &Ca) -> FakeIdp {
        let identity =
            (!self.plain_http).then(|| self.identity.clone().unwrap_or_else(|| ca.server().clone()));
        let path = self.rules.path.clone();
        let state = Arc::new(State {
            rules: Mutex::new(self.rules),
            script: Mutex::default(),
            default: Mutex::new(Reply::token()),
            expires_in: self.expires_in,
            issued: Issued::default(),
            revocations: Mutex::default(),
            pages: Mutex::default(),
        });
        let answering = Arc::clone(&state);
        let server = Server::start(identity.as_ref(), move |request| answering.answer(request));
        FakeIdp { server, state, path, first_client: self.first_client }
    }
}

const DEFAULT_CLIENT: &str = "usher-test-client";

impl FakeIdp {
    /// As the guide has it, over https.
    pub fn start(ca: &Ca) -> Self {
        Self::builder().start(ca)
    }

    /// Something else than the guide.
    pub fn builder() -> Builder {
        let secret = canary("CLIENT-SECRET");
        let rules = Rules {
            path: TOKEN_PATH.to_owned(),
            body: BodyFormat::Json,
            basic_auth: false,
            clients: BTreeMap::from([(DEFAULT_CLIENT.to_owned(), secret.clone())]),
            audience: Audience::Any,
            scopes: BTreeSet::from(["frontdoor.read", "frontdoor.write"].map(str::to_owned)),
            params: BTreeSet::new(),
        };
        let first_client = (DEFAULT_CLIENT.to_owned(), secret);
        Builder { rules, first_client, expires_in: json!(3600), identity: None, plain_http: false }
    }

    /// `https://127.0.0.1:PORT/oauth/token`.
    pub fn token_url(&self) -> String {
        format!("{}{}", self.server.base_url(), self.path)
    }

    /// Where it revokes tokens (RFC 7009).
    pub fn revocation_url(&self) -> String {
        format!("{}{REVOCATION_PATH}", self.server.base_url())
    }

    /// Answers the next revocation that keeps to the rules with `reply`, and revokes nothing.
    pub fn push_revocation(&self, reply: Reply) {
        lock(&self.state.revocations).script.push_back(reply);
    }

    /// Every token that has been revoked, in order.
    pub fn revoked(&self) -> Vec<String> {
        lock(&self.state.revocations).revoked.clone()
    }

    /// How many requests came to the revocation endpoint, good or bad.
    pub fn revocations(&self) -> usize {
        self.requests().iter().filter(|request| request.route() == REVOCATION_PATH).count()
    }

    /// `127.0.0.1:PORT`: what a preset's `idp` takes.
    pub fn host(&self) -> String {
        self.server.addr().to_string()
    }

    /// The (first) client's id.
    pub fn client_id(&self) -> &str {
        &self.first_client.0
    }

    /// The (first) client's secret as it was at the start.
    pub fn client_secret(&self) -> &str {
        &self.first_client.1
    }

    /// All clients and their secrets as they are now.
    pub fn clients(&self) -> Vec<(String, String)> {
        lock(&self.state.rules).clients.clone().into_iter().collect()
    }

    /// Gives a client a (new) secret; the old one is refused from now on.
    pub fn set_client(&self, id: &str, secret: &str) {
        lock(&self.state.rules).clients.insert(id.to_owned(), secret.to_owned());
    }

    /// Answers every GET of this path with `reply`: discovery metadata, say.
    pub fn page(&self, path: &str, reply: Reply) {
        lock(&self.state.pages).insert(path.to_owned(), reply);
    }

    /// Answers the next request that keeps to the rules with `reply`; after those pushed before.
    pub fn push(&self, reply: Reply) {
        lock(&self.state.script).push_back(reply);
    }

    /// Answers with `reply` whenever nothing is pushed.
    pub fn set_default(&self, reply: Reply) {
        *lock(&self.state.default) = reply;
    }

    /// How many of the pushed replies have not been asked for.
    pub fn pending(&self) -> usize {
        lock(&self.state.script).len()
    }

    /// How many requests came to the token endpoint, good or bad.
    pub fn token_requests(&self) -> usize {
        self.requests().iter().filter(|request| request.route() == self.path).count()
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

    /// The most requests that were being answered at the same time.
    pub fn max_in_flight(&self) -> usize {
        self.server.max_in_flight()
    }

    /// How many TCP connections were taken.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Every token issued, in order.
    pub fn issued(&self) -> Vec<String> {
        self.state.issued.all()
    }

    /// The shared list of issued tokens, for an API or a scanner.
    pub fn tokens(&self) -> Issued {
        self.state.issued.clone()
    }
}

impl State {
    fn answer(&self, request: &Recorded) -> Reply {
        if request.method == "GET"
            && let Some(page) = lock(&self.pages).get(request.route())
        {
            return page.clone();
        }
        if request.route() == REVOCATION_PATH {
            return lock(&self.revocations).answer(request, &lock(&self.rules));
        }
        let granted = match lock(&self.rules).check(request) {
            Ok(granted) => granted,
            Err(refusal) => return refusal,
        };
        let reply = lock(&self.script).pop_front().unwrap_or_else(|| lock(&self.default).clone());
        let (reply, token) = reply.resolve(|| self.fresh(granted));
        // A token that a test made up is as much a secret as ours.
        if let Some(token) = token.filter(|token| !self.issued.contains(token)) {
            self.issued.add(&token);
        }
        reply
    }

    fn fresh(&self, granted: Granted) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("access_token".to_owned(), json!(self.issued.issue()));
        body.insert("token_type".to_owned(), json!("Bearer"));
        body.insert("expires_in".to_owned(), self.expires_in.clone());
        if let Some(scope) = granted.scope {
            body.insert("scope".to_owned(), json!(scope));
        }
        body
    }
}

/// An address on 127.0.0.1 where nobody listens: a dead IdP.
pub fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A fake Kubernetes API over TLS: as much of it as `kubectl get pods` needs, for whoever brings a token of the IdP.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    ca::Ca,
    http::Recorded,
    idp::{FakeIdp, Reply},
    server::Server,
    tokens::Issued,
};

/// A running API on 127.0.0.1, over https. Stops when it is dropped.
#[derive(Debug)]
pub struct KubeApi {
    server: Server,
    refused: Arc<Mutex<BTreeSet<String>>>,
}

impl KubeApi {
    /// An API that accepts what `idp` issues; there is one pod, `web`.
    pub fn start(ca: &Ca, idp: &FakeIdp) -> Self {
        let (issued, refused) = (idp.tokens(), Arc::<Mutex<BTreeSet<String>>>::default());
        let refusing = Arc::clone(&refused);
        let server = Server::start(Some(ca.server()), move |request| {
            let refused = refusing.lock().unwrap_or_else(PoisonError::into_inner);
            if accepts(request, &issued, &refused) { answer(request) } else { unauthorized() }
        });
        Self { server, refused }
    }

    /// `https://127.0.0.1:PORT`: a cluster's `server`.
    pub fn url(&self) -> String {
        self.server.base_url()
    }

    /// The same by another name: `https://localhost:PORT`.
    pub fn named_url(&self) -> String {
        self.server.base_url().replace("127.0.0.1", "localhost")
    }

    /// Refuses that token from now on.
    pub fn refuse(&self, token: &str) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
    }

    /// Every request that arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }
}

fn accepts(request: &Recorded, issued: &Issued, refused: &BTreeSet<String>) -> bool {
    let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    token.is_some_and(|token| issued.contains(token) && !refused.contains(token))
}

fn unauthorized() -> Reply {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
    });
    Reply::json(401, &status)
}

fn answer(request: &Recorded) -> Reply {
    let found = |body: &Value| Reply::json(200, body);
    match request.route() {
        "/version" => found(&json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0" })),
        "/api" => found(&json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => found(&json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [] })),
        "/api/v1" => found(&json!({
            "kind": "APIResourceList", "groupVersion": "v1",
            "resources": [{
                "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"],
            }],
        })),
        "/api/v1/namespaces/default/pods" => found(&json!({
            "kind": "PodList", "apiVersion": "v1", "metadata": { "resourceVersion": "1" },
            "items": [{
                "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "web", "namespace": "default" },
            }],
        })),
        _ => Reply::json(
            404,
            &json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404 }),
        ),
    }
}

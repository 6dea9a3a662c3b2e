//! kubectl and a fake cluster over TLS: both versions of its protocol, and clusters that are somebody else's.

#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::time::Instant;

use serde_json::{Value, json};
use usher_testkit::{
    PATIENCE,
    ca::Ca,
    idp::{FakeIdp, Reply},
    kube_api::KubeApi,
    process::Output,
    programs,
    usherd::Usherd,
};

use super::{client, owner, run};
use crate::support::sandbox;

const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";

/// The first kubectl that knows v1.
const KNOWS_V1: (u32, u32) = (1, 22);

struct Cluster {
    usherd: Usherd,
    idp: FakeIdp,
    ca: Ca,
    api: KubeApi,
}

impl Cluster {
    fn new() -> Self {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let api = KubeApi::start(&ca, &idp);
        let sandbox = sandbox();
        sandbox.watch(&idp);
        sandbox.config(&owner(&sandbox, &ca, &idp, &format!("{}/", api.url()), "oauth2"));
        Self { usherd: sandbox.start(), idp, ca, api }
    }

    /// `kubectl ARGS…` for the cluster at `server`, with a plugin of that version; `more` goes into the cluster.
    fn kubectl(&self, version: &str, server: &str, more: &Value, args: &[&str]) -> Output {
        let mut cluster = json!({ "server": server, "certificate-authority": self.ca.pem() });
        if let (Some(cluster), Some(more)) = (cluster.as_object_mut(), more.as_object()) {
            cluster.extend(more.clone());
        }
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": cluster }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": { "exec": {
                "apiVersion": version, "command": self.usherd.usher_path(), "args": ["helper", "kubectl"],
                "interactiveMode": "Never", "provideClusterInfo": true,
            } } }],
        });
        let file = self.usherd.file("home/kubeconfig", &kubeconfig.to_string());
        let mut command = client(&self.usherd, &programs::kubectl().0);
        command.arg("--kubeconfig").arg(file).args(args);
        run(&self.usherd, command, "")
    }

    fn pods(&self, version: &str, server: &str) -> Output {
        self.kubectl(version, server, &json!({}), &["get", "pods", "-o", "name"])
    }

    /// What the API was sent for an `Authorization`.
    fn sent(&self) -> Vec<Option<String>> {
        let of = |value: Option<&str>| value.map(str::to_owned);
        self.api.requests().iter().map(|request| of(request.header("authorization"))).collect()
    }
}

/// Whether this kubectl knows v1. If not, says what is not tested.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what is not tested has to be seen")]
fn knows_v1() -> bool {
    let (program, version) = programs::kubectl();
    let knows = version >= KNOWS_V1;
    if !knows {
        println!("SKIPPED: {V1}: {} does not know it", program.display());
        eprintln!("\n*** SKIPPED, NOT TESTED: {V1}: {} does not know it ***\n", program.display());
    }
    knows
}

#[test]
fn pods_are_listed_by_both_versions_with_one_token() {
    let cluster = Cluster::new();
    for version in [V1BETA1, V1] {
        if version == V1 && !knows_v1() {
            continue;
        }
        let listed = cluster.pods(version, &cluster.api.url()).expect_ok();
        assert_eq!(listed.stdout, "pod/web\n", "{version}");
    }
    let shown =
        cluster.kubectl(V1BETA1, &cluster.api.url(), &json!({}), &["version", "-o", "json"]).expect_ok();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["serverVersion"]["gitVersion"], "v1.33.0");
    let expected = format!("Bearer {}", cluster.idp.issued()[0]);
    let sent = cluster.sent();
    assert!(sent.len() >= 2 && sent.iter().all(|value| value.as_deref() == Some(&expected)));
    assert_eq!(cluster.idp.token_requests(), 1);
}

#[test]
fn a_foreign_cluster_gets_no_token() {
    let cluster = Cluster::new();
    // The same machine under another name, and another port.
    let other = KubeApi::start(&cluster.ca, &cluster.idp);
    for server in [cluster.api.named_url(), other.url()] {
        let failed = cluster.pods(V1BETA1, &server);
        assert!(!failed.status.success() && failed.stdout.is_empty());
        assert!(failed.stderr.contains("usher"), "{}", failed.stderr);
    }
    // Not even where the kubeconfig names the profile.
    let config = json!({ "extensions": [{
        "name": "client.authentication.k8s.io/exec", "extension": { "profile": "frontdoor" },
    }] });
    let failed = cluster.kubectl(V1BETA1, &other.url(), &config, &["get", "pods"]);
    assert!(!failed.status.success(), "{}", failed.stderr);
    assert_eq!(cluster.idp.token_requests(), 0);
    for request in cluster.api.requests().iter().chain(&other.requests()) {
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn a_cluster_names_profile_audience_and_scopes() {
    let cluster = Cluster::new();
    let config = json!({ "extensions": [{ "name": "client.authentication.k8s.io/exec", "extension": {
        "profile": "frontdoor", "scopes": ["frontdoor.read"],
    } }] });
    let listed =
        cluster.kubectl(V1BETA1, &cluster.api.url(), &config, &["get", "pods", "-o", "name"]).expect_ok();
    assert_eq!(listed.stdout, "pod/web\n");
    assert_eq!(cluster.idp.requests()[0].json()["scope"], "frontdoor.read");
    let unknown = json!({ "extensions": [{
        "name": "client.authentication.k8s.io/exec", "extension": { "profile": "nobody" },
    }] });
    let failed = cluster.kubectl(V1BETA1, &cluster.api.url(), &unknown, &["get", "pods"]);
    assert!(!failed.status.success() && failed.stderr.contains("nobody"), "{}", failed.stderr);
}

#[test]
fn an_expired_token_is_fetched_anew() {
    let cluster = Cluster::new();
    cluster.idp.push(Reply::token().field("expires_in", json!(1)));
    let begun = Instant::now();
    while cluster.idp.issued().len() < 2 {
        assert_eq!(cluster.pods(V1BETA1, &cluster.api.url()).expect_ok().stdout, "pod/web\n");
        assert!(begun.elapsed() < PATIENCE, "a token of a second is used for ever");
    }
    let second = format!("Bearer {}", cluster.idp.issued()[1]);
    assert_eq!(cluster.sent().pop().flatten(), Some(second));
    let _ = cluster.pods(V1BETA1, &cluster.api.url()).expect_ok();
    assert_eq!(cluster.idp.token_requests(), 2, "the second one is kept");
}

#[test]
fn a_refused_token_is_named_to_usher_by_hand() {
    // kubectl runs its plugin once more, but does not say why, and does not try again.
    let cluster = Cluster::new();
    let _ = cluster.pods(V1BETA1, &cluster.api.url()).expect_ok();
    cluster.api.refuse(&cluster.idp.issued()[0]);
    assert!(!cluster.pods(V1BETA1, &cluster.api.url()).status.success());
    let _ = cluster.usherd.usher(&["forget", "frontdoor"]).expect_ok();
    let _ = cluster.pods(V1BETA1, &cluster.api.url()).expect_ok();
    assert_eq!(cluster.idp.token_requests(), 2);
}

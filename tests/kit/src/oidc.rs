//! Real authorization servers from npm, each in a node process of its own: oidc-provider, and
//! @node-oauth/oauth2-server, which shares no code with it.

use std::{path::PathBuf, process::Command};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    PATIENCE,
    ca::Ca,
    client,
    process::{Input, Process, text},
    tokens::canary,
};

/// What is said when the tests' prerequisites are not there.
const HOW: &str = "run tests/run once: it installs what the tests need";

/// The API that oidc-provider issues tokens for if it is asked to by `resource`: JWTs with that `aud`.
pub const RESOURCE: &str = "https://api.example.com/v1";

/// oidc-provider over https on 127.0.0.1, with two clients that have the scopes `api:read` and
/// `api:write`; tokens live 300 s. Stops when it is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    node: Node,
    secret: String,
    basic_secret: String,
}

impl OidcProvider {
    /// Starts it with the CA's good certificate; panics if node or the npm packages are missing.
    pub fn start(ca: &Ca) -> Self {
        Self::with(ca, "client_secret_post,client_secret_basic")
    }

    /// The same without `client_secret_basic`, and without the client that has it.
    pub fn start_with_post_only(ca: &Ca) -> Self {
        Self::with(ca, "client_secret_post")
    }

    fn with(ca: &Ca, auth_methods: &str) -> Self {
        let (secret, basic_secret) = (hard_secret(), hard_secret());
        let mut node = command(ca, "oidc-provider", "oidc-provider");
        node.env("AUTH_METHODS", auth_methods);
        let node = Node::start(node, "oidc-provider", &[&secret, &basic_secret]);
        Self { node, secret, basic_secret }
    }

    /// The issuer's URL, which is also its origin.
    pub fn issuer(&self) -> &str {
        &self.node.issuer
    }

    /// The token endpoint's URL.
    pub fn token_url(&self) -> &str {
        &self.node.token_url
    }

    /// The id of the client that has `client_secret_post`.
    pub fn client_id(&self) -> &'static str {
        "usher-test"
    }

    /// That client's secret, with characters that have to be encoded.
    pub fn client_secret(&self) -> &str {
        &self.secret
    }

    /// The id of the client that has `client_secret_basic`.
    pub fn basic_client_id(&self) -> &'static str {
        "usher-test-basic"
    }

    /// That client's secret, with characters that have to be encoded.
    pub fn basic_client_secret(&self) -> &str {
        &self.basic_secret
    }

    /// Whether it says that a token of the client that has `client_secret_post` is good (RFC 7662).
    pub fn is_active(&self, ca: &Ca, token: &str) -> bool {
        let (id, secret) = (self.client_id(), encoded(self.client_secret()));
        let body = format!("token={token}&client_id={id}&client_secret={secret}");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let url = format!("{}/token/introspection", self.issuer());
        let answer = client::post(ca, &url, &headers, body.as_bytes()).expect("an answer").json();
        answer["active"].as_bool().unwrap_or_else(|| panic!("no introspection: {answer}"))
    }

    /// How many token requests came.
    pub fn token_requests(&self, ca: &Ca) -> u64 {
        self.node.count(ca, "token_requests")
    }

    /// How many requests for metadata came.
    pub fn metadata_requests(&self, ca: &Ca) -> u64 {
        self.node.count(ca, "metadata_requests")
    }

    /// What it wrote to stderr.
    pub fn stderr_so_far(&self) -> String {
        self.node.process.state().read(|state| text(&state.stderr))
    }
}

/// @node-oauth/oauth2-server over https on 127.0.0.1, with one client that may authenticate either way and
/// has the scopes `api:read` and `api:write`; tokens live 300 s. It does not urldecode what is in a Basic
/// header. Stops when it is dropped.
#[derive(Debug)]
pub struct OAuth2Server {
    node: Node,
    secret: String,
}

impl OAuth2Server {
    /// Starts it with the CA's good certificate and a client whose secret is hard to encode, or is not;
    /// panics if node or the npm packages are missing.
    pub fn start(ca: &Ca, hard: bool) -> Self {
        let secret = if hard { hard_secret() } else { canary("OAUTH2-SECRET") };
        let package = "@node-oauth/oauth2-server";
        Self { node: Node::start(command(ca, "oauth2-server", package), package, &[&secret]), secret }
    }

    /// The token endpoint's URL.
    pub fn token_url(&self) -> &str {
        &self.node.token_url
    }

    /// The client's id.
    pub fn client_id(&self) -> &'static str {
        "usher-test"
    }

    /// The client's secret.
    pub fn client_secret(&self) -> &str {
        &self.secret
    }

    /// How many token requests came.
    pub fn token_requests(&self, ca: &Ca) -> u64 {
        self.node.count(ca, "token_requests")
    }
}

/// What a JWT says; nobody checks its signature.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    serde_json::from_slice(&payload.expect("a JWT")).expect("a JWT's claims")
}

/// A secret that shows who forgets to encode it, or does it twice.
fn hard_secret() -> String {
    format!("s3cr3t with space+%&={}", canary("SECRET"))
}

/// A secret as it stands in a form.
fn encoded(secret: &str) -> String {
    secret.replace('%', "%25").replace('+', "%2B").replace('&', "%26").replace('=', "%3D").replace(' ', "+")
}

/// What starts a fixture's server.
fn command(ca: &Ca, fixture: &str, package: &str) -> Command {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(fixture);
    assert!(fixture.join("node_modules").join(package).is_dir(), "{package} is not installed: {HOW}");
    let mut command = Command::new("node");
    command
        .arg("server.mjs")
        .current_dir(&fixture)
        .env_clear()
        .envs(std::env::var("PATH").map(|path| ("PATH", path)))
        .env("TLS_CERT", &ca.server().cert)
        .env("TLS_KEY", &ca.server().key);
    command
}

/// The node process of a fixture.
#[derive(Debug)]
struct Node {
    process: Process,
    issuer: String,
    token_url: String,
}

impl Node {
    fn start(command: Command, package: &str, secrets: &[&str]) -> Self {
        let input = Input::KeepOpen(format!("{}\n", secrets.join("\n")).into_bytes());
        let process = Process::spawn(command, input)
            .unwrap_or_else(|error| panic!("node cannot be started ({error}): {HOW}"));
        let line = process.state().wait(PATIENCE, |state| {
            let line = text(&state.stdout).split_once('\n').map(|(line, _)| line.to_owned());
            line.or_else(|| state.exit().map(|_| String::new()))
        });
        let said: Value = serde_json::from_str(line.as_deref().unwrap_or_default()).unwrap_or_else(|_| {
            panic!("{package} did not start: {}", process.state().read(|state| text(&state.stderr)))
        });
        let field = |name: &str| said[name].as_str().expect("a string").to_owned();
        let (issuer, token_url) = (field("issuer"), field("token_endpoint"));
        Self { process, issuer, token_url }
    }

    fn count(&self, ca: &Ca, what: &str) -> u64 {
        let stats =
            client::get(ca, &format!("{}/_stats", self.issuer), &[]).expect("the server's statistics");
        stats.json()[what].as_u64().expect("a number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(ca: &Ca, url: &str, id: &str, secret: &str) -> Value {
        let body = format!(
            "grant_type=client_credentials&client_id={id}&client_secret={}&scope=api%3Aread",
            encoded(secret)
        );
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        client::post(ca, url, &headers, body.as_bytes()).expect("an answer").json()
    }

    #[test]
    fn it_issues_tokens_to_its_client() {
        let ca = Ca::new();
        let provider = OidcProvider::start(&ca);
        let ask = |secret: &str| ask(&ca, provider.token_url(), provider.client_id(), secret);
        let token = ask(provider.client_secret());
        assert_eq!((&token["expires_in"], &token["scope"]), (&Value::from(300), &Value::from("api:read")));
        assert_eq!(ask("wrong")["error"], "invalid_client");
        assert_eq!(provider.token_requests(&ca), 2);
        assert_eq!(provider.metadata_requests(&ca), 0);
    }

    #[test]
    fn so_does_the_other_implementation() {
        let ca = Ca::new();
        let server = OAuth2Server::start(&ca, true);
        let ask = |secret: &str| ask(&ca, server.token_url(), server.client_id(), secret);
        let token = ask(server.client_secret());
        assert_eq!(token["token_type"], "Bearer", "{token}");
        assert!(token["access_token"].is_string(), "{token}");
        assert_eq!(ask("wrong")["error"], "invalid_client");
        assert_eq!(server.token_requests(&ca), 2);
    }
}

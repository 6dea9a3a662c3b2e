//! A real OpenID provider: npm's oidc-provider, in a node process of its own.

use std::{path::PathBuf, process::Command};

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

/// oidc-provider over https on 127.0.0.1, with one client that has `client_secret_post` and the scopes
/// `api:read` and `api:write`; tokens live 300 s. Stops when it is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    process: Process,
    issuer: String,
    token_url: String,
    secret: String,
}

impl OidcProvider {
    /// Starts it with the CA's good certificate; panics if node or the npm packages are missing.
    pub fn start(ca: &Ca) -> Self {
        let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/oidc-provider");
        assert!(fixture.join("node_modules/oidc-provider").is_dir(), "oidc-provider is not installed: {HOW}");
        let secret = canary("OIDC-SECRET");
        let mut command = Command::new("node");
        command
            .arg("server.mjs")
            .current_dir(&fixture)
            .env_clear()
            .envs(std::env::var("PATH").map(|path| ("PATH", path)))
            .env("TLS_CERT", &ca.server().cert)
            .env("TLS_KEY", &ca.server().key);
        let input = Input::KeepOpen(format!("{secret}\n").into_bytes());
        let process = Process::spawn(command, input)
            .unwrap_or_else(|error| panic!("node cannot be started ({error}): {HOW}"));
        let line = process.state().wait(PATIENCE, |state| {
            let line = text(&state.stdout).split_once('\n').map(|(line, _)| line.to_owned());
            line.or_else(|| state.exit().map(|_| String::new()))
        });
        let said: Value = serde_json::from_str(line.as_deref().unwrap_or_default()).unwrap_or_else(|_| {
            panic!("oidc-provider did not start: {}", process.state().read(|state| text(&state.stderr)))
        });
        let field = |name: &str| said[name].as_str().expect("a string").to_owned();
        let (issuer, token_url) = (field("issuer"), field("token_endpoint"));
        Self { process, issuer, token_url, secret }
    }

    /// The issuer's URL, which is also its origin.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token endpoint's URL.
    pub fn token_url(&self) -> &str {
        &self.token_url
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
        let stats =
            client::get(ca, &format!("{}/_stats", self.issuer), &[]).expect("the provider's statistics");
        stats.json()["token_requests"].as_u64().expect("a number")
    }

    /// What it wrote to stderr.
    pub fn stderr_so_far(&self) -> String {
        self.process.state().read(|state| text(&state.stderr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_issues_tokens_to_its_client() {
        let ca = Ca::new();
        let provider = OidcProvider::start(&ca);
        let ask = |secret: &str| {
            let body = format!(
                "grant_type=client_credentials&client_id={}&client_secret={secret}&scope=api%3Aread",
                provider.client_id()
            );
            let headers = [("Content-Type", "application/x-www-form-urlencoded")];
            client::post(&ca, provider.token_url(), &headers, body.as_bytes()).expect("an answer").json()
        };
        let token = ask(provider.client_secret());
        assert_eq!((&token["expires_in"], &token["scope"]), (&Value::from(300), &Value::from("api:read")));
        assert_eq!(ask("wrong")["error"], "invalid_client");
        assert_eq!(provider.token_requests(&ca), 2);
    }
}

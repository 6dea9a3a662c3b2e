//! A container registry with token authentication: the real docker-registry, and the server that issues its tokens, to
//! whoever has a token of the IdP for a password, a user's password, or an identity token.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use tempfile::TempDir;

use self::auth::{Auth, Signer};
use crate::{
    PATIENCE,
    ca::{Ca, Identity, write_private},
    http::Recorded,
    idp::{FakeIdp, dead_address},
    process::{Input, Process, text},
    programs,
    server::Server,
};

mod auth;
mod image;

/// How the registry is to be, before it starts.
#[derive(Debug, Default)]
pub struct Builder {
    auth: Auth,
    tls: bool,
}

/// A running registry on 127.0.0.1 which has the image `a/b:latest`. Stops when it is dropped.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    addr: SocketAddr,
    tls: bool,
    tokens: Server,
    auth: Arc<Mutex<Auth>>,
    _dir: TempDir,
}

impl Builder {
    /// Lets in whoever has a token of this IdP, as a password or as an identity token, under this user name.
    #[must_use]
    pub fn accept(mut self, idp: &FakeIdp, username: &str) -> Self {
        self.auth.issued.push((username.to_owned(), idp.tokens()));
        self
    }

    /// Lets in this user.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.auth.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Whoever logs in is given this identity token, and let in with it from then on.
    #[must_use]
    pub fn identity(mut self, token: &str) -> Self {
        self.auth.identity = Some(token.to_owned());
        self
    }

    /// TLS, with a certificate of the authority that it starts with; the server of its tokens, too. Its clients call it
    /// by its name, `localhost`.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it; panics if it is not installed.
    pub fn start(self, ca: &Ca) -> Registry {
        let program = programs::find("docker-registry");
        let auth = Arc::new(Mutex::new(self.auth));
        let (signer, answering) = (Signer::new(ca), Arc::clone(&auth));
        let tls = self.tls;
        let tokens = Server::start(tls.then(|| ca.server()), move |request| {
            answering.lock().unwrap_or_else(PoisonError::into_inner).answer(request, &signer)
        });
        // The port is free for a moment only; whoever takes it in between makes this start over.
        let (process, addr, dir) = (0..10)
            .find_map(|_| try_start(&program, ca, &tokens.base_url(), tls, dead_address()))
            .expect("docker-registry does not start");
        Registry { process, addr, tls, tokens, auth, _dir: dir }
    }
}

impl Registry {
    /// A registry that lets nobody in yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `127.0.0.1:PORT`, or with TLS `localhost:PORT`: how its clients call it.
    pub fn host(&self) -> String {
        if self.tls { format!("localhost:{}", self.addr.port()) } else { self.addr.to_string() }
    }

    /// The same as a URL.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.host())
    }

    /// `HOST/a/b:latest`.
    pub fn image(&self) -> String {
        format!("{}/{}:latest", self.host(), image::REPOSITORY)
    }

    /// Every request that came for a token.
    pub fn token_requests(&self) -> Vec<Recorded> {
        self.tokens.requests()
    }

    /// Refuses that token or password from now on.
    pub fn refuse(&self, secret: &str) {
        let mut auth = self.auth.lock().unwrap_or_else(PoisonError::into_inner);
        auth.refused.insert(secret.to_owned());
    }

    /// What it wrote to stderr.
    pub fn stderr_so_far(&self) -> String {
        self.process.state().read(|state| text(&state.stderr))
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
fn try_start(
    program: &std::path::Path,
    ca: &Ca,
    realm: &str,
    tls: bool,
    addr: SocketAddr,
) -> Option<(Process, SocketAddr, TempDir)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    image::write(&dir.path().join("storage"));
    let config = dir.path().join("config.yml");
    let Identity { cert, key, .. } = ca.server();
    let tls = if tls {
        format!(", tls: {{ certificate: {}, key: {} }}", cert.display(), key.display())
    } else {
        String::new()
    };
    let settings = format!(
        "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {storage} }} }}\n\
         http: {{ addr: \"{addr}\", secret: not-a-secret{tls} }}\n\
         auth: {{ token: {{ realm: \"{realm}/token\", service: {service}, issuer: {issuer}, \
         rootcertbundle: {root} }} }}\n",
        storage = dir.path().join("storage").display(),
        service = auth::SERVICE,
        issuer = auth::ISSUER,
        root = ca.pem().display(),
    );
    write_private(&config, settings.as_bytes());
    let mut command = Command::new(program);
    command.arg("serve").arg(&config).env_clear().env("OTEL_SDK_DISABLED", "true").current_dir(dir.path());
    let process = Process::spawn(command, Input::Nothing).ok()?;
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE && process.state().read(|state| state.exit().is_none()) {
        if TcpStream::connect(addr).is_ok() {
            return Some((process, addr, dir));
        }
        std::thread::yield_now();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client, git_server::basic_value};

    #[test]
    fn the_real_registry_believes_the_tokens_made_here() {
        for builder in [Registry::builder(), Registry::builder().tls()] {
            believes_its_tokens(builder);
        }
    }

    fn believes_its_tokens(builder: Builder) {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let registry = builder.accept(&idp, "oauth2").user("alice", "password").start(&ca);
        let manifest = format!("{}/v2/{}/manifests/latest", registry.origin(), image::REPOSITORY);
        let refusal = client::get(&ca, &manifest, &[]).unwrap();
        let challenge = refusal.header("www-authenticate").unwrap().to_owned();
        assert!(refusal.status == 401 && challenge.starts_with("Bearer realm="), "{challenge}");
        let url = format!(
            "{}/token?service={}&scope=repository:a/b:pull",
            registry.tokens.base_url(),
            auth::SERVICE
        );
        let ask = |pair: &str| {
            let authorization = basic_value(pair);
            client::get(&ca, &url, &[("Authorization", &authorization)]).unwrap()
        };
        let token = idp.tokens().issue();
        for pair in ["alice:password".to_owned(), format!("oauth2:{token}")] {
            let bearer = format!("Bearer {}", ask(&pair).json()["token"].as_str().unwrap());
            let accept = ("Accept", image::MANIFEST_TYPE);
            let answer = client::get(&ca, &manifest, &[("Authorization", &bearer), accept]).unwrap();
            let said = registry.stderr_so_far();
            assert_eq!((answer.status, &answer.json()["schemaVersion"]), (200, &2.into()), "{said}");
        }
        registry.refuse(&token);
        for pair in ["alice:wrong".to_owned(), format!("bob:{token}"), format!("oauth2:{token}")] {
            assert_eq!(ask(&pair).status, 401, "{pair}");
        }
    }
}

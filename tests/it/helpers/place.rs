//! What the tests of docker's family begin with: a registry, and an usherd that keeps its logins or owns it.

use usher_testkit::{
    ca::Ca,
    git_server::basic,
    idp::FakeIdp,
    process::Output,
    registry::{Builder, Registry},
    tokens::canary,
    usherd::Usherd,
};

use super::{call_usher, helper, owner};
use crate::support::sandbox;

/// What docker's helpers say where there is nothing.
pub(super) const NOT_FOUND: &str = "credentials not found in native keychain\n";

/// A registry that alice may enter, and usher, called `docker-credential-usher`.
pub(super) struct Place {
    pub(super) usherd: Usherd,
    pub(super) idp: FakeIdp,
    pub(super) registry: Registry,
    /// alice's.
    pub(super) password: String,
    // Its root is read for every token request.
    pub(super) ca: Ca,
}

impl Place {
    /// The registry is its users' own.
    pub(super) fn stored(registry: Builder) -> Self {
        Self::new(registry, None)
    }

    /// The registry is a profile's, whose token goes with this user name.
    pub(super) fn owned(registry: Builder, username: &str) -> Self {
        Self::new(registry, Some(username))
    }

    fn new(registry: Builder, username: Option<&str>) -> Self {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let password = canary("PASSWORD");
        let registry = registry.user("alice", &password);
        let registry = match username {
            Some(username) => registry.accept(&idp, username),
            None => registry,
        };
        let registry = registry.start(&ca);
        let sandbox = sandbox();
        sandbox.watch(&idp);
        sandbox.leaks().token("alice's password", &password);
        let url = match username {
            Some(_) => format!("{}/", registry.origin()),
            None => "https://elsewhere.example.com/".to_owned(),
        };
        let profile = owner(&sandbox, &ca, &idp, &url, username.unwrap_or("oauth2"));
        sandbox.config(&format!("{profile}[store]\nkey = {{ file = \"store.key\" }}\n"));
        call_usher(&sandbox, &["docker-credential-usher"]);
        Self { usherd: sandbox.start(), idp, registry, password, ca }
    }

    /// The same with another usherd.
    pub(super) fn restarted(self) -> Self {
        let sandbox = self.usherd.sandbox().clone();
        drop(self.usherd.stop());
        Self { usherd: sandbox.start(), ..self }
    }

    /// What `docker-credential-usher OPERATION` answers to `input`.
    pub(super) fn helper(&self, operation: &str, input: &str) -> Output {
        helper(&self.usherd, &["docker", operation], input)
    }

    /// Whom the registry's token server let in, or not: user and password of each request.
    pub(super) fn callers(&self) -> Vec<Option<(String, String)>> {
        let of = |value: Option<&str>| value.and_then(basic);
        self.registry.token_requests().iter().map(|request| of(request.header("authorization"))).collect()
    }

    /// Every request for a registry's token came with the profile's one token, under this user name.
    pub(super) fn all_came_with_the_token(&self, username: &str) {
        let [token] = &self.idp.issued()[..] else { panic!("{} tokens", self.idp.issued().len()) };
        let (callers, expected) = (self.callers(), Some((username.to_owned(), token.clone())));
        assert!(!callers.is_empty() && callers.iter().all(|caller| *caller == expected));
    }

    /// Every request for a registry's token came with the profile's one token, as an identity token.
    pub(super) fn all_came_with_an_identity(&self) {
        let [token] = &self.idp.issued()[..] else { panic!("{} tokens", self.idp.issued().len()) };
        let (requests, field) = (self.registry.token_requests(), ("refresh_token".to_owned(), token.clone()));
        assert!(!requests.is_empty());
        assert!(requests.iter().all(|request| request.method == "POST" && request.form().contains(&field)));
    }

    /// A directory with the authority of the registry's certificate, as podman and skopeo are told of one.
    pub(super) fn certificates(&self) -> std::path::PathBuf {
        let root = std::fs::read_to_string(self.ca.pem()).unwrap();
        self.usherd.file("home/certificates/ca.crt", &root).parent().unwrap().to_owned()
    }
}

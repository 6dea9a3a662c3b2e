//! The registry's token server: who may have a token, and the JWT that the registry believes.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};

use crate::{
    ca::Ca,
    git_server::basic,
    http::{Recorded, pairs},
    idp::Reply,
    tokens::Issued,
};

pub(super) const SERVICE: &str = "usher-test-registry";
pub(super) const ISSUER: &str = "usher-test-tokens";

/// How long a registry's own token lives.
const LIFETIME: Duration = Duration::from_secs(300);

/// Who may have a token.
#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) issued: Vec<(String, Issued)>,
    pub(super) users: Vec<(String, String)>,
    pub(super) identity: Option<String>,
    pub(super) refused: BTreeSet<String>,
}

impl Auth {
    pub(super) fn answer(&self, request: &Recorded, signer: &Signer) -> Reply {
        let fields = match request.method.as_str() {
            "POST" => request.form(),
            _ => pairs(request.path.split_once('?').map_or("", |(_, query)| query)),
        };
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let good = if request.method == "POST" {
            field("grant_type") == Some("refresh_token")
                && field("refresh_token").is_some_and(|token| self.accepts_identity(token))
        } else {
            let pair = request.header("authorization").and_then(basic);
            pair.is_some_and(|(user, password)| self.accepts(&user, &password))
        };
        if !good {
            return Reply::json(401, &json!({ "errors": [{ "code": "UNAUTHORIZED" }] }));
        }
        let scopes = fields.iter().filter(|(key, _)| key == "scope").map(|(_, value)| value.as_str());
        let token = signer.token(scopes.flat_map(|scope| scope.split(' ')));
        let mut body = json!({ "token": token, "access_token": token, "expires_in": LIFETIME.as_secs() });
        if let Some(identity) = self.identity.as_ref().filter(|_| field("offline_token") == Some("true")) {
            body["refresh_token"] = json!(identity);
        }
        Reply::json(200, &body)
    }

    fn accepts(&self, user: &str, password: &str) -> bool {
        let issued = self.issued.iter().any(|(name, issued)| name == user && issued.contains(password));
        let known = self.users.iter().any(|(name, secret)| name == user && secret == password);
        (issued || known) && !self.refused.contains(password)
    }

    fn accepts_identity(&self, token: &str) -> bool {
        let issued = self.issued.iter().any(|(_, issued)| issued.contains(token));
        (issued || self.identity.as_deref() == Some(token)) && !self.refused.contains(token)
    }
}

/// Signs the registry's tokens with a key whose certificate is of the authority that the registry trusts.
#[derive(Debug)]
pub(super) struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
}

impl Signer {
    pub(super) fn new(ca: &Ca) -> Self {
        let identity = ca.named("registry-tokens", &["registry-tokens"]);
        let der = STANDARD.decode(unarmored(&identity.key)).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new());
        Self { key: key.expect("a P-256 key"), certificate: unarmored(&identity.cert) }
    }

    /// A token for these scopes, each `repository:NAME:ACTION,…`.
    fn token<'a>(&self, scopes: impl Iterator<Item = &'a str>) -> String {
        let access: Vec<Value> = scopes
            .filter_map(|scope| {
                let (kind, rest) = scope.split_once(':')?;
                let (name, actions) = rest.rsplit_once(':')?;
                let actions: Vec<_> = actions.split(',').collect();
                Some(json!({ "type": kind, "name": name, "actions": actions }))
            })
            .collect();
        let now = now();
        let claims = json!({
            "iss": ISSUER, "sub": "", "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + LIFETIME.as_secs(),
            "jti": "usher", "access": access,
        });
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What stands between the lines of a PEM file, in one line.
fn unarmored(pem: &std::path::Path) -> String {
    let text = fs::read_to_string(pem).expect("a PEM file");
    text.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[expect(clippy::disallowed_methods, reason = "the registry has the system's clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

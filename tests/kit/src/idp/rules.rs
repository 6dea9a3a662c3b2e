//! What the IdP demands of a token request: the guide's example and not a byte else.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Reply;
use crate::http::{Recorded, decode};

/// How the request's parameters are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// As the guide shows it: `application/json`.
    Json,
    /// As RFC 6749 has it: `application/x-www-form-urlencoded`.
    Form,
}

/// What the IdP does about `audience`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// One is taken, none is fine, too.
    Any,
    /// Exactly this one has to be sent.
    Required(String),
    /// None may be sent.
    Refused,
}

#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) path: String,
    pub(super) body: BodyFormat,
    /// Credentials in the `Authorization` header (RFC 6749, section 2.3.1) instead of the body.
    pub(super) basic_auth: bool,
    pub(super) clients: BTreeMap<String, String>,
    pub(super) audience: Audience,
    pub(super) scopes: BTreeSet<String>,
    pub(super) params: BTreeSet<String>,
}

/// What the request may have: the granted scope, as sent.
pub(super) struct Granted {
    pub(super) scope: Option<String>,
}

impl Rules {
    /// The grant, or the error to answer.
    pub(super) fn check(&self, request: &Recorded) -> Result<Granted, Reply> {
        let no = |status, description: &str| Reply::oauth_error(status, "invalid_request", description);
        if request.route() != self.path {
            return Err(no(404, "there is nothing here"));
        }
        if request.method != "POST" {
            return Err(no(405, "the token endpoint takes POST").header("Allow", "POST"));
        }
        let content_type = match self.body {
            BodyFormat::Json => "application/json",
            BodyFormat::Form => "application/x-www-form-urlencoded",
        };
        if request.header("content-type") != Some(content_type) {
            return Err(no(415, &format!("Content-Type has to be {content_type}")));
        }
        if request.header("accept") != Some("application/json") {
            return Err(no(406, "Accept has to be application/json"));
        }
        let params = self.params(request).map_err(|why| no(400, &why))?;
        let get = |name: &str| params.get(name).map(String::as_str);
        match get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => {
                return Err(Reply::oauth_error(400, "unsupported_grant_type", "only client_credentials"));
            }
            None => return Err(no(400, "grant_type is missing")),
        }
        self.authenticate(request, &params)?;
        match (&self.audience, get("audience")) {
            (Audience::Any, _) | (Audience::Refused, None) => {}
            (Audience::Required(expected), Some(sent)) if sent == expected => {}
            (Audience::Required(_), _) => return Err(no(400, "audience is missing or unknown")),
            (Audience::Refused, Some(_)) => return Err(no(400, "audience is not supported")),
        }
        if let Some(unknown) =
            get("scope").and_then(|scope| scope.split(' ').find(|one| !self.scopes.contains(*one)))
        {
            return Err(Reply::oauth_error(400, "invalid_scope", &format!("unknown scope: {unknown}")));
        }
        Ok(Granted { scope: get("scope").map(str::to_owned) })
    }

    pub(super) fn authenticate(
        &self,
        request: &Recorded,
        params: &BTreeMap<String, String>,
    ) -> Result<(), Reply> {
        let refused = || {
            let reply = Reply::oauth_error(401, "invalid_client", "client authentication failed");
            if self.basic_auth { reply.header("WWW-Authenticate", "Basic realm=\"idp\"") } else { reply }
        };
        let in_body = Option::zip(params.get("client_id").cloned(), params.get("client_secret").cloned());
        let in_header = request.header("authorization").and_then(basic);
        // In the one place where they belong, and not in the other, too.
        let (here, elsewhere) = if self.basic_auth { (in_header, in_body) } else { (in_body, in_header) };
        match here {
            Some((id, secret)) if elsewhere.is_none() && self.clients.get(&id) == Some(&secret) => Ok(()),
            _ => Err(refused()),
        }
    }

    fn params(&self, request: &Recorded) -> Result<BTreeMap<String, String>, String> {
        let pairs: Vec<(String, String)> = match self.body {
            BodyFormat::Form => request.form(),
            BodyFormat::Json => json_params(&request.body)?,
        };
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            let known = ["grant_type", "client_id", "client_secret", "audience", "scope"];
            if !known.contains(&name.as_str()) && !self.params.contains(&name) {
                return Err(format!("unknown parameter: {name}"));
            }
            if value.is_empty() {
                return Err(format!("parameter without a value: {name}"));
            }
            if params.insert(name.clone(), value).is_some() {
                return Err(format!("parameter sent twice: {name}"));
            }
        }
        Ok(params)
    }
}

fn json_params(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return Err("the body is not a JSON object".to_owned());
    };
    let text = |(name, value): (String, Value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err(format!("parameter that is not a string: {name}")),
    };
    object.into_iter().map(text).collect()
}

/// The client's id and secret out of `Basic ...`, form-urlencoded within as RFC 6749 wants.
fn basic(header: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((decode(id), decode(secret)))
}

//! The IdP's revocation endpoint: RFC 7009 and not a byte else.

use std::collections::{BTreeMap, VecDeque};

use super::{Reply, rules::Rules};
use crate::http::Recorded;

/// What it is told to answer, and what it has revoked.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    pub(super) script: VecDeque<Reply>,
    pub(super) revoked: Vec<String>,
}

impl Revocations {
    pub(super) fn answer(&mut self, request: &Recorded, rules: &Rules) -> Reply {
        let token = match check(request, rules) {
            Ok(token) => token,
            Err(refusal) => return refusal,
        };
        self.script.pop_front().unwrap_or_else(|| {
            self.revoked.push(token);
            Reply::status(200)
        })
    }
}

/// The token, or the error to answer.
fn check(request: &Recorded, rules: &Rules) -> Result<String, Reply> {
    let no = |status, description: &str| Reply::oauth_error(status, "invalid_request", description);
    if request.method != "POST" {
        return Err(no(405, "the revocation endpoint takes POST"));
    }
    if request.header("content-type") != Some("application/x-www-form-urlencoded") {
        return Err(no(415, "a revocation is a form"));
    }
    let mut params = BTreeMap::new();
    for (name, value) in request.form() {
        if !["token", "token_type_hint", "client_id", "client_secret"].contains(&name.as_str()) {
            return Err(no(400, &format!("unknown parameter: {name}")));
        }
        if params.insert(name.clone(), value).is_some() {
            return Err(no(400, &format!("parameter sent twice: {name}")));
        }
    }
    if params.get("token_type_hint").map(String::as_str) != Some("access_token") {
        return Err(no(400, "token_type_hint has to be access_token"));
    }
    rules.authenticate(request, &params)?;
    params.remove("token").ok_or_else(|| no(400, "token is missing"))
}

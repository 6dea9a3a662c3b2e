//! The client credentials grant (RFC 6749 section 4.4.2).

use super::Parameters;
use crate::token::ports::IssueRequest;

/// Its parameters, without the client's authentication.
pub fn parameters(request: &IssueRequest) -> Parameters<'_> {
    Parameters {
        grant_type: "client_credentials",
        client_id: None,
        client_secret: None,
        audience: request.audience.as_deref(),
        scope: (!request.scopes.is_empty()).then(|| request.scopes.to_string()),
        resources: request.grant.resources.iter().map(String::as_str).collect(),
        params: request.grant.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
    }
}

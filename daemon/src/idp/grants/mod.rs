//! The parameters of a token request, one file a grant.

pub mod client_credentials;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Parameters in the order in which NetFoundry's guide shows them. What is not set is not sent.
#[derive(Serialize)]
pub struct Parameters<'a> {
    /// RFC 6749.
    pub grant_type: &'static str,
    /// Set where the client authenticates in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<&'a str>,
    /// Set where the client authenticates in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<&'a str>,
    /// Auth0's parameter for the API that the token is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<&'a str>,
    /// RFC 6749 section 3.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// RFC 8707: one, or several.
    #[serde(rename = "resource", skip_serializing_if = "Vec::is_empty", serialize_with = "one_or_more")]
    pub resources: Vec<&'a str>,
    /// What the profile has sent besides.
    #[serde(flatten)]
    pub params: BTreeMap<&'a str, &'a str>,
}

impl Parameters<'_> {
    /// The same as pairs, for a form.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = [
            ("grant_type", Some(self.grant_type)),
            ("client_id", self.client_id),
            ("client_secret", self.client_secret),
            ("audience", self.audience),
            ("scope", self.scope.as_deref()),
        ];
        own.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .chain(self.resources.iter().map(|resource| ("resource", *resource)))
            .chain(self.params.iter().map(|(name, value)| (*name, *value)))
    }
}

/// A single one as a string: servers that know no lists take it.
fn one_or_more<S: Serializer>(values: &[&str], serializer: S) -> Result<S::Ok, S::Error> {
    match values {
        [one] => serializer.serialize_str(one),
        several => several.serialize(serializer),
    }
}

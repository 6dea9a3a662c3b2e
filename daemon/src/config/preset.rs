//! Presets: what a profile need not say, as data. Each is a file in `presets/`; no code knows one.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

/// A preset's file.
#[derive(Debug)]
pub struct Preset {
    /// What a configuration calls it.
    pub name: &'static str,
    /// One line about it.
    pub summary: String,
    /// Where its facts come from.
    pub sources: Vec<String>,
    /// What its server does otherwise than others, in sentences.
    pub quirks: Vec<String>,
    /// Where its long-lived tokens are revoked by their owner, in words.
    pub revoked_at: Option<String>,
    /// A profile that uses it, as it stands in a configuration.
    pub example: String,
    /// Keys that its server cannot do without, and why.
    pub required: BTreeMap<String, String>,
    /// Keys that its values are completed with: `{idp}` in a string stands for the key `idp`.
    pub variables: BTreeMap<String, Variable>,
    /// Keys of a profile whose value is a string.
    pub strings: BTreeMap<String, String>,
    /// Keys of a profile whose value is a list of strings.
    pub lists: BTreeMap<String, Vec<String>>,
    /// Keys of a profile whose value is a table of strings.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
}

/// A key that only this preset has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// What it is.
    pub about: String,
    /// How one looks.
    pub example: String,
    /// What it may be.
    pub kind: VariableKind,
    /// What it is if the profile does not say.
    pub default: Option<String>,
}

/// What a variable may be, so that it cannot turn into another part of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableKind {
    /// `acme.example.com` or `acme.example.com:8443`.
    Host,
    /// One segment of a path, or one label of a host's name.
    Segment,
    /// A URL without its scheme: a host, perhaps with a path.
    Base,
}

/// The preset of a profile that names none.
pub const DEFAULT: &str = "oauth2";

const FILES: [(&str, &str); 14] = [
    ("auth0", include_str!("presets/auth0.toml")),
    ("cognito", include_str!("presets/cognito.toml")),
    ("entra", include_str!("presets/entra.toml")),
    ("keycloak", include_str!("presets/keycloak.toml")),
    ("netfoundry", include_str!("presets/netfoundry.toml")),
    ("netfoundry-api-token", include_str!("presets/netfoundry-api-token.toml")),
    ("netfoundry-auth0", include_str!("presets/netfoundry-auth0.toml")),
    ("netfoundry-frontdoor", include_str!("presets/netfoundry-frontdoor.toml")),
    (DEFAULT, include_str!("presets/oauth2.toml")),
    ("oidc", include_str!("presets/oidc.toml")),
    ("okta", include_str!("presets/okta.toml")),
    ("pingfederate", include_str!("presets/pingfederate.toml")),
    ("pingone", include_str!("presets/pingone.toml")),
    ("zitadel", include_str!("presets/zitadel.toml")),
];

/// All presets, by name.
pub fn all() -> &'static [Preset] {
    static ALL: LazyLock<Vec<Preset>> =
        LazyLock::new(|| FILES.iter().filter_map(|(name, text)| parse(name, text).ok()).collect());
    &ALL
}

/// The preset of this name.
pub fn find(name: &str) -> Option<&'static Preset> {
    all().iter().find(|preset| preset.name == name)
}

fn parse(name: &'static str, text: &str) -> Result<Preset, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        summary: String,
        sources: Vec<String>,
        quirks: Vec<String>,
        revoked_at: Option<String>,
        example: String,
        #[serde(default)]
        required: BTreeMap<String, String>,
        #[serde(default)]
        variables: BTreeMap<String, Variable>,
        profile: BTreeMap<String, Value>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        String(String),
        List(Vec<String>),
        Map(BTreeMap<String, String>),
    }

    let file: File = toml::from_str(text)?;
    let mut preset = Preset {
        name,
        summary: file.summary,
        sources: file.sources,
        quirks: file.quirks,
        revoked_at: file.revoked_at,
        example: file.example,
        required: file.required,
        variables: file.variables,
        strings: BTreeMap::new(),
        lists: BTreeMap::new(),
        maps: BTreeMap::new(),
    };
    for (key, value) in file.profile {
        match value {
            Value::String(text) => drop(preset.strings.insert(key, text)),
            Value::List(list) => drop(preset.lists.insert(key, list)),
            Value::Map(map) => drop(preset.maps.insert(key, map)),
        }
    }
    Ok(preset)
}

#[cfg(test)]
mod tests;

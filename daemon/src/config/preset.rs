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
    pub source: String,
    /// Keys that its values are completed with: `{idp}` in a string stands for the key `idp`.
    pub variables: BTreeMap<String, Variable>,
    /// Keys of a profile whose value is a string.
    pub strings: BTreeMap<String, String>,
    /// Keys of a profile whose value is a list of strings.
    pub lists: BTreeMap<String, Vec<String>>,
}

/// A key that only this preset has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// What it is.
    pub about: String,
    /// How one looks.
    pub example: String,
}

/// The preset of a profile that names none.
pub const DEFAULT: &str = "oauth2";

const FILES: [(&str, &str); 3] = [
    ("netfoundry-api-token", include_str!("presets/netfoundry-api-token.toml")),
    ("netfoundry-frontdoor", include_str!("presets/netfoundry-frontdoor.toml")),
    (DEFAULT, include_str!("presets/oauth2.toml")),
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
        source: String,
        #[serde(default)]
        variables: BTreeMap<String, Variable>,
        profile: BTreeMap<String, Value>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        String(String),
        List(Vec<String>),
    }

    let file: File = toml::from_str(text)?;
    let mut preset = Preset {
        name,
        summary: file.summary,
        source: file.source,
        variables: file.variables,
        strings: BTreeMap::new(),
        lists: BTreeMap::new(),
    };
    for (key, value) in file.profile {
        match value {
            Value::String(text) => drop(preset.strings.insert(key, text)),
            Value::List(list) => drop(preset.lists.insert(key, list)),
        }
    }
    Ok(preset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses() {
        for (name, text) in FILES {
            if let Err(error) = parse(name, text) {
                panic!("{name}: {error}");
            }
        }
        assert_eq!(all().len(), FILES.len());
    }
}

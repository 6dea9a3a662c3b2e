//! docker's config.json, which podman and skopeo read in part.

use std::path::{Path, PathBuf};

use super::{
    format::{Change, Format},
    json,
    places::Place,
    record::Entry,
};
use crate::{caller::Caller, error::Error};

/// The helper's name in docker's words: docker puts `docker-credential-` before it.
const NAME: &str = "usher";
/// The helper of all registries.
const STORE: &str = "credsStore";
/// Those of single ones.
const HELPERS: &str = "credHelpers";

/// `$DOCKER_CONFIG/config.json`, or that of the home.
pub(super) fn file(caller: &Caller<'_>) -> Result<PathBuf, Error> {
    let path = |name| caller.var(name).map(PathBuf::from);
    let directory = path("DOCKER_CONFIG").or_else(|| Some(path("HOME")?.join(".docker")));
    let directory = directory.filter(|directory| directory.is_absolute()).ok_or_else(|| {
        Error::Environment(
            "no place for docker's config.json: set HOME or DOCKER_CONFIG to an absolute path".to_owned(),
        )
    })?;
    Ok(directory.join("config.json"))
}

/// config.json, by this name in errors.
pub(super) struct Docker<'a>(pub(super) &'a Path);

impl Docker<'_> {
    fn told<T>(&self, result: Result<T, String>) -> Result<T, Error> {
        result.map_err(|error| Error::Configuration(format!("{}: {error}", self.0.display())))
    }
}

impl Format for Docker<'_> {
    fn values(&self, text: &str, key: &[String]) -> Result<Vec<String>, Error> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.told(json::get(text, key))?.into_iter().collect())
    }

    fn put(&self, text: &str, change: &Change) -> Result<String, Error> {
        self.told(json::set(text, &change.key, &change.value))
    }

    fn take(&self, text: &str, entry: &Entry) -> Result<String, Error> {
        self.told(match &entry.was {
            Some(was) => json::set(text, &entry.key, was),
            None => json::remove(text, &entry.key),
        })
    }

    fn facts(&self, text: &str) -> Result<String, Error> {
        if text.trim().is_empty() {
            return Ok("{}".to_owned());
        }
        let read = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
        let mut facts = self.told(read.map_err(|error| error.to_string()))?;
        // An empty list of helpers says as much as none.
        facts.retain(|name, value| name != HELPERS || value.as_object().is_some_and(|list| !list.is_empty()));
        Ok(serde_json::Value::from(facts).to_string())
    }

    fn is_empty(&self, text: &str) -> Result<bool, Error> {
        Ok(self.facts(text)? == "{}")
    }
}

/// The keys that are there for `places`; for all registries if there are none.
pub(super) fn keys(places: &[Place]) -> Vec<Vec<String>> {
    if places.is_empty() {
        return vec![vec![STORE.to_owned()]];
    }
    let mut keys: Vec<_> = places.iter().map(|place| vec![HELPERS.to_owned(), place.registry()]).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// What is still to be done so that docker asks usher.
pub(super) fn changes(docker: &Docker<'_>, text: &str, places: &[Place]) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for key in keys(places) {
        let was = docker.values(text, &key)?.pop();
        if was.as_deref() != Some(NAME) {
            changes.push(Change { key, value: NAME.to_owned(), was });
        }
    }
    Ok(changes)
}

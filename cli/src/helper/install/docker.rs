//! docker's config.json, which podman and skopeo read in part.

use std::path::{Path, PathBuf};

use super::{
    format::{Change, Format},
    json, named,
    places::Place,
    record::{Entry, Want},
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
        result.map_err(|error| Error::Configuration(format!("{}: {error}", named(self.0))))
    }
}

impl Format for Docker<'_> {
    fn check(&self, text: &str, _: &[Want]) -> Result<(), Error> {
        if text.trim().is_empty() {
            return Ok(());
        }
        self.told(json::get(text, &[STORE.to_owned()]))?;
        self.told(json::check_strings(text, HELPERS))
    }

    fn values(&self, text: &str, key: &[String]) -> Result<Vec<String>, Error> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.told(json::get(text, key))?.into_iter().collect())
    }

    fn missing(&self, text: &str, want: &Want) -> Result<Option<Change>, Error> {
        let was = self.values(text, &want.key)?.pop();
        let is_there = was.as_ref() == Some(&want.value);
        Ok((!is_there).then(|| Change { was, ..Change::new(want) }))
    }

    fn put(&self, text: &str, change: &Change) -> Result<String, Error> {
        self.told(json::set(text, &change.want.key, &change.want.value))
    }

    fn take(&self, text: &str, entry: &Entry) -> Result<String, Error> {
        self.told(match &entry.was {
            Some(was) => json::set(text, &entry.want.key, was),
            None => json::remove(text, &entry.want.key),
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

/// docker tells a registry, and no profile.
pub(super) fn check(profile: &str, places: &[Place]) -> Result<(), Error> {
    if !places.iter().any(|place| place.by_name_only) {
        return Ok(());
    }
    Err(Error::Configuration(format!(
        "the profile {profile} has `by_name_only`, and docker cannot name it: usher would never give docker its token; \
         take `by_name_only` out of its configuration, then `usher reload`, or name a profile that its `urls` choose"
    )))
}

/// What is to be there so that docker asks usher for `places`; for all registries if there are none.
pub(super) fn wants(places: &[Place]) -> Vec<Want> {
    let mut keys: Vec<_> = places.iter().map(|place| vec![HELPERS.to_owned(), place.registry()]).collect();
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        keys.push(vec![STORE.to_owned()]);
    }
    keys.into_iter().map(|key| Want { key, value: NAME.to_owned() }).collect()
}

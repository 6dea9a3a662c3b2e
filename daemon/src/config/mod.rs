//! The configuration: TOML into validated, typed profiles, without side effects.
//!
//! - [`parse`]: the whole of it, or a [`Report`] of everything that is wrong
//! - [`preset`]: what a profile need not say, as data files
//!
//! Secrets are not here: a configuration holds references to them and never a secret itself.

pub mod preset;
mod profile;
mod report;
mod secret_ref;
mod section;
mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

pub use self::report::{Problem, Report};
use self::section::{Document, Section};
use crate::domain::profile::{Network, Profile, Profiles};

/// What paths in the configuration are relative to.
#[derive(Debug, Clone)]
pub struct Context {
    /// The configuration's own directory.
    pub directory: PathBuf,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// The uid of a user of the system, by name.
    pub uid_of: fn(&str) -> Option<u32>,
    /// How IdPs are reached where neither a profile nor the file says.
    pub network: Network,
}

/// Parses and validates the text of the file at `path`. All of its mistakes are in the report.
pub fn parse(text: &str, path: &Path, context: &Context) -> Result<Profiles, Report> {
    let document = Document::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        document.syntax(error);
    }
    let profiles = read(&Section::new(&document, "", 0..0, root.get_ref()), context);
    let problems = document.into_problems();
    if problems.is_empty() { Ok(profiles) } else { Err(Report { path: path.to_owned(), problems }) }
}

fn read(root: &Section<'_>, context: &Context) -> Profiles {
    let network = profile::general_network(root, context);
    let context = &Context { network, ..context.clone() };
    let mut profiles = BTreeMap::new();
    for (name, section) in root.tables("profile") {
        let before = root.problems();
        match profile::read(name, section, context) {
            Some(profile) => drop(profiles.insert(name.to_owned(), Arc::new(profile))),
            // No profile is ever left out without a word.
            None if root.problems() == before => {
                root.problem("profile", format!("{name} cannot be understood"));
            }
            None => {}
        }
    }
    if root.problems() == 0 {
        one_owner_each(root, &profiles);
    }
    let default_profile = root.string("default_profile");
    if let Some(name) = &default_profile
        && !root.tables("profile").iter().any(|(known, _)| known == name)
    {
        root.problem("default_profile", format!("there is no [profile.{name}]"));
    }
    let settings = settings::read(root, context);
    root.finish();
    Profiles { by_name: profiles, default_profile, settings }
}

/// A URL leads to one profile, or to none: never to whichever comes first. What no profile says itself, but the presets of
/// several do, leads to none.
fn one_owner_each(root: &Section<'_>, profiles: &BTreeMap<String, Arc<Profile>>) {
    let mut owners = HashMap::new();
    for (name, section) in root.tables("profile") {
        let claims = |profile: &&Arc<Profile>| !profile.by_name_only && !profile.urls_are_presets;
        let Some(profile) = profiles.get(name).filter(claims) else { continue };
        for prefix in &profile.urls {
            let Some(owner) = owners.insert(prefix.key(), name).filter(|owner| *owner != name) else {
                continue;
            };
            let key = ["urls", "base_url"].into_iter().find(|key| section.has(key)).unwrap_or_default();
            section.problem(
                key,
                format!(
                    "{prefix} is a URL of the profile {owner}, too, and has to lead to one of them: write by_name_only = \
                     true into the one that is only used by its name"
                ),
            );
            break;
        }
    }
}

#[cfg(test)]
mod tests;

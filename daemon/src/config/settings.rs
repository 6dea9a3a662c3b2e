//! The keys at the top of the file that concern the daemon itself.

use std::{collections::BTreeSet, time::Duration};

use super::{Context, secret_ref, section::Section};
use crate::domain::{
    secret::SecretRef,
    settings::{IdleExit, Settings, StoreSettings},
};

/// Longer than a job that somebody waits for.
const MAX_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What is longer is never.
const MAX_IDLE_EXIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads them. What is wrong is noted, and has its default here.
pub(super) fn read(root: &Section<'_>, context: &Context) -> Settings {
    let default = Settings::default();
    let (allowed_users, unknown_users) = allowed_users(root, context);
    Settings {
        allowed_users,
        unknown_users,
        shutdown_timeout: root
            .string("shutdown_timeout")
            .and_then(|text| shutdown_timeout(root, &text))
            .unwrap_or(default.shutdown_timeout),
        idle_exit: root.string("idle_exit").and_then(|text| idle_exit(root, &text)),
        store: store(root, context),
    }
}

/// `[store]`.
fn store(root: &Section<'_>, context: &Context) -> Option<StoreSettings> {
    let Ok(section) = root.inline_table("store")? else {
        root.problem("store", "is no table; write [store] and its keys below");
        return None;
    };
    let key = secret_ref::read(&section, "key", context);
    let directory =
        section.string("directory").map(|text| secret_ref::path(&section, "directory", &text, context));
    section.finish();
    let (key, directory) = (
        key?,
        match directory {
            Some(path) => Some(path?),
            None => None,
        },
    );
    if let (SecretRef::File(file), Some(directory)) = (&key, &directory)
        && file.starts_with(directory)
    {
        section.problem(
            "key",
            "lies in the store's own directory: whoever copies the one has the other; move it",
        );
        return None;
    }
    Some(StoreSettings { key, directory })
}

/// The uids, and the names that have none: the account was deleted, or the directory that knows it cannot be asked
/// now. That must not keep the daemon from starting, and so from serving the others.
fn allowed_users(root: &Section<'_>, context: &Context) -> (BTreeSet<u32>, Vec<String>) {
    let (mut known, mut unknown) = (BTreeSet::new(), Vec::new());
    for user in root.words("allowed_users").unwrap_or_default() {
        // No name is a number (useradd(8)).
        match user.parse().ok().or_else(|| (context.uid_of)(&user)) {
            Some(uid) => drop(known.insert(uid)),
            None => unknown.push(user),
        }
    }
    (known, unknown)
}

fn shutdown_timeout(root: &Section<'_>, text: &str) -> Option<Duration> {
    match humantime::parse_duration(text) {
        Ok(span) if span <= MAX_SHUTDOWN_TIMEOUT => return Some(span),
        Ok(_) => root.problem("shutdown_timeout", "must be at most 1h"),
        Err(_) => root.problem("shutdown_timeout", "is no duration; write one such as \"5s\""),
    }
    None
}

fn idle_exit(root: &Section<'_>, text: &str) -> Option<IdleExit> {
    if text == "never" {
        return Some(IdleExit::Never);
    }
    match humantime::parse_duration(text) {
        Ok(span) if !span.is_zero() && span <= MAX_IDLE_EXIT => return Some(IdleExit::After(span)),
        Ok(span) if span > MAX_IDLE_EXIT => root.problem("idle_exit", "must be at most 366d, or \"never\""),
        _ => root.problem("idle_exit", "is no duration; write one such as \"10m\", or \"never\""),
    }
    None
}

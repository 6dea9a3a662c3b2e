//! References to secrets, and a firm word about secrets themselves.

use std::path::PathBuf;

use super::{Context, section::Section};
use crate::domain::secret::SecretRef;

/// The reference in `key`, which has to be there.
pub(super) fn read(section: &Section<'_>, key: &str, context: &Context) -> Option<SecretRef> {
    let reference = match section.inline_table(key) {
        None => {
            section.missing(key, how(key));
            return None;
        }
        // The value itself is not shown: it may well be the secret.
        Some(Err(_)) => {
            section.problem(
                key,
                format!(
                    "holds a value where a reference belongs: a secret is never written in this file; {}",
                    how(key)
                ),
            );
            return None;
        }
        Some(Ok(reference)) => reference,
    };
    let (file, env) = (reference.string("file"), reference.string("env"));
    let given = usize::from(reference.has("file")) + usize::from(reference.has("env"));
    reference.finish();
    match (file, env) {
        _ if given != 1 => {
            section.problem(key, format!("must name exactly one source; {}", how(key)));
            None
        }
        (Some(file), _) => path(section, key, &file, context).map(SecretRef::File),
        (_, Some(name)) if !name.is_empty() && !name.contains(['=', '\0']) => Some(SecretRef::Env(name)),
        (_, Some(_)) => {
            section.problem(key, "env is not the name of a variable");
            None
        }
        (None, None) => None,
    }
}

fn how(key: &str) -> String {
    format!(
        "put it in a file that only you can read (chmod 600) and write {key} = {{ file = \"/path/to/it\" }}, \
         or {key} = {{ env = \"VARIABLE\" }}"
    )
}

/// A path of the configuration: absolute, below `~/`, or relative to the configuration's directory.
pub(super) fn path(section: &Section<'_>, key: &str, text: &str, context: &Context) -> Option<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        section.problem(key, "is no path");
        return None;
    }
    match (text.strip_prefix("~/"), &context.home) {
        (Some(rest), Some(home)) => Some(home.join(rest)),
        (Some(_), None) => {
            section.problem(key, "begins with ~/, but HOME is not set; write the path in full");
            None
        }
        (None, _) => Some(context.directory.join(text)),
    }
}

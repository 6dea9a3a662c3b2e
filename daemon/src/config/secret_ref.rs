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
    let (command, credential) = (reference.strings("command"), reference.string("credential"));
    let given =
        ["file", "env", "command", "credential"].into_iter().filter(|source| reference.has(source)).count();
    reference.finish();
    if given != 1 {
        section.problem(key, format!("must name exactly one source; {}", how(key)));
        return None;
    }
    let (found, wrong) = if let Some(file) = file {
        (path(section, key, &file, context).map(SecretRef::File), None)
    } else if let Some(name) = env {
        let right = !name.is_empty() && !name.contains(['=', '\0']);
        (right.then_some(SecretRef::Env(name)), Some("env is not the name of a variable"))
    } else if let Some(argv) = command {
        let right = argv.first().is_some_and(|program| program.starts_with('/'))
            && !argv.iter().any(|word| word.contains('\0'));
        let wrong = "command must be a list that begins with the program's whole path: [\"/usr/bin/pass\", \"show\", \"x\"]";
        (right.then_some(SecretRef::Command(argv)), Some(wrong))
    } else if let Some(name) = credential {
        let right = !name.is_empty() && !name.contains(['/', '\0']) && !matches!(name.as_str(), "." | "..");
        (
            right.then_some(SecretRef::Credential(name)),
            Some("credential is not the name of a systemd credential"),
        )
    } else {
        (None, None)
    };
    if let (None, Some(wrong)) = (&found, wrong) {
        section.problem(key, wrong);
    }
    found
}

fn how(key: &str) -> String {
    format!(
        "put it in a file that only you can read (chmod 600) and write {key} = {{ file = \"/path/to/it\" }}, \
         or {{ env = \"VARIABLE\" }}, {{ command = [\"/path/of/program\", \"argument\"] }}, \
         {{ credential = \"NAME\" }}"
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

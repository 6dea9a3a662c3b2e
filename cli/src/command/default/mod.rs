//! `usher use`: shows the default profile, or has the configuration name another.

use std::path::{Path, PathBuf};

use usher_proto::v1::StatusRequest;

use super::{answer_json, some};
use crate::{args::Use, call::with_daemon, caller::Caller, error::Error, exit};

mod edit;
mod file;

pub(super) fn run(args: &Use, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let timeout = args.manner.timeout;
    let Some(wanted) = args.profile.as_deref().filter(|name| !name.is_empty()) else {
        let status =
            with_daemon(caller, timeout, async |daemon| daemon.status(StatusRequest::default()).await)?;
        return show(some(&status.default_profile), args.manner.json, caller);
    };
    if caller.var("USHER_SERVER_UID").is_some() {
        return Err(Error::usage(
            "another user's usherd does not say which file is changed here",
            "unset USHER_SERVER_UID, or edit default_profile where that usherd runs",
        ));
    }
    let change = with_daemon(caller, timeout, async |daemon| {
        // First what is written now: where that is refused nothing is changed, and the profile may be new.
        daemon.reload().await?;
        let status = daemon.status(StatusRequest { profile: wanted.to_owned() }).await?;
        let path = absolute(&status.config_path)?;
        if status.default_profile != wanted {
            file::rewrite(&path, |text| edit::set_default(text, wanted))?;
            daemon.reload().await?;
        }
        Ok(Change { path, before: status.default_profile })
    })?;
    let changed = change.before != wanted;
    if args.manner.json {
        let told = serde_json::json!({
            "default_profile": wanted, "before": some(&change.before), "changed": changed,
        });
        answer_json(&told, caller)?;
    } else if changed {
        caller.answer(&format!("{wanted} is now the default profile: {}\n", change.path.display()))?;
    } else {
        caller.answer(&format!("{wanted} is the default profile already\n"))?;
    }
    Ok(exit::OK)
}

struct Change {
    path: PathBuf,
    before: String,
}

fn show(default: Option<&str>, json: bool, caller: &mut Caller<'_>) -> Result<u8, Error> {
    match default {
        _ if json => answer_json(&serde_json::json!({ "default_profile": default }), caller)?,
        Some(name) => caller.answer(&format!("{name}\n"))?,
        None => {
            return Err(Error::usage(
                "there is no default profile",
                "`usher use PROFILE` makes one the default; `usher status` lists them",
            ));
        }
    }
    Ok(exit::OK)
}

/// The daemon's working directory is not ours.
fn absolute(path: &str) -> Result<PathBuf, Error> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    Err(Error::Configuration(format!(
        "usherd names its configuration {:?}, which this process cannot find: start it with an absolute path",
        path.display().to_string()
    )))
}

//! How a failure is told: `usher: what happened` and a hint, or the same as JSON. Always on stderr.

use std::{collections::BTreeMap, ffi::OsString};

use clap::error::ErrorKind;
use serde::Serialize;
use usher_proto::client::ConnectError;

use crate::{
    caller::{Caller, hung_up, printable},
    error::Error,
    exit,
};

/// What clap has to say: help is an answer, anything else an error.
pub(crate) fn usage(error: &clap::Error, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            caller.answer(&text)?;
            Ok(exit::OK)
        }
        _ => Err(Error::Syntax(text)),
    }
}

/// Whether a command line that could not be read asked for JSON. What stands behind `curl` or
/// `run` is for others.
pub(crate) fn wants_json(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|verb| verb != "curl" && verb != "run") && args.iter().any(|arg| arg == "--json")
}

/// Tells people, or a program, why there is no answer.
pub(crate) fn failure(error: &Error, caller: &mut Caller<'_>) {
    let text = match error {
        Error::Output(cause) if hung_up(cause) => return,
        Error::Syntax(text) if !caller.json() => text.clone(),
        _ if caller.json() => json(error),
        _ => human(error, caller.hint(error)),
    };
    caller.tell(&text);
}

fn human(error: &Error, hint: Option<String>) -> String {
    use std::fmt::Write as _;
    let mut text = format!("usher: {}\n", printable(error.to_string().trim_end()));
    if let Some(hint) = hint {
        let _ = writeln!(text, "  hint: {}", printable(&hint));
    }
    text
}

#[derive(Serialize)]
struct Report<'a> {
    error: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    reason: &'a str,
    message: String,
    hint: Option<String>,
    retry_after_seconds: Option<u64>,
    facts: BTreeMap<&'a str, &'a str>,
}

fn json(error: &Error) -> String {
    let (mut retry_after_seconds, mut facts) = (None, BTreeMap::new());
    if let Error::Refused(failure) = error {
        retry_after_seconds =
            failure.retry_after.map(|delay| delay.as_secs() + u64::from(delay.subsec_nanos() > 0));
        facts = failure.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    }
    let told = Told {
        reason: reason(error),
        message: error.to_string().trim_end().to_owned(),
        hint: error.hint(),
        retry_after_seconds,
        facts,
    };
    // Strings and numbers under string keys: nothing that serde_json could refuse.
    serde_json::to_string(&Report { error: told }).unwrap_or_default() + "\n"
}

/// The contract's name of the reason, or one of our own in the same style.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Usage { .. } | Error::Syntax(_) => "USAGE",
        Error::Unread(_) | Error::Input(_) => "INPUT_INVALID",
        Error::Environment(_) => "ENVIRONMENT_INVALID",
        Error::Socket(_) => "SOCKET_PATH_INVALID",
        Error::Connect(ConnectError::NotRunning { .. }) | Error::NotStarted { .. } => "NOT_RUNNING",
        Error::Connect(ConnectError::ForeignServer { .. }) => "FOREIGN_SERVER",
        Error::Connect(_) => "CONNECTION_FAILED",
        Error::Refused(failure) => usher_proto::error::name(failure.reason),
        Error::Foreign { .. } => "UNSPECIFIED",
        Error::Deadline(_) | Error::NotEnded { .. } => "DEADLINE_EXCEEDED",
        Error::Output(_) | Error::TokenFile { .. } => "OUTPUT_FAILED",
        Error::Service { .. } => "SYSTEMD_UNAVAILABLE",
        Error::Curl(_) => "CURL_UNAVAILABLE",
        Error::Run { .. } => "COMMAND_UNAVAILABLE",
        Error::Configuration(_) | Error::Once { .. } => "CONFIG_INVALID",
        Error::HalfDone { source, .. } => reason(source),
        Error::System { .. } | Error::Answer(_) => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use usher_proto::error::{ErrorReason, Failure};

    use super::*;

    fn refused() -> Error {
        Error::Refused(Failure {
            retry_after: Some(Duration::from_millis(27_500)),
            ..Failure::new(ErrorReason::IdpUnreachable, "no answer\x1b from the IdP").with("profile", "f")
        })
    }

    #[test]
    fn people_read_two_lines() {
        let error = refused();
        assert_eq!(
            human(&error, error.hint()),
            "usher: no answer\u{fffd} from the IdP\n  hint: try again in 28s\n"
        );
    }

    #[test]
    fn programs_read_json() {
        let value: serde_json::Value = serde_json::from_str(&json(&refused())).unwrap();
        let error = &value["error"];
        assert_eq!(error["reason"], "IDP_UNREACHABLE");
        assert_eq!(error["retry_after_seconds"], 28);
        assert_eq!(error["facts"]["profile"], "f");
        assert_eq!(error["message"], "no answer\x1b from the IdP");
    }

    #[test]
    fn a_command_line_that_cannot_be_read_is_told_as_it_asks() {
        let wants = |args: &[&str]| wants_json(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(wants(&["usher", "token", "--json", "--min-ttl", "soon"]));
        assert!(!wants(&["usher", "token", "--min-ttl", "soon"]));
        assert!(!wants(&["usher", "curl", "--timeout", "soon", "--json", "{}"]));
    }

    #[test]
    fn nobody_is_told_that_nobody_reads() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut caller = Caller::new(&mut out, &mut err, &|_| None);
        failure(&Error::Output(std::io::ErrorKind::BrokenPipe.into()), &mut caller);
        assert!(err.is_empty());
    }
}

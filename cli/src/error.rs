//! Every way to fail, by what the user does next, and the hint that says it.

use std::{io, path::Path, time::Duration};

use tonic::{Code, Status};
use usher_proto::{
    client::{ConnectError, SYSTEM_SOCKET},
    error::{ErrorReason, Failure},
    socket::PathError,
};

use crate::time::human;

/// Why a command failed. Its text says what happened, [`Error::hint`] what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for what cannot be done: it has to be written otherwise.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
        /// What to write.
        hint: Option<String>,
    },
    /// clap refused the command line. Its text is complete, hints included.
    #[error("{0}")]
    Syntax(String),
    /// An environment variable has to be set otherwise.
    #[error("{0}")]
    Environment(String),
    /// No place for the socket.
    #[error(transparent)]
    Socket(#[from] PathError),
    /// usherd has to be started, or is not to be trusted.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// usherd said no, and why.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// What answered gave no reason of the contract: the transport, or another usherd.
    #[error("{message}")]
    Foreign {
        /// The gRPC code.
        code: Code,
        /// What it said.
        message: String,
    },
    /// Wait longer, or see what usherd is doing.
    #[error("no answer from usherd within {}", human(*.0))]
    Deadline(Duration),
    /// usherd was stopped and still finishes its calls.
    #[error("usherd (pid {pid}) takes no more calls, but has not finished its last within {}", human(*patience))]
    NotEnded {
        /// Its process ID.
        pid: u32,
        /// How long it was waited for.
        patience: Duration,
    },
    /// What a program asked on stdin cannot be read.
    #[error("cannot read what is asked on stdin: {0}")]
    Unread(io::Error),
    /// What a program asked on stdin means nothing, or not the same to everybody. Nobody was asked.
    #[error("{0}")]
    Input(String),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
    /// curl is missing or cannot be run.
    #[error("cannot run curl: {0}")]
    Curl(io::Error),
    /// The command of `usher run` is missing or cannot be run.
    #[error("cannot run {command}: {source}")]
    Run {
        /// Its name.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The token cannot be put into a file.
    #[error("cannot {what} {path}: {source}")]
    TokenFile {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration's file has to change, or cannot be changed.
    #[error("{0}")]
    Configuration(String),
    /// It failed half-way.
    #[error("{source}\ndone before that: {}", .done.join(", "))]
    HalfDone {
        /// Why.
        source: Box<Error>,
        /// What was done before.
        done: Vec<String>,
        /// What to do now.
        hint: String,
    },
    /// The operating system refused something that ought to work.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The user's systemd is not there, or refused.
    #[error("{message}")]
    Service {
        /// What happened.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// There was no usherd and none could be started.
    #[error("usherd is not running, and it does not start: {}", why.trim_end())]
    NotStarted {
        /// What it said.
        why: String,
        /// How it exited.
        code: Option<i32>,
    },
    /// The usherd for this one call ended without an answer.
    #[error("{}", why.trim_end())]
    Once {
        /// What it said.
        why: String,
        /// How it exited.
        code: Option<i32>,
        /// The profile was to come from variables.
        from_env: bool,
    },
    /// usherd's answer cannot be used.
    #[error("{0}")]
    Answer(String),
}

impl Error {
    /// A command line that has to be written otherwise, as `hint` says.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// The same for a program, which cannot say how long it waits: `--timeout` is no word of its protocol's, or has
    /// another meaning there.
    pub(crate) fn hint_to_program(&self) -> Option<String> {
        let Some(goes_on) = self.lateness() else { return self.hint() };
        Some(if goes_on { "ask again: usherd goes on fetching" } else { "ask again" }.to_owned())
    }

    /// Whether it has taken too long; and if so, whether usherd has said that it goes on.
    fn lateness(&self) -> Option<bool> {
        match self {
            Self::Refused(failure) if failure.reason == ErrorReason::DeadlineExceeded => Some(true),
            Self::Foreign { code: Code::DeadlineExceeded | Code::Cancelled, .. } | Self::Deadline(_) => {
                Some(false)
            }
            _ => None,
        }
    }

    /// What to do next, where that does not follow from the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::Service { hint, .. } => hint.clone(),
            Self::HalfDone { hint, .. } => Some(hint.clone()),
            Self::Connect(ConnectError::NotRunning { path }) if path == Path::new(SYSTEM_SOCKET) => {
                Some("have root start it: `systemctl reset-failed usherd.service usherd.socket; \
                 systemctl restart usherd.socket`"
                    .to_owned())
            }
            Self::Connect(ConnectError::NotRunning { .. }) => {
                Some("start it: `systemctl --user start usherd`, or `usherd &`".to_owned())
            }
            Self::Once { from_env: true, .. } => {
                Some("USHER_ and the name of a key, in capitals, is the variable for it".to_owned())
            }
            Self::Once { from_env: false, code: Some(78), .. } | Self::NotStarted { code: Some(78), .. } => {
                Some("correct the configuration; `usherd --check-config` checks it".to_owned())
            }
            Self::NotEnded { .. } => Some("it ends by itself; nothing has to be done".to_owned()),
            Self::NotStarted { .. } => Some("start it yourself and see what it says: `usherd`".to_owned()),
            Self::Connect(error) if broke_off(error) => Some(
                "ask again: it may have been ending just now; if it stays so, USHER_SOCKET has to name usherd's socket"
                    .to_owned(),
            ),
            Self::Refused(failure) => hint_by_reason(failure),
            Self::Foreign { code: Code::Unimplemented, .. } => {
                Some("usherd is older than usher: restart it; `usher --version` shows both".to_owned())
            }
            Self::Foreign { code: Code::DeadlineExceeded | Code::Cancelled, .. } | Self::Deadline(_) => {
                Some("ask again, or wait longer with --timeout".to_owned())
            }
            Self::Foreign { .. } => {
                Some("see whether usherd is well: `usher status`, and its log".to_owned())
            }
            Self::Curl(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("install curl, or add its directory to PATH".to_owned())
            }
            Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("is it installed, and its directory in PATH?".to_owned())
            }
            Self::Configuration(_) => Some("nothing was changed; correct it and try again".to_owned()),
            Self::TokenFile { source, .. }
                if matches!(source.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput) =>
            {
                Some("name a file that may be replaced, or that is not there yet".to_owned())
            }
            Self::TokenFile { .. } => Some("its directory has to be there, and yours to write to".to_owned()),
            Self::Syntax(_)
            | Self::Once { .. }
            | Self::Environment(_)
            | Self::Socket(_)
            | Self::Connect(_)
            | Self::Unread(_)
            | Self::Input(_)
            | Self::Output(_)
            | Self::Curl(_)
            | Self::Run { .. }
            | Self::System { .. }
            | Self::Answer(_) => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let failure = Failure::from(&status);
        if failure.reason != ErrorReason::Unspecified {
            return Self::Refused(failure);
        }
        // A source is only there if this side made the status up, from what the transport said.
        let message = match std::error::Error::source(&status) {
            Some(source) => format!("the connection to usherd broke off: {source}"),
            None if status.message().is_empty() => format!("usherd answered {:?}", status.code()),
            None => format!("usherd answered {:?}: {}", status.code(), status.message()),
        };
        Self::Foreign { code: status.code(), message }
    }
}

/// Somebody took the connection, or was about to, and it ended.
pub(crate) fn broke_off(error: &ConnectError) -> bool {
    use io::ErrorKind as K;
    match error {
        ConnectError::BrokenOff { .. } => true,
        ConnectError::Io { source, .. } => {
            matches!(
                source.kind(),
                K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::NotConnected
            )
        }
        _ => false,
    }
}

fn hint_by_reason(failure: &Failure) -> Option<String> {
    use ErrorReason as R;
    let profile = failure.facts.get("profile").map(String::as_str).unwrap_or_default();
    let status =
        if profile.is_empty() { "usher status".to_owned() } else { format!("usher status {profile}") };
    let again = failure.retry_after.map(|delay| format!("try again in {}", whole_seconds(delay)));
    match failure.reason {
        R::ProfileUnknown => Some("a profile's name belongs here; `usher status` lists them".to_owned()),
        R::ProfileAmbiguous => {
            Some("name one of them, or set USHER_PROFILE; `usher status` lists them".to_owned())
        }
        R::ScopeNotAllowed | R::AudienceNotAllowed | R::UrlNotAllowed => {
            Some(format!("the configuration decides what is allowed; `{status} --json` shows it"))
        }
        R::ScopeNotGranted => {
            Some("ask for fewer scopes, or have the IdP grant them to this client".to_owned())
        }
        R::SecretUnavailable => Some(format!("`{status}` shows where the secret is read from")),
        R::IdpUnreachable | R::IdpUnavailable | R::IdpAnswerInvalid | R::RateLimited => {
            Some(again.unwrap_or_else(|| format!("`{status}` shows when usherd asks the IdP again")))
        }
        R::IdpRefused => Some(format!(
            "a corrected secret is tried at once; after any other correction `usher reload`{}",
            again.map(|again| format!(", or {again}")).unwrap_or_default()
        )),
        R::TokenRejected => None,
        R::DeadlineExceeded => {
            Some("usherd goes on fetching: ask again, or wait longer with --timeout".to_owned())
        }
        R::ConfigInvalid => {
            Some("what ran before still runs; correct the file, then `usher reload`".to_owned())
        }
        R::Internal => Some("usherd's log says more".to_owned()),
        R::StoreUnavailable | R::RequestInvalid | R::AccessDenied | R::LoginNeeded | R::Unspecified => again,
    }
}

/// Rounded up: who comes back a moment too early is sent away once more.
fn whole_seconds(delay: Duration) -> String {
    human(Duration::from_secs(delay.as_secs() + u64::from(delay.subsec_nanos() > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: ErrorReason, retry_after: Option<Duration>) -> Error {
        let failure = Failure { retry_after, ..Failure::new(reason, "it says").with("profile", "frontdoor") };
        Error::from(Status::from(failure))
    }

    #[test]
    fn the_hint_says_when_to_come_back() {
        let error = refused(ErrorReason::RateLimited, Some(Duration::from_millis(27_300)));
        assert_eq!(error.to_string(), "it says");
        assert_eq!(error.hint().as_deref(), Some("try again in 28s"));
        let error = refused(ErrorReason::IdpUnreachable, None);
        assert!(error.hint().unwrap().contains("usher status frontdoor"));
    }

    #[test]
    fn a_status_without_a_reason_keeps_its_words() {
        let error = Error::from(Status::unimplemented("no such method"));
        assert!(error.to_string().contains("no such method"));
        assert!(error.hint().unwrap().contains("restart"));
    }

    #[test]
    fn a_program_is_not_told_of_an_option_that_it_has_not() {
        for error in [
            refused(ErrorReason::DeadlineExceeded, None),
            Error::Deadline(Duration::from_secs(30)),
            Error::from(Status::deadline_exceeded("")),
            Error::from(Status::cancelled("")),
        ] {
            assert!(error.hint().unwrap().contains("--timeout"), "{error:?}");
            let hint = error.hint_to_program().unwrap();
            assert!(hint.contains("ask again") && !hint.contains("--timeout"), "{hint}");
        }
        let error = refused(ErrorReason::IdpUnreachable, None);
        assert_eq!(error.hint_to_program(), error.hint());
    }

    #[test]
    fn a_reset_is_a_connection_that_broke_off() {
        let error = |kind| Error::from(ConnectError::Io { path: "/s".into(), source: io::Error::from(kind) });
        assert!(error(io::ErrorKind::ConnectionReset).hint().unwrap().contains("ask again"));
        assert!(error(io::ErrorKind::PermissionDenied).hint().is_none());
    }

    #[test]
    fn no_daemon_says_how_to_start_one() {
        let error = Error::from(ConnectError::NotRunning { path: "/run/usher.sock".into() });
        assert!(error.to_string().contains("/run/usher.sock"));
        assert!(error.hint().unwrap().contains("systemctl --user start usherd"));
    }
}

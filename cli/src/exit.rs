//! The one place where a failure becomes an exit code, after sysexits(3).

use tonic::Code;
use usher_proto::{client::ConnectError, error::ErrorReason, v1::RevocationState};

use crate::{caller::hung_up, error::Error};

/// Done.
pub const OK: u8 = 0;
/// `EX_USAGE`: the command line or the request has to change.
pub const USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: the identity provider, usherd or curl is not there or makes no sense.
pub const UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: a fault of usher or usherd.
pub const SOFTWARE: u8 = 70;
/// `EX_IOERR`: the answer could not be written.
pub const IO: u8 = 74;
/// `EX_TEMPFAIL`: the same command can succeed later.
pub const TEMPORARY: u8 = 75;
/// `EX_NOPERM`: refused, by usherd or by the identity provider.
pub const REFUSED: u8 = 77;
/// `EX_CONFIG`: the configuration or a secret has to change.
pub const CONFIG: u8 = 78;
/// What a shell reports of a command that is there but cannot be run. `usher run` alone has it.
pub const NOT_EXECUTABLE: u8 = 126;
/// What a shell reports of a command that is not there. `usher run` alone has it.
pub const NOT_FOUND: u8 = 127;
/// What a shell reports of a writer whose reader has gone: 128 + SIGPIPE.
pub const HUNG_UP: u8 = 141;

/// The exit code of `error`.
pub fn code(error: &Error) -> u8 {
    match error {
        Error::Usage { .. } | Error::Syntax(_) | Error::Input(_) => USAGE,
        Error::Environment(_) | Error::Socket(_) | Error::Configuration(_) => CONFIG,
        Error::Connect(ConnectError::ForeignServer { .. }) => REFUSED,
        Error::Connect(ConnectError::Io { source, .. })
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            REFUSED
        }
        Error::NotStarted { code, .. } | Error::Once { code, .. } => match *code {
            Some(78) => CONFIG,
            Some(75) => TEMPORARY,
            _ => UNAVAILABLE,
        },
        Error::Connect(_) | Error::Curl(_) | Error::Service { .. } => UNAVAILABLE,
        Error::Run { source, .. } if source.kind() == std::io::ErrorKind::NotFound => NOT_FOUND,
        Error::Run { .. } => NOT_EXECUTABLE,
        Error::HalfDone { source, .. } => code(source),
        Error::Refused(failure) => of_reason(failure.reason),
        Error::Foreign { code, .. } => of_code(*code),
        Error::Deadline(_) | Error::NotEnded { .. } => TEMPORARY,
        Error::Output(error) if hung_up(error) => HUNG_UP,
        Error::Unread(_) | Error::Output(_) | Error::TokenFile { .. } => IO,
        Error::System { .. } | Error::Answer(_) => SOFTWARE,
    }
}

/// The exit code of each reason of the contract. No wildcard: a new reason has to be thought about.
pub fn of_reason(reason: ErrorReason) -> u8 {
    use ErrorReason as R;
    match reason {
        R::RequestInvalid | R::ProfileAmbiguous => USAGE,
        R::IdpUnreachable | R::IdpUnavailable | R::IdpAnswerInvalid => UNAVAILABLE,
        R::Unspecified | R::Internal => SOFTWARE,
        R::RateLimited | R::DeadlineExceeded => TEMPORARY,
        R::AccessDenied
        | R::ScopeNotAllowed
        | R::AudienceNotAllowed
        | R::UrlNotAllowed
        | R::IdpRefused
        | R::ScopeNotGranted
        | R::TokenRejected
        | R::LoginNeeded => REFUSED,
        R::ConfigInvalid | R::ProfileUnknown | R::SecretUnavailable => CONFIG,
        R::StoreUnavailable => IO,
    }
}

/// The exit code of a token that was to be revoked. One that is tried again is no failure.
pub fn of_revocation(state: RevocationState) -> u8 {
    match state {
        RevocationState::Revoked | RevocationState::Queued => OK,
        RevocationState::NotPossible => UNAVAILABLE,
        RevocationState::Failed => REFUSED,
        RevocationState::Unspecified => SOFTWARE,
    }
}

/// Where no reason was given, the gRPC code has to do.
fn of_code(code: Code) -> u8 {
    match code {
        Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => TEMPORARY,
        Code::Unavailable | Code::Unknown | Code::Unimplemented => UNAVAILABLE,
        Code::PermissionDenied | Code::Unauthenticated => REFUSED,
        _ => SOFTWARE,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use usher_proto::error::Failure;

    use super::*;

    #[test]
    fn every_reason_has_its_exit_code() {
        let expected = [
            70, 64, 78, 64, 77, 77, 77, 77, 77, 78, 69, 69, 69, 77, 77, 75, 77, 75, 78, 70,
            74, // by number
        ];
        for (number, exit) in (0..).zip(expected) {
            let reason = ErrorReason::try_from(number).unwrap();
            let error = Error::Refused(Failure::new(reason, ""));
            assert_eq!(code(&error), exit, "{}", reason.as_str_name());
        }
        let next = i32::try_from(expected.len()).unwrap();
        assert!(ErrorReason::try_from(next).is_err(), "a new reason: what is its exit code?");
    }

    #[test]
    fn what_fails_on_this_side_has_one_too() {
        let path = std::path::PathBuf::from("/s");
        let gone = ConnectError::NotRunning { path: path.clone() };
        assert_eq!(code(&gone.into()), 69);
        let foreign = ConnectError::ForeignServer { path, found: 0, expected: 1 };
        assert_eq!(code(&foreign.into()), 77);
        assert_eq!(code(&Error::Deadline(Duration::from_secs(1))), 75);
        assert_eq!(code(&Error::Output(io::ErrorKind::BrokenPipe.into())), 141);
        assert_eq!(code(&Error::Output(io::ErrorKind::StorageFull.into())), 74);
        assert_eq!(code(&Error::usage("", "")), 64);
        assert_eq!(code(&Error::Configuration(String::new())), 78);
        for (kind, exit) in [(io::ErrorKind::NotFound, 127), (io::ErrorKind::PermissionDenied, 126)] {
            assert_eq!(code(&Error::Run { command: "c".into(), source: kind.into() }), exit);
        }
    }
}

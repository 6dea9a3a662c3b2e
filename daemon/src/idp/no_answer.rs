//! Why there is no answer from an IdP, in words that help.

use std::{error::Error, io, path::Path};

use rustls::{AlertDescription, CertificateError};

use super::client::{self, CONNECT_DEADLINE, Destination, TOTAL_DEADLINE};
use crate::token::ports::{IssueError, IssueErrorKind};

/// No answer, or half of one. What is said is the innermost cause ("connection refused"); none of the
/// causes holds anything of the request.
pub(super) fn no_answer(to: Destination<'_>, error: reqwest::Error) -> IssueError {
    let server = to.server();
    let error = error.without_url();
    let message = if let Some(problem) = causes(&error).find_map(certificate) {
        certificate_message(server, problem, to.network.ca_file.as_deref())
    } else if error.is_connect() {
        let way = match client::proxy(to.network, to.url) {
            Some(proxy) => format!(" by way of the proxy {}", proxy.authority()),
            None => String::new(),
        };
        format!("cannot connect to the IdP {server}{way}: {}", connect_problem(&error))
    } else if error.is_timeout() {
        format!("the IdP {server} did not answer within {} s", TOTAL_DEADLINE.as_secs())
    } else {
        format!("the IdP {server} broke off its answer: {}", innermost(&error))
    };
    let http_status = error.status().map(|status| status.as_u16());
    IssueError { http_status, ..IssueError::new(IssueErrorKind::Unreachable, message) }
}

fn connect_problem(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", CONNECT_DEADLINE.as_secs());
    }
    if let Some(problem) = causes(error).find_map(|cause| tls_problem(cause.downcast_ref()?)) {
        return problem.to_owned();
    }
    let cause = innermost(error);
    // As hyper-util says what proxies do.
    match cause.strip_prefix("tunnel error: ") {
        Some("unsuccessful") => "the proxy refuses to".to_owned(),
        Some("proxy authorization required") => {
            "the proxy wants a user name and a password, which usher does not send".to_owned()
        }
        Some(other) => format!("the proxy's answer: {other}"),
        None => cause,
    }
}

/// What is wrong with the server's TLS, its certificate aside.
fn tls_problem(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            Some("it speaks neither TLS 1.2 nor TLS 1.3, or none of their ciphers that are safe")
        }
        rustls::Error::InvalidMessage(_) => Some("it does not answer in TLS; is that the port for https?"),
        _ => None,
    }
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The causes of an error, from the outermost to the innermost. An `io::Error` hides the one that it
/// carries.
fn causes<'a>(error: &'a dyn Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| {
        let cause: &'a (dyn Error + 'static) = *cause;
        let carried = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        carried.map(|carried| carried as &(dyn Error + 'static)).or_else(|| cause.source())
    })
}

fn certificate<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    match cause.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => Some(problem),
        _ => None,
    }
}

fn certificate_message(server: &str, problem: &CertificateError, ca_file: Option<&Path>) -> String {
    use CertificateError as C;
    let unknown_issuer = match ca_file {
        Some(path) => &format!(
            "is not signed by a CA in ca_file ({}), which stands in place of the system's",
            path.display()
        ),
        None => {
            "is not signed by a CA that this system knows; if your organization has a CA of its own, name its \
             file in ca_file"
        }
    };
    let what = match problem {
        C::Expired | C::ExpiredContext { .. } => "has expired, or the clock here is wrong",
        C::NotValidYet | C::NotValidYetContext { .. } => "is not valid yet, or the clock here is wrong",
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "is for another name; check the host in token_url or issuer"
        }
        // A CA of the same name with another key.
        C::UnknownIssuer | C::BadSignature => unknown_issuer,
        C::Revoked => "is revoked",
        // webpki's own error, which rustls passes on as it is. What `openssl req -x509` makes is one of these.
        C::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "says that it is a CA's (CA:TRUE); such a one is not taken for a server's, even if ca_file names it: \
             have a CA sign one for the server (CA:FALSE)"
        }
        other => return format!("the certificate of the IdP {server} is not accepted: {other}"),
    };
    format!("the certificate of the IdP {server} {what}")
}

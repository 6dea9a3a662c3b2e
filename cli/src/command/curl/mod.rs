//! `usher curl`: curl with the Authorization header added, where the profile's token may be sent.
//!
//! The token is in no argument and no environment variable: curl reads its header from an inherited,
//! sealed file in memory. Which URLs are allowed is usherd's to say; curl gets exactly those it answered.
//! Where a request can be made once more and its answer be withheld, a token that the API refuses (401) is
//! reported, and the request made once more with the next one.

use std::{
    ffi::OsString,
    io::{self, Read as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitStatus, Stdio},
};

use usher_proto::v1::{GetTokenRequest, GetTokenResponse};

use self::{
    parse::{Parsed, Part, parse},
    redact::Redactor,
};
use super::{profile, request, token::warn_if_short};
use crate::{
    args::{Curl, Wanted},
    call::{Daemon, with_started_daemon},
    caller::Caller,
    error::Error,
};

mod header;
mod options;
mod parse;
mod redact;
mod replay;
mod withheld;

pub(super) fn run(args: Curl, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let parsed = parse(args.args)?;
    let urls: Vec<&str> = parsed.urls().collect();
    if urls.is_empty() {
        return Err(Error::usage(
            "curl is given no URL",
            "usher curl -p PROFILE https://api.example.com/shares, or a path below the profile's base_url: /shares",
        ));
    }
    let named = profile(args.profile, caller)?;
    let mut allowed = with_started_daemon(caller, args.wanted.timeout, async |daemon| {
        allow(daemon, &urls, named, "", &args.wanted).await
    })?;
    warn_if_short(&allowed.answer, &args.wanted, caller);
    if parsed.resolves && allowed.urls.iter().any(|url| is_http(url)) {
        return Err(Error::Usage {
            message: "curl's --resolve is refused with an http URL: the token would go, unencrypted, to an \
                      address that was not checked"
                .to_owned(),
            hint: None,
        });
    }
    if replay::is_possible(&parsed) {
        match withheld::run(&parsed, &allowed, caller)? {
            withheld::Outcome::Done(code) => return Ok(code),
            withheld::Outcome::Refused(held) => match again(&allowed, &args.wanted, caller) {
                Ok(next) => allowed = next,
                Err(why) => {
                    let code = held.release(caller);
                    caller.warn(&format!("the API refused the token (401), and there is no other: {why}"));
                    return Ok(code);
                }
            },
        }
    }
    let file = header::file(&allowed.answer.authorization)?;
    let mut command = command(arguments(&parsed, &allowed.urls, &header::path(&file), &[]));
    if !parsed.verbose {
        // curl takes this process's place: signals and exit status are its own. Only a failure returns.
        return Err(Error::Curl(command.exec()));
    }
    let child = command.stderr(Stdio::piped()).spawn();
    drop(file);
    redact(child.map_err(Error::Curl)?, &allowed.answer, caller)
}

fn command(arguments: Vec<OsString>) -> Command {
    let mut command = Command::new("curl");
    command.args(arguments);
    // With the keys of the TLS session, whoever recorded the connection could read the token.
    command.env_remove("SSLKEYLOGFILE");
    command
}

/// Reports the token as refused: the next one, or why there is none.
fn again(refused: &Allowed, wanted: &Wanted, caller: &mut Caller<'_>) -> Result<Allowed, Error> {
    let urls: Vec<&str> = refused.urls.iter().map(String::as_str).collect();
    let (profile, id) = (refused.answer.profile.clone(), refused.answer.token_id.as_str());
    let next = with_started_daemon(caller, wanted.timeout, async |daemon| {
        allow(daemon, &urls, profile, id, wanted).await
    })?;
    if next.answer.token_id == id || next.urls != refused.urls {
        return Err(Error::Answer("usherd has no other".to_owned()));
    }
    Ok(next)
}

/// What usherd said to the URLs.
struct Allowed {
    /// As they were checked, in the order of the command line.
    urls: Vec<String>,
    answer: GetTokenResponse,
}

/// Asks for each URL; the profile of the first is that of all.
async fn allow(
    daemon: &mut Daemon<'_>,
    urls: &[&str],
    named: String,
    rejected: &str,
    wanted: &Wanted,
) -> Result<Allowed, Error> {
    let mut allowed = Allowed { urls: Vec::new(), answer: GetTokenResponse::default() };
    let mut message = GetTokenRequest { rejected_token_id: rejected.to_owned(), ..request(named, wanted) };
    for url in urls {
        message.url = (*url).to_owned();
        let answer = daemon.token(message.clone()).await?;
        if !(is_https(&answer.url) || is_http(&answer.url)) {
            return Err(Error::Answer(format!("usherd did not say whether the token may be sent to {url}")));
        }
        message.profile.clone_from(&answer.profile);
        allowed.urls.push(answer.url.clone());
        allowed.answer = answer;
    }
    Ok(allowed)
}

/// curl's arguments, with the URLs as they were checked in place of those that were typed, and `ours` before them.
fn arguments(parsed: &Parsed, urls: &[String], header: &str, ours: &[&str]) -> Vec<OsString> {
    // No ~/.curlrc (it could send the header elsewhere), and no globbing: a URL is what was checked.
    let mut all: Vec<OsString> = vec!["-q".into(), "-g".into(), "-H".into(), format!("@{header}").into()];
    all.extend(ours.iter().map(OsString::from));
    let mut urls_left = urls.iter();
    for part in &parsed.parts {
        match part {
            Part::Option(name, value) => {
                all.push(name.clone());
                all.extend(value.clone());
            }
            Part::Url(_) => {
                if let Some(url) = urls_left.next() {
                    all.extend(["--url".into(), url.into()]);
                }
            }
        }
    }
    // Last, so that nothing said before undoes it.
    if urls.iter().any(|url| is_http(url)) {
        // http is for this machine alone; a proxy would read the token.
        all.extend(["--proto", "=http,https", "--noproxy", "*"].map(OsString::from));
    } else {
        all.extend(["--proto", "=https"].map(OsString::from));
    }
    all
}

fn is_https(url: &str) -> bool {
    url.starts_with("https://")
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://")
}

/// Passes on what curl tells people, without the token, until curl ends.
fn redact(
    mut child: std::process::Child,
    answer: &GetTokenResponse,
    caller: &mut Caller<'_>,
) -> Result<u8, Error> {
    let mut redactor = Redactor::new(&answer.authorization, &answer.access_token);
    if let Some(mut stderr) = child.stderr.take() {
        let mut buffer = [0; 8192];
        loop {
            match stderr.read(&mut buffer) {
                Ok(0) => break,
                // Whether or not anybody still reads along, curl has to get its work done.
                Ok(length) => drop(redactor.push(&buffer[..length], caller.stderr())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        drop(redactor.finish(caller.stderr()));
    }
    child.wait().map(code).map_err(Error::Curl)
}

/// curl's own exit code, or what a shell would make of its signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;

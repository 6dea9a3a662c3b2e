//! `usher token --once`: a token without a daemon, for jobs that have none: an usherd of their own answers
//! this one call and is gone.

use usher_proto::v1::GetTokenResponse;

use super::{
    answer_json, some,
    token::{Facts, message, warn_if_short},
};
use crate::{
    args::{Format, Token},
    call::with_private_daemon,
    caller::Caller,
    error::Error,
    exit,
    time::now,
};

pub(super) fn run(args: Token, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let format = if args.json { Format::Json } else { args.format };
    caller.want_json(format == Format::Json);
    let (mut message, wanted) = message(args.asked, caller)?;
    if args.from_env {
        // There is only the one that the variables make.
        message.profile.clear();
    }
    let answer =
        with_private_daemon(args.from_env, wanted.timeout, async |daemon| daemon.token(message).await)?;
    warn_if_short(&answer, &wanted, caller);
    match format {
        Format::Plain => caller.answer(&format!("{}\n", answer.access_token))?,
        Format::Json => answer_json(&Facts::of(&answer, now()), caller)?,
        Format::Github => github(&answer, caller)?,
    }
    Ok(exit::OK)
}

/// For `>> "$GITHUB_OUTPUT"`. The masks come first, and on stderr: the runner reads commands there, too,
/// and from then on hides what they name from the log.
fn github(answer: &GetTokenResponse, caller: &mut Caller<'_>) -> Result<(), Error> {
    let credentials = answer.authorization.split_once(' ').map_or("", |(_, credentials)| credentials);
    let mut masks = vec![answer.access_token.as_str()];
    masks.extend(some(credentials).filter(|credentials| *credentials != answer.access_token));
    for secret in masks {
        // As the runner's own toolkit escapes it: there are no line ends in a token.
        writeln!(caller.stderr(), "::add-mask::{}", secret.replace('%', "%25")).map_err(Error::Output)?;
    }
    let expires_at = answer.expires_at.map(|at| at.seconds.to_string()).unwrap_or_default();
    caller.answer(&format!(
        "token={}\nauthorization={}\nexpires_at={expires_at}\ntoken_id={}\n",
        answer.access_token, answer.authorization, answer.token_id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_masks_come_before_the_token() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let answer = GetTokenResponse {
            access_token: "s3%25t".into(),
            authorization: "Basic acc:s3%25t".into(),
            token_id: "0a".into(),
            ..Default::default()
        };
        github(&answer, &mut Caller::new(&mut out, &mut err, &|_| None)).unwrap();
        assert_eq!(String::from_utf8(err).unwrap(), "::add-mask::s3%2525t\n::add-mask::acc:s3%2525t\n");
        let told = String::from_utf8(out).unwrap();
        assert_eq!(told, "token=s3%25t\nauthorization=Basic acc:s3%25t\nexpires_at=\ntoken_id=0a\n");
    }
}

//! `usher forget`: drops a profile's cached tokens, and says what that does not do.

use usher_proto::v1::ForgetRequest;

use super::answer_json;
use crate::{args::Forget, call::with_daemon, caller::Caller, error::Error, exit};

pub(super) fn run(args: &Forget, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let message = ForgetRequest { profile: args.profile.clone() };
    let answer = with_daemon(caller, args.manner.timeout, async |daemon| daemon.forget(message).await)?;
    if args.manner.json {
        answer_json(&serde_json::json!({ "profile": &args.profile, "forgotten": answer.forgotten }), caller)?;
    } else {
        caller.answer(&human(&args.profile, answer.forgotten))?;
    }
    Ok(exit::OK)
}

fn human(profile: &str, forgotten: u32) -> String {
    match forgotten {
        0 => format!("{profile} held no token\n"),
        1 => format!("forgot 1 token of {profile}; it stays valid at the IdP until it expires\n"),
        many => format!("forgot {many} tokens of {profile}; they stay valid at the IdP until they expire\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts() {
        assert_eq!(human("f", 0), "f held no token\n");
        assert!(human("f", 1).starts_with("forgot 1 token of f; it stays valid"));
        assert_eq!(human("f", 2), "forgot 2 tokens of f; they stay valid at the IdP until they expire\n");
    }
}

//! `usher forget`: drops a profile's cached tokens, has them revoked, and says what that does not do.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usher_proto::v1::{ForgetRequest, ForgetResponse, Revocation, RevocationState};

use super::{answer_json, some};
use crate::{
    args::Forget,
    call::with_daemon,
    caller::{Caller, printable},
    error::Error,
    exit,
    time::{distance, now},
};

pub(super) fn run(args: &Forget, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let message = ForgetRequest { profile: args.profile.clone(), revoke: args.revoke };
    let answer = with_daemon(caller, args.manner.timeout, async |daemon| daemon.forget(message).await)?;
    match (args.manner.json, args.revoke) {
        (true, true) => answer_json(&facts(&args.profile, &answer), caller)?,
        (true, false) => {
            let ForgetResponse { forgotten, still_on_disk, .. } = answer;
            let facts =
                json!({ "profile": &args.profile, "forgotten": forgotten, "still_on_disk": still_on_disk });
            answer_json(&facts, caller)?;
        }
        (false, true) => caller.answer(&revoked(&args.profile, &answer))?,
        (false, false) => caller.answer(&forgotten(&args.profile, answer.forgotten))?,
    }
    for warning in warnings(&args.profile, &answer, now()) {
        caller.warn(&printable(&warning));
    }
    Ok(if args.revoke { code(&answer) } else { exit::OK })
}

fn forgotten(profile: &str, forgotten: u32) -> String {
    match forgotten {
        0 => format!("{profile} held no token\n"),
        1 => format!("forgot 1 token of {profile}; it stays valid at the IdP until it expires\n"),
        many => format!("forgot {many} tokens of {profile}; they stay valid at the IdP until they expire\n"),
    }
}

fn revoked(profile: &str, answer: &ForgetResponse) -> String {
    let is_revoked = |revocation: &&Revocation| revocation.state() == RevocationState::Revoked;
    let revoked = answer.revocations.iter().filter(is_revoked).count();
    let valid = answer.revocations.len();
    match answer.forgotten {
        0 => format!("{profile} held no token\n"),
        1 if valid == 0 => format!("forgot 1 token of {profile}, which had expired\n"),
        many if valid == 0 => format!("forgot {many} tokens of {profile}, which had expired\n"),
        1 if revoked == 1 => format!("forgot 1 token of {profile}; it is revoked at the IdP\n"),
        1 => format!("forgot 1 token of {profile}; it is not revoked at the IdP\n"),
        many if revoked == valid => {
            format!("forgot {many} tokens of {profile}; they are revoked at the IdP\n")
        }
        many => format!("forgot {many} tokens of {profile}; {revoked} of {valid} are revoked at the IdP\n"),
    }
}

/// What is not as it should be, once for all tokens of which it is true.
fn warnings(profile: &str, answer: &ForgetResponse, now: i64) -> Vec<String> {
    let mut alike = BTreeMap::<_, (usize, Option<i64>)>::new();
    for revocation in &answer.revocations {
        let (count, retry_at) = alike.entry((revocation.state, revocation.message.as_str())).or_default();
        *count += 1;
        *retry_at = (*retry_at).max(revocation.retry_at.map(|at| at.seconds));
    }
    let told = alike.into_iter().filter_map(|((state, why), (count, retry_at))| {
        let tokens = if count == 1 { "1 token".to_owned() } else { format!("{count} tokens") };
        let what = match RevocationState::try_from(state).unwrap_or_default() {
            RevocationState::Revoked => return None,
            RevocationState::Queued => {
                let when = retry_at.map_or_else(String::new, |at| format!(" {}", distance(at, now)));
                return Some(format!(
                    "{profile}: {tokens} not revoked yet: {why}; usherd tries again{when}, until it is done or expiry"
                ));
            }
            RevocationState::NotPossible => "cannot be revoked, valid until expiry",
            RevocationState::Failed | RevocationState::Unspecified => "not revoked, and given up",
        };
        Some(format!("{profile}: {tokens} {what}: {why}"))
    });
    let on_disk = answer.still_on_disk.then(|| {
        format!(
            "{profile}: the store could not be written (see `usher status`): a copy may still be on disk, and come back \
             when usherd is started again"
        )
    });
    told.chain(some(&answer.advice).map(str::to_owned)).chain(on_disk).collect()
}

/// What is tried again is no failure.
fn code(answer: &ForgetResponse) -> u8 {
    let states = answer.revocations.iter().map(Revocation::state);
    let advised = some(&answer.advice).map(|_| RevocationState::NotPossible);
    states.chain(advised).map(exit::of_revocation).max().unwrap_or(exit::OK)
}

fn facts(profile: &str, answer: &ForgetResponse) -> Value {
    let revocations = answer.revocations.iter().map(|revocation| {
        json!({
            "token_id": revocation.token_id,
            "state": state_word(revocation.state()),
            "message": some(&revocation.message),
            "retry_at": revocation.retry_at.map(|at| at.seconds),
        })
    });
    json!({
        "profile": profile,
        "forgotten": answer.forgotten,
        "revocations": revocations.collect::<Vec<_>>(),
        "advice": some(&answer.advice),
        "still_on_disk": answer.still_on_disk,
    })
}

fn state_word(state: RevocationState) -> &'static str {
    match state {
        RevocationState::Unspecified => "unknown",
        RevocationState::Revoked => "revoked",
        RevocationState::Queued => "queued",
        RevocationState::NotPossible => "not_possible",
        RevocationState::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn answer(states: &[(RevocationState, &str)]) -> ForgetResponse {
        let revocations = states.iter().map(|(state, message)| Revocation {
            token_id: "t".into(),
            state: (*state).into(),
            message: (*message).into(),
            retry_at: (*state == RevocationState::Queued).then_some(Timestamp { seconds: 1028, nanos: 0 }),
        });
        let forgotten = u32::try_from(states.len()).unwrap();
        ForgetResponse { forgotten, revocations: revocations.collect(), ..ForgetResponse::default() }
    }

    #[test]
    fn it_counts() {
        assert_eq!(forgotten("f", 0), "f held no token\n");
        assert!(forgotten("f", 1).starts_with("forgot 1 token of f; it stays valid"));
        assert_eq!(forgotten("f", 2), "forgot 2 tokens of f; they stay valid at the IdP until they expire\n");
    }

    #[test]
    fn what_is_revoked_is_said_and_nothing_else() {
        use RevocationState::{Failed, NotPossible, Queued, Revoked};
        let done = answer(&[(Revoked, ""), (Revoked, "")]);
        assert_eq!(revoked("f", &done), "forgot 2 tokens of f; they are revoked at the IdP\n");
        assert_eq!((code(&done), warnings("f", &done, 1000).len()), (0, 0));

        let some = answer(&[(Revoked, ""), (Queued, "down"), (Queued, "down")]);
        assert_eq!(revoked("f", &some), "forgot 3 tokens of f; 1 of 3 are revoked at the IdP\n");
        assert_eq!(
            warnings("f", &some, 1000),
            [
                "f: 2 tokens not revoked yet: down; usherd tries again in 28s (1028), until it is done or expiry"
            ]
        );
        assert_eq!(code(&some), 0, "it is tried again");

        let never = answer(&[(NotPossible, "no endpoint")]);
        assert_eq!(revoked("f", &never), "forgot 1 token of f; it is not revoked at the IdP\n");
        assert_eq!(
            warnings("f", &never, 1000),
            ["f: 1 token cannot be revoked, valid until expiry: no endpoint"]
        );
        assert_eq!(code(&never), 69);
        assert_eq!(code(&answer(&[(NotPossible, ""), (Failed, ""), (Revoked, "")])), 77);

        let expired = ForgetResponse { forgotten: 1, ..ForgetResponse::default() };
        assert_eq!(revoked("f", &expired), "forgot 1 token of f, which had expired\n");
        let of_static = ForgetResponse { advice: "in the console".into(), ..ForgetResponse::default() };
        assert_eq!((code(&of_static), warnings("f", &of_static, 0)), (69, vec!["in the console".to_owned()]));
    }

    #[test]
    fn programs_see_each_token() {
        let facts = facts("f", &answer(&[(RevocationState::Queued, "down")]));
        let revocation = json!({ "token_id": "t", "state": "queued", "message": "down", "retry_at": 1028 });
        let all = json!({
            "profile": "f", "forgotten": 1, "revocations": [revocation], "advice": null, "still_on_disk": false,
        });
        assert_eq!(facts, all);
    }
}

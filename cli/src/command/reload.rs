//! `usher reload`: usherd reads its configuration again and says what that changed.

use serde::Serialize;
use usher_proto::v1::ReloadResponse;

use super::answer_json;
use crate::{args::Reload, call::with_daemon, caller::Caller, error::Error, exit};

pub(super) fn run(args: &Reload, caller: &mut Caller<'_>) -> Result<u8, Error> {
    caller.want_json(args.manner.json);
    let answer = with_daemon(caller, args.manner.timeout, async |daemon| daemon.reload().await)?;
    if args.manner.json {
        answer_json(&Facts::of(&answer), caller)?;
    } else {
        caller.answer(&human(&answer))?;
    }
    Ok(exit::OK)
}

#[derive(Serialize)]
struct Facts<'a> {
    added: &'a [String],
    changed: &'a [String],
    removed: &'a [String],
    unchanged: u32,
    settings_changed: bool,
}

impl<'a> Facts<'a> {
    fn of(answer: &'a ReloadResponse) -> Self {
        let ReloadResponse { added, changed, removed, unchanged, settings_changed } = answer;
        Self { added, changed, removed, unchanged: *unchanged, settings_changed: *settings_changed }
    }
}

fn human(answer: &ReloadResponse) -> String {
    let said = [("added", &answer.added), ("changed", &answer.changed), ("removed", &answer.removed)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(verb, names)| format!("{verb} {}", names.join(", ")))
        .chain(answer.settings_changed.then(|| "changed the daemon's own settings".to_owned()))
        .collect::<Vec<_>>();
    match answer.unchanged {
        unchanged if said.is_empty() => format!("reloaded: nothing changed ({unchanged} profiles)\n"),
        0 => format!("reloaded: {}\n", said.join("; ")),
        unchanged => format!("reloaded: {}; {unchanged} unchanged\n", said.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_changed() {
        let answer = ReloadResponse {
            added: vec!["a".into(), "b".into()],
            changed: vec!["c".into()],
            removed: vec![],
            unchanged: 3,
            ..Default::default()
        };
        assert_eq!(human(&answer), "reloaded: added a, b; changed c; 3 unchanged\n");
        let settings = ReloadResponse { settings_changed: true, unchanged: 1, ..Default::default() };
        assert_eq!(human(&settings), "reloaded: changed the daemon's own settings; 1 unchanged\n");
        let none = ReloadResponse { unchanged: 4, ..Default::default() };
        assert_eq!(human(&none), "reloaded: nothing changed (4 profiles)\n");
        let all = ReloadResponse { removed: vec!["x".into()], ..Default::default() };
        assert_eq!(human(&all), "reloaded: removed x\n");
    }
}

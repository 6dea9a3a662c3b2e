//! What each verb does, one file a command: it takes its arguments and the caller, and returns the exit code.

use std::time::Duration;

use serde::Serialize;
use usher_proto::v1::GetTokenRequest;

use crate::{
    args::{Args, Command, Wanted},
    caller::Caller,
    error::Error,
};

mod completions;
mod curl;
mod default;
mod env;
mod forget;
mod header;
mod helper;
mod inspect;
mod man;
mod once;
mod reload;
mod run;
mod service;
mod status;
mod stop;
mod token;
mod version;

/// Does what `args` say.
pub(crate) fn run(args: Args, caller: &mut Caller<'_>) -> Result<u8, Error> {
    if args.version {
        return version::run(caller);
    }
    match args.command {
        Some(Command::Token(args)) if args.once => once::run(args, caller),
        Some(Command::Token(args)) => token::run(args, caller),
        Some(Command::Header(args)) => header::run(args, caller),
        Some(Command::Curl(args)) => curl::run(args, caller),
        Some(Command::Status(args)) => status::run(args, caller),
        Some(Command::Reload(args)) => reload::run(&args, caller),
        Some(Command::Forget(args)) => forget::run(&args, caller),
        Some(Command::Stop(args)) => stop::run(&args, caller),
        Some(Command::Service(args)) => service::run(&args, caller),
        Some(Command::Helper(args)) => helper::run(args.command, caller),
        Some(Command::Run(args)) => run::run(args, caller),
        Some(Command::Env(args)) => env::run(args, caller),
        Some(Command::Use(args)) => default::run(&args, caller),
        Some(Command::Inspect(args)) => inspect::run(args, caller),
        Some(Command::Completions(args)) => completions::run(&args, caller),
        Some(Command::Man(args)) => man::run(&args, caller),
        None => Err(Error::usage("no command", "`usher --help` lists them")),
    }
}

/// The profile that was named, else `USHER_PROFILE`, else none: usherd chooses then.
pub(crate) fn profile(named: Option<String>, caller: &Caller<'_>) -> Result<String, Error> {
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    caller.var("USHER_PROFILE").unwrap_or_default().into_string().map_err(|value| {
        Error::Environment(format!("USHER_PROFILE is {}, which is no profile's name", value.display()))
    })
}

/// A request for a token of `profile`.
fn request(profile: String, wanted: &Wanted) -> GetTokenRequest {
    GetTokenRequest {
        profile,
        scopes: scopes(&wanted.scopes),
        audience: wanted.audience.clone().unwrap_or_default(),
        min_ttl: wanted.min_ttl.and_then(proto_duration),
        ..Default::default()
    }
}

pub(crate) fn proto_duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

/// Scopes one by one, however they were strung together.
fn scopes(given: &[String]) -> Vec<String> {
    given
        .iter()
        .flat_map(|some| some.split([' ', ',']))
        .filter(|scope| !scope.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Writes `answer` as one line of JSON.
fn answer_json(answer: &impl Serialize, caller: &mut Caller<'_>) -> Result<(), Error> {
    caller.answer(&json_line(answer)?)
}

fn json_line(answer: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string(answer)
        .map_err(|error| Error::Answer(format!("cannot write the answer as JSON: {error}")))?;
    Ok(text + "\n")
}

/// `None` for an empty string, which is how protobuf says "unset".
fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn choose(named: Option<&str>, variable: Option<&str>) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let env = |name: &str| variable.filter(|_| name == "USHER_PROFILE").map(OsString::from);
        profile(named.map(str::to_owned), &Caller::new(&mut out, &mut err, &env)).unwrap()
    }

    #[test]
    fn a_named_profile_goes_before_the_variable() {
        assert_eq!(choose(Some("a"), Some("b")), "a");
        assert_eq!(choose(None, Some("b")), "b");
        assert_eq!(choose(Some(""), Some("b")), "b");
        assert_eq!(choose(None, None), "");
        assert_eq!(choose(None, Some("")), "");
    }

    #[test]
    fn scopes_come_one_by_one() {
        let given = ["a b", "c,d", " e, ", "openid:x"].map(str::to_owned);
        assert_eq!(scopes(&given), ["a", "b", "c", "d", "e", "openid:x"]);
    }
}

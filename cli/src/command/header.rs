//! `usher header`: the Authorization header, ready for `curl -H @<(usher header P)`.

use super::token::ask;
use crate::{args::Header, caller::Caller, error::Error, exit};

pub(super) fn run(args: Header, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let answer = ask(args.asked, caller)?;
    caller.answer(&format!("Authorization: {}\n", answer.authorization))?;
    Ok(exit::OK)
}

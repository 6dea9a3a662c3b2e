//! Gets a token from usherd: `cargo run --example get_token -- PROFILE`
//!
//! In a program of your own: the crates usher-proto, and tokio with `macros` and `rt`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to a person")]

use std::{process::ExitCode, time::Duration};

use tonic::Request;
use usher_proto::{
    client::Connection,
    error::{ErrorReason, Failure},
    socket,
    v1::GetTokenRequest,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let profile = std::env::args().nth(1).unwrap_or_default();
    let socket = socket::path(|name| std::env::var_os(name))?;
    // Unlike other languages' clients it makes sure that this is your own daemon before it says a word.
    let connection = Connection::open(&socket, nix::unistd::geteuid().as_raw()).await?;
    let mut request = Request::new(GetTokenRequest { profile, ..Default::default() });
    request.set_timeout(Duration::from_secs(30));
    let token = match connection.tokens().get_token(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            let Failure { reason, message, .. } = Failure::from(&status);
            eprintln!("{}: {message}", usher_proto::error::name(reason));
            return Ok(match reason {
                // A later try can succeed.
                ErrorReason::IdpUnreachable
                | ErrorReason::IdpUnavailable
                | ErrorReason::IdpAnswerInvalid
                | ErrorReason::RateLimited
                | ErrorReason::DeadlineExceeded => ExitCode::from(75),
                _ => ExitCode::FAILURE,
            });
        }
    };
    // Send `token.authorization` as the Authorization header.
    println!("profile:  {}", token.profile);
    println!("expires:  {}", token.expires_at.map_or("not known".into(), |time| time.to_string()));
    println!("token_id: {}", token.token_id);
    Ok(ExitCode::SUCCESS)
}

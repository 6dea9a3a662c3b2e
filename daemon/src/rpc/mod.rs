//! The contract as it is served: the only place that knows tonic's server.
//!
//! - [`serve`]: all connections, from accept to drain
//! - [`accept`], [`places`]: how callers come in, and who goes when all places are taken
//! - [`connection`]: one of them: its calls, and when it has to go
//! - [`activity`], [`pace`], [`body`]: what a peer has to bring to its end in time
//! - [`share`]: what one process may take of the daemon's one thread
//! - [`limits`]: every number that a caller can run into
//! - [`notices`]: what the log is told of peers
//! - [`authority`]: what gRPC's C core calls a Unix socket, made acceptable
//! - [`token`], [`credential`], [`admin`]: the services
//! - [`watch`]: streams of tokens
//! - [`convert`]: the engine's words into the contract's
//! - [`status`]: the engine's errors into gRPC statuses
//! - [`deadline`]: how long a caller waits

mod accept;
mod activity;
pub mod admin;
mod authority;
mod body;
mod connection;
pub mod convert;
pub mod credential;
pub mod deadline;
mod limits;
mod notices;
mod pace;
mod places;
pub mod serve;
mod share;
pub mod status;
pub mod token;
mod undropped;
mod watch;

use std::sync::Arc;

use tonic::{Request, Status, service::Routes};
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{
        FILE_DESCRIPTOR_SET, admin_service_server::AdminServiceServer,
        credential_service_server::CredentialServiceServer, token_service_server::TokenServiceServer,
    },
};

use self::{
    admin::{Admin, Control},
    credential::Credentials,
    token::{Issue, Tokens},
};
use crate::{
    access::{Peer, Policy},
    credential::vault::Vault,
    token::service::Engine,
};

/// The contract's description of itself is broken.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

/// All services of the main listener.
pub async fn routes(
    engine: Engine,
    vault: Arc<Vault>,
    policy: Arc<Policy>,
    control: Arc<dyn Control>,
) -> Result<Routes, ReflectionError> {
    // What it reports never changes: a daemon that answers at all serves.
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<TokenServiceServer<Tokens>>().await;
    reporter.set_serving::<CredentialServiceServer<Credentials>>().await;
    reporter.set_serving::<AdminServiceServer<Admin>>().await;
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let issue = Issue { engine: engine.clone(), policy: Arc::clone(&policy) };
    let tokens = Tokens::new(issue.clone());
    let tokens = TokenServiceServer::new(tokens).max_decoding_message_size(limits::MESSAGE);
    let credentials = Credentials::new(issue, Arc::clone(&vault));
    let credentials = CredentialServiceServer::new(credentials).max_decoding_message_size(limits::MESSAGE);
    let admin = Admin::new(engine, vault, policy, control);
    let admin = AdminServiceServer::new(admin).max_decoding_message_size(limits::MESSAGE);
    Ok(Routes::new(tokens)
        .add_service(credentials)
        .add_service(admin)
        .add_service(health.max_decoding_message_size(limits::MESSAGE))
        .add_service(reflect().build_v1()?.max_decoding_message_size(limits::MESSAGE))
        .add_service(reflect().build_v1alpha()?.max_decoding_message_size(limits::MESSAGE))
        .prepare())
}

/// Who sent this, if they still may; who is taken off the list may have a connection yet.
fn caller<M>(request: &Request<M>, may: impl FnOnce(Peer) -> bool, what: &str) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().copied();
    peer.filter(|peer| may(*peer)).ok_or_else(|| denied(peer, what))
}

fn denied(peer: Option<Peer>, what: &str) -> Status {
    let who = peer.map_or_else(|| "you".to_owned(), |peer| format!("uid {}", peer.uid));
    Failure::new(ErrorReason::AccessDenied, format!("{who} may not {what}")).into()
}

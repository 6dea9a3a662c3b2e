//! The contract as it is served: the only place that knows tonic's server.
//!
//! - [`serve`]: all connections, from accept to drain
//! - [`connection`]: one of them: its limits, and when it has to go
//! - [`authority`]: what gRPC's C core calls a Unix socket, made acceptable
//! - [`token`], [`admin`]: the services
//! - [`convert`]: the engine's words into the contract's
//! - [`status`]: the engine's errors into gRPC statuses
//! - [`deadline`]: how long a caller waits

pub mod admin;
mod authority;
mod connection;
pub mod convert;
pub mod deadline;
pub mod serve;
pub mod status;
pub mod token;

use std::sync::Arc;

use tonic::service::Routes;
use usher_proto::v1::{
    FILE_DESCRIPTOR_SET, admin_service_server::AdminServiceServer, token_service_server::TokenServiceServer,
};

use self::{
    admin::{Admin, Control},
    token::Tokens,
};
use crate::token::service::Engine;

/// The largest request: the contract's largest is a few hundred bytes.
const MAX_REQUEST: usize = 64 * 1024;

/// The contract's description of itself is broken.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

/// All services of the main listener.
pub async fn routes(engine: Engine, control: Arc<dyn Control>) -> Result<Routes, ReflectionError> {
    // What it reports never changes: a daemon that answers at all serves.
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<TokenServiceServer<Tokens>>().await;
    reporter.set_serving::<AdminServiceServer<Admin>>().await;
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let tokens = TokenServiceServer::new(Tokens::new(engine.clone())).max_decoding_message_size(MAX_REQUEST);
    let admin = AdminServiceServer::new(Admin::new(engine, control)).max_decoding_message_size(MAX_REQUEST);
    Ok(Routes::new(tokens)
        .add_service(admin)
        .add_service(health.max_decoding_message_size(MAX_REQUEST))
        .add_service(reflect().build_v1()?.max_decoding_message_size(MAX_REQUEST))
        .add_service(reflect().build_v1alpha()?.max_decoding_message_size(MAX_REQUEST))
        .prepare())
}

//! What a program can find out about the daemon: its version, its health, and its services by reflection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use prost::Message;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use usher_proto::{
    client::Connection,
    v1::{ForgetRequest, StatusRequest},
    version,
};

use super::{ask, calling, origin};
use crate::support::World;

#[test]
fn usherd_tells_its_version_with_every_answer() {
    let world = World::new("");
    calling(&world.usherd, async |connection| {
        let (mut tokens, mut admin) = (connection.tokens(), connection.admin());
        let told = |metadata| version::of_peer(metadata).map(str::to_owned);
        let unknown = || ForgetRequest { profile: "nope".into(), revoke: false };
        for (what, version) in [
            ("token", told(tokens.get_token(ask("frontdoor")).await.unwrap().metadata())),
            ("no token", told(tokens.get_token(ask("nope")).await.unwrap_err().metadata())),
            ("status", told(admin.status(StatusRequest::default()).await.unwrap().metadata())),
            ("no such profile", told(admin.forget(unknown()).await.unwrap_err().metadata())),
        ] {
            assert_eq!(version.as_deref(), Some(version::VERSION), "{what}");
        }
    });
}

#[test]
fn health_says_serving() {
    let world = World::new("");
    calling(&world.usherd, async |connection| {
        let mut health = HealthClient::with_origin(connection, origin());
        for service in ["", "usher.v1.TokenService", "usher.v1.AdminService"] {
            let answer = health.check(HealthCheckRequest { service: service.into() }).await;
            let answer = answer.unwrap_or_else(|status| panic!("{service:?}: {status:?}")).into_inner();
            assert_eq!(answer.status().as_str_name(), "SERVING", "{service:?}");
        }
        let other = HealthCheckRequest { service: "no.such.Service".into() };
        assert_eq!(health.check(other).await.unwrap_err().code(), Code::NotFound);
    });
}

/// Asks the reflection service (v1) one thing.
async fn reflect(connection: &Connection, what: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(what) };
    let mut client = ServerReflectionClient::with_origin(connection.clone(), origin());
    let requests = tonic::codegen::tokio_stream::once(request);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

async fn file(connection: &Connection, what: MessageRequest) -> prost_types::FileDescriptorProto {
    match reflect(connection, what).await {
        MessageResponse::FileDescriptorResponse(files) => {
            Message::decode(files.file_descriptor_proto[0].as_slice()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reflection_describes_the_services_with_all_they_need() {
    let world = World::new("");
    calling(&world.usherd, async |connection| {
        let listed = reflect(&connection, MessageRequest::ListServices(String::new())).await;
        let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
        let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
        for service in ["usher.v1.TokenService", "usher.v1.AdminService", "grpc.health.v1.Health"] {
            assert!(names.iter().any(|name| name == service), "no {service} in {names:?}");
        }
        let symbol = MessageRequest::FileContainingSymbol("usher.v1.TokenService.GetToken".into());
        let described = file(&connection, symbol).await;
        let method = &described.service[0].method[0];
        assert_eq!((method.name(), method.input_type()), ("GetToken", ".usher.v1.GetTokenRequest"));
        // grpcurl asks for these next.
        assert!(!described.dependency.is_empty());
        for name in described.dependency {
            assert_eq!(file(&connection, MessageRequest::FileByFilename(name.clone())).await.name(), name);
        }
    });
}

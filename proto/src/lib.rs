//! usher's gRPC contract and what both of its sides share, nothing else.
//!
//! - [`v1`]: the code generated from `usher/v1/*.proto`
//! - [`error`]: an [`v1::ErrorReason`] into a [`tonic::Status`] and back
//! - [`socket`]: the one rule for where the socket lies
//! - [`client`]: connect to it, and be sure of who listens there
//! - [`version`]: what the two sides tell each other about themselves

pub mod client;
pub mod error;
mod redacted;
pub mod socket;
pub mod version;

/// Messages and services of the package `usher.v1`, generated.
#[allow(
    missing_docs,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("usher.v1");

    /// The encoded `FileDescriptorSet` of the contract, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/usher.v1.descriptors.bin"));
}

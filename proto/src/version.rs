//! What the two sides tell each other about themselves: one metadata entry each way.
//!
//! The contract only grows, so a difference is worth a warning and no more.

use tonic::metadata::MetadataMap;

/// The version both binaries of this build carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The metadata key, in requests and in responses.
pub const METADATA_KEY: &str = "usher-version";

/// The other side's version, if it told.
pub fn of_peer(metadata: &MetadataMap) -> Option<&str> {
    metadata.get(METADATA_KEY)?.to_str().ok()
}

/// Writes this side's version into `metadata`.
pub fn tell(metadata: &mut MetadataMap) {
    metadata.insert(METADATA_KEY, tonic::metadata::MetadataValue::from_static(VERSION));
}

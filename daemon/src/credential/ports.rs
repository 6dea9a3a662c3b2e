//! What the vault needs from the world.

use crate::{
    domain::credential::{CredentialKey, Stored},
    token::ports::{ArchiveState, BoxFuture},
};

/// Keeps credentials on disk, encrypted. Why something failed is told for people.
pub trait Safe: Send + Sync {
    /// All that is in it. One that was never used has nothing, and is not made for this.
    fn load(&self) -> BoxFuture<'_, Result<Vec<Stored>, String>>;

    /// Puts one in, in the place of that of the same name; once this has answered it lasts.
    fn put(&self, stored: Stored) -> BoxFuture<'_, Result<(), String>>;

    /// Takes these out, for good.
    fn remove(&self, keys: Vec<CredentialKey>) -> BoxFuture<'_, Result<(), String>>;

    /// Where it is, and where its key comes from.
    fn state(&self) -> ArchiveState;
}

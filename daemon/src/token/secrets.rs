//! Which profiles' secrets can be had.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::ports::{SecretError, Secrets};
use crate::domain::profile::Profile;

/// Why secrets cannot be read now, by profile. All are tried at once, for at most `patience`.
pub async fn unreadable(
    secrets: &dyn Secrets,
    profiles: impl IntoIterator<Item = Arc<Profile>>,
    patience: Duration,
) -> BTreeMap<String, SecretError> {
    let tried = profiles.into_iter().map(async |profile| {
        let reference = profile.grant.secret();
        let read = tokio::time::timeout(patience, secrets.check(reference)).await;
        let error =
            read.unwrap_or_else(|_| Err(SecretError(format!("{reference} takes long to answer")))).err()?;
        Some((profile.name.clone(), error))
    });
    join_all(tried).await.into_iter().flatten().collect()
}

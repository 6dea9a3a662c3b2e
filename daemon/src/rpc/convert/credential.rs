//! Places and credentials in the contract's words, and back.

use std::time::Duration;

use tonic::Status;
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{self, CredentialPlace, ListedCredential, credential_place::Form},
};

use super::{count, store, timestamp};
use crate::{
    credential::vault::{Counts, Listed, Vault},
    domain::{
        credential::{Credential, Secret},
        place::{self, Place},
        secret::{ExposeSecret as _, SecretString},
        time::Moment,
        url::UrlError,
    },
};

/// The longest name of a collection, in bytes.
const MAX_COLLECTION: usize = 32;
/// The longest user name, or scheme, in bytes.
const MAX_NAME: usize = 1024;
/// The longest password or credential, in bytes.
const MAX_SECRET: usize = 32 * 1024;

fn invalid(message: impl Into<String>) -> Status {
    Failure::new(ErrorReason::RequestInvalid, message).into()
}

/// The name of a collection.
pub fn collection(name: String) -> Result<String, Status> {
    let fits = (1..=MAX_COLLECTION).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits { Ok(name) } else { Err(invalid("a collection is up to 32 of a-z, 0-9 and -, such as \"git\"")) }
}

/// The place that is meant. None: nothing that is reached by HTTP.
pub fn place(place: Option<CredentialPlace>) -> Result<Option<Place>, UrlError> {
    match place.and_then(|place| place.form) {
        Some(Form::Parts(parts)) => place::of_parts(&parts.protocol, &parts.host, &parts.path),
        Some(Form::Server(server)) => place::of_server(&server).map(Some),
        None => Err(UrlError::NotAbsolute),
    }
}

/// A server by its name.
pub fn server(name: String) -> CredentialPlace {
    CredentialPlace { form: Some(Form::Server(name)) }
}

/// What is to be stored, as of `now`.
pub fn stored(given: v1::Credential, now: Moment) -> Result<Credential, Status> {
    let v1::Credential { username, password, authtype, credential, expires_at, oauth_refresh_token } = given;
    let (password, credential) = (SecretString::from(password), SecretString::from(credential));
    let refresh = SecretString::from(oauth_refresh_token);
    let len = |secret: &SecretString| secret.expose_secret().len();
    if [&username, &authtype].iter().any(|name| name.len() > MAX_NAME || name.chars().any(char::is_control)) {
        return Err(invalid(
            "a user name or scheme is longer than 1024 bytes, or has a control character in it",
        ));
    }
    if [&password, &credential, &refresh].iter().any(|secret| len(secret) > MAX_SECRET) {
        return Err(invalid("a secret is longer than 32 KiB"));
    }
    let secret = match (len(&password), len(&credential)) {
        (0, 0) => return Err(invalid("there is no password or credential to store")),
        (0, _) if authtype.is_empty() => return Err(invalid("a credential has no authtype")),
        (0, _) => Secret::Header { authtype, credential },
        _ => Secret::Password(password),
    };
    let expires_at = expires_at.map(|at| Duration::from_secs(u64::try_from(at.seconds).unwrap_or_default()));
    let oauth_refresh_token = Some(refresh).filter(|token| len(token) > 0);
    Ok(Credential { username, secret, expires_at, oauth_refresh_token, stored_at: now.wall })
}

/// What was stored.
pub fn credential(stored: &Credential) -> v1::Credential {
    let text = |secret: &SecretString| secret.expose_secret().to_owned();
    let mut credential = v1::Credential {
        username: stored.username.clone(),
        expires_at: stored.expires_at.map(timestamp),
        oauth_refresh_token: stored.oauth_refresh_token.as_ref().map(text).unwrap_or_default(),
        ..v1::Credential::default()
    };
    match &stored.secret {
        Secret::Password(password) => credential.password = text(password),
        Secret::Header { authtype, credential: value } => {
            credential.authtype.clone_from(authtype);
            credential.credential = text(value);
        }
    }
    credential
}

/// How many there are, and where.
pub fn counts(vault: &Vault) -> v1::CredentialsStatus {
    let Counts { fleeting, lasting } = vault.counts();
    v1::CredentialsStatus {
        in_memory: count(fleeting),
        on_disk: count(lasting),
        store: vault.safe_state().map(|state| store(state, 0)),
    }
}

/// One of a list.
pub fn listed(listed: Listed) -> ListedCredential {
    let Listed { site, username, lasts, until } = listed;
    let name = site.path.map(|path| format!("{}/{path}", site.host)).unwrap_or(site.host);
    ListedCredential {
        place: Some(server(name)),
        username,
        profile: String::new(),
        persistent: lasts,
        until: until.map(|until| timestamp(until.wall)),
    }
}

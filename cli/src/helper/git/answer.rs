//! What git is answered: what usherd said, in the form that git, and the server it talks to, take.

use secrecy::{ExposeSecret as _, SecretString};
use usher_proto::v1::{Credential, IssuedCredential};
use zeroize::Zeroizing;

use super::{
    parse::Request,
    state::{Scheme, State},
};
use crate::error::Error;

/// The user of a token whose profile names none, where git names none either. Servers that know tokens look at the
/// password alone.
const USER: &str = "oauth2";

/// What git is answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// The credential.
    pub given: Given,
    /// When it expires, in seconds since the epoch.
    pub expires_at: Option<i64>,
    /// What renews it.
    pub oauth_refresh_token: Option<SecretString>,
    /// What git is to give back if it asks again.
    pub state: Option<String>,
    /// If the server refuses this one, there is another.
    pub goes_on: bool,
}

/// A credential.
#[derive(Debug, Default)]
pub enum Given {
    /// None.
    #[default]
    Nothing,
    /// A user and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// What goes into an Authorization header.
    Header {
        /// The scheme.
        authtype: String,
        /// What stands behind it.
        credential: SecretString,
        /// It is not worth storing.
        ephemeral: bool,
    },
}

/// An answer that git would read as something else. Which value it is, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} holds a line end or a NUL, which cannot be told to git")]
pub struct Unspeakable(&'static str);

/// What a `get` means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Round<'a> {
    /// The first of this command.
    First,
    /// Another of this command, without a refusal: git-lfs asks so for each of its requests.
    Again,
    /// The token was sent as a header to a server that takes passwords only: it has refused the form.
    AsPassword,
    /// The server has refused this token.
    Anew(&'a str),
}

impl<'a> Round<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        match &request.state {
            Some(State::Gave(..)) if !request.is_refusal() => Self::Again,
            Some(State::Gave(Scheme::Bearer, _))
                if !request.accepts("Bearer") && request.asks_for("Basic") =>
            {
                Self::AsPassword
            }
            Some(State::Gave(_, token_id)) => Self::Anew(token_id),
            Some(State::Unknown) | None => Self::First,
        }
    }
}

impl Answer {
    /// A profile's token.
    pub(super) fn issued(
        issued: IssuedCredential,
        request: &Request,
        round: &Round<'_>,
    ) -> Result<Self, Error> {
        let IssuedCredential { token, username } = issued;
        let token = token.ok_or_else(|| Error::Answer("usherd answered without a token".to_owned()))?;
        let authorization = Zeroizing::new(token.authorization);
        let as_header = authorization.split_once(' ').filter(|(scheme, _)| {
            request.takes_authtype && *round != Round::AsPassword && request.accepts(scheme)
        });
        let (used, given) = if let Some((scheme, credential)) = as_header {
            let given =
                Given::Header { authtype: scheme.to_owned(), credential: credential.into(), ephemeral: true };
            let bearer = scheme.eq_ignore_ascii_case("Bearer");
            (if bearer { Scheme::Bearer } else { Scheme::Basic }, given)
        } else {
            let username = [username, request.username.clone(), USER.to_owned()]
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_default();
            (Scheme::Basic, Given::Password { username, password: token.access_token.into() })
        };
        Ok(Self {
            given,
            expires_at: token.expires_at.map(|at| at.seconds),
            oauth_refresh_token: None,
            state: request.takes_state.then(|| State::write(used, &token.token_id)),
            goes_on: request.takes_state && !matches!(round, Round::Again | Round::Anew(_)),
        })
    }

    /// What was stored. One that is no user name and password is of no use to who does not know such.
    pub(super) fn stored(stored: Credential, request: &Request) -> Self {
        let Credential { username, password, authtype, credential, expires_at, oauth_refresh_token } = stored;
        let given = if !credential.is_empty() && request.takes_authtype {
            Given::Header { authtype, credential: credential.into(), ephemeral: false }
        } else if password.is_empty() {
            return Self::default();
        } else {
            Given::Password { username, password: password.into() }
        };
        Self {
            given,
            expires_at: expires_at.map(|at| at.seconds),
            oauth_refresh_token: (!oauth_refresh_token.is_empty()).then(|| oauth_refresh_token.into()),
            ..Self::default()
        }
    }
}

/// What git reads, or nothing where a value would not arrive as it is.
pub fn render(answer: &Answer) -> Result<Vec<u8>, Unspeakable> {
    let mut lines = Lines(Vec::new());
    if matches!(answer.given, Given::Header { .. }) {
        lines.add("capability[]", "authtype")?;
    }
    if answer.state.is_some() {
        lines.add("capability[]", "state")?;
    }
    match &answer.given {
        Given::Nothing => {}
        Given::Password { username, password } => {
            lines.add("username", username)?;
            lines.add("password", password.expose_secret())?;
        }
        Given::Header { authtype, credential, ephemeral } => {
            lines.add("authtype", authtype)?;
            lines.add("credential", credential.expose_secret())?;
            if *ephemeral {
                lines.add("ephemeral", "1")?;
            }
        }
    }
    // git takes 0 for "never".
    if let Some(at) = answer.expires_at.filter(|at| *at > 0) {
        lines.add("password_expiry_utc", &at.to_string())?;
    }
    if let Some(token) = &answer.oauth_refresh_token {
        lines.add("oauth_refresh_token", token.expose_secret())?;
    }
    if let Some(state) = &answer.state {
        lines.add("state[]", state)?;
    }
    if answer.goes_on {
        lines.add("continue", "1")?;
    }
    Ok(lines.0)
}

struct Lines(Vec<u8>);

impl Lines {
    fn add(&mut self, key: &'static str, value: &str) -> Result<(), Unspeakable> {
        if value.contains(['\n', '\r', '\0']) {
            return Err(Unspeakable(key));
        }
        for part in [key, "=", value, "\n"] {
            self.0.extend_from_slice(part.as_bytes());
        }
        Ok(())
    }
}

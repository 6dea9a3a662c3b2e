//! What we have git remember of an answer (`state[]`), so that we know what was refused when it asks again within the
//! same command.

/// The scheme under which a token goes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// As what it is.
    Bearer,
    /// As a user's password, or made for this scheme.
    Basic,
}

/// An answer of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// With this token, under this scheme.
    Gave(Scheme, String),
    /// Ours, but of another version of usher.
    Unknown,
}

/// What a state of ours begins with.
const OURS: &str = "usher:";

/// Longer is no name of a token.
const MAX_ID: usize = 256;

impl State {
    /// The state in a `state[]`; none if it is not ours.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let inner = value.strip_prefix(OURS.as_bytes())?;
        Some(Self::inner(inner).unwrap_or(Self::Unknown))
    }

    fn inner(inner: &[u8]) -> Option<Self> {
        let (scheme, id) = std::str::from_utf8(inner).ok()?.strip_prefix("1:")?.split_once(':')?;
        let scheme = match scheme {
            "bearer" => Scheme::Bearer,
            "basic" => Scheme::Basic,
            _ => return None,
        };
        let is_name = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        is_name.then(|| Self::Gave(scheme, id.to_owned()))
    }

    /// As git is to give it back.
    pub(super) fn write(scheme: Scheme, token_id: &str) -> String {
        let scheme = match scheme {
            Scheme::Bearer => "bearer",
            Scheme::Basic => "basic",
        };
        format!("{OURS}1:{scheme}:{token_id}")
    }
}

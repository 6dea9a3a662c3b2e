//! Which profile a request means, and whether its token may go where the caller wants to take it.

use std::sync::Arc;

use ::url::Url;

use super::{
    cache::{Directory, Slot},
    error::TokenError,
};
use crate::domain::url::{self, UrlError};

/// The profile of a request that names a profile, a URL, both or neither; and the URL in the form that
/// was checked.
///
/// Without a name: the profile that owns the URL; else, where there is no URL or
/// only a path, the default profile; else the only one.
pub fn select(directory: &Directory, name: &str, url: &str) -> Result<(Arc<Slot>, Option<Url>), TokenError> {
    if name.is_empty() && !url.is_empty() && !url.starts_with('/') {
        return by_url(directory, url);
    }
    let slot = if name.is_empty() { implied(directory)? } else { named(directory, name)? };
    let url = match url {
        "" => None,
        url => Some(place(slot, url)?),
    };
    Ok((Arc::clone(slot), url))
}

fn named<'a>(directory: &'a Directory, name: &str) -> Result<&'a Arc<Slot>, TokenError> {
    directory
        .get(name)
        .ok_or_else(|| TokenError::ProfileUnknown { name: name.to_owned(), known: directory.names() })
}

fn implied(directory: &Directory) -> Result<&Arc<Slot>, TokenError> {
    match &directory.default_profile {
        Some(name) => named(directory, name),
        None => directory.only().ok_or_else(|| TokenError::ProfileAmbiguous {
            why: "the request names no profile, and there is no default_profile".to_owned(),
            known: directory.names(),
        }),
    }
}

fn by_url(directory: &Directory, text: &str) -> Result<(Arc<Slot>, Option<Url>), TokenError> {
    let url = url::canonical(text, true)?;
    let slot = owner(directory, &url)?.ok_or_else(|| TokenError::NoProfileForUrl { url: shown(&url) })?;
    let url = place(slot, text)?;
    Ok((Arc::clone(slot), Some(url)))
}

/// The profile that owns a URL: the one with the best claim to it. The configuration has no two with equally good ones but
/// where both are of presets.
fn owner<'a>(directory: &'a Directory, url: &Url) -> Result<Option<&'a Arc<Slot>>, TokenError> {
    let claims: Vec<_> = directory.iter().filter_map(|slot| Some((slot.profile.claim(url)?, slot))).collect();
    let Some(best) = claims.iter().map(|(claim, _)| *claim).max() else { return Ok(None) };
    let mut owners: Vec<_> =
        claims.into_iter().filter(|(claim, _)| *claim == best).map(|(_, slot)| slot).collect();
    owners.sort_by(|one, other| one.profile.name.cmp(&other.profile.name));
    match owners.as_slice() {
        [slot] => Ok(Some(slot)),
        several => Err(TokenError::ProfileAmbiguous {
            why: format!("several profiles cover {} equally well", shown(url)),
            known: several.iter().map(|slot| slot.profile.name.clone()).collect(),
        }),
    }
}

/// The profile that owns one of these URLs, and that URL. With a `name`: that profile, if it covers one of them.
pub fn find_owner(
    directory: &Directory,
    name: &str,
    urls: &[Url],
) -> Result<Option<(Arc<Slot>, Url)>, TokenError> {
    for url in urls {
        let slot = if name.is_empty() {
            owner(directory, url)?
        } else {
            Some(named(directory, name)?).filter(|slot| slot.profile.covers(url).is_some())
        };
        if let Some(slot) = slot {
            return Ok(Some((Arc::clone(slot), url.clone())));
        }
    }
    Ok(None)
}

/// The URL that `text` means to this profile, if its token may be presented there.
fn place(slot: &Slot, text: &str) -> Result<Url, TokenError> {
    let profile = &slot.profile;
    let joined;
    let text = if text.starts_with('/') {
        let base = profile.base_url.as_ref().ok_or_else(|| {
            TokenError::Invalid(format!(
                "{text:?} is a path, and the profile {} has no base_url: give the whole URL, or set base_url",
                profile.name
            ))
        })?;
        joined = base.join(text);
        joined.as_str()
    } else {
        text
    };
    let url = match url::canonical(text, profile.allow_loopback_http) {
        Err(error @ (UrlError::NotAbsolute | UrlError::NotHttps)) => {
            return Err(TokenError::Invalid(format!(
                "{text:?} {error}, and no path below base_url, which begins with a slash"
            )));
        }
        other => other?,
    };
    if profile.covers(&url).is_none() {
        let allowed = profile.urls.iter().map(ToString::to_string).collect();
        return Err(TokenError::UrlNotAllowed { profile: profile.name.clone(), url: shown(&url), allowed });
    }
    Ok(url)
}

/// A URL as an error shows it: its query is the caller's business.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

//! A record as bytes: JSON, since what is added to it later is then passed over by an older usherd.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    domain::{
        record::{KeptToken, KeyId, Owner, Record, Unrevoked},
        scope::ScopeSet,
        secret::{ExposeSecret as _, SecretString},
        time::Moment,
        token::{TokenId, check_credential},
    },
    token::ports::Kept,
};

#[derive(Serialize, Deserialize)]
struct Written {
    profile: String,
    grant: String,
    audience: Option<String>,
    scopes: Vec<String>,
    /// Which boot of the machine the boot clock is of; none: it could not be told.
    boot_id: Option<String>,
    /// On the wall clock, since the Unix epoch, and on the boot clock.
    wall: Duration,
    boot: Duration,
    token: Option<WrittenToken>,
    sent_ago: Vec<Duration>,
    window: Duration,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unrevoked: Vec<WrittenUnrevoked>,
}

#[derive(Serialize, Deserialize)]
struct WrittenUnrevoked {
    access_token: Zeroizing<String>,
    id: String,
    left: Duration,
}

#[derive(Serialize, Deserialize)]
struct WrittenToken {
    access_token: Zeroizing<String>,
    id: String,
    scopes: Vec<String>,
    left: Duration,
    refresh_in: Duration,
    length: Duration,
}

/// The bytes of a record.
pub(super) fn encode(record: &Record, boot_id: Option<&str>) -> Zeroizing<Vec<u8>> {
    let list = |scopes: &ScopeSet| scopes.iter().map(str::to_owned).collect();
    let token = record.token.as_ref().map(|token| WrittenToken {
        access_token: Zeroizing::new(token.access_token.expose_secret().to_owned()),
        id: token.id.0.clone(),
        scopes: list(&token.scopes),
        left: token.left,
        refresh_in: token.refresh_in,
        length: token.length,
    });
    // Large enough for all of it, mostly: a buffer that grows leaves copies of the token behind.
    let unrevoked: Vec<_> = record.unrevoked.iter().map(unrevoked).collect();
    let room = token.as_ref().map_or(0, |token| token.access_token.len())
        + unrevoked.iter().map(|token| token.access_token.len() + 200).sum::<usize>();
    let key = &record.key;
    let words =
        key.owner.grant.len() + key.scopes.to_string().len() + key.audience.as_deref().map_or(0, str::len);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 2 * words + 4096 + 48 * record.sent_ago.len()));
    let written = Written {
        profile: record.key.owner.profile.clone(),
        grant: record.key.owner.grant.clone(),
        audience: record.key.audience.as_deref().map(str::to_owned),
        scopes: list(&record.key.scopes),
        boot_id: boot_id.map(str::to_owned),
        wall: record.written.wall,
        boot: record.written.boot,
        token,
        sent_ago: record.sent_ago.clone(),
        window: record.window,
        unrevoked,
    };
    // Strings and numbers into memory: there is nothing that could fail.
    let _ = serde_json::to_writer(&mut *bytes, &written);
    bytes
}

fn unrevoked(token: &Unrevoked) -> WrittenUnrevoked {
    WrittenUnrevoked {
        access_token: Zeroizing::new(token.access_token.expose_secret().to_owned()),
        id: token.id.0.clone(),
        left: token.left,
    }
}

/// The record that these bytes are, if they are one.
pub(super) fn decode(bytes: &[u8], boot_id: Option<&str>) -> Option<Kept> {
    let written: Written = serde_json::from_slice(bytes).ok()?;
    let token = match written.token {
        Some(token) => {
            let access_token = SecretString::from(token.access_token.as_str());
            check_credential(&access_token).ok()?;
            Some(KeptToken {
                access_token,
                id: TokenId(token.id),
                scopes: ScopeSet::new(token.scopes).ok()?,
                left: token.left,
                refresh_in: token.refresh_in,
                length: token.length,
            })
        }
        None => None,
    };
    let unrevoked = written.unrevoked.into_iter().map(|token| Unrevoked {
        access_token: token.access_token.as_str().into(),
        id: TokenId(token.id),
        left: token.left,
    });
    let unrevoked = unrevoked.collect();
    let owner = Arc::new(Owner { profile: written.profile, grant: written.grant });
    let audience = written.audience.map(Into::into);
    let key = KeyId { owner, audience, scopes: ScopeSet::new(written.scopes).ok()? };
    let record = Record {
        key,
        written: Moment { wall: written.wall, boot: written.boot },
        token,
        sent_ago: written.sent_ago,
        window: written.window,
        unrevoked,
        has_dropped: false,
    };
    Some(Kept { record, this_boot: boot_id.is_some() && written.boot_id.as_deref() == boot_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let owner = Owner { profile: "p".into(), grant: "g".into() };
        Record {
            key: KeyId {
                owner: Arc::new(owner),
                audience: Some("aud".into()),
                scopes: ScopeSet::from_parameter("read write"),
            },
            written: Moment { wall: Duration::from_millis(1_800_000_000_123), boot: Duration::from_nanos(7) },
            token: Some(KeptToken {
                access_token: "CANARY".into(),
                id: TokenId("id".into()),
                scopes: ScopeSet::from_parameter("read"),
                left: Duration::from_secs(100),
                refresh_in: Duration::from_secs(50),
                length: Duration::from_secs(3600),
            }),
            sent_ago: vec![Duration::from_secs(3), Duration::from_millis(1)],
            window: Duration::from_secs(60),
            unrevoked: vec![Unrevoked {
                access_token: "CANARY-2".into(),
                id: TokenId("gone".into()),
                left: Duration::from_secs(9),
            }],
            has_dropped: false,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        for boot_id in [Some("this"), None] {
            let kept = decode(&encode(&record(), Some("this")), boot_id).unwrap();
            assert_eq!(format!("{:?}", kept.record), format!("{:?}", record()));
            assert_eq!(kept.record.token.unwrap().access_token.expose_secret(), "CANARY");
            assert_eq!(kept.this_boot, boot_id.is_some());
        }
        assert!(!decode(&encode(&record(), None), None).unwrap().this_boot, "unknown is not the same");
        assert!(!decode(&encode(&record(), Some("that")), Some("this")).unwrap().this_boot);
    }

    #[test]
    fn what_a_newer_usherd_adds_is_passed_over_and_what_is_no_record_is_none() {
        let mut value: serde_json::Value = serde_json::from_slice(&encode(&record(), None)).unwrap();
        value["more"] = 1.into();
        assert!(decode(value.to_string().as_bytes(), None).is_some());
        value["token"]["access_token"] = "two\nlines".into();
        assert!(decode(value.to_string().as_bytes(), None).is_none());
        for junk in [&b""[..], b"{}", b"null", b"\xff"] {
            assert!(decode(junk, None).is_none());
        }
    }
}

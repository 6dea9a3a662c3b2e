//! What a store says of itself: its format, where its key comes from, and something that stands for the key. Two lines:
//! JSON, and its SHA-256, so that a damaged header is not taken for one of another key or a newer format.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::seal::hex;

/// Its file.
pub(super) const NAME: &str = "store";

/// Larger ones are none.
pub(super) const MAX: u64 = 64 * 1024;

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// What is recorded when a store is made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Where its key comes from, in words.
    pub(super) key: String,
    /// What the key has to be told by ([`super::seal::Sealer::check`]).
    pub(super) check: String,
}

#[derive(Serialize, Deserialize)]
struct Versioned {
    format: u32,
}

/// Why a header says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is damaged, or was never one.
    Damaged,
    /// Of a newer usherd.
    Newer(u32),
}

/// As it is on disk.
pub(super) fn encode(header: &Header) -> Vec<u8> {
    #[derive(Serialize)]
    struct Whole<'a> {
        format: u32,
        #[serde(flatten)]
        header: &'a Header,
    }
    let json = serde_json::to_string(&Whole { format: FORMAT, header }).unwrap_or_default();
    format!("{json}\n{}\n", sum(&json)).into_bytes()
}

/// As it was on disk.
pub(super) fn decode(bytes: &[u8]) -> Result<Header, Unreadable> {
    let text = str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let (json, recorded) = text.and_then(|text| text.split_once('\n')).ok_or(Unreadable::Damaged)?;
    if sum(json) != recorded {
        return Err(Unreadable::Damaged);
    }
    let Versioned { format } = serde_json::from_str(json).map_err(|_| Unreadable::Damaged)?;
    match format {
        FORMAT => serde_json::from_str(json).map_err(|_| Unreadable::Damaged),
        // There has been none before the first one.
        0 => Err(Unreadable::Damaged),
        newer => Err(Unreadable::Newer(newer)),
    }
}

fn sum(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { key: "file /k".into(), check: "ab".into() }
    }

    #[test]
    fn every_flip_and_every_truncation_is_damage() {
        let bytes = encode(&header());
        assert_eq!(decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), Err(Unreadable::Damaged), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(Unreadable::Damaged), "length {length}");
        }
    }

    #[test]
    fn a_newer_one_is_known_for_what_it_is() {
        let json = r#"{"format":2,"whatever":[]}"#;
        assert_eq!(decode(format!("{json}\n{}\n", sum(json)).as_bytes()), Err(Unreadable::Newer(2)));
    }
}

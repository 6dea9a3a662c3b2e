//! Cuts secrets out of a stream as it passes, however the reads fall.

use std::io::{self, Write};

const REDACTED: &[u8] = b"[redacted]";

/// From this many bytes of a token on, its beginning is cut out too: curl cuts its longer `-v` lines off
/// at 2 KiB, and with them a token in the middle.
const TELLING: usize = 8;

struct Secret {
    bytes: Vec<u8>,
    /// A beginning of this length is as good as the whole.
    telling: usize,
}

/// Passes a stream on without the secrets in it.
pub(super) struct Redactor {
    secrets: Vec<Secret>,
    /// What may be the beginning of a secret; the next read tells.
    held: Vec<u8>,
}

impl Redactor {
    /// For an Authorization header's value and the token in it.
    pub(super) fn new(authorization: &str, token: &str) -> Self {
        let credentials = authorization.split_once(' ').map_or(authorization, |(_, rest)| rest.trim_start());
        let scheme = authorization.len() - credentials.len();
        let secrets = [(authorization, scheme), (credentials, 0), (token, 0)]
            .into_iter()
            .filter(|(text, known)| text.len() > *known)
            .map(|(text, known)| Secret {
                bytes: text.as_bytes().to_vec(),
                telling: (known + TELLING).min(text.len()),
            })
            .collect();
        Self { secrets, held: Vec::new() }
    }

    /// Passes on what can be no part of a secret, at once, and keeps the rest.
    pub(super) fn push(&mut self, read: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.held.extend_from_slice(read);
        self.pass(false, out)
    }

    /// No more is coming: passes on what was kept.
    pub(super) fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.pass(true, out)
    }

    fn pass(&mut self, ended: bool, out: &mut dyn Write) -> io::Result<()> {
        let mut clean = Vec::with_capacity(self.held.len());
        let mut at = 0;
        while let Some(&byte) = self.held.get(at) {
            match self.look(&self.held[at..], ended) {
                Found::Nothing => {
                    clean.push(byte);
                    at += 1;
                }
                Found::Secret(length) => {
                    clean.extend_from_slice(REDACTED);
                    at += length;
                }
                Found::Unknown => break,
            }
        }
        self.held.drain(..at);
        out.write_all(&clean)?;
        out.flush()
    }

    /// What `rest` begins with.
    fn look(&self, rest: &[u8], ended: bool) -> Found {
        let mut longest = 0;
        for secret in &self.secrets {
            let common = secret.bytes.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if !ended && common == rest.len() && common < secret.bytes.len() {
                return Found::Unknown;
            }
            if common >= secret.telling {
                longest = longest.max(common);
            }
        }
        if longest > 0 { Found::Secret(longest) } else { Found::Nothing }
    }
}

enum Found {
    Nothing,
    /// A secret, or a telling beginning of one, of this length.
    Secret(usize),
    /// It could become a secret.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOi.abc.def";

    fn redacted(redactor: &mut Redactor, reads: &[&[u8]]) -> String {
        let mut out = Vec::new();
        for read in reads {
            redactor.push(read, &mut out).unwrap();
        }
        redactor.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn bearer() -> Redactor {
        Redactor::new(&format!("Bearer {TOKEN}"), TOKEN)
    }

    #[test]
    fn every_split_into_three_reads_gives_the_same() {
        let text = format!("> Authorization: Bearer {TOKEN}\r\n> x: {TOKEN}{TOKEN}Bear\r\nBearer eyJ");
        let expected = "> Authorization: [redacted]\r\n> x: [redacted][redacted]Bear\r\nBearer eyJ";
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let reads = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(redacted(&mut bearer(), &reads), expected, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn byte_by_byte_too() {
        let text = format!("a Bearer {TOKEN} b");
        let reads: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(redacted(&mut bearer(), &reads), "a [redacted] b");
    }

    #[test]
    fn a_token_that_curl_cut_off_is_redacted_as_well() {
        let text = format!("* h2h3 [authorization: Bearer {}...\n", &TOKEN[..12]);
        for split in 0..=text.len() {
            let (one, two) = text.as_bytes().split_at(split);
            let seen = redacted(&mut bearer(), &[one, two]);
            assert_eq!(seen, "* h2h3 [authorization: [redacted]...\n", "split at {split}");
        }
        // At the very end of the stream, too.
        assert_eq!(redacted(&mut bearer(), &[&TOKEN.as_bytes()[..12]]), "[redacted]");
    }

    #[test]
    fn basic_is_redacted_with_and_without_its_account() {
        let mut redactor = Redactor::new("Basic account-id:s3cr3t-token", "s3cr3t-token");
        let text = b"a: Basic account-id:s3cr3t-token\nb: account-id:s3cr3t-token\nc: s3cr3t-token\n";
        assert_eq!(redacted(&mut redactor, &[text]), "a: [redacted]\nb: [redacted]\nc: [redacted]\n");
    }

    #[test]
    fn progress_passes_at_once() {
        let mut out = Vec::new();
        let mut redactor = bearer();
        redactor.push(b"\r  50%", &mut out).unwrap();
        assert_eq!(out, b"\r  50%");
        // Only what can be the beginning of a secret waits.
        redactor.push(b" Bear", &mut out).unwrap();
        assert_eq!(out, b"\r  50% ");
        redactor.push(b"s\n", &mut out).unwrap();
        assert_eq!(out, b"\r  50% Bears\n");
    }

    #[test]
    fn a_false_start_hides_no_true_one() {
        let mut redactor = Redactor::new("X aaab", "aaab");
        assert_eq!(redacted(&mut redactor, &[b"aaaaab"]), "aa[redacted]");
        assert_eq!(redacted(&mut Redactor::new("", ""), &[b"text"]), "text");
    }
}

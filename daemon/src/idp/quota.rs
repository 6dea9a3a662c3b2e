//! What a server says of its quotas, in whichever header it says it.

use std::time::Duration;

use reqwest::header::HeaderMap;

use super::date;
use crate::domain::{quota::Quota, time::Moment};

/// The most buckets that are taken from one answer.
const MAX_BUCKETS: usize = 8;
/// The longest name of a bucket.
const MAX_NAME: usize = 40;
/// The longest header that is read.
const MAX_HEADER: usize = 2048;
/// A reset that is further away is none.
const MAX_RESET: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Auth0's, and whose requests each counts.
const AUTH0: [(&str, &str); 2] =
    [("auth0-client-quota-limit", "client"), ("auth0-organization-quota-limit", "organization")];
/// What goes before `limit`, `remaining` and `reset`: the older drafts of the IETF's, and what most APIs have.
const OLDER: [&str; 3] = ["ratelimit-", "x-ratelimit-", "x-rate-limit-"];

/// All buckets that the answer tells of. What cannot be read counts as not said.
pub fn quotas(headers: &HeaderMap, now: Moment) -> Vec<Quota> {
    let mut quotas: Vec<_> =
        AUTH0.iter().flat_map(|(header, whose)| auth0(headers, header, whose, now)).collect();
    let limits = rate_limits(headers, now);
    if limits.is_empty() {
        quotas.extend(OLDER.iter().find_map(|prefix| older(headers, prefix, now)));
    } else {
        quotas.extend(limits);
    }
    quotas.truncate(MAX_BUCKETS);
    quotas
}

/// How long until the buckets that are empty are full again, where the server says no by any of them.
pub fn retry_after(quotas: &[Quota], now: Moment) -> Option<Duration> {
    let empty = quotas.iter().filter(|quota| quota.remaining == 0);
    Some(empty.filter_map(|quota| quota.resets_at).max()?.saturating_sub(now.wall))
}

/// `b=per_hour;q=10;r=7;t=3540,b=per_day;q=50;r=47;t=43200`
fn auth0(headers: &HeaderMap, header: &str, whose: &str, now: Moment) -> Vec<Quota> {
    let value = value(headers, header);
    let bucket = |item: &&str| {
        let parameters = Parameters(item);
        Some(Quota {
            name: format!("{whose} {}", name(parameters.get("b")?)?),
            limit: parameters.number("q"),
            remaining: parameters.number("r")?,
            resets_at: parameters.number("t").and_then(|wait| at(Duration::from_secs(wait), now)),
        })
    };
    split(&value, ',').iter().filter_map(bucket).take(MAX_BUCKETS).collect()
}

/// The IETF's draft (draft-ietf-httpapi-ratelimit-headers): `RateLimit: "default";r=50;t=30`, and what each is a
/// part of in `RateLimit-Policy: "default";q=100;w=60`.
fn rate_limits(headers: &HeaderMap, now: Moment) -> Vec<Quota> {
    let (limits, policies) = (value(headers, "ratelimit"), value(headers, "ratelimit-policy"));
    let policies = split(&policies, ',');
    let bucket = |item: &&str| {
        let (parameters, own) = (Parameters(item), head(item));
        let policy = policies.iter().find(|policy| head(policy) == own);
        Some(Quota {
            name: name(own)?.to_owned(),
            limit: policy.and_then(|policy| Parameters(policy).number("q")),
            remaining: parameters.number("r")?,
            resets_at: parameters.number("t").and_then(|wait| at(Duration::from_secs(wait), now)),
        })
    };
    split(&limits, ',').iter().filter_map(bucket).take(MAX_BUCKETS).collect()
}

/// A header for each number: `RateLimit-Remaining: 50`.
fn older(headers: &HeaderMap, prefix: &str, now: Moment) -> Option<Quota> {
    let get = |what: &str| value(headers, &format!("{prefix}{what}"));
    // Some append their policy: `100, 100;w=60`.
    let limit = get("limit");
    let first = limit.split([',', ';']).next().unwrap_or_default();
    Some(Quota {
        name: "requests".to_owned(),
        limit: number(first),
        remaining: number(&get("remaining"))?,
        resets_at: number(&get("reset"))
            .and_then(|reset| at(date::until(reset, date::server_time(headers).unwrap_or(now.wall)), now)),
    })
}

/// `name=value` pairs behind semicolons.
struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let mut pairs = split(self.0, ';').into_iter().filter_map(|part| part.split_once('='));
        pairs.find_map(|(own, value)| (own.trim() == name).then(|| value.trim()))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(number)
    }
}

/// What goes before the parameters, without quotes.
fn head(item: &str) -> &str {
    let head = split(item, ';').first().copied().unwrap_or_default().trim();
    head.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(head)
}

/// A name that can be shown as it is.
fn name(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/');
    ((1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn at(wait: Duration, now: Moment) -> Option<Duration> {
    (wait <= MAX_RESET).then(|| now.wall.saturating_add(wait))
}

/// All lines of a header as one.
fn value(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<_> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    if lines.iter().map(|line| line.len()).sum::<usize>() > MAX_HEADER {
        String::new()
    } else {
        lines.join(",")
    }
}

/// The parts of `text` between separators that are not within quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    let parts = text.split(|letter| {
        quoted ^= letter == '"';
        letter == separator && !quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(1) };

    type Row = (String, Option<u64>, u64, Option<u64>);

    /// Name, limit, what is left, and in how many seconds it is full again.
    fn read(lines: &[(&'static str, &str)]) -> Vec<Row> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let row = |quota: Quota| {
            let resets_in = quota.resets_at.map(|at| at.saturating_sub(NOW.wall).as_secs());
            (quota.name, quota.limit, quota.remaining, resets_in)
        };
        quotas(&headers, NOW).into_iter().map(row).collect()
    }

    fn row(name: &str, limit: u64, remaining: u64, resets_in: u64) -> Row {
        (name.to_owned(), Some(limit), remaining, Some(resets_in))
    }

    #[test]
    fn auth0_tells_of_the_clients_and_the_organizations() {
        let client = "b=per_hour;q=10;r=7;t=3540,b=per_day;q=50;r=47;t=43200";
        let organization = "b=per_day;q=500;r=0;t=60";
        assert_eq!(
            read(&[("auth0-client-quota-limit", client), ("auth0-organization-quota-limit", organization)]),
            [
                row("client per_hour", 10, 7, 3540),
                row("client per_day", 50, 47, 43_200),
                row("organization per_day", 500, 0, 60),
            ]
        );
    }

    #[test]
    fn the_ietfs_draft_names_limits_and_policies() {
        assert_eq!(
            read(&[("ratelimit-policy", r#""default";q=100;w=60"#), ("ratelimit", r#""default";r=50;t=30"#)]),
            [row("default", 100, 50, 30)]
        );
        let policy = r#""burst";q=100;w=60,"daily";q=1000;w=86400"#;
        assert_eq!(
            read(&[
                ("ratelimit-policy", policy),
                ("ratelimit", r#""daily";r=9;t=500"#),
                ("ratelimit", r#""burst";r=50;t=30;pk=:c2l0ZQ==:"#),
            ]),
            [row("daily", 1000, 9, 500), row("burst", 100, 50, 30)]
        );
        assert_eq!(read(&[("ratelimit", "default; r=1")]), [("default".to_owned(), None, 1, None)]);
    }

    #[test]
    fn the_older_forms_are_read_too() {
        for prefix in OLDER {
            let mut headers = HeaderMap::new();
            for (what, value) in [("limit", "100, 100;w=60"), ("remaining", "50"), ("reset", "30")] {
                let name: reqwest::header::HeaderName = format!("{prefix}{what}").parse().unwrap();
                headers.append(name, value.parse().unwrap());
            }
            let [quota] = &quotas(&headers, NOW)[..] else { panic!("{prefix}") };
            assert_eq!((quota.name.as_str(), quota.limit, quota.remaining), ("requests", Some(100), 50));
            assert_eq!(quota.resets_at, Some(NOW.wall + Duration::from_secs(30)), "{prefix}");
        }
        let epoch = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000030")];
        assert_eq!(read(&epoch), [("requests".to_owned(), None, 0, Some(30))]);
        // The epoch is the server's, whose clock may be wrong.
        let date = ("date", "Fri, 15 Jan 2027 09:00:00 GMT");
        assert_eq!(read(&[epoch[0], ("x-ratelimit-reset", "1800003610"), date])[0].3, Some(10));
    }

    #[test]
    fn the_last_of_the_empty_buckets_says_when_to_ask_again() {
        let bucket = |remaining, resets_in: Option<u64>| Quota {
            name: "b".into(),
            limit: None,
            remaining,
            resets_at: resets_in.and_then(|seconds| at(Duration::from_secs(seconds), NOW)),
        };
        for (buckets, wait) in [
            (vec![], None),
            (vec![bucket(1, Some(60))], None),
            (vec![bucket(0, None)], None),
            (vec![bucket(0, Some(30)), bucket(0, Some(60)), bucket(1, Some(90))], Some(60)),
        ] {
            assert_eq!(retry_after(&buckets, NOW), wait.map(Duration::from_secs), "{buckets:?}");
        }
    }

    #[test]
    fn what_is_said_twice_is_taken_once() {
        let lines =
            [("ratelimit", r#""a";r=1;t=2"#), ("ratelimit-remaining", "3"), ("x-ratelimit-remaining", "4")];
        assert_eq!(read(&lines), [("a".to_owned(), None, 1, Some(2))]);
        assert_eq!(read(&lines[1..])[0].2, 3);
    }

    #[test]
    fn junk_is_ignored_and_what_is_beside_it_is_not() {
        for junk in [
            "",
            ",;,=;==",
            "b=per_hour",
            "r=7;t=1",
            "b=per_hour;r=-1",
            "b=per_hour;r=1e3",
            "b=per_hour;r=99999999999999999999999",
            "b=;r=1",
            "b=a b;r=1",
            "b=<script>;r=1",
            "b=\"per_hour;r=1",
        ] {
            assert_eq!(read(&[("auth0-client-quota-limit", junk)]), [], "{junk}");
            let beside = format!("{},b=ok;q=2;r=1;t=3", junk.replace('"', ""));
            let read = read(&[("auth0-client-quota-limit", &beside)]);
            assert_eq!(read.last(), Some(&row("client ok", 2, 1, 3)), "{beside}");
        }
        assert_eq!(read(&[("auth0-client-quota-limit", "b=x;q=z;r=1;t=99999999999")])[0].3, None);
    }

    #[test]
    fn an_answer_has_no_end_of_buckets_and_names_no_end() {
        let many: Vec<_> = (0..100).map(|number| format!("b=b{number};r=1")).collect();
        assert_eq!(read(&[("auth0-client-quota-limit", &many.join(","))]).len(), MAX_BUCKETS);
        assert_eq!(read(&[("auth0-client-quota-limit", &many.join(",").repeat(10))]).len(), 0);
        let long = format!("b={};r=1", "x".repeat(MAX_NAME + 1));
        assert_eq!(read(&[("auth0-client-quota-limit", &long)]), []);
    }
}

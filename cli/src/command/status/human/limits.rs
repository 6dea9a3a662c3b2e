//! What is left of limits: of the IdP's quotas, where it tells of them, and of usher's own budget, where some of it
//! is spent.

use std::time::Duration;

use usher_proto::v1::{ProfileStatus, Quota, TokenStatus};

use super::layout::{self, fits};
use crate::time::{distance, human, span};

const HEADINGS: [&str; 4] = ["NAME", "LIMIT", "LEFT", "FULL AGAIN"];

/// A row for each limit that has something to tell; empty if none has.
pub(super) fn table(profiles: &[ProfileStatus], now: i64, width: Option<usize>) -> String {
    let full = render(profiles, &|at| distance(at, now));
    if fits(&full, width) { full } else { render(profiles, &|at| span(at, now)) }
}

fn render(profiles: &[ProfileStatus], time: &dyn Fn(i64) -> String) -> String {
    let mut rows = Vec::new();
    for profile in profiles {
        rows.extend(scarcest(&profile.tokens).map(|token| budget(&profile.name, token)));
        rows.extend(profile.quotas.iter().map(|bucket| quota(&profile.name, bucket, time)));
    }
    if rows.is_empty() { String::new() } else { layout::table(&rows, &HEADINGS, HEADINGS.len(), layout::GAP) }
}

/// The key that has spent the most of its budget.
fn scarcest(tokens: &[TokenStatus]) -> Option<&TokenStatus> {
    tokens.iter().filter(|token| token.budget_left < token.budget_limit).min_by_key(|token| token.budget_left)
}

fn budget(name: &str, token: &TokenStatus) -> Vec<String> {
    let window = human(Duration::from_secs(token.budget_window_seconds));
    let left = format!("{} of {}", token.budget_left, token.budget_limit);
    vec![name.to_owned(), format!("usher's budget, {window}"), left, "-".to_owned()]
}

fn quota(name: &str, bucket: &Quota, time: &dyn Fn(i64) -> String) -> Vec<String> {
    let left = match bucket.limit {
        Some(limit) => format!("{} of {limit}", bucket.remaining),
        None => bucket.remaining.to_string(),
    };
    let resets = bucket.resets_at.map_or_else(|| "-".to_owned(), |at| time(at.seconds));
    vec![name.to_owned(), format!("IdP's {}", bucket.name), left, resets]
}

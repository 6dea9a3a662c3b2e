//! `usher status` for people: the daemon in a line, a table of tokens, what is left of limits, and what needs
//! attention.

use std::fmt::Write as _;

use usher_proto::v1::{StatusResponse, StoreStatus};

use crate::{caller::printable, time::distance};

mod layout;
mod limits;
mod marks;
mod table;

/// All of it, as of `now`, for a terminal of `width` columns; without one no line is broken, and all is said.
pub(super) fn render(answer: &StatusResponse, now: i64, width: Option<u16>) -> String {
    let width = width.map(usize::from);
    let mut marks: String = answer.profiles.iter().map(|profile| marks::of(profile, now)).collect();
    marks.push_str(&marks::of_removed(answer, now));
    let mut text = daemon(answer, now);
    if answer.profiles.is_empty() {
        text.push_str("no profiles: write one into the configuration, then `usher reload`\n");
    }
    let mut text = layout::wrap(&text, width);
    for part in [
        table::tokens(&answer.profiles, now, width),
        limits::table(&answer.profiles, now, width),
        layout::wrap(&marks, width),
    ] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&part);
        }
    }
    printable(&text)
}

fn daemon(answer: &StatusResponse, now: i64) -> String {
    let mut line = format!("usherd {}, pid {}", answer.version, answer.pid);
    if let Some(at) = answer.started_at {
        let _ = write!(line, ", started {}", distance(at.seconds, now));
    }
    let _ = writeln!(line, ", config {}", answer.config_path);
    if !answer.config_error.is_empty() {
        line.push_str("\nCONFIGURATION REFUSED: the one before");
        if let Some(at) = answer.config_loaded_at {
            let _ = write!(line, ", read {},", distance(at.seconds, now));
        }
        line.push_str(" is still in use.\n");
        indent(&mut line, &answer.config_error);
    }
    if let Some(store) = &answer.store {
        let weak = weak(store);
        if store.degraded.is_empty() {
            let _ = writeln!(line, "tokens kept in {}, key: {}{weak}", store.directory, store.key_source);
        } else {
            line.push_str(
                "\nDEGRADED: tokens are kept in memory only; usherd tries again within a minute.\n",
            );
            indent(&mut line, &store.degraded);
        }
    }
    if let Some(credentials) = answer.credentials.as_ref().filter(|held| held.in_memory + held.on_disk > 0) {
        let _ = write!(line, "credentials stored by helpers: {} in memory", credentials.in_memory);
        if let Some(store) = &credentials.store {
            let _ = write!(
                line,
                ", {} in {}, key: {}{}",
                credentials.on_disk,
                store.directory,
                store.key_source,
                weak(store)
            );
        }
        line.push('\n');
    }
    let store = answer.credentials.as_ref().and_then(|held| held.store.as_ref());
    if let Some(store) = store.filter(|store| !store.degraded.is_empty()) {
        line.push_str("\nDEGRADED: credentials that helpers store on disk are not to be had.\n");
        indent(&mut line, &store.degraded);
    }
    line
}

/// What a key is worth that is as easily read as what it is for.
fn weak(store: &StoreStatus) -> &'static str {
    if store.weak_key { " (weak: whoever can read your files has both)" } else { "" }
}

fn indent(text: &mut String, lines: &str) {
    for line in lines.trim_end().lines() {
        let _ = writeln!(text, "  {line}");
    }
}

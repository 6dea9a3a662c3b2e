//! `usher helper install`, `uninstall` and `print`: the configuration of the tools that ask usher.
//!
//! - `put`, `take`, `print`: the verbs
//! - `plan`: what is going to be changed, shown before it is done
//! - `places`: where a profile's token may be presented, in the words of the tools
//! - `git`, `docker`: the tools' files, by way of `format`, which is alike for both
//! - `settle`: what is in a file for all installs together
//! - `links`: the links by whose names the tools call usher
//! - `record`: what was done, so that it can be taken back
//! - `file`, `splice`, `json`: files and texts that are changed in one place, and as before in all others

mod docker;
mod file;
mod format;
mod git;
mod json;
mod links;
mod places;
mod plan;
pub(crate) mod print;
pub(crate) mod put;
mod record;
mod settle;
mod splice;
pub(crate) mod take;

use std::path::Path;

use crate::caller::printable;

/// `text` in one line, whatever is in it.
fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\u{fffd}")
}

/// A path as people read it: any byte can be in one.
fn named(path: &Path) -> String {
    one_line(&path.display().to_string())
}

/// A key as people read it.
fn shown(key: &[String]) -> String {
    key.join(" ")
}

/// `git` or `git P`: what was installed, as it is typed.
fn words(tool: crate::args::Tool, profile: Option<&str>) -> String {
    let tool = match tool {
        crate::args::Tool::Git => "git",
        crate::args::Tool::Docker => "docker",
    };
    profile.map_or_else(|| tool.to_owned(), |profile| format!("{tool} {profile}"))
}

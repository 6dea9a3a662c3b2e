//! One table of the file, read key by key: types are checked, mistakes collected, and keys that nobody
//! asked for reported at the end.

use std::{cell::RefCell, collections::BTreeMap, iter, ops::Range};

use toml::de::{DeTable, DeValue};

use super::{
    preset::{Preset, Variable, VariableKind},
    report::{MAX_PROBLEMS, Problem},
};
use crate::domain::url;

/// A configuration's text, and what was found wrong with it so far.
pub(super) struct Document {
    /// Where each line begins.
    lines: Vec<usize>,
    /// The lines that begin a table, counted from 1.
    headers: Vec<usize>,
    found: RefCell<Vec<(Kind, Problem)>>,
}

/// What the parser says of what is there twice, and what is said of a table that is.
const DUPLICATE: &str = "duplicate key";
const DUPLICATE_TABLE: &str = "is a table that is there already, above: write its keys into one";

/// What a problem says about the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The parser could not make out a line: what follows from it may be no mistake of its own.
    Syntax,
    /// Something is not there, as far as the parser could tell.
    Missing,
    /// Something is there and wrong.
    Wrong,
}

impl Document {
    pub(super) fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let headers = (1..).zip(text.lines()).filter(|(_, line)| line.trim_start().starts_with('['));
        Self {
            lines: iter::once(0).chain(ends).collect(),
            headers: headers.map(|(number, _)| number).collect(),
            found: RefCell::default(),
        }
    }

    /// Notes what the parser says. Only its message: its own rendering quotes the line, which may hold a
    /// secret.
    pub(super) fn syntax(&self, error: &toml::de::Error) {
        let Some(line) = error.span().map(|span| self.line(&span)).filter(|_| error.message() == DUPLICATE)
        else {
            return self.note(Kind::Syntax, error.span(), String::new(), error.message());
        };
        // The parser complains of every line of a table that is there twice. It is the table that is.
        let table = self.headers.iter().rev().find(|header| **header <= line);
        let of_table = |(_, problem): &(Kind, Problem)| {
            problem.message == DUPLICATE_TABLE && problem.line.as_ref() == table
        };
        if table == Some(&line) {
            self.note(Kind::Syntax, error.span(), String::new(), DUPLICATE_TABLE);
        } else if !self.found.borrow().iter().any(of_table) {
            self.note(
                Kind::Syntax,
                error.span(),
                String::new(),
                "is a key that this table has already, above",
            );
        }
    }

    /// The line of a place, counted from 1.
    fn line(&self, span: &Range<usize>) -> usize {
        self.lines.partition_point(|begin| *begin <= span.start)
    }

    /// Notes a problem at a place in the text.
    fn note(&self, kind: Kind, span: Option<Range<usize>>, key: String, message: impl Into<String>) {
        let line = span.map(|span| self.line(&span));
        let problem = (kind, Problem { line, key: visible(key), message: visible(message.into()) });
        // A preset's variable may be asked for more than once.
        if !self.is_full() && !self.found.borrow().contains(&problem) {
            self.found.borrow_mut().push(problem);
        }
    }

    fn is_full(&self) -> bool {
        self.count() >= MAX_PROBLEMS
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// All problems, in the order of the file; without those that only follow from a syntax error.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let found = self.found.into_inner();
        let of_syntax = |(kind, _): &&(Kind, Problem)| *kind == Kind::Syntax;
        let broken: Vec<_> = found.iter().filter(of_syntax).map(|(_, problem)| problem.line).collect();
        let mut problems: Vec<_> = found
            .into_iter()
            .filter(|(kind, problem)| match kind {
                Kind::Syntax => true,
                Kind::Missing => broken.is_empty(),
                Kind::Wrong => !broken.contains(&problem.line),
            })
            .map(|(_, problem)| problem)
            .collect();
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

/// What is quoted from the file can be anything, and a terminal shows it.
fn visible(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(shown).collect()
}

/// A table of the document. What a profile does not say, its preset does.
pub(super) struct Section<'a> {
    document: &'a Document,
    name: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    preset: Option<&'static Preset>,
    asked: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        document: &'a Document,
        name: impl Into<String>,
        span: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Self {
        Self { document, name: name.into(), span, table, preset: None, asked: RefCell::default() }
    }

    /// From now on keys that the table lacks are taken from `preset`, whose variables are keys, too.
    pub(super) fn fill_from(&mut self, preset: &'static Preset) {
        self.preset = Some(preset);
        for (name, variable) in &preset.variables {
            self.asked.borrow_mut().push(name.clone());
            if self.has(name) {
                // Told if it is wrong, even where the profile leaves nothing to fill in.
                let _ = self.variable(name, variable);
            }
        }
    }

    /// Notes the keys that the preset's server cannot do without and that are not there or empty.
    pub(super) fn check_required(&self) {
        for (key, why) in self.preset.iter().flat_map(|preset| &preset.required) {
            let value = self.table.get(key.as_str()).map(toml::Spanned::get_ref);
            let empty = |value: &DeValue<'_>| {
                value.as_str().is_some_and(str::is_empty)
                    || value.as_array().is_some_and(|list| list.is_empty())
            };
            match value {
                None if !self.preset_has(key) => self.missing(key, why),
                Some(value) if empty(value) => self.problem(key, format!("is empty: {why}")),
                _ => {}
            }
        }
    }

    /// Why the preset's server cannot do without `key`, if so.
    pub(super) fn why_required(&self, key: &str) -> Option<&'static str> {
        self.preset?.required.get(key).map(String::as_str)
    }

    /// `key` is a key, even where nobody reads it.
    pub(super) fn know(&self, key: &str) {
        self.asked.borrow_mut().push(key.to_owned());
    }

    fn preset_has(&self, key: &str) -> bool {
        self.preset.is_some_and(|preset| preset.strings.contains_key(key) || preset.lists.contains_key(key))
    }

    /// Notes a problem with a key's value.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let span = self.table.get(key).map_or_else(|| self.span.clone(), toml::Spanned::span);
        self.document.note(Kind::Wrong, Some(span), self.full(key), message);
    }

    /// Notes that a key is not there.
    pub(super) fn missing(&self, key: &str, message: impl AsRef<str>) {
        let message = format!("is missing: {}", message.as_ref());
        self.document.note(Kind::Missing, Some(self.span.clone()), self.full(key), message);
    }

    /// How many problems the document has so far.
    pub(super) fn problems(&self) -> usize {
        self.document.count()
    }

    fn full(&self, key: &str) -> String {
        match (self.name.as_str(), key) {
            ("", key) => key.to_owned(),
            (name, "") => name.to_owned(),
            (name, key) => format!("{name}.{key}"),
        }
    }

    fn value(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.asked.borrow_mut().push(key.to_owned());
        self.table.get(key).map(toml::Spanned::get_ref)
    }

    /// Whether the table itself, not its preset, has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        let Some(value) = self.value(key) else {
            return self.fill_in(self.preset?.strings.get(key)?);
        };
        let text = value.as_str();
        if text.is_none() {
            self.problem(key, format!("is {}; write a string in quotes", a(value.type_str())));
        }
        text.map(str::to_owned)
    }

    /// A string that has to be there.
    pub(super) fn required(&self, key: &str, about: &str) -> Option<String> {
        let about = self.why_required(key).unwrap_or(about);
        let text = self.string(key);
        match &text {
            None if !self.has(key) && !self.preset_has(key) => self.missing(key, about),
            Some(text) if text.is_empty() => self.problem(key, format!("is empty: {about}")),
            _ => return text,
        }
        None
    }

    /// A preset's string, with the profile's variables in the place of `{name}`.
    fn fill_in(&self, template: &str) -> Option<String> {
        let mut text = template.to_owned();
        for (name, variable) in &self.preset?.variables {
            let place = format!("{{{name}}}");
            if text.contains(&place) {
                text = text.replace(&place, &self.variable(name, variable)?);
            }
        }
        Some(text)
    }

    fn variable(&self, name: &str, variable: &Variable) -> Option<String> {
        let value = match (&variable.default, self.has(name)) {
            (Some(default), false) => default.clone(),
            _ => self.required(name, &format!("{}, such as {:?}", variable.about, variable.example))?,
        };
        let wrong = match variable.kind {
            VariableKind::Host => (!is_host(&value)).then_some("is no domain; write it alone"),
            VariableKind::Segment => (!is_segment(&value)).then_some("has to be one word"),
            VariableKind::Base => {
                let mut parts = value.trim_end_matches('/').split('/');
                let right = parts.next().is_some_and(is_host) && parts.all(is_segment);
                (!right).then_some("has to be a host, perhaps with a path, without https:// before it")
            }
        };
        if let Some(wrong) = wrong {
            self.problem(name, format!("{wrong}, such as {:?}", variable.example));
            return None;
        }
        Some(value.trim_end_matches('/').to_owned())
    }

    /// A list of strings.
    pub(super) fn strings(&self, key: &str) -> Option<Vec<String>> {
        let Some(value) = self.value(key) else {
            return self.preset?.lists.get(key)?.iter().map(|item| self.fill_in(item)).collect();
        };
        let list = value.as_array().and_then(|array| {
            array.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if list.is_none() {
            self.problem(key, format!("is no list of strings; write {key} = [\"...\", \"...\"]"));
        }
        list
    }

    /// A list of strings and whole numbers, all as text.
    pub(super) fn words(&self, key: &str) -> Option<Vec<String>> {
        let word = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            _ => None,
        };
        let array = self.value(key)?.as_array();
        let list = array.and_then(|array| array.iter().map(|item| word(item.get_ref())).collect());
        if list.is_none() {
            self.problem(key, format!("is no list of names and numbers; write {key} = [\"...\", 1000]"));
        }
        list
    }

    /// `true` or `false`; false if it is not there.
    pub(super) fn boolean(&self, key: &str) -> bool {
        let Some(value) = self.value(key) else { return false };
        let boolean = value.as_bool();
        if boolean.is_none() {
            self.problem(key, format!("is {}; write true or false", a(value.type_str())));
        }
        boolean.unwrap_or(false)
    }

    /// A table of strings such as `{ a = "1" }`.
    pub(super) fn map(&self, key: &str) -> BTreeMap<String, String> {
        match self.inline_table(key) {
            None => {
                let map = self.preset.and_then(|preset| preset.maps.get(key)).into_iter().flatten();
                map.filter_map(|(name, value)| Some((name.clone(), self.fill_in(value)?))).collect()
            }
            Some(Err(_)) => {
                self.problem(key, format!("is no table; write {key} = {{ name = \"value\" }}"));
                BTreeMap::new()
            }
            Some(Ok(table)) => {
                let names: Vec<_> = table.table.keys().map(|name| name.get_ref().to_string()).collect();
                names.into_iter().filter_map(|name| Some((name.clone(), table.string(&name)?))).collect()
            }
        }
    }

    /// One of several words. It has to be there, or in the preset.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let words = words.join(" or ");
        let Some(text) = self.string(key) else {
            if !self.has(key) {
                self.missing(key, format!("write {words}"));
            }
            return None;
        };
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if found.is_none() {
            self.problem(key, format!("must be {words}"));
        }
        found
    }

    /// A table within this one, in which `key` may be any.
    pub(super) fn tables(&self, key: &str) -> Vec<(&'a str, Section<'a>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.as_table() else {
            self.problem(key, format!("is {}; write [{key}.NAME] and its keys below", a(value.type_str())));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, value) in table {
            let full = format!("{}.{}", self.full(key), name.get_ref());
            match value.get_ref().as_table() {
                Some(table) => {
                    let section = Section::new(self.document, full, name.span(), table);
                    sections.push((name.get_ref().as_ref(), section));
                }
                None => self.document.note(
                    Kind::Wrong,
                    Some(value.span()),
                    full,
                    format!("is {}; write [{key}.NAME] and its keys below", a(value.get_ref().type_str())),
                ),
            }
        }
        sections
    }

    /// The table of a single-key choice such as `{ file = "..." }`.
    pub(super) fn inline_table(&self, key: &str) -> Option<Result<Section<'a>, &'static str>> {
        let value = self.value(key)?;
        let span = self.table.get(key).map_or(0..0, toml::Spanned::span);
        Some(match value.as_table() {
            Some(table) => Ok(Section::new(self.document, self.full(key), span, table)),
            None => Err(value.type_str()),
        })
    }

    /// Reports the keys that nobody asked for, each with the one it may have been meant to be.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, value) in self.table {
            if self.document.is_full() {
                break;
            }
            let key = key.get_ref().as_ref();
            if asked.iter().any(|known| known == key) {
                continue;
            }
            let close = closest(key, asked.iter().map(String::as_str));
            let hint = match close {
                Some(known) => format!("is not a key here; did you mean {known}?"),
                None => "is not a key here".to_owned(),
            };
            self.document.note(Kind::Wrong, Some(value.span()), self.full(key), hint);
        }
    }
}

/// The word that `text` may have been meant to be.
pub(super) fn closest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|word| (strsim::jaro_winkler(word, text), word))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .filter(|(likeness, _)| *likeness > 0.84)
        .map(|(_, word)| word)
}

/// "a string", "an array".
fn a(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'i', 'o', 'e']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// Letters, digits and `-._~`: what no URL gives a meaning to (RFC 3986 section 2.3).
fn is_segment(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !text.is_empty() && text.bytes().all(unreserved) && !matches!(text, "." | "..")
}

/// `host` or `host:port`, nothing that could turn into another part of a URL.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    text.bytes().all(plain)
        && !text.starts_with(['.', '-'])
        && !text.contains("..")
        && !text.ends_with(':')
        && url::canonical(&format!("https://{text}"), false).is_ok()
}

//! Reads the paths off a Rust source, token by token.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::iter::Peekable;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree, token_stream::IntoIter};

/// Words that can stand before a path and are no part of it.
const KEYWORDS: [&str; 15] = [
    "use", "pub", "in", "dyn", "impl", "for", "mut", "return", "match", "if", "while", "else", "move", "let",
    "where",
];

/// A path in a source file: where it stands, in which module, and its segments.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) module: Vec<String>,
    pub(super) segments: Vec<String>,
}

/// What the checker wants of a source file, without comments and without what is compiled for tests only.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) named: Vec<Named>,
    pub(super) unsafes: Vec<usize>,
    /// Modules in files of their own that are compiled for tests only.
    pub(super) test_files: Vec<String>,
}

impl Source {
    pub(super) fn read(text: &str, module: &[String]) -> Self {
        let mut source = Self::default();
        source.scan(text.parse().expect("Rust"), module, &[]);
        source
    }

    /// Collects the paths in `tokens`; `prefix` is what stands before the braces of a `use`.
    fn scan(&mut self, tokens: TokenStream, module: &[String], prefix: &[String]) {
        let mut tokens = tokens.into_iter().peekable();
        let mut after_use = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' => self.attribute(&mut tokens, module),
                TokenTree::Ident(ident) if ident == "unsafe" => self.unsafes.push(ident.span().start().line),
                TokenTree::Ident(ident) if KEYWORDS.contains(&ident.to_string().as_str()) => {
                    after_use = ident == "use";
                    next_colons(&mut tokens);
                    continue;
                }
                // The name that follows is made up here.
                TokenTree::Ident(ident) if ident == "as" && !prefix.is_empty() => drop(tokens.next()),
                TokenTree::Ident(ident) if ident == "mod" => {
                    let Some(TokenTree::Ident(name)) = tokens.next() else { continue };
                    if let Some(body) = next_group(&mut tokens, Delimiter::Brace) {
                        self.scan(body.stream(), &[module, &[name.to_string()]].concat(), &[]);
                    }
                }
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    let mut segments = [prefix, &[first.to_string()]].concat();
                    let alone = after_use && !next_colons(&mut tokens.clone());
                    while next_colons(&mut tokens) {
                        match tokens.peek() {
                            Some(TokenTree::Ident(_)) => {
                                segments.extend(tokens.next().map(|next| next.to_string()));
                            }
                            Some(TokenTree::Group(_)) => {
                                if let Some(group) = next_group(&mut tokens, Delimiter::Brace) {
                                    self.scan(group.stream(), module, &segments);
                                    segments.clear();
                                }
                            }
                            // `::*` or `::<T>`
                            _ => segments.push("*".to_owned()),
                        }
                    }
                    if alone {
                        segments.push("*".to_owned());
                    }
                    if !segments.is_empty() {
                        self.named.push(Named { line, module: module.to_vec(), segments });
                    }
                }
                TokenTree::Group(group) => self.scan(group.stream(), module, prefix),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            after_use = false;
        }
    }

    /// After a `#`: drops the item that `#[cfg(test)]` stands before, reads any other attribute.
    fn attribute(&mut self, tokens: &mut Peekable<IntoIter>, module: &[String]) {
        let Some(group) = next_group(tokens, Delimiter::Bracket) else { return };
        if group.stream().to_string().replace(' ', "") != "cfg(test)" {
            return self.scan(group.stream(), module, &[]);
        }
        let mut of_module = false;
        for token in tokens.by_ref() {
            match token {
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => return,
                TokenTree::Punct(end) if end.as_char() == ';' => return,
                TokenTree::Ident(name) if of_module => self.test_files.push(name.to_string()),
                TokenTree::Ident(word) => of_module = word == "mod",
                _ => {}
            }
        }
    }
}

fn next_group(tokens: &mut Peekable<IntoIter>, delimiter: Delimiter) -> Option<Group> {
    match tokens.peek() {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
            let group = group.clone();
            tokens.next();
            Some(group)
        }
        _ => None,
    }
}

/// Takes a `::` if one follows.
fn next_colons(tokens: &mut Peekable<IntoIter>) -> bool {
    let mut ahead = tokens.clone();
    let is_colon = |token| matches!(token, Some(TokenTree::Punct(colon)) if colon.as_char() == ':');
    let found = is_colon(ahead.next()) && is_colon(ahead.next());
    if found {
        *tokens = ahead;
    }
    found
}

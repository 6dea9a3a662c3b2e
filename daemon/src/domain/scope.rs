//! Sets of OAuth scopes (RFC 6749 section 3.3).

use std::{fmt, sync::Arc};

/// A set of scopes: sorted, without duplicates, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ScopeSet(Arc<[String]>);

/// A text that is no scope: empty, or with characters that RFC 6749 section 3.3 does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope: a scope is printable ASCII without spaces, quotes and backslashes")]
pub struct InvalidScope(pub String);

impl ScopeSet {
    /// The set of these scopes.
    pub fn new<S: AsRef<str>>(scopes: impl IntoIterator<Item = S>) -> Result<Self, InvalidScope> {
        let mut set = Vec::new();
        for scope in scopes {
            let scope = scope.as_ref();
            if !is_scope(scope) {
                return Err(InvalidScope(scope.to_owned()));
            }
            set.push(scope.to_owned());
        }
        set.sort_unstable();
        set.dedup();
        Ok(Self(set.into()))
    }

    /// The set in a `scope` parameter: tokens separated by spaces. What is no scope is passed over,
    /// since servers answer this text and all that matters is what they granted.
    pub fn from_parameter(text: &str) -> Self {
        let mut set: Vec<String> =
            text.split_ascii_whitespace().filter(|scope| is_scope(scope)).map(str::to_owned).collect();
        set.sort_unstable();
        set.dedup();
        Self(set.into())
    }

    /// The scopes, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is no scope.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `scope` is one of these.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.binary_search_by(|own| own.as_str().cmp(scope)).is_ok()
    }

    /// The first scope here that `other` does not have.
    pub fn first_not_in<'a>(&'a self, other: &Self) -> Option<&'a str> {
        self.iter().find(|scope| !other.contains(scope))
    }
}

fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

impl fmt::Display for ScopeSet {
    /// As the `scope` parameter has it: separated by spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        let set = ScopeSet::new(["write", "read", "write"]).unwrap();
        assert_eq!(set, ScopeSet::from_parameter(" read  write "));
        assert_eq!(set.to_string(), "read write");
        assert!(set.contains("read") && !set.contains("rea"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let asked = ScopeSet::from_parameter("a b c");
        assert_eq!(asked.first_not_in(&ScopeSet::from_parameter("a c")), Some("b"));
        assert_eq!(asked.first_not_in(&asked), None);
    }

    #[test]
    fn characters_outside_the_grammar_are_refused() {
        for bad in ["", "a b", "a\"", "a\\", "\u{e4}", "a\n", "\u{7f}"] {
            assert_eq!(ScopeSet::new([bad]), Err(InvalidScope(bad.to_owned())));
        }
        assert!(ScopeSet::new(["https://gateway.production.netfoundry.io//ignore-scope"]).is_ok());
    }
}

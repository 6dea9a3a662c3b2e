//! Environment variables that are to hold a token, as they are asked for on the command line.

use usher_proto::v1::GetTokenResponse;

/// The name of an environment variable that every shell takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// What of a token goes into a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Token,
    Authorization,
    Header,
    ExpiresAt,
}

/// The words for it.
const WORDS: [(&str, What); 4] = [
    ("token", What::Token),
    ("authorization", What::Authorization),
    ("header", What::Header),
    ("expires_at", What::ExpiresAt),
];

/// A variable and what goes into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    name: Name,
    what: What,
}

/// Reads `TF_TOKEN`.
pub(crate) fn parse_name(text: &str) -> Result<Name, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.is_empty() || !text.bytes().all(good) || text.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("a variable's name is made of letters, digits and _, and begins with no digit".to_owned());
    }
    Ok(Name(text.to_owned()))
}

/// Reads `TF_TOKEN` or `API_AUTH=authorization`.
pub(crate) fn parse_variable(text: &str) -> Result<Variable, String> {
    let Some((name, word)) = text.split_once('=') else {
        return Ok(Variable { name: parse_name(text)?, what: What::Token });
    };
    let known = WORDS.iter().find(|(known, _)| *known == word);
    let (_, what) = known.ok_or_else(|| {
        let words = WORDS.map(|(word, _)| word).join(", ");
        format!("{word:?} is nothing that can go into a variable; there are {words}")
    })?;
    Ok(Variable { name: parse_name(name)?, what: *what })
}

impl Variable {
    /// The Authorization header's value in the variable `name`.
    pub(crate) fn authorization(name: Name) -> Self {
        Self { name, what: What::Authorization }
    }

    /// The variable's name, and its value for `answer`. No value: the variable is not to be set.
    pub(crate) fn filled(self, answer: &GetTokenResponse) -> (String, Option<String>) {
        let value = match self.what {
            What::Token => Some(answer.access_token.clone()),
            What::Authorization => Some(answer.authorization.clone()),
            What::Header => Some(format!("Authorization: {}", answer.authorization)),
            What::ExpiresAt => answer.expires_at.map(|at| at.seconds.to_string()),
        };
        (self.name.0, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_every_shell_takes() {
        for name in ["A", "_", "TF_TOKEN_app_1", "lower"] {
            assert!(parse_name(name).is_ok(), "{name}");
        }
        for name in ["", "1A", "A-B", "A B", "A;id", "A$(id)", "\u{c4}", "A\n"] {
            assert!(parse_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_variable_gets_what_was_asked_for() {
        let mut answer = GetTokenResponse {
            access_token: "abc".into(),
            authorization: "Bearer abc".into(),
            expires_at: Some(prost_types::Timestamp { seconds: 1060, nanos: 0 }),
            ..Default::default()
        };
        let filled = |text: &str, answer: &GetTokenResponse| parse_variable(text).unwrap().filled(answer);
        for (text, value) in [
            ("A", "abc"),
            ("A=token", "abc"),
            ("A=authorization", "Bearer abc"),
            ("A=header", "Authorization: Bearer abc"),
            ("A=expires_at", "1060"),
        ] {
            assert_eq!(filled(text, &answer), ("A".into(), Some(value.into())), "{text}");
        }
        answer.expires_at = None;
        assert_eq!(filled("A=expires_at", &answer), ("A".into(), None));
        assert!(parse_variable("A=secret").unwrap_err().contains("authorization"));
        assert!(parse_variable("A=").is_err());
        assert!(parse_variable("=token").is_err());
    }
}

//! Sets `default_profile` in the text of a configuration, and keeps all else byte for byte.

use serde::Deserialize;
use toml::{Spanned, Table, Value};

const KEY: &str = "default_profile";

#[derive(Deserialize)]
struct Root {
    default_profile: Option<Spanned<Value>>,
}

/// `text` with `profile` as the default; an error if it is no TOML.
pub(super) fn set_default(text: &str, profile: &str) -> Result<String, String> {
    let root: Root = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    // A string of JSON is one of TOML.
    let value = serde_json::Value::from(profile).to_string();
    let after = if let Some(old) = root.default_profile {
        let mut after = text.to_owned();
        after.replace_range(old.span(), &value);
        after
    } else {
        let (head, rest) = text.split_at(end_of_head(text));
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        format!("{head}{KEY} = {value}{newline}{rest}")
    };
    check(text, &after, profile)?;
    Ok(after)
}

/// Where the first line goes: at the top, where no table has begun yet, or below the comment that is about the
/// file as a whole, which an empty line ends.
fn end_of_head(text: &str) -> usize {
    let top = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut at = top;
    for line in text[top..].split_inclusive('\n') {
        at += line.len();
        match line.trim() {
            "" => return at,
            comment if comment.starts_with('#') => {}
            _ => break,
        }
    }
    top
}

/// Trust nothing: what was written has to read as intended, and as before but for that.
fn check(before: &str, after: &str, profile: &str) -> Result<(), String> {
    let read = |text: &str| text.parse::<Table>().map_err(|error| error.to_string());
    let (mut before, mut after) = (read(before)?, read(after)?);
    before.remove(KEY);
    let set = after.remove(KEY);
    if set.as_ref().and_then(Value::as_str) == Some(profile) && before == after {
        return Ok(());
    }
    Err("its form is not one that usher can edit; set default_profile yourself".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_alone_is_replaced() {
        for (before, after) in [
            ("default_profile = \"a\"\n", "default_profile = \"b\"\n"),
            (
                "default_profile='a' # mine\r\n\r\n[profile.a]\r\n",
                "default_profile=\"b\" # mine\r\n\r\n[profile.a]\r\n",
            ),
            (
                "# x\n\n  \"default_profile\"\t=   '''\na'''   #y\n[t]",
                "# x\n\n  \"default_profile\"\t=   \"b\"   #y\n[t]",
            ),
            ("\u{feff}default_profile = \"\"", "\u{feff}default_profile = \"b\""),
        ] {
            assert_eq!(set_default(before, "b").as_deref(), Ok(after), "{before:?}");
        }
    }

    #[test]
    fn a_missing_one_goes_before_all_tables() {
        for (before, after) in [
            ("", "default_profile = \"b\"\n"),
            ("[profile.b]\nx = 1", "default_profile = \"b\"\n[profile.b]\nx = 1"),
            ("# about b\n[profile.b]\n", "default_profile = \"b\"\n# about b\n[profile.b]\n"),
            (
                "# the file\n# is mine\n\n# about b\n[profile.b]\n",
                "# the file\n# is mine\n\ndefault_profile = \"b\"\n# about b\n[profile.b]\n",
            ),
            ("\u{feff}# c\r\n\r\n[p]\r\n", "\u{feff}# c\r\n\r\ndefault_profile = \"b\"\r\n[p]\r\n"),
            ("#no end", "default_profile = \"b\"\n#no end"),
            (
                "[x]\ndefault_profile = \"mine\"\n",
                "default_profile = \"b\"\n[x]\ndefault_profile = \"mine\"\n",
            ),
            (
                "text = \"\"\"\n\ndefault_profile = 1\n\"\"\"\n",
                "default_profile = \"b\"\ntext = \"\"\"\n\ndefault_profile = 1\n\"\"\"\n",
            ),
        ] {
            assert_eq!(set_default(before, "b").as_deref(), Ok(after), "{before:?}");
        }
    }

    #[test]
    fn odd_names_are_quoted_and_errors_told_with_their_line() {
        let odd = "a\"b\\c\n\u{1}\u{e4}";
        let text = set_default("x = 1\n", odd).unwrap();
        assert_eq!(text.parse::<Table>().unwrap()[KEY].as_str(), Some(odd));
        let error = set_default("x = 1\ny = = 2\n", "b").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert!(set_default("x = 1\nx = 2\n", "b").is_err());
        assert!(set_default("x = 1\n", "\u{7f}").is_err());
    }
}

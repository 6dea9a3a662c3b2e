//! Settings of variables as a shell reads them.

use super::Setting;
use crate::{args::Syntax, error::Error};

/// One line for each variable. Their names are known to need no quotes.
pub(super) fn render(syntax: Syntax, settings: &[Setting]) -> Result<String, Error> {
    settings
        .iter()
        .map(|(name, value)| match (syntax, value) {
            (Syntax::Sh, Some(value)) => Ok(format!("export {name}={}\n", sh(value)?)),
            (Syntax::Sh, None) => Ok(format!("unset {name}\n")),
            (Syntax::Fish, Some(value)) => Ok(format!("set -gx {name} {}\n", fish(value))),
            (Syntax::Fish, None) => Ok(format!("set -e {name}\n")),
        })
        .collect()
}

fn sh(value: &str) -> Result<std::borrow::Cow<'_, str>, Error> {
    shlex::try_quote(value)
        .map_err(|_| Error::Answer("the token holds a NUL, which no variable can hold".to_owned()))
}

/// Within fish's single quotes these two alone mean anything.
fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const HOSTILE: [&str; 14] = [
        "plain",
        "",
        "it's",
        "'; exit 1 #",
        "$(exit 1)`exit 1`${HOME}$HOME",
        "a b\tc\nd\n",
        "\\",
        "\\'",
        "'\\''",
        "\"!!\" ~ * ? [a-z] {a,b} && || | & ; < > ( )",
        "-n",
        "=",
        "\u{e4}\u{1f511}\x1b[2J\x07\r",
        "#%^!history",
    ];

    fn one(syntax: Syntax, value: Option<&str>) -> String {
        render(syntax, &[("V".to_owned(), value.map(str::to_owned))]).unwrap()
    }

    /// What `V` is in `shell` after `script`; `None` if it is not set.
    fn evaluated(shell: &str, script: &str) -> Option<String> {
        let script = format!("{script}test \"${{V+set}}\" = set && printf '%s.' \"$V\"");
        let output = Command::new(shell).args(["-c", &script]).env("V", "before").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{script:?}");
        text.strip_suffix('.').map(str::to_owned)
    }

    #[test]
    fn a_real_shell_reads_back_every_value() {
        for shell in ["sh", "bash"] {
            for value in HOSTILE {
                let script = one(Syntax::Sh, Some(value));
                assert_eq!(evaluated(shell, &script).as_deref(), Some(value), "{shell} {script:?}");
            }
            assert_eq!(evaluated(shell, &one(Syntax::Sh, None)), None, "{shell}");
        }
    }

    #[test]
    fn a_nul_is_refused() {
        assert!(render(Syntax::Sh, &[("V".to_owned(), Some("a\0b".to_owned()))]).is_err());
    }

    #[test]
    fn fish_escapes_two_characters() {
        assert_eq!(one(Syntax::Fish, Some("it's \\ $x")), "set -gx V 'it\\'s \\\\ $x'\n");
        assert_eq!(one(Syntax::Fish, None), "set -e V\n");
        let Ok(fish) = Command::new("fish").arg("--version").output() else { return };
        assert!(fish.status.success());
        for value in HOSTILE {
            let script = format!("{}printf '%s.' $V", one(Syntax::Fish, Some(value)));
            let output = Command::new("fish").args(["--no-config", "-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{value}."), "{script:?}");
        }
    }
}

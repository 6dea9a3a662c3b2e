//! The schemes in a WWW-Authenticate header (RFC 9110 section 11.6.1). What servers send there is often not quite what
//! the grammar has, and a scheme that is overlooked is a token in the wrong form: nothing is refused here.

/// The schemes that a header's challenges name, as it wrote them.
pub(super) fn schemes(header: &str) -> impl Iterator<Item = &str> {
    elements(header).filter_map(scheme)
}

/// What stands between commas, but for those within quotes.
fn elements(header: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    header.split(move |c: char| {
        let is_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !is_escaped => escaped = true,
            '"' if !is_escaped => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    })
}

/// The scheme at an element's beginning; none where it goes on with the parameters of the one before.
fn scheme(element: &str) -> Option<&str> {
    let element = element.trim_start();
    let end = element.find(|c: char| c.is_whitespace() || matches!(c, '=' | '"')).unwrap_or(element.len());
    let (name, rest) = element.split_at(end);
    (!name.is_empty() && !rest.trim_start().starts_with(['=', '"'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_quotes_is_no_challenge() {
        for (header, found) in [
            ("Bearer", &["Bearer"][..]),
            ("bearer realm=\"x\"", &["bearer"]),
            ("Negotiate, Basic realm=x", &["Negotiate", "Basic"]),
            ("Basic realm=\"a, Bearer b\"", &["Basic"]),
            ("Basic realm=\"a\\\", Bearer b\", charset=\"UTF-8\"", &["Basic"]),
            ("Basic realm=\"a\\\\\", Bearer realm=\"b\"", &["Basic", "Bearer"]),
            ("Basic realm=\"ü, ö\",Bearer scope=\"a b\" , error = \"x, y\"", &["Basic", "Bearer"]),
            ("Negotiate oRQwEqADCgEB==, Basic realm=a b", &["Negotiate", "Basic"]),
            ("Basic realm = x, Bearer = y, NTLM", &["Basic", "NTLM"]),
            (" , ,\tBasic ,, Bearer ,", &["Basic", "Bearer"]),
            // Nobody has ended the quotes.
            ("Basic realm=\"x, Bearer", &["Basic"]),
            ("Basic realm=\"x\\", &["Basic"]),
            ("", &[]),
            ("\"Bearer\"", &[]),
            ("=Bearer", &[]),
        ] {
            assert_eq!(schemes(header).collect::<Vec<_>>(), found, "{header}");
        }
    }
}

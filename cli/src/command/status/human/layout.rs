//! Lines and tables that fit.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::NOTHING};

/// What follows in a line that was broken stands this far in.
const INDENT: &str = "  ";
/// Blanks between columns.
pub(super) const GAP: u16 = 2;
/// Narrower than this nothing can be read, and nothing is broken.
const NARROWEST: usize = 20;

/// A table without lines between, whose columns from `numbers` on are numbers, with `gap` blanks between them.
pub(super) fn table(rows: &[Vec<String>], headings: &[&str], numbers: usize, gap: u16) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        let is_number = index >= numbers;
        column.set_padding((0, if is_number { gap } else { GAP }));
        if is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Whether every line of `text` fits.
pub(super) fn fits(text: &str, width: Option<usize>) -> bool {
    width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width))
}

/// `text` cut to so many letters.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    kept + "\u{2026}"
}

/// `text` with its long lines broken between words, or within one that is longer than a line.
pub(super) fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| *width >= NARROWEST) else { return text.to_owned() };
    let mut wrapped = String::with_capacity(text.len());
    for line in text.lines() {
        let mut rest = line;
        let mut indent = "";
        while let Some((end, next)) = end_of_line(rest, width - indent.len()) {
            wrapped.extend([indent, &rest[..end], "\n"]);
            (rest, indent) = (&rest[next..], INDENT);
        }
        wrapped.extend([indent, rest, "\n"]);
    }
    wrapped
}

/// Where a line of `width` ends, and where the next begins; none if all of it fits.
fn end_of_line(text: &str, width: usize) -> Option<(usize, usize)> {
    let (end, next) = text.char_indices().nth(width)?;
    // The blank that ends the line may be the first that no longer fits.
    let blank = text[..end + next.len_utf8()].rfind(' ').filter(|blank| !text[..*blank].trim().is_empty());
    Some(blank.map_or((end, end), |blank| (blank, blank + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_lose_nothing() {
        let text = "one two three four five six seven\n\nshort\n  indented words that go on\n";
        assert_eq!(
            wrap(text, Some(20)),
            "one two three four\n  five six seven\n\nshort\n  indented words\n  that go on\n"
        );
        assert_eq!(wrap(text, None), text);
        assert_eq!(wrap(text, Some(NARROWEST - 1)), text);
        assert_eq!(wrap("01234567890123456789", Some(20)), "01234567890123456789\n");
        assert_eq!(wrap("01234567890123456789 b", Some(20)), "01234567890123456789\n  b\n");
    }

    #[test]
    fn a_word_that_is_longer_than_a_line_is_broken_within() {
        let path = "/very/long/path/that/has/no/blank";
        let wrapped = wrap(path, Some(20));
        assert!(wrapped.lines().all(|line| line.chars().count() <= 20), "{wrapped}");
        assert_eq!(wrapped.replace(['\n', ' '], ""), path);
        let wide = "\u{e4}".repeat(45);
        assert_eq!(
            wrap(&wide, Some(20)).lines().map(|line| line.chars().count()).collect::<Vec<_>>(),
            [20, 20, 9]
        );
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(
            (cut("abc", 3).as_str(), cut("abcd", 3).as_str(), cut("ab", 0).as_str()),
            ("abc", "ab\u{2026}", "\u{2026}")
        );
    }
}

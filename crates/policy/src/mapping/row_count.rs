//! `rows = N`: the file states how many rows it has, so that a truncated file is not a valid mapping.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mapping;
use super::reader::Reader;
use crate::diagnostic::Diagnostic;

/// Compares the stated count with the number of rows written in the file, valid or not.
pub(super) fn check(reader: &mut Reader, root: &DeTable<'_>, written: usize) {
    let Some(value) = root.get("rows") else { return };
    let Some(said) = reader.integer(value, "rows", 0..=u32::MAX) else { return };
    if usize::try_from(said) == Ok(written) {
        return;
    }
    reader.report(
        Diagnostic::new("row-count", value.span(), format!("`rows = {said}`, but the file has {written}"))
            .suggest(
                "copy the whole file again; if it is complete, run `console-gate check --fix` to update the \
                      count",
            ),
    );
}

/// The number of rows in `blueprints`.
pub(super) fn written(blueprints: &Spanned<DeValue<'_>>) -> usize {
    let table = |value: &DeValue<'_>| match value {
        DeValue::Table(table) => table.len(),
        _ => 0,
    };
    let DeValue::Table(blueprints) = blueprints.get_ref() else { return 0 };
    let routes = blueprints.iter().filter_map(|(_, blueprint)| match blueprint.get_ref() {
        DeValue::Table(blueprint) => blueprint.get("routes"),
        _ => None,
    });
    routes.map(|routes| table(routes.get_ref())).sum()
}

/// The result of [`counted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The file with the right count, and otherwise unchanged.
    pub text: String,
    pub rows: usize,
    /// The count that it stated before; `None` if it stated none.
    pub before: Option<String>,
}

/// The file with a correct `rows = N`: updated where the file states it, otherwise inserted below `version`. `None` if
/// the file has any mistake other than its count, because the intended number of rows is then unknown.
pub fn counted(source: &str) -> Option<Counted> {
    let (document, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        return None;
    }
    let root = document.get_ref();
    let rows = root.get("blueprints").map_or(0, written);
    let (place, new, before) = match root.get("rows") {
        Some(value) => {
            let place = value.span();
            let before = source.get(place.clone())?.to_owned();
            (place, rows.to_string(), Some(before))
        }
        None => {
            let version = root.get("version")?.span().end;
            let (end, line_end) = end_of_line(source, version);
            (end..end, format!("{line_end}rows = {rows}"), None)
        }
    };
    let text = format!("{}{new}{}", source.get(..place.start)?, source.get(place.end..)?);
    // Proves that nothing else was changed, and that there is no other mistake.
    let mapping = Mapping::parse("the counted file", &text).ok()?;
    (mapping.rows().len() == rows).then_some(Counted { text, rows, before })
}

/// The end of the line that contains `place`, before its line break, and the line break that the file uses.
fn end_of_line(source: &str, place: usize) -> (usize, &'static str) {
    let rest = &source[place..];
    match rest.find('\n') {
        Some(newline) if rest[..newline].ends_with('\r') => (place + newline - 1, "\r\n"),
        Some(newline) => (place + newline, "\n"),
        None => (source.len(), "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str =
        "[blueprints.a.routes]\n\"GET /a\" = { public = true }\n\"GET /b\" = { gone = true }\n";

    fn finding(source: &str) -> Option<(String, &'static str, usize)> {
        let mistakes = Mapping::parse("routes.toml", source).err()?;
        let [finding] = mistakes.findings() else { panic!("{mistakes}") };
        Some((finding.message.clone(), finding.code, mistakes.position(finding).0))
    }

    #[test]
    fn a_file_has_the_rows_that_it_says() {
        let row_count = |said: &str| Some((format!("`rows = {said}`, but the file has 2"), "row-count", 2));
        let table = [
            (String::new(), None),
            ("rows = 2\n".to_owned(), None),
            ("rows = 0x2\n".to_owned(), None),
            ("rows = 3\n".to_owned(), row_count("3")),
            ("rows = 0\n".to_owned(), row_count("0")),
        ];
        for (line, expected) in table {
            assert_eq!(finding(&format!("version = 1\n{line}{ROWS}")), expected, "{line}");
        }
        let wrong = |line: &str| finding(&format!("version = 1\n{line}\n{ROWS}")).map(|found| found.1);
        assert_eq!(wrong("rows = -1"), Some("out-of-range"));
        assert_eq!(wrong("rows = \"2\""), Some("wrong-type"));
        assert_eq!(finding("version = 1\nrows = 0\n"), None);
    }

    /// A row with a mistake is a row: the count is not a second mistake.
    #[test]
    fn a_row_with_a_mistake_counts() {
        let source = format!("version = 1\nrows = 2\n{}", ROWS.replace("GET /b", "GTE /b"));
        assert_eq!(finding(&source).map(|found| found.1), Some("unknown-method"));
    }

    /// Wherever a file is cut, it is no mapping any more, unless all its rows are there.
    #[test]
    fn a_file_that_was_cut_short_is_no_mapping() {
        let whole = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../routes.toml"));
        let rows = Mapping::parse("routes.toml", whole).expect("a sound mapping").rows().len();
        let last = whole.rfind("\" = {").expect("a last row");
        for (end, _) in whole.char_indices().filter(|(end, _)| end % 512 == 0 || *end + 64 > whole.len()) {
            if let Ok(cut) = Mapping::parse("routes.toml", &whole[..end]) {
                assert!(cut.rows().len() == rows && end > last, "cut at {end}: {} rows", cut.rows().len());
            }
        }
    }

    #[test]
    fn counting_changes_the_count_and_nothing_else() {
        let table = [
            (
                "# c\nversion = 1 # the format\n\nunmapped = \"deny\"\n",
                "# c\nversion = 1 # the format\nrows = 2\n\nunmapped = \"deny\"\n",
                None,
            ),
            (
                "version = 1\r\nunmapped = \"deny\"\r\n",
                "version = 1\r\nrows = 2\r\nunmapped = \"deny\"\r\n",
                None,
            ),
            ("rows=0x7 # all\nversion = 1\n", "rows=2 # all\nversion = 1\n", Some("0x7")),
            ("version = 1\nrows   =   2\n", "version = 1\nrows   =   2\n", Some("2")),
        ];
        for (head, expected, before) in table {
            let counted = counted(&format!("{head}{ROWS}")).expect("it can be counted");
            assert_eq!(counted.text, format!("{expected}{ROWS}"));
            assert_eq!((counted.rows, counted.before.as_deref()), (2, before));
        }
        let empty = counted("version = 1").expect("no row is a count, too");
        assert_eq!(empty.text, "version = 1\nrows = 0");
    }

    #[test]
    fn a_file_with_another_mistake_is_not_counted() {
        for head in
            ["", "version = 2\n", "version = 1\nnonsense\n", "version = 1\nrows = 3\nunmaped = \"deny\"\n"]
        {
            assert_eq!(counted(&format!("{head}{ROWS}")), None, "{head}");
        }
    }
}

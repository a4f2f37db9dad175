//! Results for a CI server: JUnit XML, one test for each case and each invariant.

use std::fmt::Write as _;

use crate::report::text::harmless;

/// One test.
#[derive(Debug)]
pub struct TestCase {
    /// The table of the file: `case`, `never`, `always`, `only`.
    pub table: &'static str,
    pub name: String,
    pub line: usize,
    /// Why it does not hold.
    pub failure: Option<String>,
}

/// The document. `file` is the test file's path.
pub fn document(file: &str, tests: &[TestCase]) -> String {
    let failures = tests.iter().filter(|test| test.failure.is_some()).count();
    let file = escaped(file);
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\"", tests.len());
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n<testsuite name=\"{file}\" {counts}>\n"
    );
    for test in tests {
        let (name, line) = (escaped(&test.name), test.line);
        let head =
            format!("<testcase classname=\"{}\" name=\"{name}\" file=\"{file}\" line=\"{line}\"", test.table);
        let _ = match &test.failure {
            None => writeln!(xml, "{head}/>"),
            Some(failure) => writeln!(xml, "{head}><failure message=\"{}\"/></testcase>", escaped(failure)),
        };
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

/// Text that cannot end its attribute, without characters that XML does not have.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in harmless(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

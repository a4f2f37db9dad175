//! The mapping file: refused with places inside it, or a table in which every row means what its text says.

use policy::mapping::matcher::Rule;
use policy::mapping::{Found, Mapping};
use policy::method::Method;
use sha2::{Digest, Sha256};

use super::matcher::check_table;
use super::naive_pattern::{self, NaivePattern};

/// More rows than this say no more than fewer, and the naive search is slow.
const MOST_ROWS: usize = 24;

/// The bytes are a `routes.toml`.
pub fn mapping(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match Mapping::parse("routes.toml", text) {
        Ok(mapping) => {
            check_mapping(&mapping, text);
            true
        }
        Err(diagnostics) => {
            assert!(!diagnostics.findings().is_empty());
            for finding in diagnostics.findings() {
                let span = finding.span.clone();
                assert!(text.get(span.clone()).is_some(), "{}: {span:?} of {}", finding.code, text.len());
                let (line, column) = diagnostics.position(finding);
                assert!(line <= text.matches('\n').count() + 1 && column >= 1);
            }
            // Both forms in which an operator meets them.
            assert!(!diagnostics.to_string().is_empty());
            assert!(diagnostics.one_line_each().lines().count() >= diagnostics.findings().len());
            false
        }
    }
}

fn check_mapping(mapping: &Mapping, text: &str) {
    assert_eq!(&**mapping.source(), text);
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(mapping.sha256().as_str(), digest);
    for row in mapping.rows() {
        // A row is found in the file at the place that reports name.
        assert!(text[row.offset..].starts_with(['"', '\'']), "{} is not at {}", row.route, row.offset);
        let (_, path) = row.route.split_once(' ').expect("a route is a method and a path");
        assert_eq!(row.pattern.as_str(), path);
        if let Some(cluster) = &row.cluster {
            assert!(mapping.clusters().contains_key(cluster));
        }
    }
    let rows = mapping.rows().iter().take(MOST_ROWS);
    let Some(table) =
        rows.map(|row| Some((naive_pattern::read(row.pattern.as_str())?, row))).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    // `//` never arrives: the firewall refuses it.
    let arrives = |path: &String| !path.contains("//");
    let paths: Vec<String> = table.iter().flat_map(|(pattern, _)| around(pattern)).filter(arrives).collect();
    let rules: Vec<(NaivePattern, Rule)> = table
        .iter()
        .map(|(pattern, row)| (pattern.clone(), Rule::declared(row.pattern.clone(), row.methods)))
        .collect();
    check_table(&rules, &paths);
    for path in &paths {
        for method in Method::ALL {
            if let Found::Row(row) = mapping.find(path, method) {
                let pattern = naive_pattern::read(row.pattern.as_str());
                let fits = pattern.is_none_or(|pattern| pattern.fits(path));
                assert!(fits && row.methods.served().contains(method), "{method} {path} is no {}", row.route);
            }
        }
    }
}

/// Paths that a pattern fits, and some that it nearly fits.
fn around(pattern: &NaivePattern) -> Vec<String> {
    let examples = [0, 1, 2, 4].map(|seed| pattern.example(seed));
    let slashed = examples.clone().map(|example| example + "/");
    examples.into_iter().chain(slashed).collect()
}

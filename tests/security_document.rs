//! SECURITY.md names the test that proves each of its rules, and docs/requests.md each reason for a refusal: all exist.

use std::collections::BTreeSet;
use std::path::Path;

/// The proofs of the document, `file::test` between backticks, each as its file and its test.
fn proofs(document: &str) -> Vec<(&str, &str)> {
    document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once(".rs::").or(code.split_once(".py::")))
        .collect()
}

#[test]
fn every_proof_that_it_names_is_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let proofs = proofs(&document);
    assert!(proofs.len() > 80, "{} proofs: the document has changed its form", proofs.len());
    let missing: Vec<String> = proofs
        .into_iter()
        .filter(|(file, test)| {
            let is_source = file.starts_with("src/") || file.starts_with("crates/");
            let folder = if is_source { root.to_owned() } else { root.join("tests") };
            let text = ["rs", "py"]
                .iter()
                .find_map(|ending| std::fs::read_to_string(folder.join(format!("{file}.{ending}"))).ok());
            !text.is_some_and(|text| has_test(&text, test))
        })
        .map(|(file, test)| format!("{file}::{test}"))
        .collect();
    assert!(missing.is_empty(), "SECURITY.md names what is no test: {missing:#?}");
}

/// Whether a function of this name is in the text, or a fuzz target in the list that makes tests of them.
fn has_test(text: &str, test: &str) -> bool {
    let is_function = ["fn ", "def "].iter().any(|word| text.contains(&format!("{word}{test}(")));
    let targets = text.lines().find_map(|line| line.strip_prefix("smoke!(")?.strip_suffix(");"));
    is_function || targets.is_some_and(|targets| targets.split(' ').any(|target| target == test))
}

/// `docs/requests.md` explains every reason for which a request is refused, with its status, and no other.
#[test]
fn every_reason_for_a_refusal_is_explained() {
    let page = include_str!("../docs/requests.md");
    let explained: BTreeSet<(&str, &str)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.trim_end_matches('`'), cells.next()?))
        })
        .collect();
    let refusals = include_str!("golden/refusals.txt");
    let known: BTreeSet<(&str, &str)> = refusals
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?, columns.next()?))
        })
        .collect();
    assert_eq!(explained, known);
}

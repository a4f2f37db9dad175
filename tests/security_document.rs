//! SECURITY.md names the test that proves each of its rules: every one of them exists.

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

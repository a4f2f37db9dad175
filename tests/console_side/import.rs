//! `console-gate import`

use crate::support::{gate, golden, project_file, source_of_the_table};

const TREE: &str = "tests/data/console_src";
const ODD_TREE: &str = "tests/data/console_src_odd";

#[test]
fn a_tree_becomes_a_mapping() {
    let ran = gate(&["import", "--console-src", TREE]);
    golden("import.toml", &ran.stdout);
    golden("import.txt", &ran.stderr);
    assert_eq!(ran.code, 1, "a gate that was not understood is to be looked at");
}

#[test]
fn what_no_row_can_say_is_reported_and_noted_in_the_file() {
    let ran = gate(&["import", "--console-src", ODD_TREE]);
    golden("import_odd.toml", &ran.stdout);
    golden("import_odd.txt", &ran.stderr);
    assert_eq!(ran.code, 1);
}

#[test]
fn what_is_imported_is_sound() {
    for mapping in ["import.toml", "import_odd.toml"] {
        let file = project_file("tests/console_side/golden").join(mapping);
        let ran = gate(&["check", "--offline", "--deny", "error", file.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{mapping}: {}", ran.stdout);
    }
}

/// The legacy column of the shipped mapping comes back out of a Console that has its decorators.
#[test]
fn the_documents_table_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    source_of_the_table(folder.path());
    let source = folder.path().to_str().unwrap();
    let ran = gate(&["import", "--console-src", source]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mapping = folder.path().join("routes.toml");
    std::fs::write(&mapping, &ran.stdout).unwrap();
    let lint = gate(&["lint", "--console-src", source, "--mapping", mapping.to_str().unwrap()]);
    assert_eq!(lint.code, 0, "{}", lint.stdout);
}

#[test]
fn a_file_is_never_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.toml");
    let output = file.to_str().unwrap();
    let golden = std::fs::read_to_string(project_file("tests/console_side/golden/import.toml")).unwrap();
    let written = || std::fs::read_to_string(&file).unwrap();

    let import = ["import", "--console-src", TREE, "--output", output];
    assert_eq!(gate(&import).code, 1);
    assert_eq!(written(), golden);

    std::fs::write(&file, "an operator's own").unwrap();
    let ran = gate(&import);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(written(), "an operator's own");

    assert_eq!(gate(&[&import[..], &["--force"]].concat()).code, 1);
    assert_eq!(written(), golden);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Names come from the source, and the source is not trusted: neither a name of a blueprint nor a file's ends a string or
/// a comment of the mapping.
#[test]
fn nothing_in_the_source_breaks_out_of_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = "from flask import Blueprint\nbp = Blueprint('a\"]\\\\', __name__)\n\n@bp.get('/\"x\\\\\"')\n@login('#')\ndef view(): pass\n\n@bp.get('/\"y')\ndef other(): pass\n";
    std::fs::write(folder.path().join("line\nbreak.py"), text).unwrap();
    let ran = gate(&["import", "--console-src", folder.path().to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("[blueprints.\"a\\\"]\\\\\".routes]"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n\"GET /\\\"y\""), "{}", ran.stdout);
}

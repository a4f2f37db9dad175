//! `console-gate lint`

use crate::support::{gate, golden, source_of_the_table};

const TREE: &str = "tests/data/console_src";
const ODD_TREE: &str = "tests/data/console_src_odd";
/// What `import` writes for the trees; the tests of `import` compare it with them.
const MAPPING: &str = "tests/console_side/golden/import.toml";
const ODD_MAPPING: &str = "tests/console_side/golden/import_odd.toml";

/// The table, and nothing but the table: the shipped mapping's rows without a path are all that has no view.
#[test]
fn the_documents_table_and_the_shipped_mapping_agree() {
    let folder = tempfile::tempdir().unwrap();
    source_of_the_table(folder.path());
    let ran = gate(&["lint", "--console-src", folder.path().to_str().unwrap()]);
    golden("lint_table.txt", &ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
}

/// Each decorator of the table is changed once, alone, to a gate that no row has; each change is found where it is.
#[test]
fn every_changed_decorator_is_found() {
    let folder = tempfile::tempdir().unwrap();
    source_of_the_table(folder.path());
    let mut changed = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let sites: Vec<usize> = text.match_indices("@require_role(").map(|(at, _)| at).collect();
        if sites.is_empty() {
            continue;
        }
        let mut everywhere = String::new();
        for line in text.split_inclusive('\n') {
            let site = line.starts_with("@require_role(");
            everywhere.push_str(if site { "@require_role(\"support\")\n" } else { line });
        }
        std::fs::write(&path, everywhere).unwrap();
        let ran = gate(&["lint", "--format", "json", "--console-src", folder.path().to_str().unwrap()]);
        assert_eq!(ran.code, 1);
        let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let file = path.to_str().unwrap();
        let differs = found["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["id"] == "gate-differs" && finding["place"]["file"] == file);
        assert_eq!(differs.count(), sites.len(), "{file}");
        changed += sites.len();
        std::fs::write(&path, text).unwrap();
    }
    // The rows of the table that have a path, a legacy gate and a view.
    assert_eq!(changed, 93);
}

#[test]
fn a_tree_and_its_own_mapping_agree() {
    let ran = gate(&["lint", "--console-src", TREE, "--mapping", MAPPING]);
    let summary = "19 rows of tests/console_side/golden/import.toml, 17 sites (0 unreadable) and 0 inline checks in 12 files\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, summary, ""));
}

#[test]
fn what_cannot_be_read_is_reported_with_its_place() {
    let ran = gate(&["lint", "--console-src", ODD_TREE, "--mapping", ODD_MAPPING]);
    golden("lint_odd.txt", &ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
}

#[test]
fn each_difference_names_both_sides() {
    let ran = gate(&["lint", "--console-src", TREE]);
    golden("lint_shipped_mapping.txt", &only_of(&ran.stdout, TREE));
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
}

/// Without the rows of the shipped mapping for which the small tree has no view.
fn only_of(output: &str, tree: &str) -> String {
    let mut kept = String::new();
    let mut keep = true;
    for line in output.split_inclusive('\n') {
        keep = if line.starts_with("    ") { keep } else { !line.starts_with("routes.toml:") };
        if keep {
            kept.push_str(line);
        }
    }
    assert!(kept.contains(tree));
    kept
}

#[test]
fn after_the_cutover_no_site_may_be_left() {
    let ran = gate(&["lint", "--fail-on-any", "--console-src", TREE]);
    golden("lint_fail_on_any.txt", &ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
}

#[test]
fn after_the_cutover_a_file_that_cannot_be_read_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let lint = || gate(&["lint", "--fail-on-any", "--console-src", folder.path().to_str().unwrap()]);
    let write = |text: &str| std::fs::write(folder.path().join("views.py"), text).unwrap();

    let clean = "from auth import require_rbac_role\n\n@require_rbac_role('console-user')\ndef view():\n    # @require_role('ops')\n    return '@require_role'\n";
    write(clean);
    assert_eq!(lint().code, 0);
    for left in [
        "@require_role('ops')\ndef view(): pass\n",
        "import auth\nclass View:\n    guard = auth.require_role\n",
        "def view(user): return user.role == 'admin'\n",
        "def view(:\n",
    ] {
        write(&format!("{clean}\n{left}"));
        assert_eq!(lint().code, 1, "{left}");
    }
}

#[test]
fn a_lint_in_the_wrong_place_does_not_pass() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    let cases: [&[&str]; 5] = [
        &["lint"],
        &["lint", "--console-src", empty],
        &["lint", "--fail-on-any", "--console-src", "no/such/folder"],
        &["lint", "--console-src", TREE, "--mapping", "no_such.toml"],
        &["lint", "--console-src", TREE, "--format", "xml"],
    ];
    for arguments in cases {
        let ran = gate(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
    }
}

/// A link may lead out of the tree, and back into it for ever.
#[test]
fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("views.py"), "").unwrap();
    std::os::unix::fs::symlink(path, path.join("again")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path.join("passwd.py")).unwrap();
    let ran = gate(&["lint", "--fail-on-any", "--console-src", path.to_str().unwrap()]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "0 sites (0 unreadable) and 0 inline checks in 1 files\n")
    );
}

//! The runbook of the compliance auditors, followed: its `sh` blocks, in their order, by the real binary.

use std::path::Path;

use crate::support::{Workbench, project_text};

/// The `sh` blocks of a page, each of which stops at the first command that fails.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("the end of a block")).collect()
}

#[test]
fn an_auditor_is_admitted_and_let_go_as_the_runbook_says() {
    let page = project_text("docs/runbooks/compliance-auditors.md");
    let blocks = blocks(&page);
    assert_eq!(blocks.len(), 6, "the page has changed its form");
    let bench = Workbench::new();
    bench.sql("INSERT INTO admins (id, email) VALUES ('auditor-1', 'auditor@example.org')");
    // A marker before each block: what is expected of it is looked for behind it.
    let marked: Vec<String> =
        blocks.iter().enumerate().map(|(number, block)| format!("echo '== {number}'\n{block}")).collect();
    let output = bench.run_script(&marked.concat());
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let part = |number: usize| {
        let rest = output.stdout.split(&format!("== {number}\n")).nth(1).expect("the marker");
        rest.split("\n== ").next().expect("something").to_owned()
    };
    let expected: [(usize, &[&str]); 5] = [
        (1, &["raxx-compliance-auditors", "raptor-audit-compliance"]),
        (2, &["raptor-audit-compliance"]),
        (3, &["auditor-1", "raxx-compliance-auditors", "until"]),
        (4, &["no reviews"]),
        (5, &["no grants", "raxx-compliance-auditors"]),
    ];
    for (number, words) in expected {
        for word in words {
            assert!(part(number).contains(word), "step {number}: `{word}` is missing in\n{}", part(number));
        }
    }
    // What the procedure has changed, and left as it was.
    let shown = bench.run(&["group", "show", "raxx-compliance-auditors", "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(shown["roles"], serde_json::json!([]), "{shown}");
    let tail = bench.run(&["audit", "tail", "--limit", "100"]).stdout;
    let is_change = |line: &&str| line.contains("rbac_changed") || line.contains("grant_recorded");
    let changes = tail.lines().filter(is_change).filter(|line| line.contains("SOC2-1"));
    assert_eq!(changes.count(), 4, "granted, added, ended, revoked, each with its reason: {tail}");
}

/// Each file that a runbook or one of the pages beside it links to is there.
#[test]
fn every_page_that_a_runbook_links_to_exists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let mut links = 0;
    for entry in std::fs::read_dir(&folder).expect("the runbooks") {
        let file = entry.expect("a readable folder").path();
        let text = std::fs::read_to_string(&file).expect("a runbook");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            assert!(folder.join(target).exists(), "{}: {target} does not exist", file.display());
        }
        let pages =
            text.split("docs/").skip(1).filter_map(|rest| rest.split_once(".md")).map(|(name, _)| name);
        for page in pages {
            assert!(
                folder.join(format!("../{page}.md")).exists(),
                "{}: docs/{page}.md does not exist",
                file.display()
            );
        }
    }
    assert!(links > 1, "{links}");
}

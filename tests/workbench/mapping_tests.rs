//! `console-gate test`, as an adopter and a CI server run it.

use serde_json::Value;

use crate::support::{Workbench, assert_golden, project_file, project_text};

/// A small mapping with a registry and tests; the page docs/mapping-tests.md shows the same files.
fn shop() -> Workbench {
    let bench = Workbench::new();
    let page = project_text("docs/mapping-tests.md");
    for name in ["routes.toml", "registry.toml", "routes.test.toml"] {
        bench.write(name, example(&page, name));
    }
    bench
}

/// The block of the page that begins with a comment with the file's name.
fn example<'p>(page: &'p str, name: &str) -> &'p str {
    let begin = format!("```toml\n# {name}\n");
    let start = page.find(&begin).unwrap_or_else(|| panic!("the page has no {name}")) + "```toml\n".len();
    page[start..].split("```").next().unwrap()
}

#[test]
fn the_shipped_mapping_passes_its_tests() {
    let bench = Workbench::new();
    let (mapping, tests) = (project_file("routes.toml"), project_file("routes.test.toml"));
    let output = bench.run(&["--mapping", mapping.to_str().unwrap(), "test", tests.to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains(": all hold"), "{}", output.stdout);
}

#[test]
fn the_page_shows_what_is_printed() {
    let bench = shop();
    let page = project_text("docs/mapping-tests.md");
    let output = bench.run(&["test"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(
        page.contains(&format!("```text\n$ console-gate test\n{}```", output.stdout)),
        "{}",
        output.stdout
    );
    bench.write(
        "routes.toml",
        &example(&page, "routes.toml").replacen(
            "{ legacy = [\"finance\"]",
            "{ legacy = [\"finance\", \"support\"]",
            1,
        ),
    );
    let output = bench.run(&["test"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(
        page.contains(&format!("```text\n$ console-gate test\n{}```", output.stdout)),
        "{}",
        output.stdout
    );
}

#[test]
fn mistakes_are_named_at_once_and_exit_2() {
    let bench = shop();
    bench.write(
        "routes.test.toml",
        "version = 1\nregistry = \"registry.toml\"\n[[case]]\nas = \"suport\"\n\"GET /orders\" = \"alow\"\n\
         [[never]]\nwho = { not = \"finance-team\" }\nreaches = \"blueprint:order\"\n[[only]]\n\"GET /orders/<id>\" = \"x\"\n",
    );
    let output = bench.run(&["test"]);
    assert_eq!(output.code, 2);
    assert_golden("test/mistakes.txt", &output.text());
    bench.write("routes.test.toml", "version = 1\nregistry = \"none.toml\"\n");
    let output = bench.run(&["test"]);
    assert_eq!((output.code, output.stderr.lines().count()), (2, 1), "{}", output.stderr);
}

#[test]
fn the_formats_agree() {
    let bench = shop();
    bench.write("routes.test.toml", &project_text("tests/workbench/mapping_tests/failing.test.toml"));
    let text = bench.run(&["test"]);
    assert_golden("test/failing.txt", &text.text());
    let json = bench.run(&["test", "--format", "json"]);
    let report: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let failed = report["summary"]["failed"].as_u64().unwrap();
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(usize::try_from(failed).unwrap()));
    assert_eq!(report["world"]["registry"], "registry.toml");
    let junit = bench.run(&["test", "--format", "junit"]);
    assert_golden("test/failing.xml", &junit.stdout);
    let sarif = bench.run(&["test", "--format", "sarif"]);
    let log: Value = serde_json::from_str(&sarif.stdout).expect("JSON");
    let results = log["runs"][0]["results"].as_array().expect("results");
    assert_eq!(results.len() as u64, failed);
    for output in [&text, &json, &junit, &sarif] {
        assert_eq!(output.code, 1, "{}", output.stderr);
    }
}

/// Without a registry file, and with `--live`, the database's roles and people decide.
#[test]
fn the_database_is_a_registry_too() {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    bench.sql(
        "INSERT INTO admins (id, email) VALUES ('olaf', 'olaf@example.org');
         INSERT INTO admin_roles (admin_id, role, granted_by) VALUES ('olaf', 'ops', 't');",
    );
    bench.write(
        "routes.test.toml",
        "version = 1\n[[case]]\nas = \"person:olaf\"\n\"GET /console/flags\" = \"allow\"\n\"GET /secrets\" = \"deny\"\n",
    );
    let output = bench.run(&["test"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("roles of the"), "{}", output.stdout);
    let seed = project_file("tests/data/rbac_seed.toml");
    let output = bench.run(&["test", "--seed", seed.to_str().unwrap()]);
    assert_eq!(output.code, 2, "{}", output.stdout);
    assert!(output.stderr.contains("people are in the database"), "{}", output.stderr);
}

/// `--init` writes a file that holds, and none over an existing one.
#[test]
fn a_first_file_is_written_once() {
    let bench = shop();
    std::fs::remove_file(bench.path("routes.test.toml")).unwrap();
    let missing = bench.run(&["test"]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("test --init"), "{}", missing.stderr);
    let written = bench.run(&["test", "--init", "--seed", "registry.toml"]);
    assert_eq!(written.code, 0, "{}", written.stderr);
    assert_golden("test/init.toml", &std::fs::read_to_string(bench.path("routes.test.toml")).unwrap());
    assert_eq!(bench.run(&["test"]).code, 0);
    let again = bench.run(&["test", "--init", "--seed", "registry.toml"]);
    assert_eq!(again.code, 2, "{}", again.stdout);
}

#[test]
fn what_no_test_notices_is_a_sentence() {
    let bench = shop();
    let output = bench.run(&["test", "--coverage", "--mutants", "--fail-under", "100"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_golden("test/unnoticed.txt", &output.text());
    bench.write(
        "routes.test.toml",
        "version = 1\nregistry = \"registry.toml\"\n[[case]]\nas = \"finance\"\n\"POST /refunds\" = \"allow\"\n",
    );
    let output = bench.run(&["test", "--mutants", "--full"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(
        output.stdout.contains("if `POST /refunds` were open to `support`, no test would fail"),
        "{}",
        output.stdout
    );
    let json = bench.run(&["test", "--mutants", "--coverage", "--format", "json"]);
    let report: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert!(report["mutation"]["survivors"].as_array().is_some_and(|all| all.len() > 5), "{report:#}");
    assert!(report["coverage"]["possible"].as_u64().is_some_and(|cells| cells > 10), "{report:#}");
}

//! `console-gate check`.

use std::collections::BTreeSet;

use serde_json::Value;
use workbench::report::rules::{CHECK, Rule};
use workbench::report::{Level, rules};

use crate::support::{CommandOutput, Workbench, assert_golden, project_file, project_text};

const MAPPINGS: &str = "tests/workbench/mappings";

fn bad_mapping(rule: &Rule) -> String {
    project_text(&format!("{MAPPINGS}/{}.toml", rule.id))
}

fn parsed(output: &CommandOutput) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn fits_a_terminal(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

/// A mapping for each kind of finding, and its report.
#[test]
fn every_kind_of_finding_is_reported() {
    let bench = Workbench::new();
    for rule in &CHECK {
        bench.write("routes.toml", &bad_mapping(rule));
        let is_about_holders = ["unheld-legacy-role", "undeclared-legacy-role"].contains(&rule.id);
        if is_about_holders {
            bench.sql(
                "INSERT INTO admins (id, email) VALUES ('olaf', 'olaf@example.com');
                 INSERT INTO admin_roles (admin_id, role, granted_by) VALUES ('olaf', 'ops', 'tests')",
            );
        }
        if rule.id == "taken-back" {
            bench.sql(&rolled_back(&bad_mapping(rule)));
        }
        // Which servers there are, only the settings say.
        bench.write(
            "gate.toml",
            "[upstreams.raptor]\nservers = [\"127.0.0.1:8100\"]\n[session]\nsession_id_key = \"sid\"\n",
        );
        let of_settings: &[&str] =
            if rule.id == "unknown-upstream" { &["--config", "gate.toml"] } else { &[] };
        let output = bench.run(&[&["check", "routes.toml"], of_settings].concat());
        bench.sql("DELETE FROM admins; UPDATE gate_mapping_pin SET sha256 = NULL");
        assert!(
            output.stdout.contains(&format!("{}[{}]", rule.level.word(), rule.id)),
            "{}: {output:?}",
            rule.id
        );
        assert_eq!(output.code, i32::from(rule.level != Level::Note), "{}: {output:?}", rule.id);
        assert_eq!(output.stderr, "", "{}", rule.id);
        fits_a_terminal(&output.stdout);
        assert_golden(&format!("check/{}.txt", rule.id), &shortened(&output.text()));
    }
}

/// A rollback of the mapping that flipped the cluster of this file: what the file is an unrelated edit of.
fn rolled_back(file: &str) -> String {
    let pinned = file.replace("\"v2\"", "\"legacy\"");
    let replaced =
        file.replace("routes.\"GET /second\" = { legacy = [\"ops\"], role = \"console-manager\" }\n", "");
    assert!(replaced != file && pinned != file);
    let keep = |text: &str| {
        let sha256 = policy::mapping::parse::sha256_of(text);
        format!(
            "INSERT INTO gate_mappings (sha256, content, first_seen_at_utc)
             VALUES ('{sha256}', '{text}', '2026-01-01T00:00:00.000000+00:00');"
        )
    };
    format!(
        "{}{}UPDATE gate_mapping_pin SET pin_id = 'p', sha256 = '{}', pinned_by = 'anna';
         INSERT INTO gate_mapping_pin_files (file_sha256) VALUES ('{}')",
        keep(&pinned),
        keep(&replaced),
        policy::mapping::parse::sha256_of(&pinned),
        policy::mapping::parse::sha256_of(&replaced)
    )
}

/// A report of a thousand findings by its beginning and its end.
fn shortened(text: &str) -> String {
    const LONG: usize = 200;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= LONG {
        return text.to_owned();
    }
    let left_out = format!("[{} lines]", lines.len() - 30);
    [&lines[..20], &[left_out.as_str()], &lines[lines.len() - 10..]].concat().join("\n") + "\n"
}

#[test]
fn every_bad_mapping_is_of_a_kind_that_is_listed() {
    let listed: BTreeSet<String> = CHECK.iter().map(|rule| format!("{}.toml", rule.id)).collect();
    let entries = std::fs::read_dir(project_file(MAPPINGS)).unwrap();
    let found: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, listed);
}

/// The ids are read out of the code that finds: what follows on `Diagnostic::new(`, or is alone in a tuple.
#[test]
fn every_id_that_the_code_can_find_is_listed() {
    let mut ids = BTreeSet::from(["syntax".to_owned()]);
    let mut folders = vec![project_file("crates/policy/src/mapping")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_str().unwrap().contains("tests") {
                let code = std::fs::read_to_string(&path).unwrap();
                ids.extend(code.split("Diagnostic::new(").skip(1).filter_map(first_argument));
                ids.extend(
                    code.split("=> (\"missing-")
                        .skip(1)
                        .filter_map(|rest| Some(format!("missing-{}", rest.split_once('"')?.0))),
                );
            }
        }
    }
    let listed: BTreeSet<String> = CHECK.iter().map(|rule| rule.id.to_owned()).collect();
    assert_eq!(ids, listed);
}

fn first_argument(rest: &str) -> Option<String> {
    let literal = rest.trim_start().strip_prefix('"')?;
    Some(literal.split_once('"')?.0.to_owned())
}

/// The documents' own table: what a careful reader finds in it, and nothing that keeps it from being activated.
#[test]
fn the_documents_table_is_sound_and_has_the_findings_of_the_documents() {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    let output = bench.run(&["check"]);
    assert_eq!(output.code, 1, "{output:?}");
    fits_a_terminal(&output.stdout);
    assert_golden("check/documents.txt", &output.text());

    let json = parsed(&bench.run(&["check", "--format", "json"]));
    let of = |id: &str| -> Vec<&str> {
        let findings = json["findings"].as_array().unwrap();
        findings.iter().filter(|one| one["id"] == id).map(|one| one["message"].as_str().unwrap()).collect()
    };
    // Open question 5.
    assert_eq!(of("role-without-group").len(), 1);
    assert!(of("role-without-group")[0].contains("console-ops"));
    assert_eq!(of("read-role-on-mutation").len(), 1);
    assert!(of("read-role-on-mutation")[0].contains("POST /console/status/<id>/investigate"));
    // Section 4: AMBIGUOUS-1 has two routes.
    assert_eq!(of("undecided").len(), 5);
    // "+ TOTP", "+ @require_totp_elevation" and "inline TOTP" in section 3.
    assert_eq!(of("totp-marker").len(), 11);
    assert_eq!(json["summary"]["sound"], true);
    assert_eq!(json["summary"]["rows"], 106);
}

#[test]
fn the_effective_table_has_every_row() {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    let output = bench.run(&["check", "-T", "--offline"]);
    fits_a_terminal(&output.stdout);
    assert_golden("check/documents-table.txt", &output.text());

    let json = parsed(&bench.run(&["check", "-T", "--format", "json"]));
    let table = json["table"].as_array().unwrap();
    assert_eq!(table.len(), 106);
    let investigate = table.iter().find(|row| row["path"] == "/console/status/<id>/investigate").unwrap();
    assert_eq!(investigate["cluster"], "S1");
    assert_eq!(investigate["decides"], "legacy");
    assert_eq!(investigate["methods"], "POST");
    assert_eq!(investigate["legacy"], serde_json::json!(["ops", "superadmin"]));
    assert_eq!(investigate["v2"], "role console-audit-user");
}

/// An undecided row of an enforced cluster stays on its legacy gate.
#[test]
fn the_effective_table_has_what_decides_and_not_what_the_cluster_says() {
    let bench = Workbench::new();
    let mapping = project_text("tests/data/routes_small.toml");
    assert!(mapping.contains("S3 = \"legacy\""));
    bench.write("routes.toml", &mapping.replace("S3 = \"legacy\"", "S3 = \"v2\""));
    let output = bench.run(&["check", "-T", "--offline"]);
    fits_a_terminal(&output.stdout);
    assert!(output.stdout.contains("S3  legacy    POST  /console/customers/<id>/<session_id>/revoke\n"));
    assert_golden("check/every-kind-of-row-table.txt", &output.text());
}

#[test]
fn json_and_sarif_say_what_the_text_says() {
    let bench = Workbench::new();
    bench.write("routes.toml", &bad_mapping(rules::rule("missing-role").unwrap()));
    for format in ["json", "sarif"] {
        let output = bench.run(&["check", "--format", format]);
        assert_eq!(output.code, 1);
        assert_golden(&format!("check/missing-role.{format}"), &without_version(&output.stdout));
    }
    // Sound, and nothing to say: still an object of the same form.
    bench.write("routes.toml", "version = 1\n");
    for format in ["json", "sarif"] {
        let output = bench.run(&["check", "--format", format]);
        assert_eq!(output.code, 0);
        assert_golden(&format!("check/nothing.{format}"), &without_version(&output.stdout));
    }
}

/// SARIF names the program's version, which no golden file should have to follow.
fn without_version(text: &str) -> String {
    let version = |version: &str| format!("\"version\": \"{version}\"");
    text.replace(&version(env!("CARGO_PKG_VERSION")), &version("..."))
}

/// What the schema of SARIF 2.1.0 requires, property by property.
#[test]
fn sarif_has_what_its_schema_requires() {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    let log = parsed(&bench.run(&["check", "--format", "sarif"]));
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "console-gate");
    let kinds = run["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: BTreeSet<&str> = kinds.iter().map(|kind| kind["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), kinds.len(), "ids are unique");
    for kind in kinds {
        assert!(!kind["shortDescription"]["text"].as_str().unwrap().is_empty());
        assert!(!kind["help"]["text"].as_str().unwrap().is_empty());
        assert!(
            ["error", "warning", "note"].contains(&kind["defaultConfiguration"]["level"].as_str().unwrap())
        );
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 18);
    for result in results {
        assert!(result["message"]["text"].as_str().unwrap().ends_with('.'), "{result}");
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(kinds[index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "routes.toml");
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
        assert!(place["region"]["startColumn"].as_u64().unwrap() > 0);
    }
}

#[test]
fn the_exit_code_is_that_of_the_least_level_that_is_denied() {
    let bench = Workbench::new();
    let table = [
        ("missing-role", "error", 1),
        ("missing-role", "warning", 1),
        ("missing-role", "note", 1),
        ("no-way-back", "error", 0),
        ("no-way-back", "warning", 1),
        ("no-way-back", "note", 1),
        ("undecided", "error", 0),
        ("undecided", "warning", 0),
        ("undecided", "note", 1),
    ];
    for (id, deny, code) in table {
        bench.write("routes.toml", &bad_mapping(rules::rule(id).unwrap()));
        assert_eq!(bench.run(&["check", "--deny", deny]).code, code, "{id} --deny {deny}");
    }
}

#[test]
fn what_cannot_be_checked_is_2_and_says_why_on_standard_error() {
    let bench = Workbench::new();
    bench.write("routes.toml", "version = 1\n");
    std::fs::write(bench.path("latin1.toml"), b"version = 1 # \xe9").unwrap();
    let table: [(&[&str], &str); 8] = [
        (&["check", "nowhere.toml"], "cannot read nowhere.toml"),
        (&["check", "latin1.toml"], "cannot read latin1.toml"),
        (&["check", "--database", "sqlite:nowhere/gate.sqlite"], "use --offline to check the file alone"),
        (&["check", "-T", "--format", "sarif"], "SARIF cannot represent the table"),
        (&["check", "--format", "xml"], "invalid value 'xml'"),
        (&["check", "--deny", "nothing"], "invalid value 'nothing'"),
        (&["check", "--list", "--offline"], "cannot be used with"),
        (&["check", "--list", "--fix"], "cannot be used with"),
    ];
    for (arguments, expected) in table {
        let output = bench.run(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert_eq!(output.stdout, "", "{arguments:?}");
        assert!(output.stderr.contains(expected), "{arguments:?}: {output:?}");
    }
}

/// Without the database the report says that it did not check roles.
#[test]
fn offline_checks_the_file_alone() {
    let bench = Workbench::new();
    bench.write("routes.toml", &bad_mapping(rules::rule("missing-role").unwrap()));
    let output = bench.run(&["check", "--offline", "--database", "sqlite:nowhere/gate.sqlite"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("roles not checked"), "{output:?}");
    let json = parsed(&bench.run(&["check", "--offline", "--format", "json"]));
    assert_eq!(json["summary"]["roles_checked"], false);
}

#[test]
fn the_list_has_every_kind() {
    let output = Workbench::new().run(&["check", "--list"]);
    fits_a_terminal(&output.stdout);
    assert_golden("check/list.txt", &output.text());
    for rule in &CHECK {
        assert!(output.stdout.contains(&format!("{:7}  {} ", rule.level.word(), rule.id)), "{}", rule.id);
    }
}

/// `--fix` counts the rows and touches nothing else: not the comments, not the mode, not a link.
#[test]
fn a_fixed_file_says_how_many_rows_it_has() {
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Workbench::new();
    let shipped = project_text("routes.toml");
    let (before, after) = shipped.split_once("rows = 106").expect("the shipped file says how many");
    let line = shipped.lines().find(|line| line.starts_with("rows = ")).expect("a line");
    let table = [
        (format!("{before}rows = 7{after}"), "fixed: `rows = 106` (was 7)\n", shipped.clone()),
        (
            shipped.replace(&format!("{line}\n"), ""),
            "fixed: `rows = 106`\n",
            shipped.replace(line, "rows = 106"),
        ),
        (shipped.clone(), "", shipped.clone()),
    ];
    for (text, message, expected) in table {
        bench.write("elsewhere.toml", &text);
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(bench.path("elsewhere.toml"), mode).unwrap();
        let _ = std::fs::remove_file(bench.path("routes.toml"));
        std::os::unix::fs::symlink("elsewhere.toml", bench.path("routes.toml")).unwrap();
        let fixed = bench.run(&["check", "--fix", "--deny", "error"]);
        assert_eq!(fixed.code, 0, "{fixed:?}");
        assert!(
            fixed.stderr.ends_with(message) && fixed.stderr.is_empty() == message.is_empty(),
            "{fixed:?}"
        );
        assert!(fixed.stdout.contains("routes.toml: sound, 106 rows, "), "{fixed:?}");
        assert_eq!(std::fs::read_to_string(bench.path("elsewhere.toml")).unwrap(), expected);
        assert!(bench.path("routes.toml").symlink_metadata().unwrap().is_symlink());
        let mode = bench.path("elsewhere.toml").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
    let mut left: Vec<_> = std::fs::read_dir(bench.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml") || name.contains(".new-"))
        .collect();
    left.sort();
    assert_eq!(left, ["elsewhere.toml", "routes.toml"]);
}

#[test]
fn a_file_with_other_mistakes_is_not_fixed() {
    let bench = Workbench::new();
    let text = bad_mapping(rules::rule("overlap").unwrap());
    bench.write("routes.toml", &text);
    let output = bench.run(&["check", "--fix"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("routes.toml: not fixed: correct the other errors first"), "{output:?}");
    assert!(output.stdout.contains("error[overlap]"), "{output:?}");
    assert_eq!(std::fs::read_to_string(bench.path("routes.toml")).unwrap(), text);
    let nowhere = bench.run(&["check", "--fix", "nowhere.toml"]);
    assert_eq!((nowhere.code, bench.path("nowhere.toml").exists()), (2, false), "{nowhere:?}");
}

/// A file from somewhere else must not command the terminal that it is read on, nor show its text in another order.
#[test]
fn control_characters_do_not_reach_the_terminal() {
    let bench = Workbench::new();
    let mistakes = "version = 1\n\"\\u001b]0;owned\\u0007\" = 1\nunmapped = \"\\u001b[2J\"\n";
    let sound = "version = 1\n[clusters]\n\"S\\u001b[2J\" = \"legacy\"\n[blueprints.b]\ncluster = \"S\\u001b[2J\"\n\
         [blueprints.b.routes]\n\
         \"GET /x\" = { legacy = [\"ops\"], undecided = \"\\u001b[2J\\u202e\", options = { \"\\u0007\" = \"\\u009b2J\" } }\n";
    let is_harmful = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
    for (mapping, code) in [(mistakes, 1), (sound, 0)] {
        bench.write("routes.toml", mapping);
        for format in ["text", "json"] {
            let output = bench.run(&["check", "-T", "--format", format]);
            assert_eq!(output.code, code, "{output:?}");
            // JSON is read by programs: what it must escape it escapes.
            let is_harmful = |letter| is_harmful(letter) && (format == "text" || letter < ' ');
            assert!(!output.stdout.contains(is_harmful), "{output:?}");
        }
    }
    let decided = sound
        .replace(
            "undecided = \"\\u001b[2J\\u202e\"",
            "role = \"r\", decided = { option = \"custom\", by = \"\\u001b[2J\\u202e\", ref = \"#1\", reason = \"\\u0007\" }",
        )
        .replace("= \"legacy\"", "= \"v2\"");
    bench.write("decided.toml", &decided);
    let output = bench.run(&["diff", "routes.toml", "decided.toml"]);
    assert!(output.stdout.contains("decided: custom by"), "{output:?}");
    assert!(!output.stdout.contains(is_harmful), "{output:?}");
}

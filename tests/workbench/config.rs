//! `console-gate config`, what `check` says of settings, and how output is coloured and wrapped.

use std::path::Path;
use std::process::Command;

use console_gate::settings::Settings;
use policy::mapping::Mapping;
use serde_json::{Value, json};

use crate::support::{Workbench, project_file, project_text};

const SETTINGS: &str = "environment = \"staging\"\n\n[listen]\ndrain_ms = \"2m\"\n\n[audit]\ncheckpoint_url = \
                        \"https://gate:hunter2@keep.example.org/points?token=hunter3\"\n\n[console]\nfile = \
                        \"console.toml\"\n\n[upstreams.raptor-eu]\nservers = [\"127.0.0.1:8100\"]\n";
const CONSOLE: &str = "legacy_roles = \"none\"\ntriggers = false\n";

fn setting(shown: &Value, key: &str) -> Value {
    let settings = shown["settings"].as_array().unwrap();
    settings.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key} in {shown}")).clone()
}

#[test]
fn each_setting_says_where_it_comes_from_and_none_a_password() {
    let bench = Workbench::new();
    bench.write("gate.toml", SETTINGS);
    bench.write("console.toml", CONSOLE);
    let variables = [
        ("CONSOLE_GATE_LISTEN", "127.0.0.1:8443"),
        ("CONSOLE_GATE_KEYS", "k1:c2VjcmV0LWtleS1vZi10aGUtZ2F0ZQ=="),
    ];
    let database = "postgres://gate:hunter4@db.example.org/console?password=hunter5";
    let arguments = ["--config", "gate.toml", "--database", database, "config", "show"];
    let text = bench.run_with(&variables, &arguments);
    assert_eq!(text.code, 0, "{text:?}");
    for line in [
        "environment = \"staging\"                  # gate.toml:1",
        "drain_ms = 120000                        # gate.toml:4",
        "url = \"postgres://***@db.example.org/console?***\" # --database",
        "proxy = \"127.0.0.1:8443\"                 # environment variable CONSOLE_GATE_LISTEN",
        "admin = \"127.0.0.1:9901\"                 # default",
        "checkpoint_url = \"https://***@keep.example.org/points?***\" # gate.toml:7",
        "keys_env = \"CONSOLE_GATE_KEYS\"           # default; the variable is set",
        "keys_env = \"CONSOLE_GATE_PROBE_KEYS\"     # default; the variable is not set",
        "legacy_roles = \"none\"                    # console.toml:1",
        "triggers = false                         # console.toml:2",
        "raptor-eu.servers = [\"127.0.0.1:8100\"]   # gate.toml:13",
        "raptor-eu.pool_size = 256                # default",
    ] {
        assert!(text.stdout.lines().any(|shown| shown == line), "{line}\nis not in\n{}", text.stdout);
    }
    let as_json = bench.run_with(&variables, &[&arguments[..], &["--format", "json"]].concat());
    for output in [&text, &as_json] {
        assert!(!output.text().contains("hunter") && !output.text().contains("c2VjcmV0"), "{output:?}");
    }
    let shown: Value = serde_json::from_str(&as_json.stdout).unwrap();
    assert_eq!(shown["files"], json!(["gate.toml", "console.toml"]));
    assert_eq!(
        setting(&shown, "listen.drain_ms")["source"],
        json!({ "kind": "file", "file": "gate.toml", "line": 4 })
    );
    let listen = setting(&shown, "listen.proxy");
    assert_eq!(listen["source"], json!({ "kind": "environment", "variable": "CONSOLE_GATE_LISTEN" }));
    assert_eq!(setting(&shown, "database.url")["source"], json!({ "kind": "flag", "flag": "--database" }));
    assert_eq!(setting(&shown, "console.admins")["value"], Value::Null);
}

#[test]
fn what_is_shown_is_a_settings_file_that_means_the_same() {
    let bench = Workbench::new();
    bench.write("gate.toml", "[listen]\nproxy = \"127.0.0.1:8443\"\n[tls]\nhsts_seconds = \"7d\"\n");
    let shown = bench.run(&["--config", "gate.toml", "config", "show"]).stdout;
    bench.write("shown.toml", &shown);
    let again = bench.run(&["--config", "shown.toml", "config", "show"]);
    assert_eq!(again.code, 0, "{again:?}");
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim_end().to_owned()).collect()
    };
    assert_eq!(values(&again.stdout), values(&shown));
}

#[test]
fn check_covers_the_settings_and_the_files_that_they_name() {
    let bench = Workbench::new();
    let mapping = "version = 1\nblueprints.b.routes.\"GET /x\" = { public = true }\n";
    bench.write("routes.toml", mapping);
    let check =
        |format: &str| bench.run(&["--config", "gate.toml", "check", "--offline", "--format", format]);

    bench.write(
        "gate.toml",
        "[listen]\nproxi = \"x\"\ndrain_ms = \"soon\"\n[mapping]\nfile = \"routes.toml\"\n",
    );
    let text = check("text");
    assert_eq!((text.code, text.stderr.as_str()), (1, ""), "{text:?}");
    for part in [
        "gate.toml:2:1",
        "gate.toml:3:12",
        "did you mean `proxy`?",
        "gate.toml: refused, 2 errors\n",
        "routes.toml: sound, 1 row",
    ] {
        assert!(text.stdout.contains(part), "{part}\n{}", text.stdout);
    }
    let found: Value = serde_json::from_str(&check("json").stdout).unwrap();
    assert_eq!(found["summary"]["settings"], json!(["gate.toml"]));
    assert_eq!(found["findings"][0]["place"], json!({ "file": "gate.toml", "line": 2, "column": 1 }));
    assert!(check("sarif").stdout.contains("bad-setting"));

    // A mistake in the file that has the keys of [console], and a password beside it.
    bench.write(
        "gate.toml",
        "[console]\nfile = \"console.toml\"\n[database]\nurl = \"postgres://gate:hunter2@db/x\"\n",
    );
    bench.write("console.toml", "legacy_role = \"x\"\n");
    let text = check("text");
    assert_eq!(text.code, 1, "{text:?}");
    assert!(
        text.stdout.contains("console.toml:1:1")
            && text.stdout.contains("gate.toml: sound\nconsole.toml: refused, 1 error"),
        "{text:?}"
    );
    assert!(!text.text().contains("hunter2"), "{text:?}");

    // Files that a gate would read at its start.
    let keys = "[assertion]\nkeys_file = \"gone.key\"\n[session]\nsession_id_key = \"sid\"\n";
    bench.write("gate.toml", keys);
    let online = bench.run(&["--config", "gate.toml", "check", "routes.toml"]);
    assert_eq!(online.code, 1, "{online:?}");
    assert!(online.stdout.contains("gate.toml:2:1: error[unreadable-file]"), "{online:?}");
    assert!(online.stdout.contains("gate.toml: refused, 1 error"), "{online:?}");
    assert_eq!(check("text").code, 0);
    bench.write("gone.key", "k1:x");
    assert_eq!(bench.run(&["--config", "gate.toml", "check", "routes.toml"]).code, 0);

    // What only a flag makes of it.
    let produced = bench.run(&[
        "--config",
        "gate.toml",
        "--environment",
        "production",
        "check",
        "--offline",
        "routes.toml",
    ]);
    assert!(produced.code == 1 && produced.stdout.contains("`allowed_hosts`"), "{produced:?}");

    // Without settings it says so.
    let alone = bench.run(&["check", "--offline", "routes.toml"]);
    assert!(alone.code == 0 && alone.stdout.contains("no settings file"), "{alone:?}");
    bench.write("gate.toml", "[listen]\nproxi = \"x\"\n");
    let nothing = bench.run(&["--config", "gate.toml", "check", "nowhere.toml"]);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    assert!(
        nothing.stdout.contains("gate.toml:2:1") && nothing.stderr.contains("nowhere.toml"),
        "{nothing:?}"
    );
}

#[test]
fn the_same_note_over_many_rows_is_one() {
    let bench = Workbench::new();
    let rows = |count: usize| -> String {
        let row =
            |number| format!("\"GET /x{number}\" = {{ legacy = [\"ops\"], undecided = \"Q-{number}\" }}\n");
        let rows: String = (0..count).map(row).collect();
        format!(
            "version = 1\nclusters.S1 = \"legacy\"\nblueprints.b.cluster = \"S1\"\n[blueprints.b.routes]\n{rows}"
        )
    };
    bench.write("routes.toml", &rows(41));
    let check =
        |further: &[&str]| bench.run(&[&["check", "--offline", "routes.toml"], further].concat()).stdout;
    let short = check(&[]);
    assert!(short.contains("note[undecided]: 41 rows: "), "{short}");
    assert_eq!(short.matches("waits for").count() + short.matches("Q-").count(), 3, "{short}");
    assert!(short.contains("    and 38 more: `--full` lists them\n"), "{short}");
    assert!(short.contains("41 notes"), "{short}");
    let full = check(&["--full"]);
    assert!(full.contains("/x40`") && full.matches("note[undecided]").count() == 41, "{full}");
    let found: Value = serde_json::from_str(&check(&["--format", "json"])).unwrap();
    assert_eq!(found["findings"].as_array().unwrap().len(), 41);
    bench.write("routes.toml", &rows(3));
    assert_eq!(check(&[]).matches("note[undecided]").count(), 3);
}

#[test]
fn output_is_wrapped_and_coloured_as_it_is_asked_for() {
    let bench = Workbench::new();
    bench.write("routes.toml", "version = 1\nblueprints.b.routes.\"GET /x\" = { upstream = true, unreviewed = \"no @require_role above the view, whose name is very long indeed\" }\n");
    let check = ["check", "--offline", "routes.toml"];
    let narrow = bench.run_with(&[], &check).stdout;
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    let bench = bench.of_unknown_width();
    let plain = bench.run(&check).stdout;
    assert!(plain.lines().any(|line| line.chars().count() > 100), "{plain}");
    assert!(plain.starts_with("warning[unreviewed-row]: `GET /x` is left to Console: no @require_role above the view, whose name is very long indeed\n"), "{plain}");
    let help = bench.run(&["check", "--help"]).stdout;
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");

    let escape = "\u{1b}[";
    assert!(!plain.contains(escape));
    let coloured = |variables: &[(&str, &str)], further: &[&str]| {
        bench.run_with(variables, &[&check[..], further].concat()).stdout.contains(escape)
    };
    assert!(coloured(&[], &["--color", "always"]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")], &[]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["--color=never"]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[]));
    let refused = bench.run(&["--color=always", "checks"]);
    assert!(refused.code == 2 && refused.stderr.contains(escape), "{refused:?}");
}

/// The schemas that ship are those of the binary, and say what the readers say.
#[test]
fn schemas_are_true() {
    let bench = Workbench::new();
    let mut cases = Vec::new();
    for name in ["gate", "routes"] {
        let printed = bench.run(&["config", "schema", name]);
        assert_eq!(printed.code, 0, "{printed:?}");
        let path = format!("deploy/schema/{name}.schema.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(project_file(&path), &printed.stdout).unwrap();
        }
        assert_eq!(printed.stdout, project_text(&path), "{path} is stale: UPDATE_GOLDEN=1 writes it");
    }
    let mut add = |schema: &str, name: String, text: String, valid: bool| {
        cases.push(json!({ "schema": schema, "name": name, "text": text, "valid": valid }));
    };
    for file in [
        "deploy/gate.toml",
        "tests/consoles/brook/gate.toml",
        "tests/consoles/atlas/gate.toml",
        "tests/consoles/creek/gate.toml",
    ] {
        add("gate", file.to_owned(), project_text(file), true);
    }
    add("gate", "SETTINGS".to_owned(), SETTINGS.to_owned(), true);
    let mappings = [
        "routes.toml",
        "tests/consoles/brook/routes.toml",
        "tests/consoles/creek/routes.toml",
        "tests/consoles/atlas/routes.toml",
        "tests/data/routes_small.toml",
    ];
    for file in mappings {
        add("routes", file.to_owned(), project_text(file), true);
    }
    let further = "version = 1\n[clusters]\nS1 = \"v2\"\nS2 = { mode = \"v2\", after = [\"S1\"], soaked_hours = \"2d\" }\n\
                   [soak]\nshadow_days = \"14d\"\n[soak.S1]\nquiet_hours = 12\n[approval]\nops = { by = [\"leads\"], \
                   longest = \"8h\" }\n[approval.edits]\nby = [\"leads\"]\n";
    assert!(Mapping::parse("further", further).is_ok());
    add("routes", "further".to_owned(), further.to_owned(), true);
    // What the types alone can tell.
    let plain =
        ["unknown-key", "wrong-type", "unknown-word", "false-switch", "missing-version", "unknown-version"];
    let of_findings = std::fs::read_dir(project_file("tests/workbench/mappings")).unwrap();
    for file in of_findings {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        match Mapping::parse("t", &text) {
            Ok(_) => add("routes", text.clone(), text, true),
            Err(mistakes) if mistakes.one_line_each().contains("[syntax]") => {}
            Err(mistakes) if mistakes.findings().iter().any(|found| plain.contains(&found.code)) => {
                add("routes", text.clone(), text, false);
            }
            Err(_) => {}
        }
    }
    for case in project_text("tests/workbench/mistakes/settings.txt").split("\n--- ").skip(1) {
        let (title, text) = case.split_once('\n').unwrap();
        match Settings::parse("t", text) {
            Ok(_) => add("gate", title.to_owned(), text.to_owned(), true),
            Err(mistakes) => {
                let said = mistakes.one_line_each();
                let is_plain = [
                    "is not a key here",
                    "is not a section",
                    "must be `true`",
                    "must be text",
                    "must be a list",
                ];
                if is_plain.iter().any(|part| said.contains(part)) && !said.contains("[syntax]") {
                    add("gate", title.to_owned(), text.to_owned(), false);
                }
            }
        }
    }
    let (valid, invalid): (Vec<&Value>, Vec<_>) = cases.iter().partition(|case| case["valid"] == true);
    assert!(valid.len() > 20 && invalid.len() > 10, "{} and {}", valid.len(), invalid.len());
    validate(&bench, &cases);
}

/// Asks a validator of JSON Schema about each case.
fn validate(bench: &Workbench, cases: &[Value]) {
    const SCRIPT: &str = r#"
import json, sys, tomllib, jsonschema_rs
validators = {}
for name in ("gate", "routes"):
    with open(f"{sys.argv[2]}/deploy/schema/{name}.schema.json") as file:
        validators[name] = jsonschema_rs.validator_for(json.load(file))
for case in json.load(open(sys.argv[1])):
    found = [f"{list(e.instance_path)}: {e.message}" for e in validators[case["schema"]].iter_errors(tomllib.loads(case["text"]))]
    if case["valid"] == bool(found):
        print(case["schema"], case["name"], "->", found or "is valid and should not be")
"#;
    let python = project_file(".venv/bin/python");
    assert!(python.exists(), "tests/setup.sh makes {}", python.display());
    let file = bench.path("cases.json");
    bench.write("cases.json", &serde_json::to_string(cases).unwrap());
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(&file)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    let [printed, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success() && printed.is_empty(), "{printed}{errors}");
}

//! Odd Flask apps, run: what each request does, compared with what `import`, `coverage` and `lint` report about it.
//!
//! `probe.py` asks every app for each of its rules, with and without a slash at the end, by every method, on every host,
//! as a WebSocket too, and with each role. A request that Console serves and that no row decides, or that a row decides
//! which is not meant for it, must be a finding that names the view; and each finding that says so must be true.

use std::collections::BTreeSet;
use std::path::Path;

use policy::mapping::{Mapping, Row, RowKind};
use policy::method::Method;
use serde::Deserialize;

use crate::support::{Ran, gate_in, golden, outline, project_file, python};

struct App {
    /// The module's name, and the golden file's.
    name: &'static str,
    /// As `dump_routes.py` takes it.
    app: &'static str,
    hosts: &'static [&'static str],
}

const fn app(name: &'static str, app: &'static str, hosts: &'static [&'static str]) -> App {
    App { name, app, hosts }
}

const APPS: [App; 8] = [
    app("slashes", "console_apps.slashes", &[]),
    app("loose_app", "console_apps.loose_app:create_app('loose', debug=True)", &[]),
    app("subdomains", "console_apps.subdomains:app", &["console.test", "api.console.test", "x.console.test"]),
    app("unmatched", "console_apps.unmatched:app", &["localhost", "api.localhost"]),
    app("hosts", "console_apps.hosts:app", &["admin.test", "shop.test", "else.test"]),
    app("options", "console_apps.options:app", &[]),
    app("gates", "console_apps.gates:app", &[]),
    app("wrapped", "console_apps.wrapped:holder.make", &[]),
];

/// A request, and what Console did.
#[derive(Clone, Debug, Deserialize)]
struct Probe {
    method: String,
    host: String,
    path: String,
    websocket: bool,
    /// The endpoint of the view that ran.
    view: Option<String>,
    /// Which roles reach it.
    roles: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Report {
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    level: String,
    message: String,
}

/// A rule as `dump_routes.py` writes it, as far as this test reads it.
#[derive(Clone, Debug, Deserialize)]
struct Rule {
    rule: String,
    endpoint: String,
    methods: Option<Vec<String>>,
    never_served: Option<String>,
}

/// One app with all that is known of it, in a folder of its own.
struct Known {
    folder: tempfile::TempDir,
    rules: Vec<Rule>,
    probes: Vec<Probe>,
}

impl Known {
    fn of(app: &App) -> Known {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("src");
        std::fs::create_dir(&source).unwrap();
        for file in ["auth", app.name] {
            let name = format!("{file}.py");
            std::fs::copy(project_file("tests/data/console_apps").join(&name), source.join(&name)).unwrap();
        }
        let dump = python("tests/data", &["../../deploy/flask/dump_routes.py", app.app]);
        std::fs::write(folder.path().join("routes.json"), &dump).unwrap();
        let arguments = [&["../console_side/probe.py", app.app], app.hosts].concat();
        let probes: Vec<Probe> = serde_json::from_str(&python("tests/data", &arguments)).unwrap();
        assert!(probes.iter().any(|probe| probe.view.is_some()), "{}: nothing is served", app.name);
        let document: serde_json::Value = serde_json::from_str(&dump).unwrap();
        let rules = serde_json::from_value(document["rules"].clone()).unwrap();
        Known { folder, rules, probes }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        gate_in(self.folder.path(), arguments)
    }

    fn coverage(&self, mapping: &str) -> Vec<Finding> {
        let ran = self.run(&[
            "coverage",
            "--flask-routes",
            "routes.json",
            "--mapping",
            mapping,
            "--format",
            "json",
        ]);
        serde_json::from_str::<Report>(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.stderr))
            .findings
    }

    fn mapping(&self, name: &str) -> Mapping {
        let text = std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        Mapping::parse(name, &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// A mapping as somebody would write it who takes the rules as they are listed: no two rows ask for the same.
    fn write_plain_mapping(&self) {
        let kinds = ["session = true", "public = true", "machine = true", "upstream = true"];
        let mut text = "version = 1\n[blueprints.all.routes]\n".to_owned();
        for (index, rule) in self.rules.iter().filter(|rule| rule.never_served.is_none()).enumerate() {
            let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
            let methods = rule.methods.clone().unwrap_or_else(|| vec!["*".to_owned()]);
            let methods: Vec<&str> = match &methods[..] {
                [one] => vec![one],
                _ => methods.iter().map(String::as_str).filter(|method| known.contains(method)).collect(),
            };
            let line =
                format!("\"{} {}\" = {{ {} }}\n", methods.join(","), rule.rule, kinds[index % kinds.len()]);
            // What no row can say has none, and what overlaps an earlier row neither.
            if Mapping::parse("plain", &format!("{text}{line}")).is_ok() {
                text.push_str(&line);
            }
        }
        std::fs::write(self.folder.path().join("plain.toml"), text).unwrap();
    }

    /// The requests that Console serves with a view and the gate does not decide by the row of that view's rule.
    fn strays<'k>(&'k self, mapping: &'k Mapping) -> Vec<(&'k Probe, Option<&'k Row>)> {
        let mut strays = Vec::new();
        for probe in &self.probes {
            let Some(view) = &probe.view else { continue };
            let row = mapping.find(&probe.path, Method::parse(&probe.method).unwrap()).row();
            let is_meant = row.is_some_and(|row| {
                self.rules.iter().any(|rule| {
                    rule.endpoint == *view && outline(&rule.rule) == outline(row.pattern.as_str())
                }) && (!probe.websocket || row.websocket)
            });
            if !is_meant {
                strays.push((probe, row));
            }
        }
        strays
    }
}

/// Findings that say that a request is decided by the wrong row, or by none.
const ERRORS: [&str; 7] = [
    "route-without-row",
    "method-without-row",
    "path-without-row",
    "other-row-decides",
    "websocket-differs",
    "slash-differs",
    "converter-differs",
];

fn names(finding: &Finding, view: &str) -> bool {
    finding.message.contains(&format!("`{view}`"))
}

/// Compares what really happens under a mapping with what `coverage` reports about it, both ways.
fn compare(app: &App, known: &Known, name: &str) {
    let mapping = known.mapping(name);
    let findings = known.coverage(name);
    let strays = known.strays(&mapping);
    for (probe, row) in &strays {
        let view = probe.view.as_deref().unwrap();
        // A row that asks for the same is only noted.
        let counts = |finding: &&Finding| finding.level != "note" || finding.id == "other-row-decides";
        let is_found = findings.iter().filter(counts).any(|finding| names(finding, view));
        let row = row.map_or("no row", |row| &row.route);
        let Probe { method, host, path, .. } = probe;
        assert!(
            is_found,
            "{}, {name}: `{method} {path}` on {host} runs `{view}`, {row} decides, and nothing is found: {findings:#?}",
            app.name
        );
    }
    for finding in
        findings.iter().filter(|finding| ERRORS.contains(&finding.id.as_str()) && finding.level == "error")
    {
        let shown = strays.iter().any(|(probe, _)| names(finding, probe.view.as_deref().unwrap()));
        assert!(shown, "{}, {name}: no request shows this: {finding:#?}", app.name);
    }
}

#[test]
fn coverage_says_what_real_apps_do() {
    for app in &APPS {
        let known = Known::of(app);
        let import = known.run(&["import", "--console-src", "src", "--output", "import.toml"]);
        assert!(import.code < 2, "{}", import.stderr);
        known.write_plain_mapping();
        compare(app, &known, "import.toml");
        compare(app, &known, "plain.toml");
        whom_console_lets_in(app, &known);
        golden(&format!("apps/{}.txt", app.name), &transcript(&known, &import.stderr));
    }
}

/// A row's legacy gate admits the same roles as Console's; or a finding says that something else may gate it.
fn whom_console_lets_in(app: &App, known: &Known) {
    let mapping = known.mapping("import.toml");
    let lint = known.run(&["lint", "--console-src", "src", "--mapping", "import.toml", "--format", "json"]);
    let lint: Report = serde_json::from_str(&lint.stdout).unwrap();
    for (probe, row) in served(known, &mapping) {
        let RowKind::Gated { legacy: Some(legacy), .. } = &row.kind else { continue };
        let legacy: BTreeSet<String> = legacy.iter().map(|role| role.as_str().to_owned()).collect();
        let rule = row.pattern.as_str();
        let is_noted =
            lint.findings.iter().any(|finding| finding.id == "may-gate" && finding.message.contains(rule));
        assert!(is_noted || probe.roles == legacy, "{}: {probe:?} is decided by {}", app.name, row.route);
    }
}

fn served<'k>(known: &'k Known, mapping: &'k Mapping) -> impl Iterator<Item = (&'k Probe, &'k Row)> {
    let views = known.probes.iter().filter(|probe| probe.view.is_some());
    views.filter_map(|probe| Some((probe, mapping.find(&probe.path, Method::parse(&probe.method)?).row()?)))
}

fn transcript(known: &Known, import: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(known.folder.path().join(name)).unwrap();
    let mapping = read("import.toml");
    let rows = mapping.split("unmapped = \"deny\"\n").nth(1).unwrap().trim_start();
    let coverage = |name| known.run(&["coverage", "--flask-routes", "routes.json", "--mapping", name]).stdout;
    let lint = known.run(&["lint", "--console-src", "src", "--mapping", "import.toml"]).stdout;
    let parts = [
        ("import --console-src src", import.to_owned() + "\n" + rows),
        ("lint --console-src src --mapping import.toml", lint),
        ("coverage --flask-routes routes.json --mapping import.toml", coverage("import.toml")),
        ("coverage --flask-routes routes.json --mapping plain.toml", coverage("plain.toml")),
    ];
    parts.iter().map(|(command, output)| format!("$ console-gate {command}\n{output}\n")).collect()
}

/// What Werkzeug makes of slashes, in a table that is filled in by the real one; and the statement of `coverage` for a
/// row that is written as the rule is.
#[test]
fn slashes_in_a_table() {
    let table = python("tests/data", &["../console_side/slashes.py"]);
    golden("slashes.txt", &table);
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [rule, strict, without, with] = cells[..] else { panic!("{line}") };
        let said = reported_about(folder.path(), rule, strict == "True");
        // A row is strict: it decides the path as it is written, and the one to which it redirects.
        let by_row = |path_ends_with_slash: bool| {
            rule.ends_with('/') || !path_ends_with_slash || rule.contains("<path:")
        };
        let is_covered = (without != "served" || by_row(false)) && (with != "served" || by_row(true));
        assert_eq!(said.is_empty(), is_covered, "{line}: {said:?}");
        compared += 1;
    }
    assert_eq!(compared, 12);
}

/// The findings for one rule, with its own text as its row.
fn reported_about(folder: &Path, rule: &str, strict_slashes: bool) -> Vec<String> {
    let dump = serde_json::json!({ "version": 2, "flask": "3.1.3", "werkzeug": "3.1.9", "order": "search",
        "unlisted": [], "rules": [{ "rule": rule, "endpoint": "view", "methods": ["GET", "HEAD", "OPTIONS"],
            "strict_slashes": strict_slashes, "merge_slashes": true, "host": null, "websocket": false,
            "automatic_options": true, "redirects": null, "converters": {}, "wider_rule": null,
            "never_served": null }] });
    std::fs::write(folder.join("routes.json"), dump.to_string()).unwrap();
    let mapping = format!("version = 1\n[blueprints.b.routes]\n\"GET {rule}\" = {{ session = true }}\n");
    std::fs::write(folder.join("routes.toml"), mapping).unwrap();
    let ran = gate_in(folder, &["coverage", "--flask-routes", "routes.json", "--format", "json"]);
    let report: Report = serde_json::from_str(&ran.stdout).unwrap();
    report.findings.into_iter().map(|finding| finding.id).collect()
}

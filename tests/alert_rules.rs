//! The alerts for Prometheus: their unit tests, their metrics, and that each has its runbook and each runbook its alerts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "support/again.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod again;
#[path = "support/promtool.rs"]
mod promtool;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of each alert's rule, by its name.
fn rules() -> BTreeMap<String, String> {
    let text = text("deploy/prometheus/alerts.yaml");
    let rule = |part: &str| {
        let (name, rest) = part.split_once('\n').unwrap();
        (name.trim().to_owned(), rest.to_owned())
    };
    text.split("- alert:").skip(1).map(rule).collect()
}

/// The files of the runbooks with their texts, by their names in the annotations.
fn runbooks() -> BTreeMap<String, String> {
    let of = |entry: fs::DirEntry| {
        let name = format!("deploy/runbooks/{}", entry.file_name().to_str().unwrap());
        let text = text(&name);
        (name, text)
    };
    fs::read_dir(file("deploy/runbooks")).unwrap().map(|entry| of(entry.unwrap())).collect()
}

#[test]
fn prometheus_own_tool_passes_the_rules_and_their_tests() {
    let program = match promtool::promtool() {
        Ok(program) => program,
        Err(why) => {
            return again::skip("alert_rules::prometheus_own_tool_passes_the_rules_and_their_tests", &why);
        }
    };
    let path = |name: &str| file("deploy/prometheus").join(name).display().to_string();
    let tests = ["alerts_test.yaml", "alerts_daily_test.yaml"].map(path);
    for arguments in
        [vec!["check", "rules", &path("alerts.yaml")], vec!["test", "rules", &tests[0], &tests[1]]]
    {
        let (is_content, said) = promtool::run(&program, &arguments, "");
        assert!(is_content, "promtool {arguments:?}: {said}");
    }
    // A tool that passes everything would show nothing.
    let folder = tempfile::tempdir().unwrap();
    let silent = text("deploy/prometheus/alerts.yaml")
        .replace("gate_mapping_fallback == 1", "gate_mapping_fallback == 2");
    fs::write(folder.path().join("alerts.yaml"), silent).unwrap();
    fs::copy(&tests[0], folder.path().join("alerts_test.yaml")).unwrap();
    let broken = folder.path().join("alerts_test.yaml").display().to_string();
    let (is_content, said) = promtool::run(&program, &["test", "rules", &broken], "");
    assert!(!is_content && said.contains("GateMappingFallback"), "{said}");
}

#[test]
fn each_alert_has_its_tests_and_each_test_its_alert() {
    let tests =
        text("deploy/prometheus/alerts_test.yaml") + &text("deploy/prometheus/alerts_daily_test.yaml");
    for kind in ["fires", "is silent"] {
        let ending = format!(" {kind}");
        let names = tests.lines().filter_map(|line| line.strip_prefix("  - name: ")?.strip_suffix(&ending));
        let tested: BTreeSet<String> = names.map(ToOwned::to_owned).collect();
        assert_eq!(tested, rules().into_keys().collect(), "alerts and their tests that it {kind}");
    }
}

#[test]
fn each_alert_asks_for_metrics_that_the_gate_has() {
    let sources = ["src/admin/metrics.rs", "src/admin/metrics/state.rs"].map(text).concat();
    for (alert, rule) in rules() {
        let expression = rule.split("labels:").next().unwrap();
        let names = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: BTreeSet<&str> = names.filter(|name| name.starts_with("gate_")).collect();
        assert!(!metrics.is_empty() || alert == "GateDown", "{alert}");
        for metric in metrics {
            let metric = metric.strip_suffix("_bucket").unwrap_or(metric);
            assert!(sources.contains(&format!("\"{metric}\"")), "{alert} asks for `{metric}`");
        }
    }
}

#[test]
fn each_alert_has_its_runbook_and_each_runbook_its_alerts() {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (alert, rule) in rules() {
        let runbook = rule.lines().find_map(|line| line.trim().strip_prefix("runbook: "));
        let runbook =
            runbook.unwrap_or_else(|| panic!("{alert} has no runbook")).trim_matches('"').to_owned();
        named.entry(runbook).or_default().insert(alert);
    }
    let listed = |text: String| -> BTreeSet<String> {
        let line = text.lines().find_map(|line| line.strip_prefix("Alerts: ")).unwrap_or_default().to_owned();
        line.split(", ").map(|alert| alert.trim_matches('`').to_owned()).collect()
    };
    let files: BTreeMap<_, _> = runbooks().into_iter().map(|(name, text)| (name, listed(text))).collect();
    assert_eq!(files, named, "what the runbooks list, and the alerts that name them");
}

#[test]
fn runbooks_have_their_sections_and_commands_that_exist() {
    for (name, text) in runbooks() {
        let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(sections, ["Meaning", "First look", "Mend", "Do not"], "{name}");
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(file("deploy/runbooks").join(link).exists(), "{name}: {link}");
        }
        let spans = text.split('`').map(str::trim);
        let blocks = text.lines();
        let commands: BTreeSet<&str> =
            spans.chain(blocks).filter(|one| one.starts_with("console-gate ")).collect();
        assert!(!commands.is_empty() || text.contains("alerts.md"), "{name} has no command");
        for command in commands {
            let arguments = command.split(' ').skip(1);
            // `--help` behind them: everything in front is parsed, and nothing runs.
            let output =
                Command::new(env!("CARGO_BIN_EXE_console-gate")).args(arguments).arg("--help").output();
            let output = output.unwrap();
            assert!(
                output.status.success(),
                "{name}: `{command}`: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

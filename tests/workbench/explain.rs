//! `console-gate explain`, on the documents' own table in the midst of its rollout.

use std::time::Duration;

use policy::ids::AdminId;
use policy::rbac::LegacyRole;
use serde_json::{Value, json};
use store::{DatabaseUrl, StoreOptions};

use crate::support::{CommandOutput, Workbench, assert_golden, project_text};

/// Each setting of a cluster: V2, shadow, V2 for a cohort, and legacy for the rest.
const ROLLOUT: [(&str, &str); 5] = [
    ("S1 = \"legacy\"", "S1 = \"v2\""),
    ("S2 = \"legacy\"", "S2 = \"shadow\""),
    ("S5 = \"legacy\"", "S5 = { mode = \"v2\", groups = [\"raxx-devops-team\"] }"),
    ("S4 = \"legacy\"", "S4 = { mode = \"v2\", percent = 50 }"),
    ("S6 = \"legacy\"", "S6 = \"v2\""),
];

/// Rows that compete for one path, and one that looks at the body.
const RIVALS: &str = r#"version = 1
[clusters]
D = "v2"
[blueprints.audit]
[blueprints.audit.routes]
"GET /audit/online" = { session = true }
"POST /audit/online" = { session = true }
"GET /audit/<int(max=99):number>" = { session = true }
"GET /audit/<name>" = { session = true }
"GET /audit/<path:rest>" = { session = true }
"GET /audit/*" = { public = true }
"GET /*" = { public = true }
"GET /files/" = { session = true }
"GET /old" = { gone = true }
"POST /hook" = { machine = true }
"GET /ported" = { upstream = true }
[blueprints.deploys]
cluster = "D"
[blueprints.deploys.routes]
"POST /deploys" = { legacy = ["ops"], role = "console-staging-services-write", when = [{ json = "/target", equals = "prod", role = "console-prod-services-write" }] }
"GET /ops" = { legacy = ["ops"], role = "console-ops" }
"#;

/// The documents' roles, and some people.
fn bench() -> Workbench {
    let bench = Workbench::new();
    let mut table = project_text("routes.toml");
    for (before, after) in ROLLOUT {
        assert!(table.contains(before), "{before}");
        table = table.replacen(before, after, 1);
    }
    bench.write("routes.toml", &table);
    bench.write("rivals.toml", RIVALS);
    assert_eq!(bench.run(&["flag", "rbac-v2", "on"]).code, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = StoreOptions {
            url: DatabaseUrl::Sqlite(bench.path("gate.sqlite")),
            max_connections: 1,
            timeout: Duration::from_secs(30),
            console: store::console::Relations::default(),
        };
        let store = store::open(&options).await.unwrap();
        let people: [(&str, &[&str], &[LegacyRole]); 5] = [
            ("sue", &["raxx-support-team"], &[LegacyRole::literal("support")]),
            ("pat", &["raxx-platform-admins"], &[LegacyRole::literal("superadmin")]),
            ("dev", &["raxx-devops-team"], &[LegacyRole::literal("ops")]),
            ("stan", &["staging-admins"], &[]),
            ("nick", &[], &[]),
        ];
        for (id, groups, legacy) in people {
            let admin = AdminId::new(id);
            store.add_admin(&admin, &format!("{id}@example.com"), id).await.unwrap();
            for group in groups {
                store.join_group(&admin, group, "tests").await.unwrap();
            }
            for role in legacy {
                store.add_legacy_role(&admin, role, "tests").await.unwrap();
            }
        }
    });
    bench
}

fn fits_a_terminal(output: &CommandOutput) {
    for line in output.stdout.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

/// Every kind of answer, each in a golden file that a person can read.
#[test]
fn every_kind_of_answer_has_its_golden_file() {
    let bench = bench();
    let table: [(&str, &[&str]); 33] = [
        // The row and its gate.
        ("row", &["GET", "/console/waitlist"]),
        ("shadow", &["GET", "/security"]),
        ("cohort", &["GET", "/api/status/builds"]),
        ("undecided", &["POST", "/console/customers/1/2/revoke"]),
        ("public", &["GET", "/auth/login"]),
        ("gone", &["GET", "/console/rbac/shadow-comparison", "--as", "pat"]),
        ("machine", &["POST", "/hook", "--as", "pat", "--mapping", "rivals.toml"]),
        ("upstream", &["GET", "/ported", "--as", "nick", "--mapping", "rivals.toml"]),
        ("slash-missing", &["GET", "/files", "--as", "nick", "--mapping", "rivals.toml"]),
        // No row.
        ("unknown-path", &["GET", "/console/waitlst"]),
        ("unknown-path-as", &["GET", "/console/waitlst", "--as", "pat"]),
        ("wrong-method", &["DELETE", "/console/waitlist"]),
        ("refused", &["GET", "/console//waitlist", "--as", "pat"]),
        // Rivals.
        ("rivals-static", &["GET", "/audit/online", "--mapping", "rivals.toml"]),
        ("rivals-weight", &["GET", "/audit/12", "--mapping", "rivals.toml"]),
        ("rivals-out-of-range", &["GET", "/audit/100", "--mapping", "rivals.toml"]),
        ("rivals-prefix", &["GET", "/audit/", "--mapping", "rivals.toml"]),
        // Admins.
        ("allowed-v2", &["GET", "/console/flags", "--as", "pat"]),
        ("denied-v2", &["GET", "/console/waitlist", "--as", "sue"]),
        ("allowed-legacy", &["POST", "/console/customers/1/2/revoke", "--as", "dev"]),
        ("denied-legacy", &["POST", "/console/customers/1/2/revoke", "--as", "sue"]),
        ("would-newly-allow", &["GET", "/security", "--as", "sue"]),
        ("would-newly-deny", &["GET", "/ops", "--legacy-role", "superadmin"]),
        ("in-the-cohort", &["GET", "/api/status/builds", "--as", "dev"]),
        ("by-share", &["GET", "/active-sessions", "--as", "sue"]),
        ("among-the-rest", &["GET", "/api/status/builds", "--as", "sue"]),
        ("held-by-nobody", &["GET", "/ops", "--as", "pat", "--mapping", "rivals.toml"]),
        ("body-rules", &["POST", "/deploys", "--as", "stan", "--mapping", "rivals.toml"]),
        ("unknown-admin", &["GET", "/console/waitlist", "--as", "nik"]),
        // Imagined callers.
        ("as-group", &["GET", "/console/flags", "--group", "raxx-devops-team"]),
        ("as-legacy-role", &["GET", "/console/beta/x", "--legacy-role", "superadmin"]),
        ("unknown-group", &["GET", "/console/flags", "--group", "raxx-devop-team"]),
        ("unknown-legacy-role", &["GET", "/console/flags", "--legacy-role", "root"]),
    ];
    for (name, arguments) in table {
        let output = bench.run(&[&["explain"], arguments].concat());
        fits_a_terminal(&output);
        assert_golden(&format!("explain/{name}.txt"), &output.text());
    }
}

#[test]
fn the_kill_switch_and_a_missing_promotion_are_named() {
    let bench = bench();
    let production = ["explain", "GET", "/console/waitlist", "--as", "pat", "--environment", "production"];
    assert_golden("explain/not-promoted.txt", &bench.run(&production).text());
    assert_eq!(bench.run(&["flag", "rbac-v2", "off"]).code, 0);
    let off = ["explain", "GET", "/console/waitlist", "--as", "sue"];
    assert_golden("explain/kill-switch.txt", &bench.run(&off).text());
}

/// 0: it passes, or nobody was asked about. 1: it would not. 2: unknown.
#[test]
fn the_exit_code_says_whether_it_passes() {
    let bench = bench();
    let table: [(&[&str], i32); 10] = [
        (&["GET", "/console/waitlist"], 0),
        (&["GET", "/nowhere"], 0),
        (&["GET", "/console/waitlist", "--as", "pat"], 0),
        (&["GET", "/console/waitlist", "--as", "sue"], 1),
        (&["GET", "/nowhere", "--as", "pat"], 1),
        (&["GET", "/../nowhere"], 1),
        // With a body that names no production alone; with any that can be read, and there are others.
        (&["POST", "/deploys", "--as", "stan", "--mapping", "rivals.toml"], 1),
        (&["POST", "/deploys", "--group", "ops-admins", "--mapping", "rivals.toml"], 1),
        (&["GET", "/console/waitlist", "--as", "pat", "--group", "raxx-devops-team"], 2),
        (&["GET", "/console/waitlist", "--mapping", "nowhere.toml"], 2),
    ];
    for (arguments, code) in table {
        for format in ["text", "json"] {
            let output = bench.run(&[&["explain"], arguments, &["--format", format]].concat());
            assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        }
    }
}

#[test]
fn json_says_what_the_text_says() {
    let bench = bench();
    let read = |arguments: &[&str]| -> Value {
        let output = bench.run(&[&["explain"], arguments, &["--format", "json"]].concat());
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let denied = read(&["GET", "/console/waitlist", "--as", "sue"]);
    assert_eq!(denied["route"]["found"], "row");
    assert_eq!(denied["route"]["cluster"], "S1");
    assert_eq!(denied["gate"]["in_force"][0]["decides"], "v2");
    let answer = &denied["caller"]["answers"][0];
    assert_eq!(answer["reason"], "missing_role");
    assert_eq!(answer["missing"], json!(["role console-manager"]));
    assert_eq!(answer["enough"][0]["groups"], json!(["raxx-platform-admins"]));
    let allowed = read(&["GET", "/console/flags", "--as", "pat"]);
    let expected = json!([{
        "from": "group",
        "group": "raxx-platform-admins",
        "roles": ["console-manager", "console-flag-admin"],
        "permission": null,
    }]);
    assert_eq!(allowed["caller"]["answers"][0]["through"], expected);
    let bodies = read(&["POST", "/deploys", "--group", "ops-admins", "--mapping", "rivals.toml"]);
    let answers = bodies["caller"]["answers"].as_array().unwrap();
    let reported: Vec<Value> =
        answers.iter().map(|one| json!([one["body"], one["answer"], one["reason"]])).collect();
    assert_eq!(
        json!(reported),
        json!([
            [{ "kind": "no_rule" }, "allow", null],
            [{ "kind": "rule", "field": "/target", "equals": "prod" }, "allow", null],
            [{ "kind": "unreadable" }, "deny", "body_unreadable"],
        ])
    );
    assert_eq!(bodies["gate"]["when"][0]["field"], "/target");
    let range = read(&["GET", "/audit/100", "--mapping", "rivals.toml"]);
    assert_eq!(range["route"]["route"], "GET /audit/*");
    assert_eq!(range["rivals"][0]["lost"], "out_of_range");
    assert_eq!(range["rivals"][0]["value"], "100");
}

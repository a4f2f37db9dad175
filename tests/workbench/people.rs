//! The commands about people, as an operator runs them: what is shown before a change, and what is there after it.

use crate::support::{CommandOutput, Workbench};

const MAPPING: &str = r#"version = 1
[clusters]
S1 = "v2"
S2 = "legacy"
[blueprints.flags]
cluster = "S1"
[blueprints.flags.routes]
"GET /console/flags" = { legacy = ["superadmin"], role = "console-flag-admin" }
"GET /console/audit" = { legacy = ["superadmin", "ops"], role = "console-audit-user" }
[blueprints.env]
cluster = "S2"
[blueprints.env.routes]
"POST /console/env" = { legacy = ["superadmin"], role = "console-env-admin" }
"#;

fn bench() -> Workbench {
    let bench = Workbench::new();
    bench.write("routes.toml", MAPPING);
    bench.sql(
        "INSERT INTO admins (id, email) VALUES
             ('anna', 'a@example.com'), ('ben', 'b@example.com'), ('cleo', 'c@example.com');
         INSERT INTO admin_roles (admin_id, role) VALUES
             ('anna', 'superadmin'), ('ben', 'ops'), ('cleo', 'readonly')",
    );
    bench
}

fn ok(output: CommandOutput, words: &[&str]) -> CommandOutput {
    assert_eq!(output.code, 0, "{output:?}");
    for word in words {
        assert!(output.stdout.contains(word), "no `{word}` in {}", output.stdout);
    }
    output
}

fn refused(output: &CommandOutput, words: &[&str]) {
    assert_eq!(output.code, 2, "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "no `{word}` in {}", output.stderr);
    }
}

fn json(output: &CommandOutput) -> serde_json::Value {
    assert_eq!(output.code, 0, "{output:?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout))
}

#[test]
fn a_dry_run_says_which_routes_open_for_whom_and_changes_nothing() {
    let bench = bench();
    let output = ok(
        bench.run(&["group", "add", "raxx-devops-team", "ben", "--dry-run"]),
        &[
            "would add `ben` to `raxx-devops-team`",
            "GET /console/flags",
            "+ 1 admin through raxx-devops-team: ben",
            "role console-flag-admin",
            "With every cluster on V2:",
            "POST /console/env",
            "Nothing was changed",
        ],
    );
    assert!(!output.stdout.contains("anna"), "{}", output.stdout);
    let show = json(&bench.run(&["admin", "show", "ben", "--format", "json"]));
    assert_eq!(show["memberships"], serde_json::json!([]));
    assert_eq!(show["grants_audit"], serde_json::json!([]));
}

#[test]
fn a_membership_comes_and_goes_with_its_history() {
    let bench = bench();
    assert_eq!(bench.run(&["flag", "rbac-v2", "on"]).code, 0);
    ok(
        bench.run(&["group", "add", "raxx-devops-team", "ben", "cleo", "--reason", "on call"]),
        &["done: add `ben` to `raxx-devops-team`", "routes.toml: 3 admins, 3 routes: 4 gains, 0 losses"],
    );
    ok(bench.run(&["group", "add", "raxx-devops-team", "ben"]), &["`ben` is in `raxx-devops-team` already"]);
    let explained = bench.run(&["explain", "GET", "/console/flags", "--as", "ben"]);
    assert_eq!(explained.code, 0, "{explained:?}");
    ok(
        bench.run(&["group", "remove", "raxx-devops-team", "ben"]),
        &["done: remove `ben`", "0 gains, 2 losses", "In force"],
    );
    let explained = bench.run(&["explain", "GET", "/console/flags", "--as", "ben"]);
    assert_eq!(explained.code, 1, "{explained:?}");
    bench.sql("INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('ben', 'ops-admins')");
    ok(
        bench.run(&["admin", "show", "ben"]),
        &[
            "in ops-admins",
            "grant group raxx-devops-team",
            "revoke group",
            ": on call",
            "Written around",
            "added",
        ],
    );
    let group = json(&bench.run(&["group", "show", "raxx-devops-team", "--format", "json"]));
    assert_eq!(group["members"][0]["admin"], "cleo");
    assert_eq!(group["grants_audit"].as_array().unwrap().len(), 3);
    ok(bench.run(&["history", "--people"]), &["revoke", "ben", "Written around console-gate"]);
    ok(bench.run(&["group", "list"]), &["raxx-devops-team  1 member(s)"]);
    ok(bench.run(&["audit", "verify"]), &[]);
}

#[test]
fn what_is_shown_and_removed_is_every_membership_whatever_it_comes_from() {
    let bench = bench();
    assert_eq!(bench.run(&["flag", "rbac-v2", "on"]).code, 0);
    ok(bench.run(&["group", "add", "raxx-devops-team", "ben", "--until", "8h"]), &["until"]);
    bench.sql(
        "INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
         SELECT 'later', 'ben', id, 'request', 'anna', '2026-01-01T00:00:00.000000Z', '2090-01-01T00:00:00.000000Z',
                '2091-01-01T00:00:00.000000Z' FROM rbac_groups WHERE name = 'raxx-devops-team';
         INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
         SELECT 'over', 'ben', id, 'timed', 'anna', '2020-01-01T00:00:00.000000Z', '2020-01-01T00:00:00.000000Z',
                '2021-01-01T00:00:00.000000Z' FROM rbac_groups WHERE name = 'raxx-devops-team';
         INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc)
         SELECT 'for-7', 'ben', id, '7', '4', 'anna', '2026-01-01T00:00:00.000000Z'
           FROM rbac_roles WHERE name = 'console-flag-admin'",
    );
    ok(
        bench.run(&["group", "show", "raxx-devops-team"]),
        &["member ben, timed until", "member ben, request from 2090-01-01", "id later"],
    );
    ok(bench.run(&["group", "list"]), &["raxx-devops-team  1 member(s), 1 until a time"]);
    ok(bench.run(&["admin", "list"]), &["ben  groups: raxx-devops-team until 20", "grants for tickets: 1"]);
    let shown = ok(
        bench.run(&["admin", "show", "ben"]),
        &["in raxx-devops-team, timed", "role console-flag-admin, ticket 7 and customer 4"],
    );
    assert!(!shown.stdout.contains("over"), "{}", shown.stdout);
    let shown = json(&bench.run(&["admin", "show", "ben", "--format", "json"]));
    assert_eq!(shown["memberships"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["ticket_grants"][0]["id"], "for-7");

    let left = "left: `ben` still holds `console-flag-admin` for ticket 7";
    let dry = ok(
        bench.run(&["group", "remove", "raxx-devops-team", "ben", "--dry-run"]),
        &["would end the grant", left],
    );
    assert!(!dry.stdout.contains("is in `raxx-devops-team` still"), "{}", dry.stdout);
    let explain = ["explain", "GET", "/console/flags", "--as", "ben"];
    assert_eq!(bench.run(&explain).code, 0);
    ok(
        bench.run(&["group", "remove", "raxx-devops-team", "ben"]),
        &[
            "done: end the grant",
            "done: end the grant later",
            left,
            "ends with: console-gate ticket end for-7",
            "In force",
        ],
    );
    assert_eq!(bench.run(&explain).code, 1);
    ok(bench.run(&["group", "list"]), &["raxx-devops-team  0 member(s)  roles"]);
    ok(
        bench.run(&["group", "remove", "raxx-devops-team", "ben"]),
        &["`ben` is not in `raxx-devops-team`", left],
    );
    ok(bench.run(&["ticket", "end", "for-7"]), &["done"]);
    let nothing = ok(bench.run(&["group", "remove", "raxx-devops-team", "ben"]), &["Nothing to change."]);
    assert!(!nothing.stdout.contains("left:"), "{}", nothing.stdout);
    // The grant that this test wrote around the gate, and the gate ended, and nothing else.
    let verified = bench.run(&["audit", "verify"]);
    let expected = ["1 rows of gate_grants have no sealed row", "NOT CLEAN: 1 finding(s)"];
    assert!(expected.iter().all(|words| verified.stdout.contains(words)), "{}", verified.stdout);
}

/// Rows for a ticket, on V2 and not; one for machines, which a legacy gate decides.
const APART: &str = r#"version = 1
[clusters]
T = "v2"
L = "legacy"
[blueprints.t]
cluster = "T"
[blueprints.t.routes]
"GET /audit/<int:id>" = { role = "console-flag-admin", ticket = { query = "ticket", customer = "path:id", without = ["console-manager"] } }
"GET /notes/<int:id>" = { permission = "notes:read", ticket = { query = "ticket", customer = "path:id", without = ["console-manager"] } }
"GET /machines" = { role = "console-manager", legacy = ["ops"], machine_or_session = true }
[blueprints.l]
cluster = "L"
[blueprints.l.routes]
"GET /old/<int:id>" = { legacy = ["ops"], role = "console-flag-admin", ticket = { query = "ticket", customer = "path:id", without = ["console-manager"] } }
"POST /old" = { legacy = ["ops"], role = "console-manager", machine_or_session = true }
"GET /old" = { legacy = ["readonly"], role = "console-manager", machine_or_session = true }
"#;

#[test]
fn an_impact_knows_tickets_sessions_and_machines() {
    let bench = bench();
    bench.write("routes.toml", APART);
    bench.sql(
        "INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc)
         SELECT 'for-7', 'ben', id, '7', '4', 'anna', '2026-01-01T00:00:00.000000Z'
           FROM rbac_roles WHERE name = 'console-flag-admin'",
    );
    let later = "the legacy gate decides GET /old/<int:id> until V2 does";
    let flat = |output: &CommandOutput| output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let says = |arguments: &[&str], words: &[&str]| {
        let output = bench.run(arguments);
        assert_eq!(output.code, 0, "{output:?}");
        let said = flat(&output);
        words.iter().for_each(|word| assert!(said.contains(word), "no `{word}` in {said}"));
    };
    let loses = "`ben` loses for ticket 7 and customer 4: GET /audit/<int:id>";
    says(&["ticket", "end", "for-7", "--dry-run"], &[loses, later, "Through groups and legacy roles:"]);
    let output = json(&bench.run(&["ticket", "end", "for-7", "--dry-run", "--format", "json"]));
    let expected = serde_json::json!([{
        "admin": "ben", "scope": { "ticket": { "ticket": "7", "customer": 4 } }, "change": "loss",
        "routes": ["GET /audit/<int:id>"], "once_on_v2": ["GET /old/<int:id>"],
    }]);
    assert_eq!(output["impact"]["apart"], expected, "{output}");
    // What its role gets later, the ticket opens too.
    says(
        &["role", "permit", "console-flag-admin", "notes:read", "--create", "--dry-run"],
        &["`ben` gains for ticket 7 and customer 4: GET /notes/<int:id>"],
    );
    // Somebody who may start a session from now on; what it opens is decided by V2 or not.
    bench.write("gate.toml", "[break_glass]\neligible = [\"ops-admins\"]\n");
    says(
        &["group", "add", "ops-admins", "cleo", "--dry-run", "--config", "gate.toml"],
        &["`cleo` gains in break-glass sessions of its own: ", "GET /machines"],
    );
    says(&["group", "add", "ops-admins", "cleo", "--dry-run", "--mapping", "old.toml"], &["is not known"]);

    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let enroll = |more: &[&'static str]| {
        [&["token", "enroll", "--name", "ci", "--sha256", sha256, "--legacy-role", "readonly"], more].concat()
    };
    let cut = "`ci` is cut off at once from POST /old: Console judged it there until now";
    says(&enroll(&["--dry-run"]), &["`ci` opens GET /old", cut, "Nothing was changed"]);
    says(&enroll(&[]), &["`ci` is enrolled", "`ci` opens GET /old", cut]);
    // Who was never judged by Console is cut off from nothing.
    let created = bench.run(&["token", "create", "new"]);
    assert!(
        created.code == 0 && created.stderr.contains("`new` opens no route that takes machines"),
        "{created:?}"
    );
    assert!(!created.stderr.contains("cut off") && created.stdout.lines().count() == 1, "{created:?}");
}

#[test]
fn an_admin_is_added_disabled_and_enabled() {
    let bench = bench();
    ok(
        bench.run(&["admin", "add", "dora", "--email", "d@example.com", "--group", "raxx-support-team"]),
        &["done: add the admin `dora`", "1 gain, 0 losses"],
    );
    ok(bench.run(&["admin", "list"]), &["dora  groups: raxx-support-team"]);
    let output = json(&bench.run(&["admin", "disable", "dora", "--dry-run", "--format", "json"]));
    assert_eq!(output["dry_run"], true);
    assert_eq!(output["impact"]["summary"]["admins"]["losses"], 1);
    ok(bench.run(&["admin", "disable", "dora"]), &["1 loss", "In force"]);
    ok(bench.run(&["admin", "show", "dora"]), &["dora: disabled"]);
    ok(bench.run(&["admin", "enable", "dora"]), &["1 gain, 0 losses"]);
    ok(bench.run(&["admin", "show", "dora"]), &["dora: enabled", "console-audit-user"]);
    refused(&bench.run(&["admin", "disable", "dor"]), &["no admin `dor`; did you mean `dora`?"]);
}

#[test]
fn a_role_is_made_and_may_not_inherit_itself() {
    let bench = bench();
    let create =
        ["role", "create", "night-watch", "--inherits", "console-flag-admin", "--group", "raxx-support-team"];
    ok(bench.run(&create), &["done: create the role `night-watch`", "done: grant `night-watch`"]);
    ok(bench.run(&["group", "add", "raxx-support-team", "cleo"]), &["2 gains"]);
    refused(
        &bench.run(&["role", "inherit", "console-flag-admin", "night-watch"]),
        &[
            "roles would inherit from each other in a cycle: console-flag-admin -> night-watch -> console-flag-admin",
        ],
    );
    refused(&bench.run(&["role", "permit", "night-watch", "night:watch"]), &["no permission `night:watch`"]);
    ok(bench.run(&["role", "permit", "night-watch", "night:watch", "--create"]), &["done: give"]);
    ok(
        bench.run(&["role", "list"]),
        &[
            "night-watch\n    inherits: console-flag-admin\n    permissions: night:watch\n    held by: raxx-support-team",
        ],
    );
    ok(bench.run(&["role", "disinherit", "night-watch", "console-flag-admin"]), &["0 gains, 1 loss"]);
}

#[test]
fn legacy_roles_are_backfilled_by_a_reviewed_plan() {
    let bench = bench();
    let map = "superadmin=raxx-platform-admins,ops=raxx-devops-team";
    ok(
        bench.run(&["backfill", "--map", map, "--plan", "plan.json"]),
        &[
            "2 membership(s) to add",
            "anna to raxx-platform-admins, for legacy role superadmin",
            "In no group by this map: cleo",
            "When every cluster is on V2 afterwards, compared with now",
            "POST /console/env",
        ],
    );
    let plan = std::fs::read_to_string(bench.path("plan.json")).unwrap();
    assert!(plan.contains("\"state_sha256\""), "{plan}");
    bench.sql("INSERT INTO admin_roles (admin_id, role) VALUES ('cleo', 'ops')");
    refused(&bench.run(&["backfill", "--apply", "plan.json"]), &["have changed since the plan was computed"]);
    assert_eq!(
        json(&bench.run(&["group", "show", "raxx-devops-team", "--format", "json"]))["members"],
        serde_json::json!([])
    );

    assert_eq!(bench.run(&["backfill", "--map", map, "--plan", "plan.json"]).code, 0);
    ok(bench.run(&["backfill", "--apply", "plan.json"]), &["3 membership(s) added"]);
    ok(bench.run(&["backfill", "--apply", "plan.json"]), &["All 3 membership(s) are there already"]);
    let group = json(&bench.run(&["group", "show", "raxx-devops-team", "--format", "json"]));
    assert_eq!(group["members"].as_array().unwrap().len(), 2);
    assert_eq!(group["grants_audit"].as_array().unwrap().len(), 2);
    assert_eq!(group["other_writes"], serde_json::json!([]));
    refused(&bench.run(&["backfill", "--map", "ops=raxx-devop"]), &["there is no group `raxx-devop`"]);
    bench.write("plan.json", "{}");
    refused(&bench.run(&["backfill", "--apply", "plan.json"]), &["plan.json", "not a backfill plan"]);
}

#[test]
fn the_flag_is_promoted_to_what_the_settings_call_production() {
    let bench = bench();
    ok(
        bench.run(&["promote", "--to", "live"]),
        &[
            "FLAG_RBAC_V2 is promoted to `live`; it was promoted to staging before",
            "do not enforce V2",
            "production, prod",
        ],
    );
    bench.write("gate.toml", "[environments]\nproduction = [\"live\"]\n");
    let with = |arguments: &[&str]| bench.run(&[arguments, &["--config", "gate.toml"]].concat());
    ok(with(&["flag", "rbac-v2", "show"]), &["promoted to production"]);
    ok(with(&["promote", "--list"]), &["FLAG_RBAC_V2  live  (production)"]);
    refused(&with(&["promote", "--withdraw", "--to", "live"]), &["`live` means production"]);
    ok(with(&["promote", "--withdraw"]), &["FLAG_RBAC_V2 is promoted to `staging`"]);
    ok(with(&["flag", "rbac-v2", "show"]), &["not promoted"]);
    ok(
        bench.run(&["promote", "--environment", "production"]),
        &["is promoted to `production`", "enforce V2 in every"],
    );
    refused(&bench.run(&["promote"]), &["say where to"]);
    bench.write("gate.toml", "[environments]\nproduction = []\n");
    refused(&with(&["promote", "--list"]), &["must name at least one word"]);
}

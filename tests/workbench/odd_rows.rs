//! Rows of the access tables that somebody wrote oddly: `check` names them, and no report is kept from anybody by them.

use std::collections::BTreeSet;

use serde_json::Value;
use workbench::report::Level;
use workbench::report::rules::ROWS;

use crate::support::{Workbench, assert_golden, project_text};

/// One of each kind that there is. The gate's own tables would refuse them, Console's need not.
const ODD: &str = "
    PRAGMA ignore_check_constraints = ON;
    PRAGMA foreign_keys = OFF;
    INSERT INTO admins (id, email) VALUES ('anna', 'a@example.org'), ('ben', 'b@example.org');
    INSERT INTO admin_roles (admin_id, role) VALUES ('anna', 'Ops team'), ('ben', 'Ops team'), ('ben', 'support');
    INSERT INTO admin_roles (admin_id, role) VALUES ('anna', '\u{1b}[2J');
    INSERT INTO admin_sessions (id, admin_id, expires_at_utc) VALUES ('s', 'anna', 'tomorrow');
    INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('Anna', 'raxx-devops-team');
    INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('ben', 'break-glass');
    INSERT INTO gate_flags (name, enabled, changed_by) VALUES ('flag_rbac_v2', 1, 'ben')";

fn bench() -> Workbench {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    bench.write("nothing.toml", "version = 1\n");
    bench.sql(ODD);
    bench
}

#[test]
fn check_names_every_kind() {
    let bench = bench();
    let output = bench.run(&["check", "nothing.toml"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(!output.stdout.contains('\u{1b}'), "{output:?}");
    assert_golden("check/odd-rows.txt", &output.text());
    let json: Value =
        serde_json::from_str(&bench.run(&["check", "nothing.toml", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["summary"]["sound"], true, "a gate would activate the file");
    let found = json["findings"].as_array().unwrap();
    let ids: BTreeSet<&str> = found.iter().map(|finding| finding["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ROWS.iter().map(|rule| rule.id).collect());
    for (deny, code) in [("error", 0), ("warning", 1)] {
        assert_eq!(bench.run(&["check", "nothing.toml", "--deny", deny]).code, code, "{deny}");
    }
    assert_eq!(bench.run(&["check", "nothing.toml", "--offline"]).code, 0);
    assert!(ROWS.iter().all(|rule| rule.level != Level::Error));
}

#[test]
fn no_report_fails_for_it() {
    let bench = bench();
    let reports: [&[&str]; 3] = [
        &["diff", "nothing.toml", "routes.toml"],
        &["explain", "GET", "/console/waitlist", "--as", "ben"],
        &["explain", "GET", "/console/waitlist", "--as", "anna"],
    ];
    for report in reports {
        let output = bench.run(report);
        assert_ne!(output.code, 2, "{report:?}: {output:?}");
    }
    let ben = bench.run(&["explain", "GET", "/console/customers/", "--as", "ben"]);
    assert!(ben.stdout.contains("unusable   `admin_roles.role` is `Ops team`"), "{ben:?}");
    let others = bench.run(&["explain", "GET", "/console/customers/", "--legacy-role", "support"]);
    assert!(!others.stdout.contains("unusable"), "{others:?}");
}

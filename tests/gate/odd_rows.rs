//! A row of the access tables that somebody wrote oddly: whom it names is served by what else they hold, everybody else as
//! before, every report runs, and the operator gets to know.

use policy::rbac::LegacyRole;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"shadow\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /a\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /b\" = { legacy = [\"superadmin\"], role = \"console-manager\" }\n";

const ODD_ROLES: [&str; 2] = [
    "INSERT INTO admin_roles (admin_id, role) VALUES ('olaf', 'super admin')",
    "INSERT INTO admin_roles (admin_id, role) VALUES ('bob', 'root,ops')",
];

async fn serves(database: Database) {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("sue", &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    world.admin("bob", &[], &[]).await;
    // Console's own table would take the rows.
    let opens = match database {
        Database::Sqlite => "PRAGMA ignore_check_constraints = ON",
        Database::Postgres => "ALTER TABLE admin_roles DROP CONSTRAINT IF EXISTS admin_roles_role_check",
    };
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    for odd in ODD_ROLES {
        world.execute(&format!("{opens}; {odd}")).await;
    }
    for (admin, path, status) in
        [("sue", "/a", 200), ("sue", "/b", 403), ("olaf", "/a", 200), ("olaf", "/b", 403), ("bob", "/a", 403)]
    {
        let answer = gate.send(&Ask::get(path).cookie(&world.cookie(admin))).await;
        assert_eq!(answer.status, status, "{admin} {path}");
    }
    let counted = gate.metric("gate_unusable_rows_total{kind=\"malformed-role-word\"}").await;
    assert!(counted.is_some_and(|count| count >= 2.0), "{counted:?}");
    let log = gate.log();
    for (admin, word) in [("olaf", "super admin"), ("bob", "root,ops")] {
        let warnings = log.lines().filter(|line| line.contains(admin) && line.contains(word)).count();
        assert_eq!(warnings, 1, "{admin}: {log}");
    }
    let reports: [&[&str]; 4] = [
        &["diff", "routes.toml", "routes.toml"],
        &["explain", "GET", "/a", "--as", "sue"],
        &["explain", "GET", "/b", "--as", "bob"],
        &["drift"],
    ];
    for report in reports {
        let (code, output) = gate.attempt(report);
        assert_ne!(code, 2, "{report:?}: {output}");
    }
    let (code, output) = gate.attempt(&["check"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("warning[malformed-role-word]") && output.contains("`olaf`"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odd_row_is_reported_and_keeps_nobody_out_on_sqlite() {
    serves(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odd_row_is_reported_and_keeps_nobody_out_on_postgres() {
    serves(Database::Postgres).await;
}

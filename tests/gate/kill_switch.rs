//! `FLAG_RBAC_V2` (I-5), the promotion to production (I-11), and shadow mode.

use std::time::{Duration, Instant};

use policy::rbac::LegacyRole;

use crate::support::{Ask, Client, CsvRow, Database, Findings, Gate, Setup, Status, World};

/// Who decides a row, as two admins show: one holds only what the legacy gate asks for, the other only what V2 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decides {
    Legacy,
    V2,
}

async fn world_of_two(database: Database) -> World {
    let world = World::new(database).await;
    world.admin("legacy-only", &[], &[LegacyRole::literal("superadmin")]).await;
    let roles: std::collections::BTreeSet<String> =
        CsvRow::gated().into_iter().filter_map(|row| row.role).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    world.admin_holding("v2-only", &roles).await;
    world
}

/// Asks a request of a row as both.
async fn who_decides(world: &World, client: &mut Client, method: &str, target: &str) -> Decides {
    let ask = |admin: &str| Ask::new(method, target).cookie(&world.cookie(admin));
    let legacy = client.send(&ask("legacy-only")).await;
    let v2 = client.send(&ask("v2-only")).await;
    let word = |answer: &crate::support::Answer| answer.json()["type"].as_str().map(str::to_owned);
    match (legacy.status, v2.status) {
        (200, 403) => {
            assert_eq!(word(&v2).as_deref(), Some("urn:console-gate:missing_legacy_role"));
            Decides::Legacy
        }
        (403, 200) => {
            assert_eq!(word(&legacy).as_deref(), Some("urn:console-gate:missing_role"));
            Decides::V2
        }
        other => panic!("{method} {target}: legacy-only and v2-only got {other:?}"),
    }
}

async fn audit_row(world: &World, gate: &Gate) -> Decides {
    who_decides(world, &mut gate.client(), "GET", "/console/audit").await
}

/// A kill-switch that something else can overrule is none: off in either place is off, and on needs a yes.
#[tokio::test]
async fn off_in_either_place_is_off() {
    let cases = [
        (None, None, Decides::Legacy),
        (None, Some("on"), Decides::V2),
        (None, Some("off"), Decides::Legacy),
        (Some("1"), None, Decides::V2),
        (Some("1"), Some("on"), Decides::V2),
        (Some("1"), Some("off"), Decides::Legacy),
        (Some("0"), None, Decides::Legacy),
        (Some("0"), Some("on"), Decides::Legacy),
        (Some("0"), Some("off"), Decides::Legacy),
    ];
    for (environment, database, expected) in cases {
        let world = world_of_two(Database::Sqlite).await;
        let gate = world.gate(&Setup { flag: environment, ..Setup::V2 }).await;
        if let Some(action) = database {
            gate.run(&["flag", "rbac-v2", action]);
        }
        let found = audit_row(&world, &gate).await;
        assert_eq!(found, expected, "environment {environment:?}, database {database:?}");
    }
}

/// Off: every row, in whatever cluster, is on its legacy gate.
#[tokio::test]
async fn off_is_off_for_every_row() {
    let world = world_of_two(Database::Sqlite).await;
    let gate = world.gate(&Setup { flag: Some("0"), ..Setup::V2 }).await;
    let mut client = gate.client();
    let mut findings = Findings::default();
    for row in CsvRow::gated() {
        for probe in row.probes() {
            let found = who_decides(&world, &mut client, probe.method, &probe.target).await;
            findings.equal(&row.route(), found, Decides::Legacy);
        }
    }
    findings.conclude(100);
}

/// The command returns when the switch is committed, and the next request of every gate obeys it.
#[tokio::test]
async fn the_switch_is_live_in_every_gate() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = world_of_two(database).await;
        let (first, second) = (world.gate(&Setup::V2).await, world.gate(&Setup::V2).await);
        for (action, expected) in
            [("off", Decides::Legacy), ("on", Decides::V2), ("off", Decides::Legacy), ("on", Decides::V2)]
        {
            first.run(&["flag", "rbac-v2", action]);
            for gate in [&first, &second] {
                assert_eq!(audit_row(&world, gate).await, expected, "{database:?}, {action}");
            }
        }
        let events = world.store.recent(1_000).await.expect("audit rows");
        let flips = events.iter().filter(|event| event.event_type == "flag_flipped").count();
        assert_eq!(flips, 4, "each flip is an audit row");
    }
}

/// I-11: in production V2 is not enforced before `console_flag_promotions` has the promotion, and then at once.
#[tokio::test]
async fn production_waits_for_the_promotion() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = world_of_two(database).await;
        let gate = world.gate(&Setup { environment: "production", ..Setup::V2 }).await;
        gate.run(&["flag", "rbac-v2", "on"]);
        let mut client = gate.client();
        for row in CsvRow::gated().iter().filter(|row| row.status == Status::Decided).step_by(9) {
            let probe = &row.probes()[0];
            let found = who_decides(&world, &mut client, probe.method, &probe.target).await;
            assert_eq!(found, Decides::Legacy, "{database:?}, {}", row.route());
        }
        world
            .execute(
                "UPDATE console_flag_promotions SET current_env = 'production' WHERE flag = 'FLAG_RBAC_V2'",
            )
            .await;
        assert_eq!(audit_row(&world, &gate).await, Decides::V2, "{database:?}, promoted");
        world
            .execute("UPDATE console_flag_promotions SET current_env = 'staging' WHERE flag = 'FLAG_RBAC_V2'")
            .await;
        assert_eq!(audit_row(&world, &gate).await, Decides::Legacy, "{database:?}, taken back");
    }
}

/// Shadow: the legacy gate answers, and each disagreement is a drift row; agreement is none.
#[tokio::test]
async fn shadow_writes_drift_and_changes_nothing() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = world_of_two(database).await;
        world.admin("both", &["v2-only"], &[LegacyRole::literal("superadmin")]).await;
        world.admin("neither", &[], &[]).await;
        let gate = world.gate(&Setup { clusters: "shadow", ..Setup::V2 }).await;
        let mut client = gate.client();
        // Those who agree come first: drift is written in order, so when the last row is there, theirs would be.
        for (admin, status, times) in
            [("both", 200, 2), ("neither", 403, 2), ("legacy-only", 200, 3), ("v2-only", 403, 2)]
        {
            let ask = Ask::get("/console/audit").cookie(&world.cookie(admin));
            for _ in 0..times {
                assert_eq!(
                    client.send(&ask).await.status,
                    status,
                    "{database:?}: the legacy gate on {admin}"
                );
            }
        }
        // An undecided row has nothing to disagree with.
        let undecided = Ask::get("/console/admins/online").cookie(&world.cookie("legacy-only"));
        assert_eq!(client.send(&undecided).await.status, 200);
        let last = Ask::get("/security").cookie(&world.cookie("v2-only"));
        assert_eq!(client.send(&last).await.status, 403);

        let expected = [
            "legacy-only S2 * /console/audit would_newly_deny allow deny missing_role 3",
            "v2-only S2 * /console/audit would_newly_allow deny allow missing_legacy_role 2",
            "v2-only S2 GET /security would_newly_allow deny allow missing_legacy_role 1",
        ];
        assert_eq!(drift_once_settled(&world, expected.len()).await, expected, "{database:?}");
        assert_eq!(world.denials().await, 2 + 2 + 1, "{database:?}: drift is no denial");
    }
}

/// The drift rows, sorted, once there are `count` and the last request's is among them.
async fn drift_once_settled(world: &World, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let rows = world.store.drift().await.expect("the drift rows");
        let is_last = rows.iter().any(|row| row.route == "GET /security");
        if (is_last && rows.len() >= count) || Instant::now() > deadline {
            let mut lines: Vec<String> = rows
                .into_iter()
                .map(|row| {
                    let cluster = row.cluster.unwrap_or_default();
                    format!(
                        "{} {cluster} {} {} {} {} {} {}",
                        row.actor_id,
                        row.route,
                        row.direction,
                        row.legacy_answer,
                        row.v2_answer,
                        row.reason,
                        row.count
                    )
                })
                .collect();
            lines.sort();
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

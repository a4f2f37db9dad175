//! Each cluster by one authorised admin, and the whole of `seeded group x route` as a file to read.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use policy::rbac::LegacyRole;

use crate::support::{
    Answer, Ask, Client, CsvRow, Database, Findings, Seed, Setup, Status, World, project_file, project_text,
};

const GOLDEN: &str = "tests/golden/groups_by_route.txt";

/// One admin in a group with every role that the cluster's rows ask for, and superadmin for what is undecided: every
/// row of the cluster answers 200.
async fn every_cluster_opens_for_its_admin(database: Database) {
    let world = World::new(database).await;
    let gate = world.gate(&Setup::V2).await;
    let mut client = gate.client();
    let mut findings = Findings::default();
    for cluster in ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"] {
        let mut rows = CsvRow::gated();
        rows.retain(|row| row.cluster.as_deref() == Some(cluster));
        let decided = rows.iter().filter(|row| row.status == Status::Decided);
        let roles: BTreeSet<&str> = decided.filter_map(|row| row.role.as_deref()).collect();
        let has_undecided = rows.iter().any(|row| row.status != Status::Decided);
        let legacy: &[LegacyRole] = if has_undecided { &[LegacyRole::literal("superadmin")] } else { &[] };
        world.store.add_group(cluster, &roles.into_iter().collect::<Vec<_>>()).await.expect("a group");
        world.admin(cluster, &[cluster], legacy).await;
        let cookie = world.cookie(cluster);
        findings.check(!rows.is_empty(), || format!("{cluster} has no rows"));
        for probe in rows.iter().flat_map(CsvRow::probes) {
            let answer = client.send(&Ask::new(probe.method, &probe.target).cookie(&cookie)).await;
            findings.equal(&format!("{cluster}: {} {}", probe.method, probe.target), answer.status, 200);
        }
    }
    findings.equal("denials", world.denials().await, 0);
    findings.conclude(100);
}

#[tokio::test]
async fn every_cluster_opens_for_its_admin_on_sqlite() {
    every_cluster_opens_for_its_admin(Database::Sqlite).await;
}

#[tokio::test]
async fn every_cluster_opens_for_its_admin_on_postgres() {
    every_cluster_opens_for_its_admin(Database::Postgres).await;
}

/// What the running gate does, what the table and the seed say, and what the file says are one and the same.
/// `UPDATE_GOLDEN=1` writes the file.
#[tokio::test]
async fn groups_by_route() {
    let world = World::new(Database::Sqlite).await;
    let seed = Seed::read();
    for group in seed.groups() {
        world.admin(group, &[group], &[]).await;
    }
    // A membership of this one grants nothing; a session does (RBAC V2 design, I-4).
    let now = chrono::Utc::now();
    let times = [now - chrono::TimeDelta::minutes(1), now + chrono::TimeDelta::hours(1)];
    let [granted, expires] = times.map(|time| time.to_rfc3339());
    world
        .execute(&format!(
            "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
             VALUES ('s', 'break-glass', 'a reason of enough letters', 'self', '{granted}', '{expires}')"
        ))
        .await;
    let gate = world.gate(&Setup::V2).await;
    let mut client = gate.client();
    let (mut measured, mut computed) = (heading(&seed), heading(&seed));
    let mut blueprint = String::new();
    for row in CsvRow::all() {
        if row.blueprint != blueprint {
            blueprint.clone_from(&row.blueprint);
            for text in [&mut measured, &mut computed] {
                let _ = write!(text, "\n{blueprint}\n");
            }
        }
        let mut found = Vec::new();
        for group in seed.groups() {
            found.push(measure(&world, &mut client, &row, group).await);
        }
        write_line(&mut measured, &row, &found);
        let expected: Vec<&str> =
            seed.groups().into_iter().map(|group| compute(&seed, &row, group)).collect();
        write_line(&mut computed, &row, &expected);
    }
    assert_same("the gate", &measured, "the table and the seed", &computed);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(project_file(GOLDEN), &measured).expect("the golden file can be written");
    }
    assert_same("the gate", &measured, GOLDEN, &project_text(GOLDEN));
}

/// The cell that the gate's answers amount to: the same one for every request that the row covers.
async fn measure(world: &World, client: &mut Client, row: &CsvRow, group: &str) -> &'static str {
    let cookie = world.cookie(group);
    let mut cells = BTreeSet::new();
    for probe in row.probes() {
        let answer = client.send(&Ask::new(probe.method, &probe.target).cookie(&cookie)).await;
        cells.insert(cell(&answer, group));
    }
    let cells: Vec<&str> = cells.into_iter().collect();
    assert_eq!(cells.len(), 1, "{} as {group} is not one thing: {cells:?}", row.route());
    cells[0]
}

fn cell(answer: &Answer, group: &str) -> &'static str {
    let body = answer.json();
    let (kind, remote_user) = (body["type"].as_str(), body["remote_user"].as_str());
    match (answer.status, kind, remote_user) {
        (200, None, Some(user)) if user == group => "allow",
        (200, None, Some("")) => "console",
        (403, Some("urn:console-gate:missing_role"), _) => "deny",
        (403, Some("urn:console-gate:missing_legacy_role"), _) => "legacy",
        (401, Some("urn:console-gate:unauthorized"), _) => "machine",
        (410, Some("urn:console-gate:gone"), _) => "gone",
        other => panic!("{group}: unexpected answer {other:?}"),
    }
}

/// The cell by the table and the seed.
fn compute(seed: &Seed, row: &CsvRow, group: &str) -> &'static str {
    match &row.status {
        Status::Decided => {
            let role = row.role.as_deref().expect("a decided row names its role");
            if seed.group_holds(group, role) { "allow" } else { "deny" }
        }
        Status::Undecided(_) => "legacy",
        Status::Machine => "machine",
        Status::AlreadyPorted => "console",
        Status::Deleted => "gone",
    }
}

const COLUMN: usize = 9;
const ROUTE: usize = 64;

/// The legend, and the groups' names in steps above their columns.
fn heading(seed: &Seed) -> String {
    let mut text = String::from(
        "Who passes where once every cluster is on V2: an admin who is in one seeded group and holds no legacy role;\n\
         the one of break-glass has a live session. \
         Measured through the running gate; `UPDATE_GOLDEN=1 cargo test --test gate golden` writes it anew.\n\n\
         allow    the group holds the row's role, directly or by inheritance\n\
         deny     it does not: 403\n\
         legacy   undecided, so on its legacy gate, where no group counts: 403\n\
         machine  asks for a token, which no session replaces: 401\n\
         console  already ported: forwarded, Console's own gate decides\n\
         gone     deleted: 410\n\n",
    );
    let groups = seed.groups();
    for (number, group) in groups.iter().enumerate() {
        let bars = format!("{:<COLUMN$}", "|").repeat(number);
        let _ = writeln!(text, "{:ROUTE$}{bars}{group}", "");
    }
    let bars = format!("{:<COLUMN$}", "|").repeat(groups.len());
    let _ = writeln!(text, "{:ROUTE$}{}", "", bars.trim_end());
    text
}

fn write_line(text: &mut String, row: &CsvRow, cells: &[&str]) {
    let cells: String = cells.iter().map(|cell| format!("{cell:<COLUMN$}")).collect();
    let route = row.route();
    let _ = writeln!(text, "  {route:<width$}{}", cells.trim_end(), width = ROUTE - 2);
}

fn assert_same(left_name: &str, left: &str, right_name: &str, right: &str) {
    let pairs = left.lines().zip(right.lines()).filter(|(left, right)| left != right);
    let differences: Vec<String> =
        pairs.map(|(left, right)| format!("{left_name}:\n  {left}\n{right_name}:\n  {right}")).collect();
    assert!(left == right, "{left_name} and {right_name} differ:\n{}", differences.join("\n"));
}

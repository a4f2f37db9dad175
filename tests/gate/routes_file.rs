//! `routes.toml` against the documents' table, row by row, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use policy::mapping::{Mapping, Rollout, Row, RowKind, Totp, Unmapped, V2Gate};

use crate::support::{CsvRow, Findings, Seed, Status, project_text};

/// The rows that no document has: without them nobody could log in.
const NOT_FROM_THE_DOCUMENTS: [&str; 2] = ["* /auth/*", "GET /static/*"];

fn shipped() -> Mapping {
    Mapping::parse("routes.toml", &project_text("routes.toml")).expect("the shipped mapping is sound")
}

#[test]
fn every_row_of_the_table_is_in_the_file() {
    let mapping = shipped();
    let by_route: BTreeMap<&str, &Row> = mapping.rows().iter().map(|row| (&*row.route, row)).collect();
    let mut findings = Findings::default();
    for expected in CsvRow::all() {
        let route = expected.route();
        let Some(found) = by_route.get(route.as_str()) else {
            findings.check(false, || format!("`{route}` is in the table and not in the file"));
            continue;
        };
        findings.equal(&format!("{route}: blueprint"), &*found.blueprint, &*expected.blueprint);
        if expected.cluster.is_some() {
            findings.equal(
                &format!("{route}: cluster"),
                found.cluster.as_deref(),
                expected.cluster.as_deref(),
            );
        }
        let totp = match expected.totp.as_deref() {
            None => None,
            Some("elevation") => Some(Totp::Elevation),
            Some("inline") => Some(Totp::Inline),
            Some(other) => panic!("{route}: totp `{other}`"),
        };
        findings.equal(&format!("{route}: totp"), found.totp, totp);
        findings.equal(&route, in_words(&found.kind), expected_words(&expected));
    }
    findings.conclude(4 * 104 - 8);
}

#[test]
fn every_row_of_the_file_is_in_the_table() {
    let mapping = shipped();
    let table: Vec<String> = CsvRow::all().iter().map(CsvRow::route).collect();
    let extra: Vec<&str> = mapping
        .rows()
        .iter()
        .map(|row| &*row.route)
        .filter(|route| !table.iter().any(|r| r == route))
        .collect();
    assert_eq!(extra, NOT_FROM_THE_DOCUMENTS);
    assert_eq!(mapping.rows().len(), 104 + NOT_FROM_THE_DOCUMENTS.len());
}

#[test]
fn the_file_ships_with_v2_off_and_the_unmapped_denied() {
    let mapping = shipped();
    assert_eq!(mapping.unmapped(), Unmapped::Deny);
    let clusters: Vec<&str> = mapping.clusters().keys().map(|name| &**name).collect();
    assert_eq!(clusters, ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"]);
    assert!(mapping.clusters().values().all(|rollout| *rollout == Rollout::LEGACY));
}

#[test]
fn every_role_of_the_file_is_in_the_seed() {
    let seed = Seed::read();
    let known: BTreeSet<&str> = seed.roles().into_iter().collect();
    let mapping = shipped();
    let named: BTreeSet<String> = mapping
        .rows()
        .iter()
        .flat_map(|row| row.kind.requirements())
        .map(|requirement| requirement.name().to_string())
        .collect();
    let unknown: Vec<&String> = named.iter().filter(|role| !known.contains(role.as_str())).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    // The nine roles of the table's decided rows.
    let table: BTreeSet<String> = CsvRow::all()
        .into_iter()
        .filter(|row| row.status == Status::Decided)
        .filter_map(|row| row.role)
        .collect();
    assert_eq!(named, table);
}

/// The kind of a row of the file, in the words of [`expected_words`].
fn in_words(kind: &RowKind) -> String {
    match kind {
        RowKind::Gated { legacy, v2, machine } => {
            let legacy: BTreeSet<&str> =
                legacy.iter().flat_map(|roles| roles.iter()).map(policy::rbac::LegacyRole::as_str).collect();
            let v2 = match v2 {
                V2Gate::Requires { base, when, .. } => format!("{base}, {} body rules", when.len()),
                V2Gate::Undecided { question, options } => {
                    let options: Vec<String> = options.values().cloned().collect();
                    format!("{question} of {}", options.join(" "))
                }
            };
            format!("gated; legacy {legacy:?}; {v2}; machine {machine}")
        }
        RowKind::Machine => "machine".into(),
        RowKind::Upstream => "upstream".into(),
        RowKind::Gone => "gone".into(),
        RowKind::Session => "session".into(),
        RowKind::Public => "public".into(),
    }
}

fn expected_words(row: &CsvRow) -> String {
    let legacy: BTreeSet<&str> = row.legacy.iter().map(String::as_str).collect();
    let v2 = match &row.status {
        Status::Machine => return "machine".into(),
        Status::AlreadyPorted => return "upstream".into(),
        Status::Deleted => return "gone".into(),
        Status::Decided => format!("role {}, 0 body rules", row.role.as_deref().unwrap_or_default()),
        Status::Undecided(question) => format!("{question} of {}", options_of(question)),
    };
    format!("gated; legacy {legacy:?}; {v2}; machine {}", row.takes_machines())
}

/// The options that the documents give for each open question, A first.
fn options_of(question: &str) -> &'static str {
    match question {
        "AMBIGUOUS-1" => "console-invite-admin console-session-admin",
        "AMBIGUOUS-2" => "console-manager console-beta-admin",
        "AMBIGUOUS-3" => "console-manager console-invite-admin console-customers-write",
        "AMBIGUOUS-4" => "console-prod-services-write console-staging-services-write",
        other => panic!("no question `{other}`"),
    }
}

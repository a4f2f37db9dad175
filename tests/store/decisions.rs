//! The decision log: added up by the hour, listed over hours, forgotten by age and with its admin.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clock::ManualClock;
use console_gate::journal::decision_log::{Decision, DecisionLog, Keeping};
use policy::ids::{AdminId, MappingSha256};
use store::decisions::DecisionRecord;
use store::evidence::EvidenceKind::Decisions;

use crate::database::{Database, PATIENCE, noon};
use crate::evidence::mark;

pub(crate) fn decision(path: &str, at: DateTime<Utc>, count: i64) -> DecisionRecord {
    DecisionRecord {
        hour: DecisionRecord::hour_of(at),
        method: "GET",
        path: path.to_owned(),
        route: "GET /x/<id>".into(),
        cluster: "S1".into(),
        gate: "shadow",
        actor_kind: "admin",
        actor_id: "anna".to_owned(),
        answer: "allow",
        reason: "",
        mapping_sha256: "m".into(),
        count,
        last_seen_at: at,
    }
}

async fn listed(database: &Database, since: DateTime<Utc>) -> Vec<(String, i64, DateTime<Utc>)> {
    let rows = database.store.decisions(since).await.unwrap();
    rows.into_iter().map(|row| (row.path, row.count, row.last_seen_at_utc)).collect()
}

async fn repeats_are_one_row_an_hour_and_hours_are_added_up(database: &Database) {
    let later = noon() + TimeDelta::minutes(5);
    let next_hour = noon() + TimeDelta::hours(1);
    for (at, count) in [(noon(), 3), (later, 1), (next_hour, 5)] {
        database
            .store
            .log_decisions(&[decision("/x/1", at, count), decision("/x/2", at, 1)], &mark(Decisions))
            .await
            .unwrap();
    }
    assert_eq!(database.number("SELECT count(*) FROM gate_decisions").await, 4);
    let expected = [("/x/1".to_owned(), 9, next_hour), ("/x/2".to_owned(), 3, next_hour)];
    assert_eq!(listed(database, noon()).await, expected);
    let since_then = [("/x/1".to_owned(), 5, next_hour), ("/x/2".to_owned(), 1, next_hour)];
    assert_eq!(listed(database, next_hour).await, since_then);
}

/// People and strangers have room of their own, so that a scanner does not take the people's.
async fn beyond_the_bound_a_request_counts_without_its_path(database: &Database) {
    let keeping = Keeping { days: 30, paths_an_hour: 2, anonymous_paths_an_hour: 1 };
    let clock = Arc::new(ManualClock::starting_at(noon()));
    let log = DecisionLog::start(database.store.clone(), clock, keeping, "host/1").await.unwrap();
    let (route, mapping) = (Arc::from("GET /x/<id>"), MappingSha256::new("m"));
    let report = |path: &str, actor: Option<&str>| {
        log.report(&Decision {
            at: noon(),
            method: "GET",
            path,
            route: actor.map(|_| &route),
            cluster: None,
            gate: "none",
            actor: actor.map(|id| ("admin", id)),
            answer: if actor.is_some() { "allow" } else { "login" },
            reason: "",
            mapping: &mapping,
        });
    };
    for scanned in 0..20 {
        report(&format!("/scan/{scanned}"), None);
    }
    for path in ["/x/1", "/x/2", "/x/3", "/x/1", "/x/4"] {
        report(path, Some("anna"));
    }
    log.finish(PATIENCE).await;
    let expected =
        [("", 19, noon()), ("", 2, noon()), ("/x/1", 2, noon()), ("/scan/0", 1, noon()), ("/x/2", 1, noon())];
    let expected = expected.map(|(path, count, at)| (path.to_owned(), count, at));
    assert_eq!(listed(database, noon()).await, expected);
}

async fn hours_before_the_end_are_forgotten(database: &Database) {
    let hour = TimeDelta::hours(1);
    let records = [decision("/old", noon() - hour, 1), decision("/new", noon(), 1)];
    database.store.log_decisions(&records, &mark(Decisions)).await.unwrap();
    database.store.forget_decisions(DecisionRecord::hour_of(noon())).await.unwrap();
    assert_eq!(listed(database, noon() - hour * 2).await, [("/new".to_owned(), 1, noon())]);
}

async fn a_deleted_admin_is_forgotten_at_once(database: &Database) {
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    let ben = DecisionRecord { actor_id: "ben".to_owned(), ..decision("/ben", noon(), 1) };
    database.store.log_decisions(&[decision("/anna", noon(), 1), ben], &mark(Decisions)).await.unwrap();
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(listed(database, noon()).await, [("/ben".to_owned(), 1, noon())]);
}

/// More than one statement takes, and each again.
async fn ten_thousand_rows_are_logged_at_once(database: &Database) {
    let rows: Vec<DecisionRecord> =
        (0..10_000).map(|number| decision(&format!("/x/{number}"), noon(), 1)).collect();
    for _ in 0..2 {
        for rows in rows.chunks(1_000) {
            database.store.log_decisions(rows, &mark(Decisions)).await.unwrap();
        }
    }
    let totals = "SELECT count(*) * 1000000 + CAST(sum(count) AS BIGINT) FROM gate_decisions";
    assert_eq!(database.number(totals).await, 10_000_020_000);
}

/// In one batch or in several.
async fn a_record_may_come_twice(database: &Database) {
    let later = noon() + TimeDelta::minutes(5);
    let records = [decision("/a", later, 2), decision("/b", noon(), 1), decision("/a", noon(), 3)];
    database.store.log_decisions(&records, &mark(Decisions)).await.unwrap();
    assert_eq!(listed(database, noon()).await, [("/a".to_owned(), 5, later), ("/b".to_owned(), 1, noon())]);
}

async fn all_or_none_are_logged(database: &Database) {
    let bad = DecisionRecord { answer: "perhaps", ..decision("/bad", noon(), 1) };
    database.store.log_decisions(&[decision("/a", noon(), 1), bad], &mark(Decisions)).await.unwrap_err();
    assert_eq!(listed(database, noon()).await, []);
}

/// `bytes` of text that no database can compress.
fn noise(bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&uuid::Uuid::new_v4().simple().to_string());
    }
    text.truncate(bytes);
    text
}

/// A request may name a path of eight kilobytes, and an index row has less room than that.
async fn a_path_of_any_length_is_logged(database: &Database) {
    let path = format!("/{}", noise(8_000));
    database
        .store
        .log_decisions(&[decision(&path, noon(), 1), decision("/a", noon(), 1)], &mark(Decisions))
        .await
        .unwrap();
    database.store.log_decisions(&[decision(&path, noon(), 2)], &mark(Decisions)).await.unwrap();
    assert_eq!(listed(database, noon()).await, [(path, 3, noon()), ("/a".to_owned(), 1, noon())]);
}

async fn a_text_that_postgres_cannot_hold_is_logged_all_the_same(database: &Database) {
    let odd =
        DecisionRecord { route: "GET /\0".into(), cluster: "S\x001".into(), ..decision("/\0", noon(), 1) };
    database.store.log_decisions(&[odd], &mark(Decisions)).await.unwrap();
    assert_eq!(listed(database, noon()).await, [("/\u{fffd}".to_owned(), 1, noon())]);
}

on_both!(
    beyond_the_bound_a_request_counts_without_its_path,
    a_path_of_any_length_is_logged,
    ten_thousand_rows_are_logged_at_once,
    a_record_may_come_twice,
    a_text_that_postgres_cannot_hold_is_logged_all_the_same,
    repeats_are_one_row_an_hour_and_hours_are_added_up,
    hours_before_the_end_are_forgotten,
    a_deleted_admin_is_forgotten_at_once,
    all_or_none_are_logged,
);

//! The decision log: added up by the hour, listed over hours, forgotten by age and with its admin.

use chrono::{DateTime, TimeDelta, Utc};
use console_gate::decision_log::DecisionRecord;
use console_gate::ids::AdminId;

use crate::database::{Database, noon};

pub(crate) fn decision(path: &str, at: DateTime<Utc>, count: i64) -> DecisionRecord {
    DecisionRecord {
        hour: DecisionRecord::hour_of(at),
        method: "GET",
        path: path.to_owned(),
        route: "GET /x/<id>".to_owned(),
        cluster: "S1".to_owned(),
        gate: "shadow",
        actor_kind: "admin",
        actor_id: "anna".to_owned(),
        answer: "allow",
        reason: "",
        mapping_sha256: "m".to_owned(),
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
        database.store.log_decisions(&[decision("/x/1", at, count), decision("/x/2", at, 1)]).await.unwrap();
    }
    assert_eq!(database.number("SELECT count(*) FROM gate_decisions").await, 4);
    let expected = [("/x/1".to_owned(), 9, next_hour), ("/x/2".to_owned(), 3, next_hour)];
    assert_eq!(listed(database, noon()).await, expected);
    let since_then = [("/x/1".to_owned(), 5, next_hour), ("/x/2".to_owned(), 1, next_hour)];
    assert_eq!(listed(database, next_hour).await, since_then);
}

async fn hours_before_the_end_are_forgotten(database: &Database) {
    let hour = TimeDelta::hours(1);
    let records = [decision("/old", noon() - hour, 1), decision("/new", noon(), 1)];
    database.store.log_decisions(&records).await.unwrap();
    database.store.forget_decisions(DecisionRecord::hour_of(noon())).await.unwrap();
    assert_eq!(listed(database, noon() - hour * 2).await, [("/new".to_owned(), 1, noon())]);
}

async fn a_deleted_admin_is_forgotten_at_once(database: &Database) {
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    let ben = DecisionRecord { actor_id: "ben".to_owned(), ..decision("/ben", noon(), 1) };
    database.store.log_decisions(&[decision("/anna", noon(), 1), ben]).await.unwrap();
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(listed(database, noon()).await, [("/ben".to_owned(), 1, noon())]);
}

async fn all_or_none_are_logged(database: &Database) {
    let bad = DecisionRecord { answer: "perhaps", ..decision("/bad", noon(), 1) };
    database.store.log_decisions(&[decision("/a", noon(), 1), bad]).await.unwrap_err();
    assert_eq!(listed(database, noon()).await, []);
}

on_both!(
    repeats_are_one_row_an_hour_and_hours_are_added_up,
    hours_before_the_end_are_forgotten,
    a_deleted_admin_is_forgotten_at_once,
    all_or_none_are_logged,
);

//! Drift: one row for each disagreement, with a counter.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use store::SharedStore;
use store::drift::DriftRecord;
use store::drift::StoredDrift;
use store::evidence::EvidenceKind::Drift;
use uuid::Uuid;

use crate::database::{Database, noon};
use crate::evidence::mark;

/// More rows than any test writes.
pub(crate) const BOUND: u32 = 1_000;

/// `count` occurrences of a disagreement on `route`, just now.
pub(crate) fn disagreement(route: &str, count: i64) -> DriftRecord {
    DriftRecord {
        id: Uuid::now_v7(),
        first_seen_at: noon(),
        last_seen_at: noon(),
        cluster: "S2".into(),
        route: route.into(),
        method: "GET",
        actor_kind: "admin",
        actor_id: "anna".into(),
        direction: "would_newly_deny",
        legacy_answer: "allow",
        v2_answer: "deny",
        reason: "role_missing",
        mapping_sha256: "ab".repeat(32).into(),
        epoch: 7,
        request_id: console_gate::random::request_id(),
        count,
    }
}

/// The same, at another time.
fn seen(at: DateTime<Utc>, record: DriftRecord) -> DriftRecord {
    DriftRecord { first_seen_at: at, last_seen_at: at, ..record }
}

async fn a_disagreement_reads_back(database: &Database) {
    database
        .store
        .record_drift(&[disagreement("GET /console/flags/", 3)], BOUND, &mark(Drift))
        .await
        .unwrap();
    let expected = StoredDrift {
        cluster: Some("S2".into()),
        route: "GET /console/flags/".into(),
        method: "GET".into(),
        actor_kind: "admin".into(),
        actor_id: "anna".into(),
        direction: "would_newly_deny".into(),
        legacy_answer: "allow".into(),
        v2_answer: "deny".into(),
        reason: "role_missing".into(),
        mapping_sha256: "ab".repeat(32),
        count: 3,
        first_seen_at_utc: noon(),
        last_seen_at_utc: noon(),
    };
    assert_eq!(database.store.drift().await.unwrap(), [expected]);
}

async fn a_repeat_adds_to_its_count_and_keeps_the_first_time(database: &Database) {
    let later = noon() + TimeDelta::microseconds(1);
    let last = noon() + TimeDelta::hours(1);
    let again = seen(later, disagreement("a", 2));
    let once_more = DriftRecord { method: "HEAD", ..seen(last, disagreement("a", 40)) };
    database.store.record_drift(&[disagreement("a", 1), again], BOUND, &mark(Drift)).await.unwrap();
    database.store.record_drift(&[once_more], BOUND, &mark(Drift)).await.unwrap();

    let drift = database.store.drift().await.unwrap();
    assert_eq!(drift.len(), 1);
    assert_eq!(drift[0].count, 43);
    assert_eq!((drift[0].first_seen_at_utc, drift[0].last_seen_at_utc), (noon(), last));
    assert_eq!(drift[0].method, "HEAD", "the method is the latest request's");
}

/// Two gates report to one table, and a slow one's report comes late: the times stay first and last.
async fn a_report_that_comes_late_moves_no_time_backwards(database: &Database) {
    let earlier = seen(noon() - TimeDelta::hours(1), disagreement("a", 1));
    database.store.record_drift(&[disagreement("a", 1)], BOUND, &mark(Drift)).await.unwrap();
    database.store.record_drift(&[earlier], BOUND, &mark(Drift)).await.unwrap();
    let drift = database.store.drift().await.unwrap();
    assert_eq!(drift[0].count, 2);
    assert_eq!(drift[0].first_seen_at_utc, noon() - TimeDelta::hours(1));
    assert_eq!(drift[0].last_seen_at_utc, noon());
}

/// Each difference between two disagreements makes a row of its own.
async fn other_disagreements_have_rows_of_their_own(database: &Database) {
    let base = || disagreement("a", 1);
    let others = [
        base(),
        disagreement("b", 1),
        DriftRecord { actor_kind: "machine", ..base() },
        DriftRecord { actor_id: "ben".into(), ..base() },
        DriftRecord { direction: "would_newly_allow", ..base() },
        DriftRecord { mapping_sha256: "cd".repeat(32).into(), ..base() },
        DriftRecord { reason: "session", ..base() },
    ];
    database.store.record_drift(&others, BOUND, &mark(Drift)).await.unwrap();
    database
        .store
        .record_drift(
            &others.clone().map(|other| DriftRecord { id: Uuid::now_v7(), ..other }),
            BOUND,
            &mark(Drift),
        )
        .await
        .unwrap();
    let counts: Vec<i64> = database.store.drift().await.unwrap().iter().map(|row| row.count).collect();
    assert_eq!(counts, [2; 7]);
}

async fn the_latest_comes_first(database: &Database) {
    let at = |route, hours| seen(noon() + TimeDelta::hours(hours), disagreement(route, 1));
    database
        .store
        .record_drift(&[at("second", 2), at("third", 1), at("first", 3)], BOUND, &mark(Drift))
        .await
        .unwrap();
    let routes: Vec<String> =
        database.store.drift().await.unwrap().into_iter().map(|row| row.route).collect();
    assert_eq!(routes, ["first", "second", "third"]);
}

async fn one_bad_event_fails_its_whole_batch(database: &Database) {
    let bad = DriftRecord { direction: "sideways", ..disagreement("b", 1) };
    database.store.record_drift(&[disagreement("a", 1), bad], BOUND, &mark(Drift)).await.unwrap_err();
    assert_eq!(database.store.drift().await.unwrap(), []);
}

/// A hot disagreement goes on counting in its row; what is new is counted together, and holds no name.
async fn beyond_the_bound_new_disagreements_are_only_counted(database: &Database) {
    let batch = |mapping: &str, count| -> Vec<DriftRecord> {
        let of = |(route, cluster): (&str, &str), direction| DriftRecord {
            cluster: cluster.into(),
            direction,
            mapping_sha256: mapping.into(),
            ..disagreement(route, count)
        };
        let places = [("a", "S1"), ("b", "S1"), ("c", "S2")];
        let denied = places.map(|place| of(place, "would_newly_deny"));
        denied.into_iter().chain([of(("c", "S2"), "would_newly_allow")]).collect()
    };
    let ids = |events: &[DriftRecord]| events.iter().map(|event| event.id).collect::<HashSet<_>>();
    let first = batch("one", 1);
    let new = database.store.record_drift(&first, 4, &mark(Drift)).await.unwrap();
    assert_eq!(new.into_iter().collect::<HashSet<_>>(), ids(&first), "there was room for all");
    for _ in 0..2 {
        assert!(database.store.record_drift(&batch("one", 10), 4, &mark(Drift)).await.unwrap().is_empty());
        assert!(database.store.record_drift(&batch("two", 100), 4, &mark(Drift)).await.unwrap().is_empty());
    }
    let rows = database.store.drift().await.unwrap();
    let (beyond, kept): (Vec<_>, Vec<_>) = rows.into_iter().partition(StoredDrift::is_overflow);
    assert_eq!(kept.iter().map(|row| row.count).collect::<Vec<_>>(), [21; 4]);
    let mut beyond: Vec<_> = beyond
        .iter()
        .map(|row| (row.cluster.as_deref().unwrap(), row.direction.as_str(), row.count))
        .collect();
    beyond.sort();
    let expected =
        [("S1", "would_newly_deny", 400), ("S2", "would_newly_allow", 200), ("S2", "would_newly_deny", 200)];
    assert_eq!(beyond, expected);
    let names = "SELECT actor_id || ' ' || route FROM gate_drift_events WHERE actor_kind = 'gate' ORDER BY 1";
    assert_eq!(database.texts(names).await, ["S1 *", "S2 *", "S2 *"]);
}

async fn the_last_room_is_given_to_one(database: &Database) {
    let events = [disagreement("a", 1), disagreement("b", 1)];
    assert_eq!(database.store.record_drift(&events, 1, &mark(Drift)).await.unwrap(), [events[0].id]);
    let routes: Vec<String> =
        database.store.drift().await.unwrap().into_iter().map(|row| row.route).collect();
    assert_eq!(routes.iter().filter(|route| *route == "a").count(), 1);
    assert_eq!(routes.len(), 2, "{routes:?}");
}

/// Each transaction reads before it writes. On SQLite a writer that read first would be refused while another commits, and
/// no patience would help it.
async fn writers_beside_each_other_lose_nothing(database: &Database) {
    const WRITERS: i64 = 8;
    const ROUNDS: i64 = 25;
    let other = Database::open(&database.url).await;
    let write = async |store: SharedStore, writer: i64| {
        for round in 0..ROUNDS {
            let own = disagreement(&format!("own {writer} {round}"), 1);
            store.record_drift(&[disagreement("all", 1), own], BOUND, &mark(Drift)).await.unwrap();
        }
    };
    let writers = (0..WRITERS).map(|writer| {
        let store = if writer % 2 == 0 { &database.store } else { &other.store };
        write(store.clone(), writer)
    });
    futures::future::join_all(writers).await;
    let drift = database.store.drift().await.unwrap();
    let count: i64 = drift.iter().map(|row| row.count).sum();
    assert_eq!((drift.len() as i64, count), (1 + WRITERS * ROUNDS, 2 * WRITERS * ROUNDS));
}

on_both!(
    writers_beside_each_other_lose_nothing,
    beyond_the_bound_new_disagreements_are_only_counted,
    the_last_room_is_given_to_one,
    a_disagreement_reads_back,
    a_repeat_adds_to_its_count_and_keeps_the_first_time,
    a_report_that_comes_late_moves_no_time_backwards,
    other_disagreements_have_rows_of_their_own,
    the_latest_comes_first,
    one_bad_event_fails_its_whole_batch,
);

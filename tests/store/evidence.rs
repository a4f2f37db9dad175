//! Marks, gaps and erasure: what sees to it that evidence counts once, that a loss is known, and that nobody comes back.

use chrono::{DateTime, TimeDelta, Utc};
use console_gate::journal::erasure;
use policy::ids::{AdminId, InstanceId};
use store::decisions::DecisionRecord;
use store::drift::DriftRecord;
use store::evidence::{EvidenceKind, Gap, Mark, SilentGate};
use store::{SharedStore, StoreError};
use uuid::Uuid;
use workbench::drift::{Key, SignOff};

use crate::audit::{notary, note};
use crate::database::{Database, noon};
use crate::decisions::decision;
use crate::drift::{BOUND, disagreement};
use crate::signoffs::sign_off;

/// The first batch of a gate that nobody has seen before.
pub(crate) fn mark(kind: EvidenceKind) -> Mark {
    Mark {
        instance: InstanceId::new(Uuid::now_v7().to_string()),
        kind,
        gate: "host/1".into(),
        started_at: noon(),
        batch: 1,
        complete_until: noon(),
        has_ended: false,
    }
}

/// It is unknown whether a commit happened when its answer is lost, so a batch may be tried again.
async fn a_batch_counts_once(database: &Database) {
    let (decisions, drift) = (mark(EvidenceKind::Decisions), mark(EvidenceKind::Drift));
    let next = |mark: &Mark| Mark { batch: mark.batch + 1, ..mark.clone() };
    for mark in [&decisions, &decisions, &next(&decisions), &decisions] {
        database.store.log_decisions(&[decision("/a", noon(), 1)], mark).await.unwrap();
    }
    for (mark, new) in [(&drift, 1), (&drift, 0), (&next(&drift), 0)] {
        let rows = database.store.record_drift(&[disagreement("a", 1)], BOUND, mark).await.unwrap();
        assert_eq!(rows.len(), new);
    }
    assert_eq!(database.number("SELECT CAST(sum(count) AS BIGINT) FROM gate_decisions").await, 2);
    assert_eq!(database.number("SELECT CAST(sum(count) AS BIGINT) FROM gate_drift_events").await, 2);
}

async fn a_batch_that_fails_moves_no_mark(database: &Database) {
    let first = mark(EvidenceKind::Decisions);
    database.store.log_decisions(&[], &first).await.unwrap();
    let bad = DecisionRecord { answer: "perhaps", ..decision("/bad", noon(), 1) };
    let second = Mark { batch: 2, complete_until: noon() + TimeDelta::hours(1), ..first.clone() };
    database.store.log_decisions(&[bad], &second).await.unwrap_err();
    database.store.log_decisions(&[decision("/good", noon(), 1)], &second).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM gate_decisions").await, 1);
}

async fn a_gap_is_kept_and_grows(database: &Database) {
    let gap = Gap {
        id: Uuid::now_v7(),
        kind: EvidenceKind::Drift,
        cluster: "S1".into(),
        since: noon(),
        until: noon(),
        occurrences: 3,
        cause: "no_room",
        gate: "host/1".into(),
    };
    let grown = Gap { until: noon() + TimeDelta::minutes(5), occurrences: 8, ..gap.clone() };
    let earlier = noon() - TimeDelta::days(1);
    let old = Gap { id: Uuid::now_v7(), since: earlier, until: earlier, ..gap.clone() };
    for gaps in [&[gap][..], &[grown.clone(), old], &[grown]] {
        database.store.record_gaps(gaps).await.unwrap();
    }
    let in_short = |gaps: Vec<store::evidence::StoredGap>| -> Vec<(String, i64, DateTime<Utc>)> {
        gaps.into_iter().map(|gap| (gap.cluster, gap.occurrences, gap.until_utc)).collect()
    };
    let grown = ("S1".to_owned(), 8, noon() + TimeDelta::minutes(5));
    assert_eq!(in_short(database.store.gaps(noon()).await.unwrap()), std::slice::from_ref(&grown));
    assert_eq!(in_short(database.store.gaps(earlier).await.unwrap()), [("S1".to_owned(), 3, earlier), grown]);
}

/// A gate that was killed, one that has stopped, one that runs.
async fn a_gate_that_ended_without_its_last_word_is_reported(database: &Database) {
    let minutes = TimeDelta::minutes;
    for (gate, complete_until, has_ended) in [
        ("killed/1", noon(), false),
        ("stopped/2", noon(), true),
        ("running/3", noon() + minutes(9), false),
        ("long ago/4", noon() - minutes(60), false),
    ] {
        let mark = Mark { gate: gate.into(), complete_until, has_ended, ..mark(EvidenceKind::Drift) };
        database.store.record_drift(&[], BOUND, &mark).await.unwrap();
    }
    let silent = database.store.silent_gates(noon() - minutes(10), noon() + minutes(8)).await.unwrap();
    let killed = SilentGate { kind: "drift".into(), gate: "killed/1".into(), complete_until_utc: noon() };
    assert_eq!(silent, [killed]);
}

/// A row may be longer than an index row of Postgres, which the database reports in a class of errors of its own.
async fn a_limit_of_the_database_is_about_the_row(database: &Database) {
    let noise: String = (0..200).map(|_| Uuid::new_v4().simple().to_string()).collect();
    let long = DecisionRecord { cluster: noise.into(), ..decision("/a", noon(), 1) };
    let outcome = database.store.log_decisions(&[long], &mark(EvidenceKind::Decisions)).await;
    let refused = matches!(outcome, Err(StoreError::Refused(_)));
    assert!(if database.is_postgres() { refused } else { outcome.is_ok() }, "{outcome:?}");
}

fn of(actor_id: &str, record: DecisionRecord) -> DecisionRecord {
    DecisionRecord { actor_id: actor_id.into(), ..record }
}

async fn erase(database: &Database, admin: &str, now: DateTime<Utc>) {
    erasure::erase(database.store.as_ref(), &notary(), admin, "somebody", now).await.unwrap();
}

/// Who is left in the evidence.
async fn actors(database: &Database) -> Vec<String> {
    let query = "SELECT 'decision ' || actor_kind || ' ' || actor_id FROM gate_decisions
                 UNION SELECT 'drift ' || actor_kind || ' ' || actor_id FROM gate_drift_events
                 UNION SELECT 'sign-off ' || actor_kind || ' ' || actor_id || ' ' || signed_by || ': ' || reason
                         FROM gate_drift_signoffs
                 ORDER BY 1";
    database.texts(query).await
}

async fn an_erased_admin_is_in_no_evidence_any_more(database: &Database) {
    for admin in ["anna", "ben"] {
        database.store.add_admin(&AdminId::new(admin), &format!("{admin}@example.org"), "").await.unwrap();
    }
    let machine = DecisionRecord { actor_kind: "machine", ..decision("/anna", noon(), 1) };
    let decisions = [decision("/anna", noon(), 1), of("ben", decision("/ben", noon(), 1)), machine];
    database.store.log_decisions(&decisions, &mark(EvidenceKind::Decisions)).await.unwrap();
    let drift = [disagreement("a", 1), DriftRecord { actor_id: "ben".into(), ..disagreement("b", 1) }];
    database.store.record_drift(&drift, BOUND, &mark(EvidenceKind::Drift)).await.unwrap();
    let of_ben = Key { actor_id: "ben".into(), ..sign_off("b").key };
    let by_anna = SignOff {
        key: of_ben.clone(),
        signed_by: "anna".into(),
        reason: "as Anna has it; joanna too".into(),
        ..sign_off("b")
    };
    let other = SignOff { key: Key { route: "c".into(), ..of_ben }, ..sign_off("c") };
    for (number, one) in (1..).zip([sign_off("a"), by_anna, other]) {
        database.store.sign_off(&one, &note(number)).await.unwrap();
    }
    erase(database, "anna", noon()).await;
    assert_eq!(
        actors(database).await,
        [
            "decision admin ben",
            "decision machine anna",
            "drift admin ben",
            "sign-off admin ben (erased): as (erased) has it; joanna too",
            "sign-off admin ben ben: she leaves in May",
        ]
    );
}

/// A gate had it in its memory.
async fn an_erased_admin_does_not_come_back_with_a_later_batch(database: &Database) {
    erase(database, "anna", noon()).await;
    let (decisions, drift) = (mark(EvidenceKind::Decisions), mark(EvidenceKind::Drift));
    let late = noon() + TimeDelta::minutes(10);
    // The clocks of two machines differ by seconds.
    for (batch, at) in (1..).zip([noon() - TimeDelta::hours(20), noon() + TimeDelta::seconds(30), late]) {
        let rows = [decision("/anna", at, 1), of("ben", decision("/ben", at, 1))];
        let mark = Mark { batch, complete_until: at, ..decisions.clone() };
        database.store.log_decisions(&rows, &mark).await.unwrap();
        let event = DriftRecord { first_seen_at: at, last_seen_at: at, ..disagreement("a", 1) };
        let mark = Mark { kind: EvidenceKind::Drift, ..mark };
        let mark = Mark { instance: drift.instance.clone(), ..mark };
        let new = database.store.record_drift(&[event], BOUND, &mark).await.unwrap();
        assert_eq!(new.len(), usize::from(at == late));
    }
    // What was seen afterwards is of somebody who is still there.
    let counted =
        "SELECT actor_id || ' ' || CAST(sum(count) AS TEXT) FROM gate_decisions GROUP BY actor_id ORDER BY 1";
    assert_eq!(database.texts(counted).await, ["anna 1", "ben 3"]);
    // And after a day nothing shows any more who was erased.
    let later = Mark { batch: 9, complete_until: noon() + TimeDelta::hours(25), ..decisions };
    database.store.log_decisions(&[], &later).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM gate_erased_actors").await, 0);
}

/// Whatever is under way when somebody is erased.
async fn an_erasure_among_writers_leaves_nothing(database: &Database) {
    const BATCHES: i64 = 40;
    let write = async |store: SharedStore, writer: i64| {
        let first = mark(EvidenceKind::Decisions);
        for batch in 0..BATCHES {
            let mark = Mark { batch, ..first.clone() };
            // The first one is a gate's mark alone.
            let rows: Vec<DecisionRecord> = (0..batch.min(5))
                .map(|row| decision(&format!("/{writer}/{batch}/{row}"), noon(), 1))
                .collect();
            store.log_decisions(&rows, &mark).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let writers = (0..4).map(|writer| write(database.store.clone(), writer));
    let erasing = async {
        while database.number("SELECT count(*) FROM gate_decisions").await < 50 {
            tokio::task::yield_now().await;
        }
        erase(database, "anna", noon()).await;
        database.number("SELECT count(*) FROM gate_decisions").await
    };
    let (_, left) = futures::future::join(futures::future::join_all(writers), erasing).await;
    assert_eq!(left, 0);
    assert_eq!(database.number("SELECT count(*) FROM gate_decisions").await, 0);
}

on_both!(
    a_batch_counts_once,
    a_batch_that_fails_moves_no_mark,
    a_gap_is_kept_and_grows,
    a_gate_that_ended_without_its_last_word_is_reported,
    a_limit_of_the_database_is_about_the_row,
    an_erased_admin_is_in_no_evidence_any_more,
    an_erased_admin_does_not_come_back_with_a_later_batch,
    an_erasure_among_writers_leaves_nothing,
);

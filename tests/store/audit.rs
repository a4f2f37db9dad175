//! Audit records: what is appended is what is read back.

use std::sync::Arc;

use chrono::TimeDelta;
use clock::SystemClock;
use console_gate::journal::checkpoint_sink::FileSink;
use console_gate::journal::checkpoints::{Checkpoints, Destination};
use console_gate::journal::control_watch::ControlWatch;
use ledger::chain::{Chain, Head};
use ledger::checkpoint::Checkpoint;
use ledger::keys::KeyRing;
use ledger::verify::Verifier;
use ledger::{AuditRecord, Draft, Entry, Notary, Note};
use serde_json::{Value, json};
use store::StoreError;
use store::audit::{Evidence, StoredEvent};
use uuid::Uuid;

use crate::database::{Database, noon};
use crate::stored_event::as_stored;

/// A record with every column filled. The number is its id, its time in microseconds after noon, and its request.
pub(crate) fn denial(number: u32) -> AuditRecord {
    AuditRecord {
        id: Uuid::from_u128(number.into()),
        event_type: "access_denied".into(),
        occurred_at: noon() + TimeDelta::microseconds(i64::from(number)),
        actor_kind: "admin".into(),
        actor_id: Some("anna".into()),
        subject_id: Some("carol".into()),
        session_id: Some("session".into()),
        request_id: Some(format!("request {number}")),
        client_address: Some("203.0.113.0".into()),
        method: Some("POST".into()),
        path: Some("/console/customers/4/revoke".into()),
        route: Some("POST /console/customers/<id>/revoke".into()),
        reason: Some("role_missing".into()),
        required: Some(json!(["role console-invite-admin"])),
        held: Some(json!({ "legacy": ["ops"], "groups": [], "roles": ["console-user"], "permissions": [] })),
        mapping_sha256: Some("ab".repeat(32)),
        epoch: Some(i64::MAX),
        detail: None,
        note: Some("on call".into()),
    }
}

/// The keys that the tests seal with.
pub(crate) fn notary() -> Notary {
    Notary::new(KeyRing::parse(&format!("test:{}", "A".repeat(43) + "=")).expect("32 zero bytes"))
}

/// A denial that the store is to seal in the chain of commands.
pub(crate) fn note(number: u32) -> Note {
    notary().note(denial(number))
}

/// A record with the place of its number in a chain of the tests.
pub(crate) fn sealed(record: AuditRecord) -> Entry {
    let place = i64::try_from(record.id.as_u128()).expect("a small id");
    let head = Head { sequence: place, mac: [0; 32] };
    Draft::from(record).seal(&mut Chain::resume("test", notary().keys().clone(), head))
}

pub(crate) fn entry(number: u32) -> Entry {
    sealed(denial(number))
}

/// A record with every column empty that may be.
pub(crate) fn sparse(number: u32) -> AuditRecord {
    AuditRecord {
        id: Uuid::from_u128(number.into()),
        event_type: "mapping_refused".into(),
        occurred_at: noon() + TimeDelta::microseconds(i64::from(number)),
        actor_kind: "gate".into(),
        actor_id: None,
        subject_id: None,
        session_id: None,
        request_id: None,
        client_address: None,
        method: None,
        path: None,
        route: None,
        reason: None,
        required: None,
        held: None,
        mapping_sha256: None,
        epoch: None,
        detail: None,
        note: None,
    }
}

async fn assert_reads_back(database: &Database, records: &[AuditRecord]) {
    let entries: Vec<Entry> = records.iter().cloned().map(sealed).collect();
    database.store.append(&entries).await.unwrap();
    let expected: Vec<StoredEvent> = entries.iter().rev().map(as_stored).collect();
    assert_eq!(database.store.recent(100_000).await.unwrap(), expected);
}

async fn a_record_reads_back_as_it_was_written(database: &Database) {
    assert_reads_back(database, &[denial(1), sparse(2)]).await;
}

async fn odd_texts_and_values_read_back(database: &Database) {
    let texts = [
        "",
        " ",
        "NULL",
        "'; DROP TABLE gate_audit_events; --",
        "$1 ? :name %s {}",
        "\\x00 \\u0000 \"quoted\"",
        "tab\tnewline\nreturn\r",
        "ä ß \u{130} \u{202e}rtl 漢字 \u{1f512}\u{fe0f} e\u{301}",
        "\u{feff}\u{fffd}\u{10ffff}",
        &"/very/long".repeat(10_000),
    ];
    let values = [
        Value::Null,
        json!(true),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.1),
        json!("NULL"),
        json!(["\u{1f512}", "a\"b\\c", "\n", null, [], {}]),
        json!({ "": { "ä": [1, { "deep": [[[[[]]]]] }] }, "z": 1, "a": 2 }),
        json!("x".repeat(100_000)),
        json!([]),
    ];
    let mut records = Vec::new();
    for (number, (text, value)) in (0..).zip(texts.into_iter().zip(values)) {
        records.push(AuditRecord {
            actor_id: Some(text.into()),
            session_id: Some(text.into()),
            request_id: Some(text.into()),
            client_address: Some(text.into()),
            path: Some(text.into()),
            route: Some(text.into()),
            mapping_sha256: Some(text.into()),
            required: Some(value.clone()),
            held: Some(value.clone()),
            detail: Some(value),
            epoch: Some(-1),
            ..denial(number + 1)
        });
    }
    assert_reads_back(database, &records).await;
}

/// A flood of denials shares a transaction, however many they are.
async fn many_records_in_one_call_read_back(database: &Database) {
    let records: Vec<AuditRecord> =
        (1..=5_000).map(|number| if number % 3 == 0 { sparse(number) } else { denial(number) }).collect();
    assert_reads_back(database, &records).await;
}

async fn no_record_is_no_error(database: &Database) {
    assert_reads_back(database, &[]).await;
}

async fn the_newest_come_first_and_no_more_than_asked_for(database: &Database) {
    let entries: Vec<Entry> = [3, 1, 5, 2, 4].into_iter().map(entry).collect();
    database.store.append(&entries).await.unwrap();
    let recent = |limit| async move {
        let events = database.store.recent(limit).await.unwrap();
        events.into_iter().map(|event| event.request_id.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(recent(2).await, ["request 5", "request 4"]);
    assert_eq!(recent(0).await, Vec::<String>::new());
    assert_eq!(recent(u32::MAX).await.len(), 5);
}

async fn a_request_finds_its_own_record(database: &Database) {
    let entries = [1, 2, 12].map(entry);
    database.store.append(&entries).await.unwrap();
    assert_eq!(database.store.by_request("request 2").await.unwrap(), [as_stored(&entries[1])]);
    assert_eq!(database.store.by_id(Uuid::from_u128(12)).await.unwrap(), Some(as_stored(&entries[2])));
    assert_eq!(database.store.by_id(Uuid::from_u128(13)).await.unwrap(), None);
    for unknown in ["request", "request %", "", "REQUEST 2"] {
        assert_eq!(database.store.by_request(unknown).await.unwrap(), [], "{unknown:?}");
    }
}

/// All or nothing: a caller whose batch failed answers 503, and no half of it may be on record.
async fn one_bad_record_fails_its_whole_batch(database: &Database) {
    let first = entry(1);
    database.store.append(std::slice::from_ref(&first)).await.unwrap();
    let table = [
        ("an id that is there already", denial(1)),
        ("an id twice in the batch", denial(2)),
        ("no event type", AuditRecord { event_type: "".into(), ..denial(9) }),
        ("an unknown kind of actor", AuditRecord { actor_kind: "ghost".into(), ..denial(9) }),
    ];
    for (fault, bad) in table {
        // The bad one last, behind more rows than fit into one statement on either database.
        let mut batch: Vec<Entry> = (2..=8).chain(100..5_000).map(entry).collect();
        batch.push(sealed(bad));
        let outcome = database.store.append(&batch).await;
        assert!(
            matches!(outcome, Err(StoreError::Conflict(_) | StoreError::Refused(_))),
            "{fault}: {outcome:?}"
        );
        assert_eq!(database.store.recent(9).await.unwrap(), [as_stored(&first)], "{fault}");
    }
    database.store.append(&[entry(2)]).await.expect("the store goes on after a bad batch");
}

/// What may or may not have been committed when the connection broke is written again, and is there once.
async fn rows_that_are_there_already_are_left_out(database: &Database) {
    let entries: Vec<Entry> = (1..=3_000).map(entry).collect();
    database.store.append(&entries[500..1_500]).await.unwrap();
    assert_eq!(database.store.append_missing(&entries).await.unwrap(), 2_000);
    assert_eq!(database.store.append_missing(&entries).await.unwrap(), 0);
    let expected: Vec<StoredEvent> = entries.iter().rev().map(as_stored).collect();
    assert_eq!(database.store.recent(100_000).await.unwrap(), expected);
}

/// The chain that commands share: each note has the next place, for every writer and however many at once.
async fn notes_are_a_chain_without_gaps(database: &Database) {
    let writers = (1..=40).map(|number| async move { database.store.record(&note(number)).await.unwrap() });
    futures::future::join_all(writers).await;
    let rows = by_chain(database).await;
    let sequences: Vec<i64> = rows.iter().filter_map(|row| row.sequence).collect();
    assert_eq!(sequences, (1..=40).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.chain_id.as_deref() == Some("control")));
    let heads = database.store.heads().await.unwrap();
    assert_eq!(heads.len(), 1);
    assert_eq!((heads[0].sequence, Some(&heads[0].mac)), (40, rows[39].mac.as_ref()));
}

async fn head_and_end(database: &Database) -> (Option<i64>, Option<i64>) {
    let chain = database.store.control_chain().await.unwrap();
    (chain.head.map(|head| head.sequence), chain.end.map(|end| end.sequence))
}

/// Where the chain of commands ends, by its rows and by the row of `gate_audit_control`; either may have been removed.
async fn the_end_of_the_commands_chain_is_known(database: &Database) {
    assert_eq!(head_and_end(database).await, (Some(0), None));
    database.store.record(&note(1)).await.unwrap();
    database.store.record(&note(2)).await.unwrap();
    let chain = database.store.control_chain().await.unwrap();
    assert_eq!((&chain.head, head_and_end(database).await), (&chain.end, (Some(2), Some(2))));
    database.execute("UPDATE gate_audit_control SET sequence = 1").await;
    assert_eq!(head_and_end(database).await, (Some(1), Some(2)));
    let error = database.store.record(&note(3)).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken(_)), "{error:?}");
    assert!(error.to_string().contains("audit verify"), "{error}");
    database.execute("DELETE FROM gate_audit_control").await;
    assert_eq!(head_and_end(database).await, (None, Some(2)));
    let error = database.store.record(&note(3)).await.unwrap_err();
    assert!(error.to_string().contains("gate_audit_control has no row"), "{error}");
}

/// A gate keeps a checkpoint of each new head of the commands' chain, and says when the chain has gone back.
async fn a_gate_keeps_checkpoints_of_the_commands_chain(database: &Database) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoints");
    let checkpoints = Checkpoints::start(vec![Destination::File(FileSink::open(&file).await.unwrap())]);
    let keys = notary().keys().clone();
    let clock = Arc::new(SystemClock);
    let mut watch = ControlWatch::new(database.store.clone(), keys.clone(), clock, Some(checkpoints.clone()));
    let mut kept = Vec::new();
    for number in 1..=3 {
        database.store.record(&note(number)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(watch.look().await.unwrap(), None);
        }
        checkpoints.finish().await;
        let lines = std::fs::read_to_string(&file).unwrap();
        kept = lines.lines().map(|line| Checkpoint::parse(line).unwrap()).collect();
        assert_eq!(kept.len(), number as usize, "one for each head");
    }
    let end = database.store.control_chain().await.unwrap().end.unwrap();
    assert_eq!(kept[2].check(&keys).unwrap().1.named("control"), end);
    let tamper = if database.is_postgres() {
        "ALTER TABLE gate_audit_events DISABLE TRIGGER USER"
    } else {
        "DROP TRIGGER gate_audit_events_refuse_delete"
    };
    database.execute(&format!("{tamper}; DELETE FROM gate_audit_events WHERE sequence = 3")).await;
    assert_eq!(watch.look().await.unwrap(), Some("its last rows are missing"));
}

pub(crate) async fn by_chain(database: &Database) -> Vec<StoredEvent> {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    let (sent, evidence) = futures::future::join(database.store.send_evidence(sender), all(receiver)).await;
    sent.unwrap();
    let rows = evidence.into_iter().filter_map(|piece| match piece {
        Evidence::Row(row) => Some(*row),
        Evidence::ControlChain(_) | Evidence::Customer(_) | Evidence::Grant(_) => None,
    });
    rows.collect()
}

async fn all<T>(mut receiver: tokio::sync::mpsc::Receiver<T>) -> Vec<T> {
    let mut rows = Vec::new();
    while let Some(row) = receiver.recv().await {
        rows.push(row);
    }
    rows
}

async fn rows_are_read_in_the_order_of_their_chains_and_of_time(database: &Database) {
    let entries: Vec<Entry> = (1..=25).map(entry).collect();
    database.store.append(&entries[10..]).await.unwrap();
    database.store.append(&entries[..10]).await.unwrap();
    assert_eq!(by_chain(database).await, entries.iter().map(as_stored).collect::<Vec<_>>());
    let at = |number: i64| noon() + TimeDelta::microseconds(number);
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    let sending = database.store.send_by_time(at(5), at(9), sender);
    let (sent, rows) = futures::future::join(sending, all(receiver)).await;
    sent.unwrap();
    assert_eq!(rows, entries[4..8].iter().map(as_stored).collect::<Vec<_>>());
}

/// What is sealed, stored and read back verifies: nothing of a record is spelled otherwise by a database.
async fn what_was_sealed_verifies_as_it_is_read_back(database: &Database) {
    let mut chain = Chain::new("one", notary().keys().clone());
    let odd = json!({ "float": 1e300, "deep": [[1.5, -0.0, null, u64::MAX]], "nul": "a\0b", "text": "\u{1f512}\"\\" });
    let entries: Vec<Entry> = (1..=200)
        .map(|number| {
            let record = if number % 2 == 0 { sparse(number) } else { denial(number) };
            Draft::from(AuditRecord { detail: Some(odd.clone()), path: Some("/a\0".into()), ..record })
                .seal(&mut chain)
        })
        .collect();
    database.store.append(&entries).await.unwrap();
    database.store.record(&note(900)).await.unwrap();
    database.store.record(&note(901)).await.unwrap();
    let mut findings = Vec::new();
    let mut verifier = Verifier::new(notary().keys().clone(), |finding| findings.push(finding));
    for row in by_chain(database).await {
        verifier.row(row.into_row());
    }
    let summary = verifier.finish();
    assert_eq!((summary.rows, summary.chains), (202, 2));
    assert_eq!(findings, []);
}

/// What a SQLite file can hold in more than one spelling is sealed in one: another zone of the same time, a key that is there
/// twice, text that is no time at all.
#[tokio::test]
async fn another_spelling_of_a_value_is_found_on_sqlite() {
    let database = Database::sqlite().await;
    let mut chain = Chain::new("one", notary().keys().clone());
    let entries = [1, 2, 3].map(|number| Draft::from(denial(number)).seal(&mut chain));
    database.store.append(&entries).await.unwrap();
    let tamper = "DROP TRIGGER gate_audit_events_refuse_update; PRAGMA ignore_check_constraints = on";
    database.execute(tamper).await;
    let before = "SELECT occurred_at_utc || char(9) || required FROM gate_audit_events WHERE sequence = 2";
    let before = database.texts(before).await.remove(0);
    let (time, required) = before.split_once('\t').unwrap();
    for change in [
        "occurred_at_utc = '2026-03-28T13:00:00.123458-23:00'",
        "occurred_at_utc = '2026-03-29T12:00:00.123458Z'",
        "occurred_at_utc = 'soon'",
        "required = ' [\"role console-invite-admin\"]'",
        "required = '[\"role console\\u002dinvite-admin\"]'",
        "held = '{\"legacy\":[],' || substr(held, 2)",
    ] {
        let held = "SELECT held FROM gate_audit_events WHERE sequence = 2";
        let held = database.texts(held).await.remove(0);
        database.execute(&format!("UPDATE gate_audit_events SET {change} WHERE sequence = 2")).await;
        let mut findings = Vec::new();
        let mut verifier = Verifier::new(notary().keys().clone(), |finding| findings.push(finding));
        for row in by_chain(&database).await {
            verifier.row(row.into_row());
        }
        verifier.finish();
        assert!(matches!(&findings[..], [one] if one.sequence == Some(2)), "{change}: {findings:?}");
        let back = format!(
            "UPDATE gate_audit_events SET occurred_at_utc = '{time}', required = '{required}', held = '{held}'
              WHERE sequence = 2"
        );
        database.execute(&back).await;
    }
}

/// Erasure takes what is personal and nothing else, once, and the database asks for it when an admin is deleted.
async fn an_erased_admin_leaves_rows_without_a_name(database: &Database) {
    database
        .execute(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org'), ('ben', 'ben@example.org')",
        )
        .await;
    let other = sealed(AuditRecord { actor_id: Some("ben".into()), ..denial(9) });
    let entries = [entry(1), entry(2), other.clone()];
    database.store.append(&entries).await.unwrap();
    assert!(database.store.pending_erasures().await.unwrap().is_empty());
    for admin in ["anna", "ben"] {
        let drift = format!(
            "INSERT INTO gate_drift_events (id, cluster, route, method, actor_kind, actor_id, direction, legacy_answer,
                                            v2_answer, mapping_sha256)
             VALUES ('{admin}', 'S1', 'r', 'GET', 'admin', '{admin}', 'would_newly_deny', 'allow', 'deny', 'm')"
        );
        database.execute(&drift).await;
    }
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(database.texts("SELECT id FROM gate_drift_events").await, ["ben"]);
    assert_eq!(database.store.pending_erasures().await.unwrap(), ["anna"]);
    assert_eq!(database.store.traces_of("anna").await.unwrap(), (2, 0));
    let wrong = database.store.erase("anna", (1, 0), &notary().note(sparse(20))).await;
    assert!(matches!(wrong, Err(StoreError::Conflict(_))), "{wrong:?}");
    assert_eq!(database.store.by_id(Uuid::from_u128(1)).await.unwrap(), Some(as_stored(&entries[0])));

    let event = notary().note(sparse(21));
    database.store.erase("anna", (2, 0), &event).await.unwrap();
    let erased_by = Some(event.record().id.to_string());
    for entry in &entries[..2] {
        let expected = StoredEvent {
            actor_id: None,
            subject_id: None,
            session_id: None,
            client_address: None,
            path: None,
            note: None,
            personal_salt: None,
            erased_by: erased_by.clone(),
            ..as_stored(entry)
        };
        assert_eq!(database.store.by_id(entry.record.id).await.unwrap(), Some(expected));
    }
    assert_eq!(database.store.by_id(other.record.id).await.unwrap(), Some(as_stored(&other)));
    assert!(database.store.pending_erasures().await.unwrap().is_empty());
    assert_eq!(database.store.traces_of("anna").await.unwrap(), (0, 0));
}

on_both!(
    the_end_of_the_commands_chain_is_known,
    a_gate_keeps_checkpoints_of_the_commands_chain,
    rows_that_are_there_already_are_left_out,
    notes_are_a_chain_without_gaps,
    rows_are_read_in_the_order_of_their_chains_and_of_time,
    what_was_sealed_verifies_as_it_is_read_back,
    an_erased_admin_leaves_rows_without_a_name,
    a_record_reads_back_as_it_was_written,
    odd_texts_and_values_read_back,
    many_records_in_one_call_read_back,
    no_record_is_no_error,
    the_newest_come_first_and_no_more_than_asked_for,
    a_request_finds_its_own_record,
    one_bad_record_fails_its_whole_batch,
);

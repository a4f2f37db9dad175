//! Audit records: what is appended is what is read back.

use chrono::TimeDelta;
use console_gate::audit::AuditRecord;
use console_gate::store::StoreError;
use console_gate::store::audit::StoredEvent;
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use crate::database::{Database, noon};

/// A record with every column filled. The number is its id, its time in microseconds after noon, and its request.
pub(crate) fn denial(number: u32) -> AuditRecord {
    AuditRecord {
        id: Uuid::from_u128(number.into()),
        event_type: "access_denied".into(),
        occurred_at: noon() + TimeDelta::microseconds(i64::from(number)),
        actor_kind: "admin".into(),
        actor_id: Some("anna".into()),
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
    }
}

/// A record with every column empty that may be.
fn sparse(number: u32) -> AuditRecord {
    AuditRecord {
        id: Uuid::from_u128(number.into()),
        event_type: "mapping_refused".into(),
        occurred_at: noon() + TimeDelta::microseconds(i64::from(number)),
        actor_kind: "gate".into(),
        actor_id: None,
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
    }
}

/// How a record must read. Written out field by field: a mix-up of two columns is what this is to find.
fn as_stored(record: &AuditRecord) -> StoredEvent {
    let record = record.clone();
    StoredEvent {
        id: record.id.to_string(),
        event_type: record.event_type.into(),
        occurred_at_utc: record.occurred_at,
        actor_kind: record.actor_kind.into(),
        actor_id: record.actor_id,
        session_id: record.session_id,
        request_id: record.request_id,
        client_address: record.client_address,
        method: record.method.map(Into::into),
        path: record.path,
        route: record.route,
        reason: record.reason.map(Into::into),
        required: record.required.map(Json),
        held: record.held.map(Json),
        mapping_sha256: record.mapping_sha256,
        epoch: record.epoch,
        detail: record.detail.map(Json),
    }
}

async fn assert_reads_back(database: &Database, records: &[AuditRecord]) {
    database.store.append(records).await.unwrap();
    let expected: Vec<StoredEvent> = records.iter().rev().map(as_stored).collect();
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
    let records: Vec<AuditRecord> = [3, 1, 5, 2, 4].into_iter().map(denial).collect();
    database.store.append(&records).await.unwrap();
    let recent = |limit| async move {
        let events = database.store.recent(limit).await.unwrap();
        events.into_iter().map(|event| event.request_id.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(recent(2).await, ["request 5", "request 4"]);
    assert_eq!(recent(0).await, Vec::<String>::new());
    assert_eq!(recent(u32::MAX).await.len(), 5);
}

async fn a_request_finds_its_own_record(database: &Database) {
    database.store.append(&[denial(1), denial(2), denial(12)]).await.unwrap();
    assert_eq!(database.store.by_request("request 2").await.unwrap(), [as_stored(&denial(2))]);
    for unknown in ["request", "request %", "", "REQUEST 2"] {
        assert_eq!(database.store.by_request(unknown).await.unwrap(), [], "{unknown:?}");
    }
}

/// All or nothing: a caller who is told that the batch failed answers 503, and no half of it may be on record.
async fn one_bad_record_fails_its_whole_batch(database: &Database) {
    database.store.append(&[denial(1)]).await.unwrap();
    let table = [
        ("an id that is there already", denial(1)),
        ("an id twice in the batch", denial(2)),
        ("no event type", AuditRecord { event_type: "".into(), ..denial(9) }),
        ("an unknown kind of actor", AuditRecord { actor_kind: "ghost".into(), ..denial(9) }),
    ];
    for (fault, bad) in table {
        // The bad one last, behind more rows than fit into one statement on either database.
        let mut batch: Vec<AuditRecord> = (2..=8).chain(100..5_000).map(denial).collect();
        batch.push(bad);
        let outcome = database.store.append(&batch).await;
        assert!(
            matches!(outcome, Err(StoreError::Conflict(_) | StoreError::Refused(_))),
            "{fault}: {outcome:?}"
        );
        assert_eq!(database.store.recent(9).await.unwrap(), [as_stored(&denial(1))], "{fault}");
    }
    database.store.append(&[denial(2)]).await.expect("the store goes on after a bad batch");
}

on_both!(
    a_record_reads_back_as_it_was_written,
    odd_texts_and_values_read_back,
    many_records_in_one_call_read_back,
    no_record_is_no_error,
    the_newest_come_first_and_no_more_than_asked_for,
    a_request_finds_its_own_record,
    one_bad_record_fails_its_whole_batch,
);

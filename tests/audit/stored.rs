//! Every stored column, as a database gives it back: any single change of any of them is found, a change of a letter's
//! case too, in the audit's rows and in customers' events, erased or not.

use chrono::{DateTime, TimeDelta, Utc};
use ledger::chain::{CONTROL, Chain, Head};
use ledger::customer::CustomerEvent;
use ledger::event::ChainHead;
use ledger::verify::{Fault, Verifier};
use ledger::{AuditEvent, AuditRecord, Draft, Entry};
use serde_json::{Value, json};
use sqlx::types::Json;
use store::audit::{StoredCustomerEvent, StoredEvent};

use crate::stored_event::as_stored;
use crate::support::*;

/// A way of changing a value without leaving its type.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// One more letter, one microsecond later, one more.
    More,
    /// Another digit or letter at the end.
    Last,
    /// The first letter in the other case.
    Case,
    Null,
}

const WAYS: [Way; 4] = [Way::More, Way::Last, Way::Case, Way::Null];

fn text(column: &mut String, way: Way) {
    match way {
        Way::More => column.push('x'),
        Way::Last => {
            let last = column.pop();
            column.push(if last == Some('0') { '1' } else { '0' });
        }
        Way::Case => {
            if let Some(place) = column.find(|letter: char| letter.is_ascii_alphabetic()) {
                let letter = column.remove(place);
                let other = if letter.is_lowercase() {
                    letter.to_ascii_uppercase()
                } else {
                    letter.to_ascii_lowercase()
                };
                column.insert(place, other);
            }
        }
        Way::Null => {}
    }
}

fn optional(column: &mut Option<String>, way: Way) {
    match (column.as_mut(), way) {
        (Some(_), Way::Null) => *column = None,
        (Some(value), way) => text(value, way),
        (None, _) => *column = Some("x".to_owned()),
    }
}

fn time(column: &mut DateTime<Utc>, way: Way) {
    if way == Way::More {
        *column += TimeDelta::microseconds(1);
    }
}

fn number(column: &mut Option<i64>, way: Way) {
    match way {
        Way::Null => *column = column.map_or(Some(1), |_| None),
        Way::More => *column = Some(column.map_or(1, |value| value + 1)),
        Way::Last => *column = Some(column.map_or(1, |value| value - 1)),
        Way::Case => {}
    }
}

fn value(column: &mut Option<Json<Value>>, way: Way) {
    *column = match (column.take(), way) {
        (Some(_), Way::Null) => None,
        (None, _) => Some(Json(json!("x"))),
        (Some(Json(was)), Way::Case) => {
            let mut written = was.to_string();
            text(&mut written, Way::Case);
            // A changed keyword of JSON is no JSON.
            Some(Json(serde_json::from_str(&written).unwrap_or(was)))
        }
        (Some(Json(was)), Way::More) => Some(Json(json!([was]))),
        (Some(Json(mut was)), Way::Last) => {
            match &mut was {
                Value::Object(members) => drop(members.insert("another".to_owned(), json!(true))),
                Value::Array(values) => values.push(json!(true)),
                other => *other = json!(false),
            }
            Some(Json(was))
        }
    };
}

const COLUMNS: usize = 27;

fn change(row: &mut StoredEvent, column: usize, way: Way) {
    match column {
        0 => text(&mut row.id, way),
        1 => text(&mut row.event_type, way),
        2 => time(&mut row.occurred_at_utc, way),
        3 => text(&mut row.actor_kind, way),
        4 => optional(&mut row.actor_id, way),
        5 => optional(&mut row.session_id, way),
        6 => optional(&mut row.request_id, way),
        7 => optional(&mut row.client_address, way),
        8 => optional(&mut row.method, way),
        9 => optional(&mut row.path, way),
        10 => optional(&mut row.route, way),
        11 => optional(&mut row.reason, way),
        12 => value(&mut row.required, way),
        13 => value(&mut row.held, way),
        14 => optional(&mut row.mapping_sha256, way),
        15 => number(&mut row.epoch, way),
        16 => value(&mut row.detail, way),
        17 => optional(&mut row.chain_id, way),
        18 => number(&mut row.sequence, way),
        19 => optional(&mut row.key_id, way),
        20 => optional(&mut row.personal_salt, way),
        21 => optional(&mut row.personal_digest, way),
        22 => optional(&mut row.content_hash, way),
        23 => optional(&mut row.mac, way),
        24 => optional(&mut row.erased_by, way),
        25 => optional(&mut row.subject_id, way),
        _ => optional(&mut row.note, way),
    }
}

const CUSTOMER_COLUMNS: usize = 13;

fn change_customer(row: &mut StoredCustomerEvent, column: usize, way: Way) {
    match column {
        0 => text(&mut row.id, way),
        1 => optional(&mut row.tenant_id, way),
        2 => optional(&mut row.dimension, way),
        3 => optional(&mut row.action, way),
        4 => {
            if let Some(at) = &mut row.occurred_at_utc {
                time(at, way);
            }
        }
        5 => optional(&mut row.source, way),
        6 => optional(&mut row.actor_kind, way),
        7 => optional(&mut row.actor_id, way),
        8 => optional(&mut row.subject_id, way),
        9 => optional(&mut row.request_id, way),
        10 => value(&mut row.detail, way),
        11 => optional(&mut row.salt, way),
        _ => optional(&mut row.erased_by, way),
    }
}

/// Two tables and the head of the commands' chain.
#[derive(Clone, Debug, PartialEq)]
struct Tables {
    rows: Vec<StoredEvent>,
    customers: Vec<StoredCustomerEvent>,
    head: Option<ChainHead>,
}

/// A gate's chain with denials and the twins of two customers' events, and the commands' chain, which accounts for the
/// erasure of one denial and one customer's event.
fn tables() -> Tables {
    let mut gate = Chain::new("0198f00d-0000-7000-8000-00000000000a", old_key());
    let mut drafts: Vec<Draft> = (1..=4).map(|number| Draft::from(denial(number))).collect();
    drafts.extend([customer(1), customer(2)].map(|event| Draft::of_customer(event, start())));
    let mut entries: Vec<Entry> = drafts.into_iter().map(|draft| draft.seal(&mut gate)).collect();
    let mut control = Chain::new(CONTROL, old_key());
    let erasure =
        AuditEvent::AdminErased { rows: 1, customer_rows: 1, by: "root".into() }.into_record(start());
    let event = erasure.id.to_string();
    let flip = AuditEvent::TokenRevoked { name: "Queue".into(), by: "root".into() }.into_record(start());
    let notes = [flip.clone(), erasure, AuditRecord { id: uuid::Uuid::now_v7(), ..flip }];
    entries.extend(notes.into_iter().map(|record| Draft::from(record).seal(&mut control)));
    let customers = entries.iter().filter_map(|entry| Some((entry.customer.as_deref()?, entry)));
    let mut tables = Tables {
        customers: customers.map(|(customer, entry)| stored_customer(customer, entry)).collect(),
        rows: entries.iter().map(as_stored).collect(),
        head: Some(control.head().named(CONTROL)),
    };
    let blank = &mut tables.rows[1];
    (blank.actor_id, blank.session_id, blank.client_address, blank.path) = (None, None, None, None);
    (blank.personal_salt, blank.erased_by) = (None, Some(event.clone()));
    let blank = &mut tables.customers[1];
    (blank.actor_id, blank.salt, blank.erased_by) = (None, None, Some(event));
    tables
}

fn customer(number: u8) -> CustomerEvent {
    CustomerEvent {
        id: uuid::Uuid::from_u128(0xabcd_ef00 + u128::from(number)),
        tenant_id: "Tenant".into(),
        dimension: "operator_interaction".into(),
        action: "operator.rbac.grant".into(),
        occurred_at: start(),
        source: "queue".into(),
        actor_kind: "admin".into(),
        actor_id: Some("Anna".into()),
        subject_id: Some("customer".into()),
        request_id: Some("Request".into()),
        detail: Some(json!({ "role": "support" })),
        salt: None,
    }
}

fn stored_customer(event: &CustomerEvent, twin: &Entry) -> StoredCustomerEvent {
    let event = event.clone();
    StoredCustomerEvent {
        id: event.id.to_string(),
        tenant_id: Some(event.tenant_id),
        dimension: Some(event.dimension),
        action: Some(event.action),
        occurred_at_utc: Some(event.occurred_at),
        source: Some(event.source),
        actor_kind: Some(event.actor_kind),
        actor_id: event.actor_id,
        subject_id: event.subject_id,
        request_id: event.request_id,
        detail: event.detail.map(Json),
        salt: event.salt,
        erased_by: None,
        twin: twin.record.detail.clone().map(Json),
    }
}

/// The full join of customers' events and their twins, as the store's query makes it.
fn joined(tables: &Tables) -> Vec<StoredCustomerEvent> {
    let twins: Vec<&StoredEvent> =
        tables.rows.iter().filter(|row| row.event_type == "customer_event").collect();
    let mut joined: Vec<StoredCustomerEvent> = tables
        .customers
        .iter()
        .map(|row| {
            let twin = twins.iter().find(|twin| twin.id == row.id).and_then(|twin| twin.detail.clone());
            StoredCustomerEvent { twin, ..row.clone() }
        })
        .collect();
    for twin in twins.iter().filter(|twin| tables.customers.iter().all(|row| row.id != twin.id)) {
        joined.push(StoredCustomerEvent {
            id: twin.id.clone(),
            tenant_id: None,
            dimension: None,
            action: None,
            occurred_at_utc: None,
            source: None,
            actor_kind: None,
            actor_id: None,
            subject_id: None,
            request_id: None,
            detail: None,
            salt: None,
            erased_by: None,
            twin: twin.detail.clone(),
        });
    }
    joined
}

fn findings(tables: &Tables, checkpoints: &[String]) -> Vec<Fault> {
    let mut findings = Vec::new();
    let mut verifier = Verifier::new(both_keys(), |finding| findings.push(finding));
    (1..).zip(checkpoints).for_each(|(number, line)| verifier.checkpoint(number, line));
    verifier.control_head(tables.head.as_ref());
    let mut rows = tables.rows.clone();
    rows.sort_by_key(|row| (row.chain_id.clone(), row.sequence));
    rows.into_iter().for_each(|row| verifier.row(row.into_row()));
    joined(tables).into_iter().for_each(|row| verifier.customer(&row.into_row()));
    verifier.finish();
    findings
}

#[test]
fn what_was_not_changed_is_clean() {
    assert_eq!(words_of(&findings(&tables(), &[])), [""; 0]);
}

#[test]
fn any_change_of_any_column_of_any_row_is_found() {
    let before = tables();
    let mut tried = 0;
    for (row, column, way) in cases(before.rows.len(), COLUMNS) {
        let mut after = before.clone();
        change(&mut after.rows[row], column, way);
        if after != before {
            tried += 1;
            assert_ne!(words_of(&findings(&after, &[])), [""; 0], "column {column} of row {row}, {way:?}");
        }
    }
    for (row, column, way) in cases(before.customers.len(), CUSTOMER_COLUMNS) {
        let mut after = before.clone();
        change_customer(&mut after.customers[row], column, way);
        if after != before {
            tried += 1;
            let words = words_of(&findings(&after, &[]));
            assert_ne!(words, [""; 0], "column {column} of customer's event {row}, {way:?}");
        }
    }
    assert!(tried > 700, "{tried}");
}

fn cases(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize, Way)> {
    (0..rows)
        .flat_map(move |row| (0..columns).map(move |column| (row, column)))
        .flat_map(|(row, column)| WAYS.map(|way| (row, column, way)))
}

#[test]
fn a_change_of_the_head_of_the_commands_chain_is_found() {
    let before = tables();
    let head = before.head.clone().unwrap();
    let named = |sequence: i64, mac: &str| {
        Some(ChainHead { chain: CONTROL.to_owned(), sequence, mac: mac.to_owned() })
    };
    let zeros = "0".repeat(64);
    for (changed, expected) in [
        (None, "control control_head"),
        (named(3, &head.mac.to_uppercase()), "control 3 control_head"),
        (named(3, "f"), "control 3 control_head"),
        (named(3, &"ab".repeat(32)), "control 3 control_head"),
        (named(4, &head.mac), "control 4 cut head=4"),
        (named(2, &head.mac), "control 2 control_head"),
        (named(0, &zeros), "control 3 control_head"),
        (named(0, &head.mac), "control 0 control_head"),
        (named(-1, &head.mac), "control -1 control_head"),
    ] {
        let words = words_of(&findings(&Tables { head: changed.clone(), ..before.clone() }, &[]));
        assert!(words.contains(&expected.to_owned()), "{changed:?}: {words:?}");
    }
}

/// Of a new database: no row, and a head of none.
#[test]
fn a_chain_of_commands_that_has_not_begun_is_clean() {
    let head = Some(Head::default().named(CONTROL));
    let empty = Tables { rows: Vec::new(), customers: Vec::new(), head };
    assert_eq!(words_of(&findings(&empty, &[])), [""; 0]);
}

/// Erased in name only, erased in the name of somebody else's event, and one more than the event accounts for.
#[test]
fn an_erasure_of_a_customers_event_is_accounted_for() {
    let mut named = tables();
    named.customers[0].erased_by = named.customers[1].erased_by.clone();
    let listed = words_of(&findings(&named, &[]));
    assert!(listed.contains(&"edited".to_owned()), "{listed:?}");

    let mut blanked = tables();
    let event = blanked.customers[1].erased_by.clone();
    let row = &mut blanked.customers[0];
    (row.actor_id, row.salt, row.erased_by) = (None, None, event);
    let listed = words_of(&findings(&blanked, &[]));
    assert_eq!(listed, ["erasure_unaccounted found=2 expected=1"]);
}

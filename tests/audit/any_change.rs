//! Any records verify as they were sealed; any single change of any stored field of any row is found.

use chrono::{DateTime, TimeDelta};
use ledger::AuditRecord;
use ledger::chain::Chain;
use ledger::verify::StoredRow;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", "[a\\x00\"\\\\\\n😀é]{0,4}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| json!(float)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

prop_compose! {
    fn record()(
        words in prop::collection::vec(text(), 2),
        texts in prop::collection::vec(option::of(text()), 11),
        values in prop::collection::vec(option::of(value()), 3),
        epoch in any::<Option<i64>>(),
        micros in 0..4_102_444_800_000_000_i64,
    ) -> AuditRecord {
        let [event_type, actor_kind] = [words[0].clone(), words[1].clone()];
        let mut texts = texts.into_iter();
        let mut values = values.into_iter();
        let mut text = || texts.next().unwrap();
        let mut value = || values.next().unwrap();
        AuditRecord {
            id: uuid::Uuid::now_v7(),
            event_type: event_type.into(),
            occurred_at: DateTime::from_timestamp_micros(micros).unwrap(),
            actor_kind: actor_kind.into(),
            actor_id: text(),
            subject_id: text(),
            session_id: text(),
            request_id: text(),
            client_address: text(),
            method: text().map(Into::into),
            path: text(),
            route: text(),
            reason: text().map(Into::into),
            required: value(),
            held: value(),
            mapping_sha256: text(),
            epoch,
            detail: value(),
            note: text(),
        }
    }
}

const FIELDS: u32 = 27;

/// Changes one stored field to another value: NULL to something, something to NULL or to something else.
fn change(row: &mut StoredRow, field: u32, is_nulled: bool) {
    fn other<T>(column: &mut Option<T>, is_nulled: bool, change: impl FnOnce(Option<T>) -> T) {
        let was = column.take();
        if was.is_none() || !is_nulled {
            *column = Some(change(was));
        }
    }
    let more = |was: Option<String>| was.unwrap_or_default() + "x";
    let word = |was: Option<std::borrow::Cow<'static, str>>| was.unwrap_or_default() + "x";
    let wrap = |was: Option<Value>| json!([was]);
    // Another digit at the end, so that it stays what it is but another one.
    let digit = |text: &mut String| {
        let last = text.pop().unwrap();
        text.push(if last == '0' { '1' } else { '0' });
    };
    let record = &mut row.record;
    let link = row.link.as_mut().unwrap();
    match field {
        0 => record.id = uuid::Uuid::now_v7(),
        1 => record.event_type += "x",
        2 => record.occurred_at += TimeDelta::microseconds(1),
        3 => record.actor_kind += "x",
        4 => other(&mut record.actor_id, is_nulled, more),
        5 => other(&mut record.session_id, is_nulled, more),
        6 => other(&mut record.request_id, is_nulled, more),
        7 => other(&mut record.client_address, is_nulled, more),
        8 => other(&mut record.method, is_nulled, word),
        9 => other(&mut record.path, is_nulled, more),
        10 => other(&mut record.route, is_nulled, more),
        11 => other(&mut record.reason, is_nulled, word),
        12 => other(&mut record.required, is_nulled, wrap),
        13 => other(&mut record.held, is_nulled, wrap),
        14 => other(&mut record.mapping_sha256, is_nulled, more),
        15 => other(&mut record.epoch, is_nulled, |was| was.unwrap_or(0) ^ 1),
        16 => other(&mut record.detail, is_nulled, wrap),
        17 => row.erased_by = Some(record.id.to_string()),
        18 => link.chain_id += "x",
        19 => link.sequence += if is_nulled { 1 } else { -1 },
        20 => link.key_id = if is_nulled { "lost" } else { "new" }.to_owned(),
        21 if is_nulled => link.personal_salt = None,
        21 => link.personal_salt.iter_mut().for_each(digit),
        22 => digit(&mut link.personal_digest),
        23 => digit(&mut link.content_hash),
        24 => digit(&mut link.mac),
        25 => other(&mut record.subject_id, is_nulled, more),
        _ => other(&mut record.note, is_nulled, more),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_sealed_verifies(records in prop::collection::vec(record(), 0..8)) {
        let mut chain = Chain::new("a", old_key());
        let mut rows: Vec<_> = records.into_iter().map(|record| stored(chain.seal(record))).collect();
        prop_assert_eq!(words_of(&verify(&rows)), Vec::<String>::new());
        // What a database gives back is what JSON gives back.
        for row in &mut rows {
            let text = serde_json::to_string(&row.record).unwrap();
            row.record = serde_json::from_str(&text).unwrap();
        }
        prop_assert_eq!(words_of(&verify(&rows)), Vec::<String>::new());
    }

    #[test]
    fn a_change_is_found(
        records in prop::collection::vec(record(), 1..8),
        index in any::<prop::sample::Index>(),
        field in 0..FIELDS,
        is_nulled in any::<bool>(),
    ) {
        let mut chain = Chain::new("a", old_key());
        let mut rows: Vec<_> = records.into_iter().map(|record| stored(chain.seal(record))).collect();
        let before = rows.clone();
        let row = index.index(rows.len());
        change(&mut rows[row], field, is_nulled);
        prop_assert_ne!(&rows, &before);
        prop_assert_ne!(words_of(&verify(&rows)), Vec::<String>::new(), "field {} of row {}", field, row + 1);
    }

    #[test]
    fn one_damaged_row_costs_at_most_itself(count in 3..200_i64, place in 0..200_usize, field in 0..18_u32) {
        let mut rows = rows("a", count);
        let place = place % rows.len();
        change(&mut rows[place], field, false);
        let findings = words_of(&verify(&rows));
        prop_assert!((1..=2).contains(&findings.len()), "{:?}", findings);
        prop_assert!(findings[0].starts_with(&format!("a {} edited", place + 1)), "{:?}", findings);
    }
}

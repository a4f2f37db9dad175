//! Activated mappings: their texts, their history, and the pin of a rollback.

use chrono::TimeDelta;
use console_gate::ids::MappingSha256;
use console_gate::store::StoreError;
use console_gate::store::mappings::{Activation, Pin, StoredActivation};
use uuid::Uuid;

use crate::audit::{entry, note};
use crate::database::{Database, noon};

/// A hash that is all one digit.
fn sha256(digit: char) -> MappingSha256 {
    MappingSha256::new(digit.to_string().repeat(64))
}

/// The activation of the mapping `digit`, `minutes` after noon.
fn activation(digit: char, minutes: i64) -> Activation {
    Activation {
        id: Uuid::now_v7(),
        sha256: sha256(digit),
        activated_at: noon() + TimeDelta::minutes(minutes),
        activated_by: "file".into(),
        instance: "gate-1".into(),
        outcome: "activated",
        diagnostics: None,
        previous: None,
    }
}

async fn an_activation_keeps_the_text_and_is_audited(database: &Database) {
    let text = "version = 1\n# ä 漢字 \u{1f512}\r\n\t'quoted'\n";
    database.store.record_activation(&activation('a', 0), text, &note(1)).await.unwrap();
    assert_eq!(database.store.mapping_text(&sha256('a')).await.unwrap().as_deref(), Some(text));
    assert_eq!(database.store.mapping_text(&sha256('b')).await.unwrap(), None);
    assert_eq!(database.store.recent(10).await.unwrap().len(), 1);
}

async fn the_history_has_the_latest_first(database: &Database) {
    let refusal = Activation {
        activated_by: "signal".into(),
        instance: "gate-2".into(),
        outcome: "refused",
        diagnostics: Some("routes.toml:3:1: an unknown key".into()),
        previous: Some(sha256('a')),
        ..activation('b', 1)
    };
    database.store.record_activation(&activation('a', 2), "one", &note(1)).await.unwrap();
    database.store.record_activation(&refusal, "two", &note(2)).await.unwrap();
    database.store.record_activation(&activation('a', 0), "one", &note(3)).await.unwrap();

    let stored = |digit, minutes| StoredActivation {
        sha256: sha256(digit).as_str().into(),
        activated_at_utc: noon() + TimeDelta::minutes(minutes),
        activated_by: "file".into(),
        instance: "gate-1".into(),
        outcome: "activated".into(),
        diagnostics: None,
        previous_sha256: None,
    };
    let refused = StoredActivation {
        activated_by: "signal".into(),
        instance: "gate-2".into(),
        outcome: "refused".into(),
        diagnostics: Some("routes.toml:3:1: an unknown key".into()),
        previous_sha256: Some(sha256('a').as_str().into()),
        ..stored('b', 1)
    };
    let expected = [stored('a', 2), refused, stored('a', 0)];
    assert_eq!(database.store.activations(10).await.unwrap(), expected);
    assert_eq!(database.store.activations(2).await.unwrap(), expected[..2]);
}

/// The same hash with another text would be what a rollback puts in force: what was seen first stays.
async fn a_text_does_not_change_under_its_hash(database: &Database) {
    database.store.record_activation(&activation('a', 0), "first", &note(1)).await.unwrap();
    let _ = database.store.record_activation(&activation('a', 1), "second", &note(2)).await;
    assert_eq!(database.store.mapping_text(&sha256('a')).await.unwrap().as_deref(), Some("first"));
}

async fn an_activation_that_cannot_be_audited_leaves_nothing(database: &Database) {
    database.store.append(&[entry(1)]).await.unwrap();
    database.store.record_activation(&activation('a', 0), "text", &note(1)).await.unwrap_err();
    assert_eq!(database.store.activations(10).await.unwrap(), []);
    assert_eq!(database.store.mapping_text(&sha256('a')).await.unwrap(), None);
}

async fn an_activation_that_is_refused_leaves_no_audit_row(database: &Database) {
    let bad = Activation { outcome: "perhaps", ..activation('a', 0) };
    database.store.record_activation(&bad, "text", &note(1)).await.unwrap_err();
    assert_eq!(database.store.recent(10).await.unwrap(), []);
    assert_eq!(database.store.mapping_text(&sha256('a')).await.unwrap(), None);
}

async fn a_pin_is_set_changed_and_cleared(database: &Database) {
    database.store.record_activation(&activation('a', 0), "one", &note(1)).await.unwrap();
    database.store.record_activation(&activation('b', 0), "two", &note(2)).await.unwrap();
    assert_eq!(database.store.pin().await.unwrap(), None, "a new database has none");
    let steps = [
        Some(Pin { sha256: sha256('a'), by: "anna".into(), replaced_file_sha256: Some(sha256('b')) }),
        Some(Pin { sha256: sha256('b'), by: "anna".into(), replaced_file_sha256: None }),
        None,
        None,
        Some(Pin { sha256: sha256('a'), by: "anna".into(), replaced_file_sha256: Some(sha256('c')) }),
    ];
    for step in steps {
        database.store.set_pin(step.as_ref(), "anna", noon()).await.unwrap();
        assert_eq!(database.store.pin().await.unwrap(), step);
    }
}

/// A pin on a mapping that nobody has the text of would leave every gate without a mapping.
async fn a_pin_on_an_unknown_mapping_is_refused(database: &Database) {
    let pin = Pin { sha256: sha256('a'), by: "anna".into(), replaced_file_sha256: None };
    let outcome = database.store.set_pin(Some(&pin), "anna", noon()).await;
    assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{outcome:?}");
    assert_eq!(database.store.pin().await.unwrap(), None);
}

on_both!(
    an_activation_keeps_the_text_and_is_audited,
    the_history_has_the_latest_first,
    a_text_does_not_change_under_its_hash,
    an_activation_that_cannot_be_audited_leaves_nothing,
    an_activation_that_is_refused_leaves_no_audit_row,
    a_pin_is_set_changed_and_cleared,
    a_pin_on_an_unknown_mapping_is_refused,
);

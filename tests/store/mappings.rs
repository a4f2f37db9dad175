//! Activated mappings: their texts, their history, and the pin of a rollback.

use chrono::TimeDelta;
use policy::ids::{MappingSha256, PinId};
use store::StoreError;
use store::mappings::{Activation, NewPin, Pin, StoredActivation};
use uuid::Uuid;

use crate::audit::{entry, note};
use crate::database::{Database, noon};
use crate::running::report;

/// A hash that is all one digit.
pub(crate) fn sha256(digit: char) -> MappingSha256 {
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

/// An order with this id.
fn order(id: &str, mapping: Option<char>) -> NewPin {
    NewPin { id: PinId::new(id), sha256: mapping.map(sha256), by: "anna".into(), at: noon() }
}

async fn a_pin_is_set_changed_and_cleared(database: &Database) {
    database.store.record_activation(&activation('a', 0), "one", &note(1)).await.unwrap();
    database.store.record_activation(&activation('b', 0), "two", &note(2)).await.unwrap();
    let none = database.store.pin().await.unwrap();
    assert_eq!(
        (none.id.as_str(), none.sha256, none.replaces.len()),
        ("", None, 0),
        "a new database has none"
    );
    let steps = [
        (order("1", Some('a')), vec!['b']),
        (order("2", Some('b')), vec![]),
        (order("3", None), vec![]),
        (order("4", None), vec![]),
        // A mapping does not replace itself.
        (order("5", Some('a')), vec!['c', 'a', 'c', 'd']),
    ];
    for (number, (new, files)) in steps.into_iter().enumerate() {
        let files: Vec<MappingSha256> = files.into_iter().map(sha256).collect();
        let number = u32::try_from(number).unwrap();
        database.store.set_pin(&new, &files, &note(10 + number)).await.unwrap();
        let pin = database.store.pin().await.unwrap();
        let replaces = files.into_iter().filter(|file| Some(file) != new.sha256.as_ref()).collect();
        let NewPin { id, sha256, by, at } = new;
        assert_eq!(pin, Pin { id, sha256, by, at, replaces });
    }
    assert_eq!(database.store.recent(20).await.unwrap().len(), 7, "each is recorded with what it does");
}

/// A pin on a mapping that nobody has the text of would leave every gate without a mapping.
async fn a_pin_on_an_unknown_mapping_is_refused(database: &Database) {
    let outcome = database.store.set_pin(&order("1", Some('a')), &[], &note(1)).await;
    assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{outcome:?}");
    assert_eq!(database.store.pin().await.unwrap().sha256, None);
    assert_eq!(database.store.recent(10).await.unwrap(), [], "what does not happen is not recorded");
}

/// ... and what is not recorded does not happen.
async fn a_pin_that_cannot_be_audited_is_not_set(database: &Database) {
    database.store.record_activation(&activation('a', 0), "one", &note(1)).await.unwrap();
    database.store.append(&[entry(2)]).await.unwrap();
    database.store.set_pin(&order("1", Some('a')), &[sha256('b')], &note(2)).await.unwrap_err();
    let pin = database.store.pin().await.unwrap();
    assert_eq!((pin.sha256, pin.replaces.len()), (None, 0));
}

async fn a_pin_replaces_what_every_gate_reports(database: &Database) {
    database.store.record_activation(&activation('a', 0), "one", &note(1)).await.unwrap();
    for (instance, mapping, file) in [("1", 'b', Some('c')), ("2", 'b', None), ("3", 'a', Some('a'))] {
        database.store.report_running(&report(instance, mapping, file)).await.unwrap();
    }
    database.store.set_pin(&order("1", Some('a')), &[], &note(2)).await.unwrap();
    let replaced =
        async || -> Vec<MappingSha256> { database.store.pin().await.unwrap().replaces.into_iter().collect() };
    assert_eq!(replaced().await, [sha256('b'), sha256('c')]);
    // A gate that had not reported adds its own; twice is once, and the pin before is over.
    for pin in ["1", "1", "0"] {
        let file = if pin == "1" { 'd' } else { 'e' };
        database.store.replace_by_pin(&PinId::new(pin), &sha256(file)).await.unwrap();
    }
    assert_eq!(replaced().await, [sha256('b'), sha256('c'), sha256('d')]);
    database.store.set_pin(&order("2", None), &[], &note(3)).await.unwrap();
    assert_eq!(replaced().await, []);
    database.store.replace_by_pin(&PinId::new("2"), &sha256('e')).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM gate_mapping_pin_files").await, 0);
}

/// What commands ask, without reading the whole history for it.
async fn the_history_is_asked_for_one_row(database: &Database) {
    let store = &database.store;
    assert_eq!(store.latest_activation().await.unwrap(), None);
    let refused = |digit, minutes| Activation { outcome: "refused", ..activation(digit, minutes) };
    let from = |previous, activation| Activation { previous: Some(sha256(previous)), ..activation };
    let steps = [
        activation('a', 0),
        from('a', activation('b', 1)),
        from('b', activation('a', 2)),
        from('a', refused('c', 3)),
        activation('a', 4),
        from('a', activation('a', 5)),
    ];
    for (number, step) in steps.iter().enumerate() {
        let number = u32::try_from(number).unwrap();
        store.record_activation(step, step.sha256.as_str(), &note(number)).await.unwrap();
    }
    let minute =
        |found: Option<StoredActivation>| found.map(|one| (one.activated_at_utc - noon()).num_minutes());
    assert_eq!(minute(store.latest_activation().await.unwrap()), Some(5));
    assert_eq!(minute(store.latest_activation_but(&sha256('a')).await.unwrap()), Some(1));
    assert_eq!(minute(store.latest_activation_but(&sha256('b')).await.unwrap()), Some(5));
    assert_eq!(minute(store.latest_step_to(&sha256('a')).await.unwrap()), Some(2));
    assert_eq!(minute(store.latest_step_to(&sha256('c')).await.unwrap()), None);
    for (beginning, expected) in [
        ("a", vec!['a']),
        ("aaaa", vec!['a']),
        ("", vec!['a', 'b']),
        ("c", vec![]),
        ("%", vec![]),
        ("_", vec![]),
    ] {
        let found = store.activated_beginning(beginning).await.unwrap();
        assert_eq!(found, expected.into_iter().map(sha256).collect::<Vec<_>>(), "{beginning}");
    }
}

on_both!(
    an_activation_keeps_the_text_and_is_audited,
    the_history_has_the_latest_first,
    a_text_does_not_change_under_its_hash,
    an_activation_that_cannot_be_audited_leaves_nothing,
    an_activation_that_is_refused_leaves_no_audit_row,
    a_pin_is_set_changed_and_cleared,
    a_pin_on_an_unknown_mapping_is_refused,
    a_pin_that_cannot_be_audited_is_not_set,
    a_pin_replaces_what_every_gate_reports,
    the_history_is_asked_for_one_row,
);

//! The kill-switch and the promotion: what overrides the mapping.

use console_gate::store::control::ControlRow;

use crate::audit::note;
use crate::database::{Database, noon};

async fn nobody_has_flipped_the_flag_of_a_new_database(database: &Database) {
    let row = database.store.control().await.unwrap();
    assert_eq!(row, ControlRow { epoch: row.epoch, rbac_v2: None, promoted: false, console_watched: true });
    assert_eq!(row.epoch.0, database.epoch().await);
}

async fn the_flag_follows_each_flip_and_each_is_audited(database: &Database) {
    for (number, enabled) in (1..).zip([true, false, false, true]) {
        let note = note(number);
        database.store.set_rbac_v2(enabled, "anna", noon(), &note).await.unwrap();
        assert_eq!(database.store.control().await.unwrap().rbac_v2, Some(enabled));
        let audited = database.store.recent(100).await.unwrap();
        assert_eq!(audited.len(), number as usize);
        assert_eq!(audited[0].id, note.record().id.to_string());
    }
    let by = "SELECT name || ' ' || changed_by FROM gate_flags";
    assert_eq!(database.texts(by).await, ["FLAG_RBAC_V2 anna"]);
}

/// Audit first (I-9): when the record cannot be written, the flag does not move.
async fn a_flip_that_cannot_be_audited_does_not_happen(database: &Database) {
    database.store.set_rbac_v2(true, "anna", noon(), &note(1)).await.unwrap();
    let before = database.store.control().await.unwrap();
    database.store.set_rbac_v2(false, "anna", noon(), &note(1)).await.unwrap_err();
    assert_eq!(database.store.control().await.unwrap(), before);
}

/// Another flag's row says nothing of this one.
async fn another_flag_does_not_count(database: &Database) {
    database
        .execute("INSERT INTO gate_flags (name, enabled, changed_by) VALUES ('FLAG_RBAC_V3', TRUE, 'anna')")
        .await;
    assert_eq!(database.store.control().await.unwrap().rbac_v2, None);
}

/// Invariant I-11: V2 is enforced in production only with a row that states exactly that.
async fn only_production_is_promoted(database: &Database) {
    let table = [
        ("current_env = 'staging'", false),
        ("current_env = 'production'", true),
        ("current_env = 'Production'", false),
        ("current_env = 'production '", false),
        ("current_env = 'preproduction'", false),
        ("current_env = ''", false),
        ("flag = 'FLAG_OTHER', current_env = 'production'", false),
    ];
    for (change, promoted) in table {
        database.execute(&format!("UPDATE console_flag_promotions SET {change}")).await;
        assert_eq!(database.store.control().await.unwrap().promoted, promoted, "{change}");
    }
    database.execute("DELETE FROM console_flag_promotions").await;
    assert!(!database.store.control().await.unwrap().promoted, "no row");
}

on_both!(
    nobody_has_flipped_the_flag_of_a_new_database,
    the_flag_follows_each_flip_and_each_is_audited,
    a_flip_that_cannot_be_audited_does_not_happen,
    another_flag_does_not_count,
    only_production_is_promoted,
);

//! The kill-switch and the promotion: what overrides the mapping.

use std::time::{Duration, Instant};

use store::control::ControlRow;

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

/// What the look at triggers, parts, views and columns costs at each read of the control row: 10,000 reads with what is
/// written down and 10,000 without it, turn and turn about. It asserts nothing about time: run it with `--nocapture`.
async fn the_look_at_the_triggers_is_timed(database: &Database) {
    const TURNS: u32 = 100;
    const READS: u32 = 100;
    const VERSION: &str =
        "UPDATE gate_console_watched SET schema_version = (SELECT schema_version FROM pragma_schema_version)";
    database.execute("CREATE TABLE aside AS SELECT * FROM gate_console_watched").await;
    let back = "DELETE FROM gate_console_watched; INSERT INTO gate_console_watched SELECT * FROM aside";
    // Without the row, nothing is compared.
    let nothing = "DELETE FROM gate_console_watched".to_owned();
    let states = if database.is_postgres() {
        vec![("without a look", nothing, false), ("with it", back.to_owned(), true)]
    } else {
        let changed = format!("{back}; UPDATE gate_console_watched SET schema_version = -1");
        vec![
            ("without a look", nothing, false),
            ("with it, the schema as it was", format!("{back}; {VERSION}"), true),
            ("with it, after a change of the schema", changed, true),
        ]
    };
    let mut sums = vec![Duration::ZERO; states.len()];
    for _ in 0..TURNS {
        for (sum, (_, statement, is_watched)) in sums.iter_mut().zip(&states) {
            database.execute(statement).await;
            assert_eq!(database.store.control().await.unwrap().console_watched, *is_watched);
            let began = Instant::now();
            for _ in 0..READS {
                database.store.control().await.unwrap();
            }
            *sum += began.elapsed();
        }
    }
    let each = |sum: Duration| sum.as_secs_f64() * 1e6 / f64::from(TURNS * READS);
    for ((what, ..), sum) in states.iter().zip(&sums) {
        let (each, without) = (each(*sum), each(sums[0]));
        println!("{what}: {each:.0} us a read, {:+.0} us, {:.2} times", each - without, each / without);
    }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn the_look_at_the_triggers_is_timed_on_sqlite() {
    the_look_at_the_triggers_is_timed(&Database::sqlite().await).await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn the_look_at_the_triggers_is_timed_on_postgres() {
    the_look_at_the_triggers_is_timed(&Database::postgres().await).await;
}

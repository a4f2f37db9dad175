//! Rows past their retention period are deleted, others stay, and the database itself refuses to delete younger rows.

use chrono::{Months, TimeDelta};
use store::StoreError;
use store::retention::{Cutoffs, Expired};

use crate::audit::note;
use crate::database::Database;

/// Rows beside each cutoff, a day to either side.
async fn fill(database: &Database) -> Cutoffs {
    let now = chrono::Utc::now();
    let cutoffs = Cutoffs {
        grants_audit: now - Months::new(84),
        ticket_grants: now - Months::new(24),
        drift: now - TimeDelta::days(90),
    };
    let day = TimeDelta::days(1);
    let at = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
    let (old, young) = (at(cutoffs.grants_audit - day), at(cutoffs.grants_audit + day));
    let (ended, recent) = (at(cutoffs.ticket_grants - day), at(cutoffs.ticket_grants + day));
    let (quiet, seen) = (at(cutoffs.drift - day), at(cutoffs.drift + day));
    database
        .execute(&format!(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO rbac_grants_audit (id, event_type, target_user_id, granted_by, created_at_utc)
             VALUES ('old', 'grant', 'anna', 'ben', '{old}'), ('young', 'grant', 'anna', 'ben', '{young}');
             INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by, expires_at_utc,
                                             revoked_at_utc)
             SELECT t.id, 'anna', r.id, '7', 1, 'ben', t.expires, t.revoked
               FROM (SELECT id FROM rbac_roles ORDER BY id LIMIT 1) r,
                    ({tickets}) t;
             INSERT INTO gate_drift_events (id, cluster, route, method, actor_kind, actor_id, direction, legacy_answer,
                                            v2_answer, mapping_sha256, last_seen_at_utc)
             VALUES ('quiet', 'S1', 'r', 'GET', 'admin', 'anna', 'would_newly_deny', 'allow', 'deny', 'm', '{quiet}'),
                    ('seen', 'S1', 's', 'GET', 'admin', 'anna', 'would_newly_deny', 'allow', 'deny', 'm', '{seen}')",
            tickets = tickets(database, &ended, &recent),
        ))
        .await;
    cutoffs
}

/// Expired long ago; revoked long ago though it would run on; ended of late; without an end.
fn tickets(database: &Database, ended: &str, recent: &str) -> String {
    let time = if database.is_postgres() { "TIMESTAMPTZ" } else { "TEXT" };
    let row = |id: &str, expires: Option<&str>, revoked: Option<&str>| {
        let value = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        format!(
            "SELECT '{id}' AS id, CAST({} AS {time}) AS expires, CAST({} AS {time}) AS revoked",
            value(expires),
            value(revoked)
        )
    };
    [
        row("expired", Some(ended), None),
        row("revoked", Some(recent), Some(ended)),
        row("recent", Some(recent), None),
        row("open", None, None),
    ]
    .join(" UNION ALL ")
}

async fn what_is_old_enough_goes_and_the_rest_stays(database: &Database) {
    let cutoffs = fill(database).await;
    let expired = database.store.expired(&cutoffs).await.unwrap();
    assert_eq!(expired, Expired { grants_audit: 1, ticket_grants: 2, drift: 1 });
    let now = chrono::Utc::now();
    let wrong = Expired { drift: 2, ..expired };
    let outcome = database.store.apply_retention(&cutoffs, wrong, now, &note(1)).await;
    assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{outcome:?}");
    assert_eq!(database.store.expired(&cutoffs).await.unwrap(), expired);

    database.store.apply_retention(&cutoffs, expired, now, &note(2)).await.unwrap();
    assert_eq!(database.store.expired(&cutoffs).await.unwrap(), Expired::default());
    assert_eq!(database.texts("SELECT id FROM rbac_grants_audit").await, ["young"]);
    assert_eq!(database.texts("SELECT id FROM rbac_ticket_grants ORDER BY id").await, ["open", "recent"]);
    let archived = "SELECT id FROM rbac_ticket_grants_archive ORDER BY id";
    assert_eq!(database.texts(archived).await, ["expired", "revoked"]);
    assert_eq!(database.texts("SELECT id FROM gate_drift_events").await, ["seen"]);
    assert_eq!(database.store.recent(9).await.unwrap().len(), 1, "recorded once");
    // An erased admin is erased in the archive too (I-6).
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert!(database.texts(archived).await.is_empty());
}

async fn a_younger_row_of_the_grants_audit_stays_whatever_is_asked(database: &Database) {
    let cutoffs = fill(database).await;
    let eager = Cutoffs { grants_audit: chrono::Utc::now(), ..cutoffs };
    let expired = database.store.expired(&eager).await.unwrap();
    let outcome = database.store.apply_retention(&eager, expired, chrono::Utc::now(), &note(1)).await;
    assert!(outcome.is_err());
    assert_eq!(database.texts("SELECT id FROM rbac_grants_audit ORDER BY id").await, ["old", "young"]);
}

on_both!(
    what_is_old_enough_goes_and_the_rest_stays,
    a_younger_row_of_the_grants_audit_stays_whatever_is_asked,
);

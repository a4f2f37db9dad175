//! Sign-offs: one for each disagreement, audited, and gone with their admin.

use chrono::TimeDelta;
use policy::decision::Direction;
use policy::ids::AdminId;
use policy::rbac::census::CallerKind;
use store::evidence::EvidenceKind::Drift;
use store::retention::Cutoffs;
use workbench::drift::{Fingerprints, Key, SignOff};

use crate::audit::note;
use crate::database::{Database, noon};
use crate::drift::{BOUND, disagreement};
use crate::evidence::mark;

/// About what `disagreement(route, _)` makes.
pub(crate) fn sign_off(route: &str) -> SignOff {
    SignOff {
        key: Key {
            route: route.into(),
            actor_kind: CallerKind::Admin,
            actor_id: "anna".into(),
            direction: Direction::WouldNewlyDeny,
        },
        reason: "she leaves in May".into(),
        signed_by: "ben".into(),
        signed_at_utc: noon(),
        fingerprints: Fingerprints { demand_sha256: "d".into(), grants_sha256: "g".into() },
    }
}

async fn a_later_one_replaces_it_and_each_is_audited(database: &Database) {
    let other = Key { direction: Direction::WouldNewlyAllow, ..sign_off("a").key };
    let other = SignOff { key: other, ..sign_off("a") };
    let later = SignOff {
        reason: "she stays".into(),
        signed_by: "cleo".into(),
        signed_at_utc: noon() + TimeDelta::hours(1),
        fingerprints: Fingerprints { demand_sha256: "d2".into(), grants_sha256: "g2".into() },
        ..sign_off("a")
    };
    for (number, one) in (1..).zip([&sign_off("a"), &other, &sign_off("b"), &later]) {
        database.store.sign_off(one, &note(number)).await.unwrap();
        assert_eq!(database.store.recent(100).await.unwrap().len(), number as usize);
    }
    assert_eq!(database.store.sign_offs().await.unwrap(), [other, later, sign_off("b")]);
}

async fn one_is_withdrawn_once(database: &Database) {
    database.store.sign_off(&sign_off("a"), &note(1)).await.unwrap();
    database.store.sign_off(&sign_off("b"), &note(2)).await.unwrap();
    assert!(database.store.withdraw_sign_off(&sign_off("a").key, &note(3)).await.unwrap());
    assert!(!database.store.withdraw_sign_off(&sign_off("a").key, &note(4)).await.unwrap());
    assert_eq!(database.store.sign_offs().await.unwrap(), [sign_off("b")]);
    let audited = database.store.recent(100).await.unwrap().len();
    assert_eq!(audited, 3, "what did not happen is not recorded");
}

/// Audit first (I-9): what cannot be recorded does not happen.
async fn one_that_cannot_be_audited_does_not_happen(database: &Database) {
    database.store.sign_off(&sign_off("a"), &note(1)).await.unwrap();
    database.store.sign_off(&sign_off("b"), &note(1)).await.unwrap_err();
    database.store.withdraw_sign_off(&sign_off("a").key, &note(1)).await.unwrap_err();
    assert_eq!(database.store.sign_offs().await.unwrap(), [sign_off("a")]);
}

async fn one_without_a_reason_is_refused(database: &Database) {
    for reason in ["", "  "] {
        let silent = SignOff { reason: reason.into(), ..sign_off("a") };
        database.store.sign_off(&silent, &note(1)).await.unwrap_err();
    }
    assert_eq!(database.store.sign_offs().await.unwrap(), []);
    assert_eq!(database.store.recent(100).await.unwrap().len(), 0);
}

async fn a_deleted_admin_is_forgotten_at_once(database: &Database) {
    for id in ["anna", "ben"] {
        database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
    }
    let of_ben = SignOff { key: Key { actor_id: "ben".into(), ..sign_off("a").key }, ..sign_off("a") };
    let of_token = Key { actor_kind: CallerKind::Machine, ..sign_off("a").key };
    let of_token = SignOff { key: of_token, ..sign_off("a") };
    for (number, one) in (1..).zip([&sign_off("a"), &of_ben, &of_token]) {
        database.store.sign_off(one, &note(number)).await.unwrap();
    }
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(database.store.sign_offs().await.unwrap(), [of_ben, of_token]);
}

/// Drift that is forgotten has to be reviewed again when it comes back.
async fn retention_forgets_it_with_the_last_sighting(database: &Database) {
    let day = TimeDelta::days(1);
    let mut old = disagreement("old", 1);
    (old.first_seen_at, old.last_seen_at) = (noon() - day, noon() - day);
    let mut both = disagreement("both", 1);
    (both.first_seen_at, both.last_seen_at) = (noon() - day, noon() - day);
    both.mapping_sha256 = "cd".repeat(32).into();
    let events = [old, both, disagreement("both", 1)];
    database.store.record_drift(&events, BOUND, &mark(Drift)).await.unwrap();
    for (number, route) in (1..).zip(["old", "both"]) {
        database.store.sign_off(&sign_off(route), &note(number)).await.unwrap();
    }
    let cutoffs = Cutoffs { grants_audit: noon() - day, ticket_grants: noon() - day, drift: noon() };
    let expired = database.store.expired(&cutoffs).await.unwrap();
    assert_eq!(expired.drift, 2);
    database.store.apply_retention(&cutoffs, expired, noon(), &note(3)).await.unwrap();
    assert_eq!(database.store.sign_offs().await.unwrap(), [sign_off("both")]);
}

on_both!(
    a_later_one_replaces_it_and_each_is_audited,
    one_is_withdrawn_once,
    one_that_cannot_be_audited_does_not_happen,
    one_without_a_reason_is_refused,
    a_deleted_admin_is_forgotten_at_once,
    retention_forgets_it_with_the_last_sighting,
);

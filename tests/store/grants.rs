//! Access is the union of the live grants: ending one never ends another, and what ends by itself needs no job.

use chrono::{DateTime, TimeDelta, Utc};
use grants::{AdminTable, By, PeopleError, Terms};
use ledger::event::Way;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::Access;
use policy::rbac::grant::Origin;
use store::access_grants::GrantsOf;
use store::rbac_changes::{RbacChange, TimedGrant};

use crate::audit::notary;
use crate::database::{Database, literal, noon};

const TERMS: Terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
const GROUP: &str = "raxx-devops-team";

async fn change(database: &Database, wanted: &[RbacChange], now: DateTime<Utc>) -> Result<(), PeopleError> {
    let by = By { name: "olga", reason: Some("a deploy"), way: Way::Command, now };
    grants::change(&database.store, &notary(), wanted, TERMS, by).await.map(drop)
}

async fn held(database: &Database, now: DateTime<Utc>) -> Access {
    let subject = Subject::Admin { id: AdminId::new("anna"), session: None };
    database.store.access(&subject, now).await.unwrap()
}

fn timed(id: &str, origin: Origin, starts: DateTime<Utc>, ends: DateTime<Utc>) -> RbacChange {
    RbacChange::GrantUntil {
        grant: TimedGrant {
            id: id.into(),
            admin: "anna".into(),
            group: GROUP.into(),
            origin,
            request: None,
            starts,
            ends,
        },
    }
}

fn end(id: &str) -> RbacChange {
    RbacChange::EndGrant { id: id.into(), admin: "anna".into(), group: GROUP.into() }
}

fn orders<T: Clone>(of: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = of.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(rest) {
        for place in 0..=order.len() {
            let mut longer = order.clone();
            longer.insert(place, first.clone());
            all.push(longer);
        }
    }
    all
}

/// Elsewhere, revoking one of two overlapping grants took the other away too, or left both
/// (aws-samples/iam-identity-center-team, issue 279). Here four grants of one group are ended in each of 24 orders.
async fn overlapping_grants_end_one_by_one_in_every_order(database: &Database) {
    let (now, tomorrow) = (noon(), noon() + TimeDelta::days(1));
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    let join = RbacChange::Join { admin: "anna".into(), group: GROUP.into() };
    let leave = RbacChange::Leave { admin: "anna".into(), group: GROUP.into() };
    for (round, order) in orders(&[0, 1, 2, 3]).into_iter().enumerate() {
        let ids = ["a", "b", "c"].map(|id| format!("{id}{round}"));
        let wanted = [
            join.clone(),
            timed(&ids[0], Origin::Timed, now, tomorrow),
            timed(&ids[1], Origin::Timed, now, tomorrow),
            timed(&ids[2], Origin::Request, now, now + TimeDelta::hours(2)),
        ];
        change(database, &wanted, now).await.unwrap();
        for (done, which) in order.iter().enumerate() {
            let access = held(database, now).await;
            assert!(access.groups.contains(GROUP), "{order:?}: {done} of 4 ended");
            assert!(access.roles.contains("console-flag-admin"), "{order:?}: {done} of 4 ended");
            let one = if *which == 0 { leave.clone() } else { end(&ids[*which - 1]) };
            change(database, &[one], now).await.unwrap();
        }
        let access = held(database, now).await;
        assert!(!access.groups.contains(GROUP) && access.roles.is_empty(), "{order:?}: all ended");
    }
    // Each grant and each end has its row.
    let rows = |kind: &str| format!("SELECT count(*) FROM rbac_grants_audit WHERE event_type = '{kind}'");
    assert_eq!(database.number(&rows("grant")).await, 24 * 4);
    assert_eq!(database.number(&rows("revoke")).await, 24 * 4);
    let with_end =
        "SELECT count(*) FROM rbac_grants_audit WHERE event_type = 'grant' AND expires_at_utc IS NOT NULL";
    assert_eq!(database.number(with_end).await, 24 * 3);
    assert_eq!(
        database.number("SELECT count(*) FROM gate_rbac_changes").await,
        0,
        "commands are no raw writes"
    );
}

async fn a_grant_counts_from_its_start_until_its_end(database: &Database) {
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    let (starts, ends) = (noon() + TimeDelta::hours(1), noon() + TimeDelta::hours(2));
    change(database, &[timed("a", Origin::Timed, starts, ends)], noon()).await.unwrap();
    let microsecond = TimeDelta::microseconds(1);
    let table = [
        (noon(), false, Some(starts)),
        (starts - microsecond, false, Some(starts)),
        (starts, true, Some(ends)),
        (ends - microsecond, true, Some(ends)),
        (ends, false, None),
    ];
    for (now, is_member, valid_until) in table {
        let access = held(database, now).await;
        assert_eq!((access.groups.contains(GROUP), access.valid_until), (is_member, valid_until), "{now}");
    }
    let never = timed("b", Origin::Timed, starts, starts);
    assert!(matches!(change(database, &[never], noon()).await, Err(PeopleError::Ended(_))));
    let over = timed("c", Origin::Timed, noon() - TimeDelta::hours(2), noon());
    assert!(matches!(change(database, &[over], noon()).await, Err(PeopleError::Ended(_))));
}

/// A row is revoked and not changed: an update by hand cannot lengthen it, and each write by hand is recorded.
async fn a_grant_cannot_be_changed_and_writes_by_hand_are_recorded(database: &Database) {
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    let insert = format!(
        "INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
         VALUES ('g', 'anna', '{GROUP}', 'timed', 'eve', {0}, {0}, {1})",
        literal(noon()),
        literal(noon() + TimeDelta::hours(1))
    );
    database.execute(&insert).await;
    let later = literal(noon() + TimeDelta::days(3650));
    for refused in [
        format!("UPDATE gate_grants SET ends_at_utc = {later}"),
        "UPDATE gate_grants SET admin_id = 'ben'".to_owned(),
        format!("UPDATE gate_grants SET revoked_at_utc = {later}, revoked_by = 'eve', ends_at_utc = {later}"),
        "DELETE FROM gate_grants".to_owned(),
    ] {
        assert!(database.attempt(&refused).await.is_err(), "{refused}");
    }
    let revoke = format!("UPDATE gate_grants SET revoked_at_utc = {}, revoked_by = 'eve'", literal(noon()));
    database.execute(&revoke).await;
    assert!(held(database, noon()).await.groups.is_empty());
    let undo = "UPDATE gate_grants SET revoked_at_utc = NULL, revoked_by = NULL";
    assert!(database.attempt(undo).await.is_err(), "what was revoked stays revoked");
    let writes = database.store.rbac_writes(None, 10).await.unwrap();
    let writes: Vec<String> = writes
        .iter()
        .map(|write| format!("{} {} {}", write.relation, write.statement, write.change))
        .collect();
    assert_eq!(writes, ["gate_grants update removed", "gate_grants insert added"]);
}

/// A new group may be given the id of one that went, and an admin that of one who went.
async fn a_deleted_group_or_admin_takes_its_grants_along(database: &Database) {
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    let (now, tomorrow) = (noon(), noon() + TimeDelta::days(1));
    let group = RbacChange::CreateGroup { group: "night".into(), description: String::new() };
    let RbacChange::GrantUntil { grant } = timed("n", Origin::Timed, now, tomorrow) else { unreachable!() };
    let night = RbacChange::GrantUntil { grant: TimedGrant { group: "night".into(), ..grant } };
    change(database, &[group, night], now).await.unwrap();
    change(database, &[timed("d", Origin::Timed, now, tomorrow)], now).await.unwrap();
    assert_eq!(held(database, now).await.groups.len(), 2);
    database.execute("DELETE FROM rbac_groups WHERE name = 'night'").await;
    database.execute("INSERT INTO rbac_groups (id, name) VALUES ('night', 'night')").await;
    assert_eq!(held(database, now).await.groups.iter().map(|name| &**name).collect::<Vec<_>>(), [GROUP]);
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    assert!(held(database, now).await.groups.is_empty());
    assert_eq!(database.store.access_grants(GrantsOf::default()).await.unwrap(), []);
}

/// A session of ten years that was written by SQL opened everything for ten years; a session of somebody who may have none
/// opened it at all (RBAC V2 design, I-4 and section 6).
async fn a_break_glass_session_keeps_its_rules_whatever_its_row_says(database: &Database) {
    for (id, group) in [("anna", Some("raxx-platform-admins")), ("ben", None), ("cleo", Some("break-glass"))]
    {
        database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
        if let Some(group) = group {
            database.store.join_group(&AdminId::new(id), group, "t").await.unwrap();
        }
    }
    database
        .execute(
            "INSERT INTO rbac_roles (id, name) VALUES ('all-keys', 'all-keys');
             INSERT INTO rbac_group_roles (group_id, role_id)
             SELECT id, 'all-keys' FROM rbac_groups WHERE name = 'break-glass'",
        )
        .await;
    let holds = async |id: &str, now: DateTime<Utc>| {
        let subject = Subject::Admin { id: AdminId::new(id), session: None };
        database.store.access(&subject, now).await.unwrap().roles.contains("all-keys")
    };
    assert!(!holds("cleo", noon()).await, "a membership of `break-glass` grants none of its roles");
    for id in ["anna", "ben", "cleo"] {
        database
            .execute(&format!(
                "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
                 VALUES ('{id}', '{id}', 'a reason of enough letters', 'self', {}, {})",
                literal(noon()),
                literal(noon() + TimeDelta::days(3650))
            ))
            .await;
    }
    let (last, over) = (noon() + TimeDelta::minutes(239), noon() + TimeDelta::hours(4));
    for (id, expected) in [("anna", true), ("ben", false), ("cleo", true)] {
        assert_eq!((holds(id, noon()).await, holds(id, last).await), (expected, expected), "{id}");
        assert!(!holds(id, over).await, "{id}: four hours at most");
        let census = database.store.census(last).await.unwrap();
        let person = census.iter().find(|person| *person.id == *id).unwrap();
        assert_eq!(person.break_glass, expected, "{id}");
    }
    database.store.leave_group(&AdminId::new("anna"), "raxx-platform-admins").await.unwrap();
    assert!(!holds("anna", noon()).await, "who may have no session any more has none");
}

async fn grants_of_every_origin_are_listed(database: &Database) {
    database.store.add_admin(&AdminId::new("anna"), "anna@example.org", "Anna").await.unwrap();
    database.store.join_group(&AdminId::new("anna"), GROUP, "ben").await.unwrap();
    let tomorrow = noon() + TimeDelta::days(1);
    change(database, &[timed("t", Origin::Timed, noon(), tomorrow)], noon()).await.unwrap();
    change(database, &[timed("r", Origin::Request, noon(), tomorrow)], noon()).await.unwrap();
    database
        .execute(&format!(
            "INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by)
             VALUES ('k', 'anna', 'raptor-audit-support', 'T-1', 7, 'ben');
             INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
             VALUES ('s', 'anna', 'fire', 'self', {}, {})",
            literal(noon()),
            literal(tomorrow)
        ))
        .await;
    let grants = database.store.access_grants(GrantsOf::default()).await.unwrap();
    let listed: Vec<_> =
        grants.iter().map(|one| (one.origin.word(), one.id.as_deref(), one.is_live(noon()))).collect();
    assert_eq!(
        listed,
        [
            ("break_glass", Some("s"), true),
            ("direct", None, true),
            ("request", Some("r"), true),
            ("ticket", Some("k"), true),
            ("timed", Some("t"), true)
        ]
    );
    assert!(!grants[0].is_live(noon() + TimeDelta::hours(4)), "a session lasts for four hours at most");
    let wanted = GrantsOf { admin: Some("anna"), of: Some("raptor-audit-support") };
    let ticket = database.store.access_grants(wanted).await.unwrap().remove(0);
    assert_eq!((ticket.ticket.as_deref(), ticket.customer, ticket.ends), (Some("T-1"), Some(7), None));
    let nobody = GrantsOf { admin: Some("ben"), of: None };
    assert_eq!(database.store.access_grants(nobody).await.unwrap(), []);
}

on_both!(
    overlapping_grants_end_one_by_one_in_every_order,
    a_grant_counts_from_its_start_until_its_end,
    a_grant_cannot_be_changed_and_writes_by_hand_are_recorded,
    a_deleted_group_or_admin_takes_its_grants_along,
    a_break_glass_session_keeps_its_rules_whatever_its_row_says,
    grants_of_every_origin_are_listed,
);

//! What is kept of everybody is what a read would find, whoever wrote since, and whatever time it is.

use chrono::TimeDelta;
use policy::ids::AdminId;
use store::rbac_changes::StoredMembership;

use crate::database::{Database, noon};

/// Writes around the gate, as Console and operators make them: each alters an answer about somebody.
const WRITES: [&str; 12] = [
    "INSERT INTO rbac_groups (id, name) VALUES ('new', 'new')",
    "INSERT INTO rbac_user_groups (user_id, group_id, granted_by) VALUES ('anna', 'new', 'ben')",
    "UPDATE rbac_groups SET name = 'newer' WHERE id = 'new'",
    "INSERT INTO rbac_roles (id, name) VALUES ('r', 'r')",
    "INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('new', 'r')",
    "UPDATE rbac_user_groups SET granted_by = 'cleo' WHERE group_id = 'new'",
    "INSERT INTO gate_blocked_admins (admin_id, blocked_by, blocked_at_utc) VALUES ('ben', 'anna', '2026-03-29T11:00:00+00:00')",
    "INSERT INTO gate_grantors (kind, name, grantor_group, with_approval, added_by, added_at_utc)
     VALUES ('group', 'newer', 'raxx-devops-team', FALSE, 'ben', '2026-03-29T12:00:00+00:00')",
    "UPDATE admins SET disabled_at_utc = '2026-01-01T00:00:00+00:00' WHERE id = 'anna'",
    "UPDATE admins SET disabled_at_utc = NULL WHERE id = 'anna'",
    "DELETE FROM rbac_user_groups WHERE group_id = 'new'",
    "DELETE FROM admins WHERE id = 'ben'",
];

async fn it_is_what_a_read_finds(database: &Database) {
    let store = &database.store;
    let other = Database::open(&database.url).await;
    for id in ["anna", "ben"] {
        store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
    }
    store.join_group(&AdminId::new("anna"), "raxx-devops-team", "t").await.unwrap();
    compare(database, TimeDelta::zero()).await;
    for statement in WRITES {
        let before = store.everybody(noon()).await.unwrap().unwrap();
        let again = store.everybody(noon()).await.unwrap().unwrap();
        assert!(std::sync::Arc::ptr_eq(&before.people, &again.people), "it is kept before: {statement}");
        other.execute(statement).await;
        compare(database, TimeDelta::zero()).await;
    }
    // A grant and a session that begin and end: before, at and after each, in any order.
    other
        .execute(
            "INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
             SELECT 'g', 'anna', CAST(id AS TEXT), 'timed', 'ben', '2026-03-29T11:00:00+00:00',
                    '2026-03-29T12:00:10+00:00', '2026-03-29T12:00:20+00:00' FROM rbac_groups WHERE name = 'raxx-platform-admins';
             INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
             VALUES ('s', 'anna', 'fire', 'anna', '2026-03-29T12:00:15+00:00', '2099-01-01T00:00:00+00:00')",
        )
        .await;
    let seconds = [0, 9, 10, 14, 15, 19, 20, 21, 15, 5, 4 * 3_600 + 14, 4 * 3_600 + 15, 4 * 3_600 + 16, 0];
    let mut seen = Vec::new();
    for second in seconds {
        seen.push(compare(database, TimeDelta::seconds(second)).await);
    }
    assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
}

/// Compares both with reads of their own, and returns whether Anna is a platform admin then.
async fn compare(database: &Database, after: TimeDelta) -> bool {
    let (store, now) = (&database.store, noon() + after);
    for _ in 0..2 {
        let kept = store.everybody(now).await.unwrap().unwrap();
        assert_eq!(*kept.people, store.census(now).await.unwrap(), "at {now}");
        let catalog = store.catalog().await.unwrap();
        assert_eq!(
            (&kept.catalog.groups, &kept.catalog.group_roles),
            (&catalog.groups, &catalog.group_roles)
        );
        let granted = store.granted(now).await.unwrap().unwrap();
        let mut memberships: Vec<StoredMembership> = store.memberships().await.unwrap();
        memberships.sort_by(|one, other| (&one.admin, &one.group).cmp(&(&other.admin, &other.group)));
        assert_eq!(*granted.memberships, *memberships, "at {now}");
        assert_eq!(*granted.grantors, *store.grantors().await.unwrap());
    }
    let people = store.census(now).await.unwrap();
    let anna = people.iter().find(|person| &*person.id == "anna");
    anna.is_some_and(|person| person.groups.contains("raxx-platform-admins"))
}

/// Where a change of Console's tables would not be heard, nothing is kept.
async fn nothing_is_kept_without_the_triggers(database: &Database) {
    let store = &database.store;
    store.add_admin(&AdminId::new("anna"), "anna@example.org", "anna").await.unwrap();
    database.store.release(store::schema::migrations::MigrationTerms::default(), &|_| {}).await.unwrap();
    let before = store.everybody(noon()).await.unwrap().unwrap();
    let again = store.everybody(noon()).await.unwrap().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&before.people, &again.people));
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert!(store.everybody(noon()).await.unwrap().unwrap().people.is_empty());
}

on_both!(it_is_what_a_read_finds, nothing_is_kept_without_the_triggers);

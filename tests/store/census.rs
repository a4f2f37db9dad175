//! Everybody at once: who is active, and what was granted to each, the same as `access` reads for each alone.

use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::LegacyRole;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person};

use crate::database::{Database, noon};

fn person(kind: CallerKind, id: &str, legacy: &[LegacyRole], groups: &[&str]) -> Person {
    Person {
        kind,
        id: id.into(),
        legacy: legacy.iter().cloned().collect(),
        groups: groups.iter().map(|group| (*group).into()).collect(),
        break_glass: false,
    }
}

async fn active_principals_are_listed_with_their_grants(database: &Database) {
    for id in ["anna", "ben", "cleo", "dora"] {
        database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
    }
    let anna = AdminId::new("anna");
    database.store.add_legacy_role(&anna, &LegacyRole::literal("ops"), "t").await.unwrap();
    database.store.add_legacy_role(&anna, &LegacyRole::literal("support"), "t").await.unwrap();
    database.store.join_group(&anna, "raxx-devops-team", "t").await.unwrap();
    database.store.join_group(&AdminId::new("cleo"), "raxx-devops-team", "t").await.unwrap();
    let disable = "UPDATE admins SET disabled_at_utc = '2026-01-01T00:00:00+00:00' WHERE id = 'cleo'";
    database.execute(disable).await;
    database
        .execute(
            "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, expires_at_utc)
             VALUES ('s', 'dora', 'fire', 'ben', '2099-01-01T00:00:00+00:00')",
        )
        .await;
    let mut expected = [
        person(
            CallerKind::Admin,
            "anna",
            &[LegacyRole::literal("ops"), LegacyRole::literal("support")],
            &["raxx-devops-team"],
        ),
        person(CallerKind::Admin, "ben", &[], &[]),
        person(CallerKind::Admin, "dora", &[], &[]),
    ];
    expected[2].break_glass = true;
    let census = database.store.census(noon()).await.unwrap();
    assert_eq!(census, expected);

    let catalog = database.store.catalog().await.unwrap();
    for person in census {
        let subject = Subject::Admin { id: AdminId::new(person.id.clone()), session: None };
        let access = database.store.access(&subject, noon()).await.unwrap();
        let granted =
            person.groups.iter().map(AsRef::as_ref).chain(person.break_glass.then_some(BREAK_GLASS));
        let roles: std::collections::BTreeSet<_> =
            granted.flat_map(|group| catalog.roles_of_group(group)).collect();
        assert_eq!((access.legacy, access.groups, access.roles), (person.legacy, person.groups, roles));
    }
}

on_both!(active_principals_are_listed_with_their_grants);

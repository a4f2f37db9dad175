//! Everybody at once: who is active, and what was granted to each, the same as `access` reads for each alone.

use std::sync::Arc;

use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::LegacyRole;
use policy::rbac::census::{CallerKind, Person};

use crate::database::{Database, noon};

fn person(kind: CallerKind, id: &str, legacy: &[LegacyRole], groups: &[&str]) -> Person {
    Person {
        kind,
        id: id.into(),
        legacy: Arc::new(legacy.iter().cloned().collect()),
        groups: Arc::new(groups.iter().map(|group| (*group).into()).collect()),
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
            "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
             VALUES ('s', 'dora', 'fire', 'ben', '2026-03-29T11:00:00+00:00', '2099-01-01T00:00:00+00:00'),
                    ('t', 'ben', 'fire', 'ben', '2026-03-29T11:00:00+00:00', '2099-01-01T00:00:00+00:00');
             INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
             SELECT 'g', 'dora', CAST(id AS TEXT), 'timed', 'ben', '2026-03-29T11:00:00+00:00',
                    '2026-03-29T11:00:00+00:00', '2026-03-29T12:00:01+00:00' FROM rbac_groups WHERE name = 'raxx-platform-admins'",
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
        // Ben has a session too, and is in no group whose members may have one.
        person(CallerKind::Admin, "dora", &[], &["raxx-platform-admins"]),
    ];
    expected[2].break_glass = true;
    let census = database.store.census(noon()).await.unwrap();
    assert_eq!(census, expected);

    let catalog = database.store.catalog().await.unwrap();
    for person in census {
        let subject = Subject::Admin { id: AdminId::new(person.id.clone()), session: None };
        let access = database.store.access(&subject, noon()).await.unwrap();
        let roles = person.roles(&catalog);
        assert_eq!(
            (access.legacy, access.groups, access.roles),
            ((*person.legacy).clone(), (*person.groups).clone(), roles)
        );
    }
}

on_both!(active_principals_are_listed_with_their_grants);

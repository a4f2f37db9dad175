//! Admins, their sessions, groups and roles, by the store's own verbs.

use chrono::TimeDelta;
use policy::identity::Subject;
use policy::ids::{AdminId, SessionId};
use policy::rbac::{Access, LegacyRole, Standing};
use store::StoreError;
use store::people::StoredAdmin;

use crate::database::{Database, noon};

fn anna() -> AdminId {
    AdminId::new("anna")
}

async fn with_anna(database: &Database) -> Access {
    database.store.add_admin(&anna(), "anna@example.org", "Anna").await.unwrap();
    access(database, None).await
}

async fn access(database: &Database, session: Option<&SessionId>) -> Access {
    let subject = Subject::Admin { id: anna(), session: session.cloned() };
    database.store.access(&subject, noon()).await.unwrap()
}

async fn admins_are_listed_by_id(database: &Database) {
    let listed = |id: &str, name: &str| StoredAdmin {
        id: id.into(),
        email: format!("{id}@example.org"),
        display_name: Some(name.into()),
    };
    database.store.add_admin(&AdminId::new("ben"), "ben@example.org", "Ben").await.unwrap();
    database.store.add_admin(&anna(), "anna@example.org", "Änna").await.unwrap();
    assert_eq!(database.store.admins().await.unwrap(), [listed("anna", "Änna"), listed("ben", "Ben")]);
}

async fn an_admin_is_added_once(database: &Database) {
    with_anna(database).await;
    for (id, email) in [("anna", "other@example.org"), ("other", "anna@example.org")] {
        let outcome = database.store.add_admin(&AdminId::new(id), email, "Other").await;
        assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{id} {email}: {outcome:?}");
    }
    assert_eq!(database.store.admins().await.unwrap().len(), 1);
}

async fn a_new_admin_is_active_and_holds_nothing(database: &Database) {
    let access = with_anna(database).await;
    assert_eq!(access, Access { standing: Standing::Active, ..Access::nothing(access.epoch) });
}

async fn legacy_roles_are_a_set_without_hierarchy(database: &Database) {
    with_anna(database).await;
    let mut held = Vec::new();
    for role in ["ops", "readonly", "superadmin", "support"].map(LegacyRole::literal) {
        database.store.add_legacy_role(&anna(), &role, "ben").await.unwrap();
        held.push(role);
        assert_eq!(Vec::from_iter(access(database, None).await.legacy), held);
    }
    let again = database.store.add_legacy_role(&anna(), &LegacyRole::literal("ops"), "ben").await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
}

async fn a_group_is_joined_and_left(database: &Database) {
    with_anna(database).await;
    let groups =
        async || access(database, None).await.groups.iter().map(ToString::to_string).collect::<Vec<_>>();
    database.store.join_group(&anna(), "ops-admins", "ben").await.unwrap();
    database.store.join_group(&anna(), "ops-admins", "ben").await.expect("again is no error");
    database.store.join_group(&anna(), "break-glass", "ben").await.unwrap();
    assert_eq!(groups().await, ["break-glass", "ops-admins"]);
    database.store.leave_group(&anna(), "ops-admins").await.unwrap();
    assert_eq!(groups().await, ["break-glass"]);
    database.store.leave_group(&anna(), "ops-admins").await.expect("again is no error");
    assert_eq!(groups().await, ["break-glass"]);
}

/// A typing error must not pass for a membership that was granted, or taken away.
async fn an_unknown_group_or_admin_is_a_conflict(database: &Database) {
    with_anna(database).await;
    let nobody = AdminId::new("nobody");
    let outcomes = [
        ("joining an unknown group", database.store.join_group(&anna(), "ops-admin", "ben").await),
        ("leaving an unknown group", database.store.leave_group(&anna(), "ops-admin").await),
        ("an unknown admin joining", database.store.join_group(&nobody, "ops-admins", "ben").await),
        (
            "a role for an unknown admin",
            database.store.add_legacy_role(&nobody, &LegacyRole::literal("ops"), "ben").await,
        ),
        (
            "a session of an unknown admin",
            database.store.add_session(&SessionId::new("s"), &nobody, None).await,
        ),
    ];
    for (case, outcome) in outcomes {
        assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{case}: {outcome:?}");
    }
}

async fn a_session_is_valid_until_it_is_revoked_or_expires(database: &Database) {
    with_anna(database).await;
    let end = noon() + TimeDelta::microseconds(1);
    let (open, short, over) = (SessionId::new("open"), SessionId::new("short"), SessionId::new("over"));
    database.store.add_session(&open, &anna(), None).await.unwrap();
    database.store.add_session(&short, &anna(), Some(end)).await.unwrap();
    database.store.add_session(&over, &anna(), Some(noon())).await.unwrap();
    let table = [
        (&open, Standing::Active, None),
        (&short, Standing::Active, Some(end)),
        (&over, Standing::SessionEnded, None),
    ];
    for (session, standing, until) in table {
        let access = access(database, Some(session)).await;
        assert_eq!((access.standing, access.valid_until), (standing, until), "{session}");
    }
    database.store.revoke_session(&open, noon()).await.unwrap();
    assert_eq!(access(database, Some(&open)).await.standing, Standing::SessionEnded);
    assert_eq!(access(database, Some(&short)).await.standing, Standing::Active);
}

async fn a_group_is_created_with_exactly_its_roles(database: &Database) {
    database.store.add_group("night-shift", &["console-user", "velvet-admin"]).await.unwrap();
    database.store.add_group("empty", &[]).await.unwrap();
    let catalog = database.store.catalog().await.unwrap();
    let roles: Vec<&str> = catalog.group_roles["night-shift"].iter().map(|name| &**name).collect();
    assert_eq!(roles, ["console-user", "velvet-admin"]);
    assert!(catalog.groups.contains("empty") && !catalog.group_roles.contains_key("empty"));
}

async fn a_group_with_an_unknown_role_leaves_nothing(database: &Database) {
    let before = database.everything().await;
    let outcome = database.store.add_group("night-shift", &["console-user", "no-such-role"]).await;
    assert!(
        matches!(&outcome, Err(StoreError::Conflict(message)) if message.contains("no-such-role")),
        "{outcome:?}"
    );
    let taken = database.store.add_group("ops-admins", &["console-user"]).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    assert_eq!(database.everything().await, before);
}

on_both!(
    admins_are_listed_by_id,
    an_admin_is_added_once,
    a_new_admin_is_active_and_holds_nothing,
    legacy_roles_are_a_set_without_hierarchy,
    a_group_is_joined_and_left,
    an_unknown_group_or_admin_is_a_conflict,
    a_session_is_valid_until_it_is_revoked_or_expires,
    a_group_is_created_with_exactly_its_roles,
    a_group_with_an_unknown_role_leaves_nothing,
);

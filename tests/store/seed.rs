//! The seed is what the documents name, `tests/data/rbac_seed.toml`: all of it, and nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::database::{Database, repository};

#[derive(serde::Deserialize)]
struct Seed {
    group: Vec<Group>,
    role: Vec<Role>,
}

#[derive(serde::Deserialize)]
struct Group {
    name: String,
}

#[derive(serde::Deserialize)]
struct Role {
    name: String,
    #[serde(default)]
    inherits: Vec<String>,
    groups: Vec<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

/// The registry as sentences, so that a difference reads as what is missing or too much.
type Facts = BTreeSet<String>;

pub(crate) fn documented() -> Facts {
    let path = repository("tests/data/rbac_seed.toml");
    let seed: Seed = toml::from_str(&std::fs::read_to_string(path).expect("the seed")).expect("TOML");
    let mut facts = Facts::new();
    for group in &seed.group {
        facts.insert(format!("group {}", group.name));
    }
    for role in &seed.role {
        facts.insert(format!("role {}", role.name));
        facts.extend(role.inherits.iter().map(|parent| format!("{} inherits {parent}", role.name)));
        facts.extend(role.groups.iter().map(|group| format!("{group} holds {}", role.name)));
        for permission in &role.permissions {
            facts.insert(format!("permission {permission}"));
            facts.insert(format!("{} permits {permission}", role.name));
        }
    }
    facts
}

/// What the store reads.
pub(crate) async fn stored(database: &Database) -> Facts {
    let catalog = database.store.catalog().await.unwrap();
    let mut facts = Facts::new();
    facts.extend(catalog.groups.iter().map(|name| format!("group {name}")));
    facts.extend(catalog.roles.iter().map(|name| format!("role {name}")));
    facts.extend(catalog.permissions.iter().map(|name| format!("permission {name}")));
    let mut edges = |edges: &BTreeMap<Arc<str>, BTreeSet<Arc<str>>>, verb: &str| {
        for (subject, objects) in edges {
            facts.extend(objects.iter().map(|object| format!("{subject} {verb} {object}")));
        }
    };
    edges(&catalog.inherits, "inherits");
    edges(&catalog.group_roles, "holds");
    edges(&catalog.role_permissions, "permits");
    facts
}

async fn the_seed_is_the_documents_and_nothing_more(database: &Database) {
    let (documented, stored) = (documented(), stored(database).await);
    let missing: Vec<_> = documented.difference(&stored).collect();
    let invented: Vec<_> = stored.difference(&documented).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\ninvented: {invented:#?}");
    // The file itself is compared with the counts that a reader finds in the documents.
    let counts = |prefix: &str| documented.iter().filter(|fact| fact.starts_with(prefix)).count();
    assert_eq!((counts("group "), counts("role "), counts("permission ")), (8, 20, 7));
}

/// Nobody has anything yet, and V2 is off and not promoted.
async fn the_seed_grants_nobody_anything(database: &Database) {
    let empty = [
        "admins",
        "admin_roles",
        "admin_sessions",
        "rbac_user_groups",
        "rbac_ticket_grants",
        "rbac_break_glass_sessions",
        "gate_grants",
        "rbac_grants_audit",
        "gate_machine_tokens",
        "gate_machine_token_groups",
        "gate_machine_token_legacy_roles",
        "gate_flags",
        "gate_grantors",
        "gate_audit_events",
    ];
    for table in empty {
        assert_eq!(database.rows(table).await, Vec::<String>::new(), "{table}");
    }
    // The table that the seed has made is the gate's to write; one of Console's own is not.
    assert!(database.store.has_own_admins().await.unwrap());
    if database.is_postgres() {
        database.execute("COMMENT ON TABLE admins IS NULL").await;
        assert!(!database.store.has_own_admins().await.unwrap());
    }
    let promotions = "SELECT flag || ' ' || risk || ' ' || current_env FROM console_flag_promotions";
    assert_eq!(database.texts(promotions).await, ["FLAG_RBAC_V2 high staging"]);
}

on_both!(the_seed_is_the_documents_and_nothing_more, the_seed_grants_nobody_anything);

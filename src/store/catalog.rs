//! The registry of roles, groups and permissions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::rbac::catalog::Catalog;

/// Reads the registry.
#[async_trait]
pub trait CatalogStore {
    /// All of it, in one snapshot.
    async fn catalog(&self) -> Result<Catalog, StoreError>;
}

const CATALOG: &str = "
    SELECT 'group' AS kind, name AS subject, CAST(NULL AS TEXT) AS object FROM rbac_groups
    UNION ALL SELECT 'role', name, NULL FROM rbac_roles
    UNION ALL SELECT 'permission', name, NULL FROM rbac_permissions
    UNION ALL
    SELECT 'inherits', c.name, p.name
      FROM rbac_role_inheritance i
      JOIN rbac_roles c ON c.id = i.child_role_id
      JOIN rbac_roles p ON p.id = i.parent_role_id
    UNION ALL
    SELECT 'group_role', g.name, r.name
      FROM rbac_group_roles gr
      JOIN rbac_groups g ON g.id = gr.group_id
      JOIN rbac_roles r ON r.id = gr.role_id
    UNION ALL
    SELECT 'role_permission', r.name, p.name
      FROM rbac_role_permissions rp
      JOIN rbac_roles r ON r.id = rp.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

#[derive(sqlx::FromRow)]
struct Entry {
    kind: String,
    subject: String,
    object: Option<String>,
}

fn assemble(entries: Vec<Entry>) -> Result<Catalog, StoreError> {
    let mut catalog = Catalog::default();
    for Entry { kind, subject, object } in entries {
        let subject: Arc<str> = subject.into();
        let edges: &mut BTreeMap<_, _> = match (kind.as_str(), &object) {
            ("group", None) => {
                catalog.groups.insert(subject);
                continue;
            }
            ("role", None) => {
                catalog.roles.insert(subject);
                continue;
            }
            ("permission", None) => {
                catalog.permissions.insert(subject);
                continue;
            }
            ("inherits", Some(_)) => &mut catalog.inherits,
            ("group_role", Some(_)) => &mut catalog.group_roles,
            ("role_permission", Some(_)) => &mut catalog.role_permissions,
            _ => return Err(StoreError::Broken(format!("a registry entry of the kind `{kind}`"))),
        };
        if let Some(object) = object {
            edges.entry(subject).or_default().insert(object.into());
        }
    }
    Ok(catalog)
}

macro_rules! catalog_store {
    ($store:ty) => {
        #[async_trait]
        impl CatalogStore for $store {
            async fn catalog(&self) -> Result<Catalog, StoreError> {
                bounded(self.limit, async { assemble(sqlx::query_as(CATALOG).fetch_all(&self.pool).await?) })
                    .await
            }
        }
    };
}

catalog_store!(PostgresStore);
catalog_store!(SqliteStore);

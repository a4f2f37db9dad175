//! The registry of roles, groups and permissions.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::rbac::catalog::Catalog;

use crate::engine::sql::sql;
use crate::engine::tolerant::Lenient;
use crate::{Store, StoreError};

impl Store {
    /// All of the registry, in one snapshot.
    pub async fn catalog(&self) -> Result<Catalog, StoreError> {
        assemble(self.all(sql(CATALOG)).await?)
    }
}

const CATALOG: &str = "
    SELECT 'group' AS kind, CAST(name AS TEXT) AS subject, CAST(NULL AS TEXT) AS object FROM rbac_groups
    UNION ALL SELECT 'role', CAST(name AS TEXT), NULL FROM rbac_roles
    UNION ALL SELECT 'permission', CAST(name AS TEXT), NULL FROM rbac_permissions
    UNION ALL
    SELECT 'inherits', CAST(c.name AS TEXT), CAST(p.name AS TEXT)
      FROM rbac_role_inheritance i
      JOIN rbac_roles c ON c.id = i.child_role_id
      JOIN rbac_roles p ON p.id = i.parent_role_id
    UNION ALL
    SELECT 'group_role', CAST(g.name AS TEXT), CAST(r.name AS TEXT)
      FROM rbac_group_roles gr
      JOIN rbac_groups g ON g.id = gr.group_id
      JOIN rbac_roles r ON r.id = gr.role_id
    UNION ALL
    SELECT 'role_permission', CAST(r.name AS TEXT), CAST(p.name AS TEXT)
      FROM rbac_role_permissions rp
      JOIN rbac_roles r ON r.id = rp.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

#[derive(sqlx::FromRow)]
struct Entry {
    kind: String,
    #[sqlx(try_from = "Lenient<String>")]
    subject: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    object: Option<String>,
}

/// Entries without a name are left out, with the edges to and from them: no principal holds them.
fn assemble(entries: Vec<Entry>) -> Result<Catalog, StoreError> {
    let mut catalog = Catalog::default();
    for Entry { kind, subject, object } in entries {
        let Some(subject) = subject.map(Arc::from) else { continue };
        let edges = match kind.as_str() {
            "group" => {
                catalog.groups.insert(subject);
                continue;
            }
            "role" => {
                catalog.roles.insert(subject);
                continue;
            }
            "permission" => {
                catalog.permissions.insert(subject);
                continue;
            }
            "inherits" => &mut catalog.inherits,
            "group_role" => &mut catalog.group_roles,
            "role_permission" => &mut catalog.role_permissions,
            _ => return Err(StoreError::Broken(format!("a registry entry of the kind `{kind}`"))),
        };
        if let Some(object) = object {
            edges.entry(subject).or_insert_with(BTreeSet::new).insert(object.into());
        }
    }
    Ok(catalog)
}

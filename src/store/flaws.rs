//! The rows of the access tables that cannot be used, for the operator who corrects them.

use chrono::{DateTime, Utc};
use policy::rbac::flaw::{Flaw, FlawKind};

use super::connection::Connection;
use super::lenient::{Lenient, readable_times};
use super::sql::sql;
use super::{Store, StoreError};

impl Store {
    /// The rows that cannot be used, by kind, place and word.
    pub async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        let (first, last) = readable_times();
        let words = self.production_words().text().to_owned();
        self.bounded(async {
            let mut connection = self.pool.acquire().await?;
            let mut rows: Vec<FlawRow> =
                connection.all(sql(FLAWS).bind(first).bind(last).bind(words)).await?;
            if let Connection::Sqlite(_) = connection {
                let ends: Vec<FlawRow> = connection.all(sql(TEXTS_FOR_TIMES).bind(first).bind(last)).await?;
                rows.extend(ends.into_iter().filter(|end| end.until.is_none()));
            }
            rows.into_iter().map(Flaw::try_from).collect()
        })
        .await
    }
}

#[derive(sqlx::FromRow)]
struct FlawRow {
    kind: String,
    place: String,
    field: String,
    /// When something ends, of [`TEXTS_FOR_TIMES`] alone.
    #[sqlx(default, try_from = "Lenient<DateTime<Utc>>")]
    until: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Lenient<String>")]
    word: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    holder: Option<String>,
}

impl TryFrom<FlawRow> for Flaw {
    type Error = StoreError;

    fn try_from(row: FlawRow) -> Result<Self, StoreError> {
        Ok(Flaw {
            kind: FlawKind::parse(&row.kind)
                .ok_or_else(|| StoreError::Broken(format!("a flaw of the kind `{}`", row.kind)))?,
            table: row.place.into(),
            column: row.field.into(),
            word: row.word.map(Into::into),
            holder: row.holder.map(Into::into),
        })
    }
}

/// `$1` and `$2` are the first and the last time that can be read.
const FLAWS: &str = "
    SELECT 'unknown-role-word' AS kind, 'admin_roles' AS place, 'role' AS field,
           CAST(role AS TEXT) AS word, CAST(admin_id AS TEXT) AS holder
      FROM admin_roles
     WHERE role IS NULL OR CAST(role AS TEXT) NOT IN ('superadmin', 'ops', 'support', 'readonly')
    UNION ALL
    SELECT 'unknown-role-word', 'gate_machine_token_legacy_roles', 'role', role, token_id
      FROM gate_machine_token_legacy_roles
     WHERE role NOT IN ('superadmin', 'ops', 'support', 'readonly')

    UNION ALL SELECT 'unusable-row', 'admins', 'id', NULL, NULL FROM admins WHERE id IS NULL
    UNION ALL SELECT 'unusable-row', 'rbac_groups', 'id', NULL, CAST(name AS TEXT) FROM rbac_groups WHERE id IS NULL
    UNION ALL SELECT 'unusable-row', 'rbac_groups', 'name', NULL, CAST(id AS TEXT) FROM rbac_groups WHERE name IS NULL
    UNION ALL SELECT 'unusable-row', 'rbac_roles', 'id', NULL, CAST(name AS TEXT) FROM rbac_roles WHERE id IS NULL
    UNION ALL SELECT 'unusable-row', 'rbac_roles', 'name', NULL, CAST(id AS TEXT) FROM rbac_roles WHERE name IS NULL
    UNION ALL
    SELECT 'unusable-row', 'rbac_permissions', 'id', NULL, CAST(name AS TEXT) FROM rbac_permissions WHERE id IS NULL
    UNION ALL
    SELECT 'unusable-row', 'rbac_permissions', 'name', NULL, CAST(id AS TEXT) FROM rbac_permissions WHERE name IS NULL
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'id', NULL, CAST(admin_id AS TEXT) FROM admin_sessions WHERE id IS NULL
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'admin_id', NULL, CAST(id AS TEXT)
      FROM admin_sessions WHERE admin_id IS NULL

    UNION ALL
    SELECT 'unusable-row', 'admins', 'disabled_at_utc', CAST(disabled_at_utc AS TEXT), CAST(id AS TEXT)
      FROM admins WHERE NOT (disabled_at_utc > $1 AND disabled_at_utc < $2)
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'expires_at_utc', CAST(expires_at_utc AS TEXT), CAST(admin_id AS TEXT)
      FROM admin_sessions WHERE revoked_at_utc IS NULL AND NOT (expires_at_utc > $1 AND expires_at_utc < $2)
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'revoked_at_utc', CAST(revoked_at_utc AS TEXT), CAST(admin_id AS TEXT)
      FROM admin_sessions WHERE NOT (revoked_at_utc > $1 AND revoked_at_utc < $2)
    UNION ALL
    SELECT 'unusable-row', 'rbac_break_glass_sessions', 'expires_at_utc', CAST(expires_at_utc AS TEXT),
           CAST(user_id AS TEXT)
      FROM rbac_break_glass_sessions
     WHERE revoked_at_utc IS NULL
       AND (expires_at_utc IS NULL OR NOT (expires_at_utc > $1 AND expires_at_utc < $2))
    UNION ALL
    SELECT 'unusable-row', 'gate_machine_tokens', 'expires_at_utc', CAST(expires_at_utc AS TEXT), id
      FROM gate_machine_tokens WHERE revoked_at_utc IS NULL AND NOT (expires_at_utc > $1 AND expires_at_utc < $2)

    UNION ALL
    SELECT CASE WHEN r.admin_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'admin_roles', 'admin_id', CAST(r.admin_id AS TEXT), NULL
      FROM admin_roles r WHERE NOT EXISTS (SELECT 1 FROM admins a WHERE a.id = r.admin_id)
    UNION ALL
    SELECT CASE WHEN u.user_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_user_groups', 'user_id', CAST(u.user_id AS TEXT), NULL
      FROM rbac_user_groups u WHERE NOT EXISTS (SELECT 1 FROM admins a WHERE a.id = u.user_id)
    UNION ALL
    SELECT CASE WHEN u.group_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_user_groups', 'group_id', CAST(u.group_id AS TEXT), CAST(u.user_id AS TEXT)
      FROM rbac_user_groups u WHERE NOT EXISTS (SELECT 1 FROM rbac_groups g WHERE g.id = u.group_id)
    UNION ALL
    SELECT CASE WHEN s.user_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_break_glass_sessions', 'user_id', CAST(s.user_id AS TEXT), NULL
      FROM rbac_break_glass_sessions s
     WHERE s.revoked_at_utc IS NULL AND NOT EXISTS (SELECT 1 FROM admins a WHERE a.id = s.user_id)
    UNION ALL
    SELECT CASE WHEN gr.group_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_group_roles', 'group_id', CAST(gr.group_id AS TEXT), CAST(gr.role_id AS TEXT)
      FROM rbac_group_roles gr WHERE NOT EXISTS (SELECT 1 FROM rbac_groups g WHERE g.id = gr.group_id)
    UNION ALL
    SELECT CASE WHEN gr.role_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_group_roles', 'role_id', CAST(gr.role_id AS TEXT), CAST(gr.group_id AS TEXT)
      FROM rbac_group_roles gr WHERE NOT EXISTS (SELECT 1 FROM rbac_roles r WHERE r.id = gr.role_id)
    UNION ALL
    SELECT CASE WHEN i.child_role_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_role_inheritance', 'child_role_id', CAST(i.child_role_id AS TEXT), CAST(i.parent_role_id AS TEXT)
      FROM rbac_role_inheritance i WHERE NOT EXISTS (SELECT 1 FROM rbac_roles r WHERE r.id = i.child_role_id)
    UNION ALL
    SELECT CASE WHEN i.parent_role_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_role_inheritance', 'parent_role_id', CAST(i.parent_role_id AS TEXT), CAST(i.child_role_id AS TEXT)
      FROM rbac_role_inheritance i WHERE NOT EXISTS (SELECT 1 FROM rbac_roles r WHERE r.id = i.parent_role_id)
    UNION ALL
    SELECT CASE WHEN rp.role_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_role_permissions', 'role_id', CAST(rp.role_id AS TEXT), CAST(rp.permission_id AS TEXT)
      FROM rbac_role_permissions rp WHERE NOT EXISTS (SELECT 1 FROM rbac_roles r WHERE r.id = rp.role_id)
    UNION ALL
    SELECT CASE WHEN rp.permission_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_role_permissions', 'permission_id', CAST(rp.permission_id AS TEXT), CAST(rp.role_id AS TEXT)
      FROM rbac_role_permissions rp WHERE NOT EXISTS (SELECT 1 FROM rbac_permissions p WHERE p.id = rp.permission_id)

    UNION ALL
    SELECT 'misspelt-switch', 'gate_flags', 'name', name, NULL
      FROM gate_flags WHERE lower(trim(name)) = 'flag_rbac_v2' AND name <> 'FLAG_RBAC_V2'
    UNION ALL
    SELECT 'misspelt-switch', 'console_flag_promotions', 'flag', CAST(flag AS TEXT), NULL
      FROM console_flag_promotions
     WHERE lower(trim(CAST(flag AS TEXT))) = 'flag_rbac_v2' AND CAST(flag AS TEXT) <> 'FLAG_RBAC_V2'
    UNION ALL
    SELECT 'misspelt-switch', 'console_flag_promotions', 'current_env', CAST(current_env AS TEXT), CAST(flag AS TEXT)
      FROM console_flag_promotions
     WHERE CAST(flag AS TEXT) = 'FLAG_RBAC_V2'
       AND REPLACE($3, '\u{1e}' || lower(trim(CAST(current_env AS TEXT))) || '\u{1f}', '') <> $3
       AND REPLACE($3, '\u{1e}' || CAST(current_env AS TEXT) || '\u{1f}', '') = $3
     ORDER BY 1, 2, 3, 4, 5";

/// The times that end something and sort as times, each of which may yet be none: SQLite has texts for times.
const TEXTS_FOR_TIMES: &str = "
    SELECT 'unusable-row' AS kind, 'admin_sessions' AS place, 'expires_at_utc' AS field, expires_at_utc AS until,
           CAST(expires_at_utc AS TEXT) AS word, CAST(admin_id AS TEXT) AS holder
      FROM admin_sessions
     WHERE revoked_at_utc IS NULL AND expires_at_utc > $1 AND expires_at_utc < $2
    UNION ALL
    SELECT 'unusable-row', 'rbac_break_glass_sessions', 'expires_at_utc', expires_at_utc,
           CAST(expires_at_utc AS TEXT), CAST(user_id AS TEXT)
      FROM rbac_break_glass_sessions
     WHERE revoked_at_utc IS NULL AND expires_at_utc > $1 AND expires_at_utc < $2
    UNION ALL
    SELECT 'unusable-row', 'gate_machine_tokens', 'expires_at_utc', expires_at_utc,
           CAST(expires_at_utc AS TEXT), id
      FROM gate_machine_tokens
     WHERE revoked_at_utc IS NULL AND expires_at_utc > $1 AND expires_at_utc < $2";

#[cfg(test)]
mod tests {
    use super::*;
    use policy::rbac::LegacyRole;

    #[test]
    fn the_statement_knows_every_legacy_role_and_kind() {
        let words = LegacyRole::ALL.map(|role| format!("'{}'", role.as_str())).join(", ");
        assert_eq!(FLAWS.matches(&format!("NOT IN ({words})")).count(), 2);
        for kind in FlawKind::ALL {
            assert!(FLAWS.contains(&format!("'{}'", kind.word())), "{kind:?}");
        }
    }
}

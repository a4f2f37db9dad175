//! The rows of the access tables that cannot be used, for the operator who corrects them.

use chrono::{DateTime, Utc};
use policy::rbac::LegacyRole;
use policy::rbac::flaw::{Flaw, FlawKind};

use crate::console::{Console, Relation, composed};
use crate::engine::connection::Connection;
use crate::engine::sql::Statement;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::{Store, StoreError};

impl Store {
    /// The rows that cannot be used, by kind, place and word.
    pub async fn flaws(&self) -> Result<Vec<Flaw>, StoreError> {
        let (first, last) = readable_times();
        let words = self.production_words().text().to_owned();
        self.bounded(async {
            let mut connection = self.access_pool.acquire().await?;
            let parts = self.console.flaws(&mut connection).await?;
            let flaws = parts.in_text(FLAWS, &parts.flaws);
            let mut rows: Vec<FlawRow> =
                connection.all(flaws.bind(first).bind(last).bind(PLAIN).bind(words)).await?;
            if let Connection::Sqlite(_) = connection {
                let texts = parts.in_text(TEXTS_FOR_TIMES, &parts.texts_for_times);
                let ends: Vec<FlawRow> = connection.all(texts.bind(first).bind(last)).await?;
                rows.extend(ends.into_iter().filter(|end| end.until.is_none()));
            }
            let is_role = |word: Option<&str>| word.and_then(LegacyRole::parse).is_some();
            let flaws = rows.into_iter().map(Flaw::try_from);
            flaws
                .filter(|flaw| {
                    !flaw.as_ref().is_ok_and(|flaw| {
                        flaw.kind == FlawKind::MalformedRole && is_role(flaw.word.as_deref())
                    })
                })
                .collect()
        })
        .await
    }
}

/// The parts of the statements that are about Console's relations.
struct Parts {
    /// The SELECT of everybody, and of all legacy roles.
    admins: String,
    legacy: Option<String>,
    flaws: Vec<&'static str>,
    texts_for_times: Vec<&'static str>,
}

impl Console {
    async fn flaws(&self, connection: &mut Connection) -> Result<Parts, StoreError> {
        let admins = self.listed(connection, Relation::AllAdmins).await?;
        let legacy = self.listed(connection, Relation::AllLegacyRoles).await?;
        let mut parts = Parts {
            admins: admins.map_or_else(|| "SELECT NULL AS id WHERE 1 = 0".to_owned(), |admins| admins.text),
            legacy: legacy.map(|legacy| legacy.text),
            flaws: Vec::new(),
            texts_for_times: Vec::new(),
        };
        let has_legacy = parts.legacy.is_some();
        let documented = |relation| self.relations.is_documented(relation);
        parts.flaws.push(match documented(Relation::AllAdmins) {
            true => DOCUMENTED_ADMINS,
            false => WRITTEN_ADMINS,
        });
        match (has_legacy, documented(Relation::AllLegacyRoles)) {
            (true, true) => parts.flaws.push(DOCUMENTED_LEGACY),
            (true, false) => parts.flaws.push(WRITTEN_LEGACY),
            (false, _) => {}
        }
        // There is no SELECT of all sessions: only the documents' table can be looked through.
        if documented(Relation::Sessions) && self.is_readable(connection, Relation::Sessions).await? {
            parts.flaws.push(DOCUMENTED_SESSIONS);
            parts.texts_for_times.push(SESSIONS_TEXTS_FOR_TIMES);
        }
        Ok(parts)
    }
}

impl Parts {
    fn in_text(&self, text: &str, parts: &[&str]) -> Statement<'static> {
        let mut lists = format!("gate__admins AS (\n{})", self.admins);
        if let Some(legacy) = &self.legacy {
            lists.push_str(&format!(", gate__legacy AS (\n{legacy})"));
        }
        let mut text = text.replace("{lists}", &lists);
        text = text.replace("{parts}", &parts.concat());
        composed(text).once()
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

/// Of these every word is a role. A word with other characters is for [`LegacyRole::parse`] to judge.
const PLAIN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/@+";

/// `$1` and `$2` are the first and the last time that can be read, `$3` the [`PLAIN`] characters, `$4` the words for production. Ids of Console's may be of another type than those of
/// `rbac_*`, and are the same as texts.
const FLAWS: &str = "
    WITH {lists}
    SELECT 'malformed-role-word' AS kind, 'gate_machine_token_legacy_roles' AS place, 'role' AS field,
           role AS word, token_id AS holder
      FROM gate_machine_token_legacy_roles
     WHERE role = '' OR length(role) > 64 OR ltrim(role, $3) <> ''
    {parts}
    UNION ALL SELECT 'unusable-row', 'rbac_groups', 'id', NULL, CAST(name AS TEXT) FROM rbac_groups WHERE id IS NULL
    UNION ALL SELECT 'unusable-row', 'rbac_groups', 'name', NULL, CAST(id AS TEXT) FROM rbac_groups WHERE name IS NULL
    UNION ALL SELECT 'unusable-row', 'rbac_roles', 'id', NULL, CAST(name AS TEXT) FROM rbac_roles WHERE id IS NULL
    UNION ALL SELECT 'unusable-row', 'rbac_roles', 'name', NULL, CAST(id AS TEXT) FROM rbac_roles WHERE name IS NULL
    UNION ALL
    SELECT 'unusable-row', 'rbac_permissions', 'id', NULL, CAST(name AS TEXT) FROM rbac_permissions WHERE id IS NULL
    UNION ALL
    SELECT 'unusable-row', 'rbac_permissions', 'name', NULL, CAST(id AS TEXT) FROM rbac_permissions WHERE name IS NULL
    UNION ALL
    SELECT 'unusable-row', 'rbac_break_glass_sessions', 'expires_at_utc', CAST(expires_at_utc AS TEXT),
           CAST(user_id AS TEXT)
      FROM rbac_break_glass_sessions
     WHERE revoked_at_utc IS NULL
       AND (expires_at_utc IS NULL OR NOT (expires_at_utc > $1 AND expires_at_utc < $2))
    UNION ALL
    SELECT 'unusable-row', 'rbac_break_glass_sessions', 'granted_at_utc', CAST(granted_at_utc AS TEXT),
           CAST(user_id AS TEXT)
      FROM rbac_break_glass_sessions
     WHERE revoked_at_utc IS NULL
       AND (granted_at_utc IS NULL OR NOT (granted_at_utc > $1 AND granted_at_utc < $2))
    UNION ALL
    SELECT 'unusable-row', 'gate_grants', 'starts_at_utc', CAST(starts_at_utc AS TEXT), admin_id
      FROM gate_grants
     WHERE revoked_at_utc IS NULL AND NOT (starts_at_utc > $1 AND starts_at_utc < $2)
    UNION ALL
    SELECT 'unusable-row', 'gate_grants', 'ends_at_utc', CAST(ends_at_utc AS TEXT), admin_id
      FROM gate_grants
     WHERE revoked_at_utc IS NULL AND NOT (ends_at_utc > $1 AND ends_at_utc < $2)
    UNION ALL
    SELECT 'dangling-grant', 'gate_grants', 'admin_id', admin_id, NULL
      FROM gate_grants
     WHERE revoked_at_utc IS NULL
       AND admin_id NOT IN (SELECT CAST(id AS TEXT) FROM gate__admins WHERE id IS NOT NULL)
    UNION ALL
    SELECT 'dangling-grant', 'gate_grants', 'group_id', t.group_id, t.admin_id
      FROM gate_grants t
     WHERE t.revoked_at_utc IS NULL
       AND NOT EXISTS (SELECT 1 FROM rbac_groups g WHERE CAST(g.id AS TEXT) = t.group_id)
    UNION ALL
    SELECT 'unusable-row', 'gate_machine_tokens', 'expires_at_utc', CAST(expires_at_utc AS TEXT), id
      FROM gate_machine_tokens WHERE revoked_at_utc IS NULL AND NOT (expires_at_utc > $1 AND expires_at_utc < $2)

    UNION ALL
    SELECT CASE WHEN u.user_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_user_groups', 'user_id', CAST(u.user_id AS TEXT), NULL
      FROM rbac_user_groups u
     WHERE u.user_id IS NULL
        OR CAST(u.user_id AS TEXT) NOT IN (SELECT CAST(id AS TEXT) FROM gate__admins WHERE id IS NOT NULL)
    UNION ALL
    SELECT CASE WHEN u.group_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_user_groups', 'group_id', CAST(u.group_id AS TEXT), CAST(u.user_id AS TEXT)
      FROM rbac_user_groups u WHERE NOT EXISTS (SELECT 1 FROM rbac_groups g WHERE g.id = u.group_id)
    UNION ALL
    SELECT CASE WHEN s.user_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'rbac_break_glass_sessions', 'user_id', CAST(s.user_id AS TEXT), NULL
      FROM rbac_break_glass_sessions s
     WHERE s.revoked_at_utc IS NULL AND (s.user_id IS NULL
        OR CAST(s.user_id AS TEXT) NOT IN (SELECT CAST(id AS TEXT) FROM gate__admins WHERE id IS NOT NULL))
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
       AND REPLACE($4, '\u{1e}' || lower(trim(CAST(current_env AS TEXT))) || '\u{1f}', '') <> $4
       AND REPLACE($4, '\u{1e}' || CAST(current_env AS TEXT) || '\u{1f}', '') = $4
     ORDER BY 1, 2, 3, 4, 5";

/// The times that end something and sort as times, each of which may yet be none: SQLite has texts for times.
const TEXTS_FOR_TIMES: &str = "
    WITH {lists}
    SELECT 'unusable-row' AS kind, 'rbac_break_glass_sessions' AS place, 'expires_at_utc' AS field,
           expires_at_utc AS until, CAST(expires_at_utc AS TEXT) AS word, CAST(user_id AS TEXT) AS holder
      FROM rbac_break_glass_sessions
     WHERE revoked_at_utc IS NULL AND expires_at_utc > $1 AND expires_at_utc < $2
    UNION ALL
    SELECT 'unusable-row', 'rbac_break_glass_sessions', 'granted_at_utc', granted_at_utc,
           CAST(granted_at_utc AS TEXT), CAST(user_id AS TEXT)
      FROM rbac_break_glass_sessions
     WHERE revoked_at_utc IS NULL AND granted_at_utc > $1 AND granted_at_utc < $2
    UNION ALL
    SELECT 'unusable-row', 'gate_grants', 'starts_at_utc', starts_at_utc, starts_at_utc, admin_id
      FROM gate_grants
     WHERE revoked_at_utc IS NULL AND starts_at_utc > $1 AND starts_at_utc < $2
    UNION ALL
    SELECT 'unusable-row', 'gate_grants', 'ends_at_utc', ends_at_utc, ends_at_utc, admin_id
      FROM gate_grants
     WHERE revoked_at_utc IS NULL AND ends_at_utc > $1 AND ends_at_utc < $2
    UNION ALL
    SELECT 'unusable-row', 'gate_machine_tokens', 'expires_at_utc', expires_at_utc,
           CAST(expires_at_utc AS TEXT), id
      FROM gate_machine_tokens
     WHERE revoked_at_utc IS NULL AND expires_at_utc > $1 AND expires_at_utc < $2
    {parts}";

const SESSIONS_TEXTS_FOR_TIMES: &str = "
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'expires_at_utc', expires_at_utc,
           CAST(expires_at_utc AS TEXT), CAST(admin_id AS TEXT)
      FROM admin_sessions
     WHERE revoked_at_utc IS NULL AND expires_at_utc > $1 AND expires_at_utc < $2";

const DOCUMENTED_ADMINS: &str = "
    UNION ALL SELECT 'unusable-row', 'admins', 'id', NULL, NULL FROM admins WHERE id IS NULL
    UNION ALL
    SELECT 'unusable-row', 'admins', 'disabled_at_utc', CAST(disabled_at_utc AS TEXT), CAST(id AS TEXT)
      FROM admins WHERE NOT (disabled_at_utc > $1 AND disabled_at_utc < $2)";

const WRITTEN_ADMINS: &str = "
    UNION ALL
    SELECT 'unusable-row', '[console] all_admins', 'id', NULL, CAST(label AS TEXT)
      FROM gate__admins WHERE id IS NULL
    UNION ALL
    SELECT 'unusable-row', '[console] all_admins', 'disabled', NULL, CAST(id AS TEXT)
      FROM gate__admins WHERE disabled IS NULL";

const DOCUMENTED_LEGACY: &str = "
    UNION ALL
    SELECT 'malformed-role-word', 'admin_roles', 'role', CAST(role AS TEXT), CAST(admin_id AS TEXT)
      FROM admin_roles
     WHERE role IS NULL OR CAST(role AS TEXT) = '' OR length(CAST(role AS TEXT)) > 64
        OR ltrim(CAST(role AS TEXT), $3) <> ''
    UNION ALL
    SELECT CASE WHEN r.admin_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           'admin_roles', 'admin_id', CAST(r.admin_id AS TEXT), NULL
      FROM admin_roles r
     WHERE r.admin_id IS NULL
        OR CAST(r.admin_id AS TEXT) NOT IN (SELECT CAST(id AS TEXT) FROM gate__admins WHERE id IS NOT NULL)";

const WRITTEN_LEGACY: &str = "
    UNION ALL
    SELECT 'unusable-row', '[console] all_legacy_roles', 'role', NULL, CAST(admin_id AS TEXT)
      FROM gate__legacy WHERE role IS NULL
    UNION ALL
    SELECT CASE WHEN r.admin_id IS NULL THEN 'unusable-row' ELSE 'dangling-grant' END,
           '[console] all_legacy_roles', 'admin_id', CAST(r.admin_id AS TEXT), NULL
      FROM gate__legacy r
     WHERE r.admin_id IS NULL
        OR CAST(r.admin_id AS TEXT) NOT IN (SELECT CAST(id AS TEXT) FROM gate__admins WHERE id IS NOT NULL)";

const DOCUMENTED_SESSIONS: &str = "
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'id', NULL, CAST(admin_id AS TEXT) FROM admin_sessions WHERE id IS NULL
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'admin_id', NULL, CAST(id AS TEXT)
      FROM admin_sessions WHERE admin_id IS NULL

    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'expires_at_utc', CAST(expires_at_utc AS TEXT), CAST(admin_id AS TEXT)
      FROM admin_sessions WHERE revoked_at_utc IS NULL AND NOT (expires_at_utc > $1 AND expires_at_utc < $2)
    UNION ALL
    SELECT 'unusable-row', 'admin_sessions', 'revoked_at_utc', CAST(revoked_at_utc AS TEXT), CAST(admin_id AS TEXT)
      FROM admin_sessions WHERE NOT (revoked_at_utc > $1 AND revoked_at_utc < $2)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_plain_characters_is_a_role() {
        assert!(PLAIN.chars().all(|character| LegacyRole::parse(&character.to_string()).is_some()));
    }

    #[test]
    fn the_statement_knows_every_kind() {
        let text = [FLAWS, DOCUMENTED_LEGACY].concat();
        // That there are no legacy roles is no row.
        for kind in FlawKind::ALL.into_iter().filter(|kind| *kind != FlawKind::NoLegacyRoles) {
            assert!(text.contains(&format!("'{}'", kind.word())), "{kind:?}");
        }
    }
}

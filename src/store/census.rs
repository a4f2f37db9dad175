//! Everybody at once: for reports on what a mapping would do to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::LegacyRole;
use policy::rbac::census::{CallerKind, Person};

use super::lenient::{Lenient, readable_times};
use super::sql::sql;
use super::{Store, StoreError};

impl Store {
    /// Every enabled admin and live machine token with what was granted to each at `now`, in one snapshot, in the order
    /// of kind and id. A row that cannot be used grants nothing.
    pub async fn census(&self, now: DateTime<Utc>) -> Result<Vec<Person>, StoreError> {
        let (first, last) = readable_times();
        assemble(self.all(sql(CENSUS).bind(first).bind(last)).await?, now)
    }
}

/// When something ends is for `assemble` to compare, as for one caller's access.
const CENSUS: &str = "
    WITH token(id) AS (
        SELECT id FROM gate_machine_tokens WHERE revoked_at_utc IS NULL
    ), admin(id) AS (
        SELECT id FROM admins WHERE disabled_at_utc IS NULL
    )
    SELECT 'admin' AS kind, CAST(id AS TEXT) AS id, CAST(NULL AS TEXT) AS name,
           CAST(NULL AS TIMESTAMPTZ) AS until
      FROM admin
    UNION ALL
    SELECT 'disabled_admin', CAST(id AS TEXT), NULL, NULL FROM admins WHERE disabled_at_utc IS NOT NULL
    UNION ALL
    SELECT 'disabled_admin', admin_id, NULL, NULL FROM gate_blocked_admins
    UNION ALL
    SELECT 'admin_legacy', CAST(a.id AS TEXT), CAST(r.role AS TEXT), NULL
      FROM admin a JOIN admin_roles r ON r.admin_id = a.id
    UNION ALL
    SELECT 'admin_group', CAST(a.id AS TEXT), CAST(g.name AS TEXT), NULL
      FROM admin a
      JOIN rbac_user_groups ug ON ug.user_id = a.id
      JOIN rbac_groups g ON g.id = ug.group_id
    UNION ALL
    SELECT 'break_glass', CAST(a.id AS TEXT), NULL,
           CASE WHEN s.expires_at_utc > $1 AND s.expires_at_utc < $2 THEN s.expires_at_utc END
      FROM admin a
      JOIN rbac_break_glass_sessions s ON s.user_id = a.id
     WHERE s.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'machine', t.id, NULL, NULL
      FROM token t JOIN gate_machine_tokens m ON m.id = t.id
     WHERE m.expires_at_utc IS NULL
    UNION ALL
    SELECT 'limited_machine', t.id, NULL,
           CASE WHEN m.expires_at_utc > $1 AND m.expires_at_utc < $2 THEN m.expires_at_utc END
      FROM token t JOIN gate_machine_tokens m ON m.id = t.id
     WHERE m.expires_at_utc IS NOT NULL
    UNION ALL
    SELECT 'machine_legacy', t.id, l.role, NULL
      FROM token t JOIN gate_machine_token_legacy_roles l ON l.token_id = t.id
    UNION ALL
    SELECT 'machine_group', t.id, CAST(g.name AS TEXT), NULL
      FROM token t
      JOIN gate_machine_token_groups tg ON tg.token_id = t.id
      JOIN rbac_groups g ON g.id = tg.group_id";

/// One fact about a caller.
#[derive(sqlx::FromRow)]
struct Fact {
    kind: String,
    #[sqlx(try_from = "Lenient<String>")]
    id: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    name: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    until: Option<DateTime<Utc>>,
}

/// What is known of one id while the facts come in, in whatever order.
struct Sheet {
    person: Person,
    is_active: bool,
    is_disabled: bool,
}

fn assemble(facts: Vec<Fact>, now: DateTime<Utc>) -> Result<Vec<Person>, StoreError> {
    let mut sheets: BTreeMap<(CallerKind, Arc<str>), Sheet> = BTreeMap::new();
    for Fact { kind, id, name, until } in facts {
        // Nobody can be asked about who has no id.
        let Some(id) = id.map(Arc::from) else { continue };
        let caller = if kind.contains("machine") { CallerKind::Machine } else { CallerKind::Admin };
        let sheet = sheets.entry((caller, Arc::clone(&id))).or_insert_with(|| Sheet::new(caller, id));
        let person = &mut sheet.person;
        match kind.as_str() {
            "admin" | "machine" => sheet.is_active = true,
            "disabled_admin" => sheet.is_disabled = true,
            "limited_machine" => sheet.is_active |= until.is_some_and(|until| until > now),
            "break_glass" => person.break_glass |= until.is_some_and(|until| until > now),
            // A word that is no role grants nothing.
            "admin_legacy" | "machine_legacy" => {
                person.legacy.extend(name.as_deref().and_then(LegacyRole::parse));
            }
            "admin_group" | "machine_group" => person.groups.extend(name.map(Arc::from)),
            other => return Err(StoreError::Broken(format!("a fact of the kind `{other}`"))),
        }
    }
    let people = sheets.into_values().filter(|sheet| sheet.is_active && !sheet.is_disabled);
    Ok(people.map(|sheet| sheet.person).collect())
}

impl Sheet {
    fn new(kind: CallerKind, id: Arc<str>) -> Sheet {
        let person = Person { kind, id, legacy: [].into(), groups: [].into(), break_glass: false };
        Sheet { person, is_active: false, is_disabled: false }
    }
}

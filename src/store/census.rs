//! Everybody at once: for reports on what a mapping would do to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::LegacyRole;
use policy::rbac::census::{CallerKind, Person};

use super::connection::Connection;
use super::console::{Console, Relation, composed, is_false, read_end};
use super::lenient::{Lenient, readable_times};
use super::{Store, StoreError};

impl Store {
    /// Every enabled admin and live machine token with what was granted to each at `now`, in one snapshot, in the order
    /// of kind and id. A row that cannot be used grants nothing.
    pub async fn census(&self, now: DateTime<Utc>) -> Result<Vec<Person>, StoreError> {
        let (first, last) = readable_times();
        self.bounded(async {
            let mut connection = self.access_pool.acquire().await?;
            let text = self.console.census(&mut connection).await?;
            assemble(connection.all(composed(text).once().bind(first).bind(last)).await?, now)
        })
        .await
    }
}

impl Console {
    async fn census(&self, connection: &mut Connection) -> Result<String, StoreError> {
        let mut facts = Vec::new();
        if let Some(admins) = self.listed(connection, Relation::AllAdmins).await? {
            facts.push(format!(
                "SELECT CASE WHEN {} THEN 'admin' ELSE 'disabled_admin' END, CAST(c.id AS TEXT), NULL, NULL, NULL
                   FROM (\n{}) c",
                is_false("c.disabled"),
                admins.text
            ));
        }
        if let Some(roles) = self.listed(connection, Relation::AllLegacyRoles).await? {
            let (limited, until) = match roles.has_until {
                true => ("c.until IS NOT NULL", "CAST(c.until AS TEXT)"),
                false => ("1 = 0", "NULL"),
            };
            facts.push(format!(
                "SELECT CASE WHEN {limited} THEN 'limited_admin_legacy' ELSE 'admin_legacy' END,
                        CAST(c.admin_id AS TEXT), CAST(c.role AS TEXT), {until}, NULL
                   FROM (\n{}) c",
                roles.text
            ));
        }
        let group = self.group_of("tg.group_id", connection).await?;
        Ok(CENSUS.replace("{facts}", &facts.join("\n    UNION ALL\n    ")).replace("{group}", &group))
    }
}

/// When something ends is for `assemble` to compare, as for one caller's access, and which rows are about whom: ids of
/// Console's tables may be of another type than those of `rbac_*`, and are the same as texts.
const CENSUS: &str = "
    WITH gate__token(id) AS (
        SELECT id FROM gate_machine_tokens WHERE revoked_at_utc IS NULL
    )
    SELECT 'machine' AS kind, t.id AS id, CAST(NULL AS TEXT) AS name, CAST(NULL AS TEXT) AS ends,
           CAST(NULL AS TIMESTAMPTZ) AS until
      FROM gate__token t JOIN gate_machine_tokens m ON m.id = t.id
     WHERE m.expires_at_utc IS NULL
    UNION ALL
    {facts}
    UNION ALL
    SELECT 'disabled_admin', admin_id, NULL, NULL, NULL FROM gate_blocked_admins
    UNION ALL
    SELECT 'admin_group', CAST(ug.user_id AS TEXT), CAST(g.name AS TEXT), NULL, NULL
      FROM rbac_user_groups ug JOIN rbac_groups g ON g.id = ug.group_id
    UNION ALL
    SELECT 'break_glass', CAST(s.user_id AS TEXT), NULL, NULL,
           CASE WHEN s.expires_at_utc > $1 AND s.expires_at_utc < $2 THEN s.expires_at_utc END
      FROM rbac_break_glass_sessions s
     WHERE s.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'limited_machine', t.id, NULL, NULL,
           CASE WHEN m.expires_at_utc > $1 AND m.expires_at_utc < $2 THEN m.expires_at_utc END
      FROM gate__token t JOIN gate_machine_tokens m ON m.id = t.id
     WHERE m.expires_at_utc IS NOT NULL
    UNION ALL
    SELECT 'machine_legacy', t.id, l.role, NULL, NULL
      FROM gate__token t JOIN gate_machine_token_legacy_roles l ON l.token_id = t.id
    UNION ALL
    SELECT 'machine_group', t.id, CAST(g.name AS TEXT), NULL, NULL
      FROM gate__token t
      JOIN gate_machine_token_groups tg ON tg.token_id = t.id
      JOIN rbac_groups g ON g.id = {group}";

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
    /// When it ends, as Console's column says it.
    #[sqlx(try_from = "Lenient<String>")]
    ends: Option<String>,
}

/// What is known of one id while the facts come in, in whatever order.
struct Sheet {
    person: Person,
    is_active: bool,
    is_disabled: bool,
}

fn assemble(facts: Vec<Fact>, now: DateTime<Utc>) -> Result<Vec<Person>, StoreError> {
    let mut sheets: BTreeMap<(CallerKind, Arc<str>), Sheet> = BTreeMap::new();
    for Fact { kind, id, name, until, ends } in facts {
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
            "limited_admin_legacy" => {
                if read_end(ends.as_deref()).is_some_and(|end| end > now) {
                    person.legacy.extend(name.as_deref().and_then(LegacyRole::parse));
                }
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

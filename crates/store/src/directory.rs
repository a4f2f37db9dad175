//! Every principal at once: for reports on how a mapping would affect each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::LegacyRole;
use policy::rbac::break_glass::{BreakGlassRules, capped};
use policy::rbac::census::{CallerKind, Person};
use policy::rbac::grant::Span;

use crate::console::{Console, Relation, composed, is_false, read_end};
use crate::engine::connection::Connection;
use crate::engine::shared::Shared;
use crate::engine::tolerant::{Lenient, readable_times};
use crate::{Store, StoreError};

impl Store {
    /// Every enabled admin and live machine token with what was granted to each at `now`, in one snapshot, in the order
    /// of kind and id. A row that cannot be used grants nothing.
    pub async fn census(&self, now: DateTime<Utc>) -> Result<Vec<Person>, StoreError> {
        Ok(self.census_until(now).await?.0)
    }

    /// The same, with the time until which it is true if nothing is written: when something begins or ends next.
    pub(crate) async fn census_until(
        &self,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Person>, Option<DateTime<Utc>>), StoreError> {
        let (first, last) = readable_times();
        self.bounded(async {
            let mut connection = self.access_pool.acquire().await?;
            let text = self.console.census(&mut connection).await?;
            let facts = connection.all(composed(text).once().bind(first).bind(last)).await?;
            assemble(facts, now, self.break_glass_rules())
        })
        .await
    }
}

impl Console {
    async fn census(&self, connection: &mut Connection) -> Result<String, StoreError> {
        let facts = self.listed_facts(connection).await?;
        let group = self.group_of("tg.group_id", connection).await?;
        let granted = self.group_of("t.group_id", connection).await?;
        let census = CENSUS.replace("{group}", &group).replace("{granted}", &granted);
        Ok(census.replace("{facts}", &facts.join("\n    UNION ALL\n    ")))
    }

    /// The SELECTs of every admin, enabled or not, and of every legacy role.
    pub(super) async fn listed_facts(&self, connection: &mut Connection) -> Result<Vec<String>, StoreError> {
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
        Ok(facts)
    }
}

/// `assemble` compares the ends, as for one caller's access, and the ids: ids of Console's tables may be of another type
/// than those of `rbac_*`, and are the same as texts.
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
    SELECT 'granted_group', t.admin_id, CAST(g.name AS TEXT), t.id, NULL
      FROM gate_grants t JOIN rbac_groups g ON g.id = {granted}
     WHERE t.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'grant_starts', t.admin_id, NULL, t.id,
           CASE WHEN t.starts_at_utc > $1 AND t.starts_at_utc < $2 THEN t.starts_at_utc END
      FROM gate_grants t WHERE t.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'grant_ends', t.admin_id, NULL, t.id,
           CASE WHEN t.ends_at_utc > $1 AND t.ends_at_utc < $2 THEN t.ends_at_utc END
      FROM gate_grants t WHERE t.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'glass_starts', CAST(s.user_id AS TEXT), NULL, CAST(s.id AS TEXT),
           CASE WHEN s.granted_at_utc > $1 AND s.granted_at_utc < $2 THEN s.granted_at_utc END
      FROM rbac_break_glass_sessions s WHERE s.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'glass_ends', CAST(s.user_id AS TEXT), NULL, CAST(s.id AS TEXT),
           CASE WHEN s.expires_at_utc > $1 AND s.expires_at_utc < $2 THEN s.expires_at_utc END
      FROM rbac_break_glass_sessions s WHERE s.revoked_at_utc IS NULL
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
    /// When it ends, as Console's column states it; of a grant or a break-glass session, its id.
    #[sqlx(try_from = "Lenient<String>")]
    ends: Option<String>,
}

/// The state of one id while the facts come in, in any order.
#[derive(Default)]
struct Sheet {
    legacy: BTreeSet<LegacyRole>,
    groups: BTreeSet<Arc<str>>,
    is_active: bool,
    is_disabled: bool,
    grants: BTreeMap<String, Granted>,
    sessions: BTreeMap<String, Span>,
}

/// The group of a grant, and its time.
#[derive(Default)]
struct Granted {
    group: Option<Arc<str>>,
    span: Span,
}

fn assemble(
    facts: Vec<Fact>,
    now: DateTime<Utc>,
    rules: &BreakGlassRules,
) -> Result<(Vec<Person>, Option<DateTime<Utc>>), StoreError> {
    let mut next: Option<DateTime<Utc>> = None;
    let mut changes_at = |time: Option<DateTime<Utc>>| {
        next = next.into_iter().chain(time.filter(|time| *time > now)).min();
    };
    let mut sheets: BTreeMap<(CallerKind, Arc<str>), Sheet> = BTreeMap::new();
    let mut names = Shared::default();
    for Fact { kind, id, name, until, ends } in facts {
        // A row without an id cannot be looked up.
        let Some(id) = id.map(Arc::from) else { continue };
        let caller = if kind.contains("machine") { CallerKind::Machine } else { CallerKind::Admin };
        let sheet = sheets.entry((caller, id)).or_default();
        let name = name.map(|name| names.of(Arc::from(name)));
        let source = || ends.clone().unwrap_or_default();
        changes_at(until);
        match kind.as_str() {
            "admin" | "machine" => sheet.is_active = true,
            "disabled_admin" => sheet.is_disabled = true,
            "limited_machine" => sheet.is_active |= until.is_some_and(|until| until > now),
            "granted_group" => sheet.grants.entry(source()).or_default().group = name,
            "grant_starts" => sheet.grants.entry(source()).or_default().span.starts = until,
            "grant_ends" => sheet.grants.entry(source()).or_default().span.ends = until,
            "glass_starts" => sheet.sessions.entry(source()).or_default().starts = until,
            "glass_ends" => sheet.sessions.entry(source()).or_default().ends = until,
            // A word that is no role grants nothing.
            "admin_legacy" | "machine_legacy" => {
                sheet.legacy.extend(name.as_deref().and_then(LegacyRole::parse));
            }
            "limited_admin_legacy" => {
                let end = read_end(ends.as_deref());
                changes_at(end);
                if end.is_some_and(|end| end > now) {
                    sheet.legacy.extend(name.as_deref().and_then(LegacyRole::parse));
                }
            }
            "admin_group" | "machine_group" => sheet.groups.extend(name),
            other => return Err(StoreError::Broken(format!("a fact of the kind `{other}`"))),
        }
    }
    // A session that began earlier than its row may: it ends when the longest session would.
    for session in sheets.values().flat_map(|sheet| sheet.sessions.values()) {
        changes_at(capped(*session).ends);
    }
    let mut shared = SharedSets::default();
    let people = sheets.into_iter().filter(|(_, sheet)| sheet.is_active && !sheet.is_disabled);
    let people = people.map(|(caller, sheet)| sheet.close(caller, now, rules, &mut shared)).collect();
    Ok((people, next))
}

/// Thousands of people hold the same.
#[derive(Default)]
struct SharedSets {
    legacy: Shared<BTreeSet<LegacyRole>>,
    groups: Shared<BTreeSet<Arc<str>>>,
}

impl Sheet {
    /// Adds the grants and sessions that are live at `now`. The groups decide who may have a break-glass session.
    fn close(
        self,
        (kind, id): (CallerKind, Arc<str>),
        now: DateTime<Utc>,
        rules: &BreakGlassRules,
        shared: &mut SharedSets,
    ) -> Person {
        let Sheet { legacy, mut groups, grants, sessions, .. } = self;
        let live = grants.into_values().filter(|grant| grant.span.is_live(now));
        groups.extend(live.filter_map(|grant| grant.group));
        let break_glass =
            rules.allow(&groups) && sessions.into_values().any(|session| capped(session).is_live(now));
        let (legacy, groups) = (shared.legacy.of(legacy.into()), shared.groups.of(groups.into()));
        Person { kind, id, legacy, groups, break_glass }
    }
}

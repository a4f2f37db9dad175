//! The statements that are put together from Console's relations and the gate's own tables.

mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

pub(crate) use session::{SessionPlan, SessionRead};

use super::select::{Dialect, RESERVED_PREFIX};
use super::shape::{Unreadable, cast, column_types};
use super::{Console, Relation, Relations};
use crate::StoreError;
use crate::engine::connection::Connection;
use crate::engine::sql::Statement;
use crate::engine::tolerant::readable_times;

/// How long a plan that was made while a table was gone is used: the table may come back.
pub(crate) const GONE_FOR: Duration = Duration::from_secs(5);

/// What rows of Console's are called by in flaws: a table and a column where they are known, else the setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) legacy: (&'static str, &'static str),
    pub(crate) session: (&'static str, &'static str),
}

impl Default for Places {
    fn default() -> Self {
        Places { legacy: ("admin_roles", "role"), session: ("admin_sessions", "expires_at_utc") }
    }
}

impl Places {
    fn of(relations: &Relations) -> Places {
        let mut places = Places::default();
        if !relations.is_documented(Relation::LegacyRoles) {
            places.legacy = ("[console] legacy_roles", "role");
        }
        if !relations.is_documented(Relation::Sessions) {
            places.session = ("[console] sessions", "ends");
        }
        places
    }
}

/// A time as a column of Console's states it; `None` if it cannot be read. One without an offset is in UTC, which
/// the connection's time zone is too.
pub(crate) fn read_end(text: Option<&str>) -> Option<DateTime<Utc>> {
    const WITH_OFFSET: [&str; 4] = [
        "%Y-%m-%dT%H:%M:%S%.f%:z",
        "%Y-%m-%d %H:%M:%S%.f%:z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
    ];
    const WITHOUT: [&str; 4] =
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let text = text?.trim();
    let zulu = text.strip_suffix('Z').or_else(|| text.strip_suffix('z'));
    let local = zulu.unwrap_or(text);
    let offset = WITH_OFFSET.iter().find_map(|form| DateTime::parse_from_str(text, form).ok());
    let time = offset.map(|time| time.with_timezone(&Utc)).or_else(|| {
        let time = WITHOUT.iter().find_map(|form| NaiveDateTime::parse_from_str(local, form).ok());
        time.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
            .map(|time| time.and_utc())
    })?;
    let (first, last) = readable_times();
    (first < time && time < last).then_some(time)
}

/// The statements by which access is read, and what they were made from.
#[derive(Debug)]
pub(crate) struct ReadPlan {
    pub(crate) admin: Arc<str>,
    /// Whether an id, and whether a session's, can be one: each is planned and not run.
    admin_probe: Arc<str>,
    session_probe: Option<Arc<str>>,
    /// How a session is read that the cookie only names; `None` if there is no such relation.
    pub(crate) session: Option<SessionPlan>,
    /// How a session of the gate's own is read; `None` where the gate begins none.
    pub(crate) login_session: Option<Arc<str>>,
    /// Why there are no legacy roles, if the relation is gone.
    pub(crate) legacy_gone: Option<Arc<str>>,
    pub(crate) places: Places,
    made_at: Instant,
}

impl ReadPlan {
    /// Looks at the relations and the types of ids, and puts the statements together.
    pub(super) async fn make(console: &Console, connection: &mut Connection) -> Result<ReadPlan, StoreError> {
        let mut session_probe = None;
        // Every argument has to be in the statement.
        let mut session_part = String::new();
        let mut session_facts = NO_SESSION.to_owned();
        // Where a payload names a session's admin, no SELECT can compare it with an admin's id.
        let sessions = match console.relations.session_payload {
            true => None,
            false => console.sessions(connection, "$2").await?,
        };
        if let Some(sessions) = sessions {
            session_facts = format!(
                "SELECT {}, NULL, {}, NULL
                   FROM {RESERVED_PREFIX}sessions c WHERE {} = $2 AND {} = $1",
                sessions.state("c"),
                sessions.end("c"),
                console.exactly("c.id"),
                console.exactly("c.admin_id"),
            );
            let probe = console.required(connection, Relation::Sessions, "$1").await?;
            session_probe = Some(format!("SELECT 1 AS one FROM (\n{probe}) c LIMIT 0").into());
            session_part = part("sessions", &sessions.text);
        }
        let admin = AdminStatement::make(console, connection, "$1", session_part, session_facts).await?;
        let admins = console.required(connection, Relation::Admins, "$1").await?;
        Ok(ReadPlan {
            admin: admin.text,
            admin_probe: format!("SELECT 1 AS one FROM (\n{admins}) c LIMIT 0").into(),
            session_probe,
            session: SessionPlan::make(console, connection).await?,
            login_session: match console.relations.login_sessions {
                true => Some(session::login_session(console, connection).await?),
                false => None,
            },
            legacy_gone: admin.legacy_gone,
            places: Places::of(&console.relations),
            made_at: Instant::now(),
        })
    }

    /// Whether what was gone may be back.
    pub(crate) fn has_lapsed(&self) -> bool {
        self.legacy_gone.is_some() && self.made_at.elapsed() > GONE_FOR
    }

    /// Plans the SELECT of admins with `id`, and reads nothing: an error is the id's.
    pub(crate) fn probe_admin<'q>(&self, id: &'q str) -> Statement<'q> {
        // Not kept: a plan that is made once for all values does not check this one.
        Statement::composed(self.admin_probe.clone()).once().bind(id)
    }

    /// The same of sessions.
    pub(crate) fn probe_session<'q>(&self, session: &'q str) -> Option<Statement<'q>> {
        Some(Statement::composed(self.session_probe.clone()?).once().bind(session))
    }
}

/// A fact that is none, with the argument that would be a session's id.
pub(super) const NO_SESSION: &str = "SELECT 'no_session', $2, NULL, NULL FROM gate_epoch WHERE 1 = 0";

/// The statement by which an admin's access is read.
pub(super) struct AdminStatement {
    pub(super) text: Arc<str>,
    legacy_gone: Option<Arc<str>>,
}

impl AdminStatement {
    /// For the admin whose id is the text `id`, an argument or an expression, with the columns of a session.
    pub(super) async fn make(
        console: &Console,
        connection: &mut Connection,
        id: &str,
        session_part: String,
        session_facts: String,
    ) -> Result<AdminStatement, StoreError> {
        const IDS: [(&str, &str); 2] =
            [("rbac_user_groups", "user_id"), ("rbac_break_glass_sessions", "user_id")];
        let types = column_types(connection, &IDS).await?;
        let [member, glass] = IDS.map(|column| types.get(&column).map(String::as_str));
        let (mut parts, mut facts) = (vec![session_part], Vec::new());

        if let Err(unreadable) = console.columns(connection, Relation::Admins).await {
            return Err(unreadable.of(Relation::Admins));
        }
        let admins = console.required(connection, Relation::Admins, id).await?;
        facts.push(format!(
            "SELECT CASE WHEN {} THEN 'admin' ELSE 'disabled_admin' END, NULL, NULL, NULL
               FROM {RESERVED_PREFIX}admins c WHERE {} = {id}",
            is_false("c.disabled"),
            console.exactly("c.id"),
        ));
        parts.push(part("admins", &admins));
        // Admins that the gate blocks, even if they are active in Console.
        facts.push(format!(
            "SELECT 'disabled_admin', NULL, NULL, NULL FROM gate_blocked_admins b WHERE {} = {id}",
            console.exactly("b.admin_id"),
        ));

        let (legacy, legacy_gone) = console.legacy(connection, id).await?;
        if let Some((text, has_until)) = legacy {
            let (limited, until) =
                if has_until { ("c.until IS NOT NULL", "CAST(c.until AS TEXT)") } else { ("1 = 0", "NULL") };
            facts.push(format!(
                "SELECT CASE WHEN {limited} THEN 'limited_legacy' ELSE 'legacy' END, CAST(c.role AS TEXT), {until}, NULL
                   FROM {RESERVED_PREFIX}legacy c"
            ));
            parts.push(part("legacy", &text));
        }
        facts.push(session_facts);

        let granted = console.group_of("t.group_id", connection).await?;
        // An operator's SELECT comes last: `'{id}'` in it is a path of Postgres, and no mark of ours.
        let text = ADMIN
            .replace("{member}", &cast(id, member))
            .replace("{glass}", &cast(id, glass))
            .replace("{granted}", &granted)
            .replace("{id}", id)
            .replace("{facts}", &facts.join("\n    UNION ALL\n    "))
            .replace("{parts}", &parts.concat());
        Ok(AdminStatement { text: text.into(), legacy_gone })
    }
}

/// The statement by which a token's access is read. It reads nothing of Console's but, where it has them, `rbac_*`.
pub(super) async fn token(console: &Console, connection: &mut Connection) -> Result<Arc<str>, StoreError> {
    Ok(TOKEN.replace("{group}", &console.group_of("tg.group_id", connection).await?).into())
}

pub(super) fn part(name: &str, text: &str) -> String {
    format!("{RESERVED_PREFIX}{name} AS (\n{text}), ")
}

/// Whether a switch is off for certain: NULL is not.
pub(crate) fn is_false(column: &str) -> String {
    format!("CAST({column} AS TEXT) IN ('false', '0')")
}

impl Console {
    /// An id as a text that is compared byte by byte, whatever the column's collation.
    pub(super) fn exactly(&self, column: &str) -> String {
        let collation = match self.dialect {
            Dialect::Postgres => "\"C\"",
            Dialect::Sqlite => "BINARY",
        };
        format!("CAST({column} AS TEXT) COLLATE {collation}")
    }

    pub(super) async fn required(
        &self,
        connection: &mut Connection,
        relation: Relation,
        id: &str,
    ) -> Result<String, StoreError> {
        let id = match self.dialect {
            Dialect::Postgres => format!("{id}::text"),
            Dialect::Sqlite => id.to_owned(),
        };
        let text = self.text_of(connection, relation, &id).await?;
        text.ok_or_else(|| StoreError::Unusable(format!("{relation} is not set")))
    }

    /// The SELECT of the legacy roles with whether they can end, or why there is none.
    async fn legacy(
        &self,
        connection: &mut Connection,
        id: &str,
    ) -> Result<(Option<(String, bool)>, Option<Arc<str>>), StoreError> {
        match self.columns(connection, Relation::LegacyRoles).await {
            Ok(Some(columns)) => {
                let text = self.required(connection, Relation::LegacyRoles, id).await?;
                Ok((Some((text, columns.has("until"))), None))
            }
            Ok(None) => Ok((None, Some("[console] legacy_roles is \"none\"".into()))),
            Err(Unreadable::Gone(message)) => {
                tracing::error!("Console's legacy roles are gone, so legacy rows are refused: {message}");
                Ok((None, Some(message.into())))
            }
            Err(unreadable) => Err(unreadable.of(Relation::LegacyRoles)),
        }
    }

    /// The SELECT of sessions, asked with `id`, and whether it has a column for their end.
    pub(super) async fn sessions(
        &self,
        connection: &mut Connection,
        id: &str,
    ) -> Result<Option<Sessions>, StoreError> {
        match self.columns(connection, Relation::Sessions).await {
            Ok(Some(columns)) => {
                let text = self.required(connection, Relation::Sessions, id).await?;
                Ok(Some(Sessions { text, has_ends: columns.has("ends"), has_ended: columns.has("ended") }))
            }
            Ok(None) => Ok(None),
            // Without the table there is no session, and every caller that needs one is denied.
            Err(Unreadable::Gone(_)) if self.relations.is_documented(Relation::Sessions) => Ok(None),
            Err(unreadable) => Err(unreadable.of(Relation::Sessions)),
        }
    }

    /// A SELECT that lists everybody. `None` where there is none, or where it lists legacy roles that are gone.
    pub(crate) async fn listed(
        &self,
        connection: &mut Connection,
        relation: Relation,
    ) -> Result<Option<Listed>, StoreError> {
        let columns = match self.columns(connection, relation).await {
            Ok(Some(columns)) => columns,
            Ok(None) => return Ok(None),
            Err(Unreadable::Gone(_)) if relation == Relation::AllLegacyRoles => return Ok(None),
            Err(unreadable) => return Err(unreadable.of(relation)),
        };
        let text = self.text_of(connection, relation, "NULL").await?;
        Ok(text.map(|text| Listed { text, has_until: columns.has("until") }))
    }

    /// Whether a relation's table is there.
    pub(crate) async fn is_readable(
        &self,
        connection: &mut Connection,
        relation: Relation,
    ) -> Result<bool, StoreError> {
        match self.columns(connection, relation).await {
            Ok(columns) => Ok(columns.is_some()),
            Err(Unreadable::Gone(_)) => Ok(false),
            Err(unreadable) => Err(unreadable.of(relation)),
        }
    }

    /// A text as the id of a group.
    pub(crate) async fn group_of(
        &self,
        expression: &str,
        connection: &mut Connection,
    ) -> Result<String, StoreError> {
        let types = column_types(connection, &[GROUP]).await?;
        Ok(cast(expression, types.get(&GROUP).map(String::as_str)))
    }
}

/// A SELECT of sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) text: String,
    has_ends: bool,
    has_ended: bool,
}

impl Sessions {
    /// The kind of fact that a row is.
    pub(super) fn state(&self, row: &str) -> String {
        let ended = if self.has_ended { is_false(&format!("{row}.ended")) } else { "1 = 1".to_owned() };
        let ends = if self.has_ends { format!("{row}.ends") } else { "NULL".to_owned() };
        format!(
            "CASE WHEN NOT COALESCE({ended}, 1 = 0) THEN 'revoked_session'
                  WHEN {ends} IS NULL THEN 'session' ELSE 'limited_session' END"
        )
    }

    /// When it ends, as text.
    pub(super) fn end(&self, row: &str) -> String {
        if self.has_ends { format!("CAST({row}.ends AS TEXT)") } else { "CAST(NULL AS TEXT)".to_owned() }
    }
}

const GROUP: (&str, &str) = ("rbac_groups", "id");

/// A SELECT that lists everybody.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) text: String,
    pub(crate) has_until: bool,
}

/// Direct roles come from memberships, from grants with an end, and from break-glass sessions, the one grant that bypasses
/// groups (I-3). A membership of the group of break-glass grants none of its roles (I-4). Ticket-scoped grants are not
/// here: they count only for a request that names its ticket (section 3.4, step 2). `UNION` removes repeats, so the walk
/// ends on a cyclic graph too.
///
/// When something ends is for `assemble` to compare: as texts, which is what SQLite has for times, only those in one form
/// sort as times. What has an end is therefore kept apart until then, by its `source`: `grant` or `session` with
/// the id, and '' for memberships. Groups and roles are joined by their rows, and only by those that have a name: an edge
/// to nothing, or over it, grants nothing.
const ADMIN: &str = "
    WITH RECURSIVE {parts}gate__direct(role_id, source) AS (
        SELECT gr.role_id, ''
          FROM rbac_user_groups ug
          JOIN rbac_groups g ON g.id = ug.group_id
          JOIN rbac_group_roles gr ON gr.group_id = g.id
         WHERE ug.user_id = {member} AND g.name <> 'break-glass'
        UNION
        SELECT gr.role_id, 'grant ' || t.id
          FROM gate_grants t
          JOIN rbac_groups g ON g.id = {granted}
          JOIN rbac_group_roles gr ON gr.group_id = g.id
         WHERE t.admin_id = {id} AND t.revoked_at_utc IS NULL AND g.name <> 'break-glass'
        UNION
        SELECT gr.role_id, 'session ' || CAST(s.id AS TEXT)
          FROM rbac_break_glass_sessions s
          JOIN rbac_groups g ON g.name = 'break-glass'
          JOIN rbac_group_roles gr ON gr.group_id = g.id
         WHERE s.user_id = {glass} AND s.revoked_at_utc IS NULL
    ), gate__held(role_id, source) AS (
        SELECT r.id, d.source
          FROM gate__direct d JOIN rbac_roles r ON r.id = d.role_id
         WHERE r.name IS NOT NULL
        UNION
        SELECT p.id, h.source
          FROM gate__held h
          JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
          JOIN rbac_roles p ON p.id = i.parent_role_id
         WHERE p.name IS NOT NULL
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TEXT) AS ends,
           CAST(NULL AS TIMESTAMPTZ) AS until
      FROM gate_epoch
    UNION ALL
    {facts}
    UNION ALL
    SELECT 'group', CAST(g.name AS TEXT), NULL, NULL
      FROM rbac_user_groups ug JOIN rbac_groups g ON g.id = ug.group_id WHERE ug.user_id = {member}
    UNION ALL
    SELECT 'granted_group', CAST(g.name AS TEXT), 'grant ' || t.id, NULL
      FROM gate_grants t JOIN rbac_groups g ON g.id = {granted}
     WHERE t.admin_id = {id} AND t.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'grant_starts', t.id, NULL,
           CASE WHEN t.starts_at_utc > $3 AND t.starts_at_utc < $4 THEN t.starts_at_utc END
      FROM gate_grants t WHERE t.admin_id = {id} AND t.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'grant_ends', t.id, NULL,
           CASE WHEN t.ends_at_utc > $3 AND t.ends_at_utc < $4 THEN t.ends_at_utc END
      FROM gate_grants t WHERE t.admin_id = {id} AND t.revoked_at_utc IS NULL
    UNION ALL
    SELECT 'glass_starts', CAST(id AS TEXT), NULL,
           CASE WHEN granted_at_utc > $3 AND granted_at_utc < $4 THEN granted_at_utc END
      FROM rbac_break_glass_sessions
     WHERE user_id = {glass} AND revoked_at_utc IS NULL
    UNION ALL
    SELECT 'glass_ends', CAST(id AS TEXT), NULL,
           CASE WHEN expires_at_utc > $3 AND expires_at_utc < $4 THEN expires_at_utc END
      FROM rbac_break_glass_sessions
     WHERE user_id = {glass} AND revoked_at_utc IS NULL
    UNION ALL
    SELECT CASE WHEN h.source = '' THEN 'role' ELSE 'granted_role' END, CAST(r.name AS TEXT), h.source, NULL
      FROM gate__held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT CASE WHEN h.source = '' THEN 'permission' ELSE 'granted_permission' END, CAST(p.name AS TEXT), h.source, NULL
      FROM gate__held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

const TOKEN: &str = "
    WITH RECURSIVE token(id, name, expires_at_utc, revoked_at_utc) AS (
        SELECT id, name, expires_at_utc, revoked_at_utc
          FROM gate_machine_tokens
         WHERE token_sha256 = $1 OR id = $2
    ), held(role_id) AS (
        SELECT r.id
          FROM token t
          JOIN gate_machine_token_groups tg ON tg.token_id = t.id
          JOIN rbac_groups g ON g.id = {group}
          JOIN rbac_group_roles gr ON gr.group_id = g.id
          JOIN rbac_roles r ON r.id = gr.role_id
         WHERE g.name <> 'break-glass' AND r.name IS NOT NULL
        UNION
        SELECT p.id
          FROM held h
          JOIN rbac_role_inheritance i ON i.child_role_id = h.role_id
          JOIN rbac_roles p ON p.id = i.parent_role_id
         WHERE p.name IS NOT NULL
    )
    SELECT 'epoch' AS kind, CAST(epoch AS TEXT) AS name, CAST(NULL AS TEXT) AS ends,
           CAST(NULL AS TIMESTAMPTZ) AS until
      FROM gate_epoch
    UNION ALL
    SELECT CASE WHEN revoked_at_utc IS NOT NULL THEN 'revoked_token'
                WHEN expires_at_utc IS NULL THEN 'token' ELSE 'limited_token' END,
           id, NULL, CASE WHEN expires_at_utc > $3 AND expires_at_utc < $4 THEN expires_at_utc END
      FROM token
    UNION ALL
    SELECT 'token_name', name, NULL, NULL FROM token
    UNION ALL
    SELECT 'legacy', l.role, NULL, NULL
      FROM token t JOIN gate_machine_token_legacy_roles l ON l.token_id = t.id
    UNION ALL
    SELECT 'group', CAST(g.name AS TEXT), NULL, NULL
      FROM token t
      JOIN gate_machine_token_groups tg ON tg.token_id = t.id
      JOIN rbac_groups g ON g.id = {group}
    UNION ALL
    SELECT 'role', CAST(r.name AS TEXT), NULL, NULL FROM held h JOIN rbac_roles r ON r.id = h.role_id
    UNION ALL
    SELECT 'permission', CAST(p.name AS TEXT), NULL, NULL
      FROM held h
      JOIN rbac_role_permissions rp ON rp.role_id = h.role_id
      JOIN rbac_permissions p ON p.id = rp.permission_id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_in_every_form_that_databases_write() {
        let table = [
            ("2026-03-29 12:00:00+00", Some("2026-03-29T12:00:00+00:00")),
            ("2026-03-29 12:00:00.123456+00", Some("2026-03-29T12:00:00.123456+00:00")),
            ("2026-03-29 12:00:00+05:30", Some("2026-03-29T06:30:00+00:00")),
            ("2026-03-29 12:00:00", Some("2026-03-29T12:00:00+00:00")),
            ("2026-03-29 12:00:00.5", Some("2026-03-29T12:00:00.500+00:00")),
            ("2026-03-29T12:00:00.2Z", Some("2026-03-29T12:00:00.200+00:00")),
            ("2026-03-29T12:00:00+02:00", Some("2026-03-29T10:00:00+00:00")),
            ("2026-03-29", Some("2026-03-29T00:00:00+00:00")),
            ("2026-03-29 12:00", Some("2026-03-29T12:00:00+00:00")),
            ("infinity", None),
            ("-infinity", None),
            ("294276-12-31 23:59:59+00", None),
            ("4713-01-01 00:00:00+00 BC", None),
            ("tomorrow", None),
            ("", None),
            ("4102444800", None),
            ("2099-99-99T00:00:00+00:00", None),
            ("2099-01-01T00:00:00+0000 UTC", None),
        ];
        for (text, expected) in table {
            let read = read_end(Some(text)).map(|time| time.to_rfc3339());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}

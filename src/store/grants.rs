//! What the gate's role must be allowed to do on Postgres, table by table: for `migrate --grant-to`, for the shipped
//! `grants.sql`, for the check at start, and for messages that say which GRANT is missing.
//!
//! A role that owns the tables needs none of it. One that only serves should not own them: it could take the triggers
//! off that keep the audit append-only.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::connection::Pool;
use super::place::{DOCUMENTS_TABLES, Place, Survey, quoted};
use super::{Store, StoreError};

/// The rights of a role that serves and runs commands. `migrate` and `retention` are for the owner of the tables, and
/// `audit verify` is where there are customers' events.
pub const NEEDED: [(&str, &str); 43] = [
    ("admin_roles", "SELECT"),
    ("admin_sessions", "SELECT"),
    ("admins", "SELECT, INSERT, UPDATE"),
    ("console_flag_promotions", "SELECT, INSERT, UPDATE, DELETE"),
    ("customer_audit_events", "INSERT"),
    ("gate_audit_control", "SELECT, UPDATE"),
    (
        "gate_audit_events",
        "SELECT, INSERT, UPDATE (actor_id, session_id, client_address, path, personal_salt, erased_by)",
    ),
    ("gate_audit_outbox", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_blocked_admins", "SELECT, INSERT, DELETE"),
    ("gate_console_watch", "SELECT"),
    ("gate_console_watched", "SELECT"),
    ("gate_decisions", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_drift_events", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_drift_signoffs", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_epoch", "SELECT, UPDATE"),
    ("gate_erased_actors", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_evidence_gaps", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_evidence_marks", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_flags", "SELECT, INSERT, UPDATE"),
    ("gate_instances", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_machine_token_groups", "SELECT, INSERT"),
    ("gate_machine_token_legacy_roles", "SELECT, INSERT"),
    ("gate_machine_tokens", "SELECT, INSERT, UPDATE"),
    ("gate_mapping_activations", "SELECT, INSERT"),
    ("gate_mapping_pin", "SELECT, INSERT, UPDATE"),
    ("gate_mapping_pin_files", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_mappings", "SELECT, INSERT"),
    ("gate_pending_erasures", "SELECT, INSERT, DELETE"),
    ("gate_rbac_changes", "SELECT, DELETE"),
    ("gate_rbac_command", "SELECT, INSERT, DELETE"),
    ("gate_running", "SELECT, INSERT, UPDATE, DELETE"),
    ("gate_session_changes", "SELECT"),
    ("rbac_break_glass_sessions", "SELECT"),
    ("rbac_group_roles", "SELECT, INSERT, DELETE"),
    ("rbac_groups", "SELECT, INSERT"),
    ("rbac_permissions", "SELECT, INSERT"),
    ("rbac_role_inheritance", "SELECT, INSERT, DELETE"),
    ("rbac_role_permissions", "SELECT, INSERT, DELETE"),
    ("rbac_roles", "SELECT, INSERT"),
    ("rbac_ticket_grants", "SELECT"),
    ("rbac_user_groups", "SELECT, INSERT, DELETE"),
    ("rbac_grants_audit", "SELECT, INSERT"),
    ("_sqlx_migrations", "SELECT"),
];

/// The functions that such a role calls: an erasure counts and blanks what row-level security hides from it.
pub const NEEDED_FUNCTIONS: [&str; 2] =
    ["gate_customer_traces(TEXT)", "gate_erase_customer_traces(TEXT, TEXT)"];

/// What `migrate --grant-to` did, and what is left to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granting {
    /// The statements that were run.
    pub granted: Vec<String>,
    /// The statements that the owners of Console's tables have to run: the role of this run may not grant them.
    pub left: Vec<String>,
}

/// A right that the role of `database.url` lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// `SELECT, INSERT on console_gate.gate_audit_events`.
    pub what: String,
    /// The statement that gives it.
    pub grant: String,
}

/// One message for everything that a role lacks.
pub fn message(missing: &[MissingRight], role: &str) -> String {
    let width = missing.iter().map(|right| right.what.len()).max().unwrap_or_default();
    let lines: Vec<String> =
        missing.iter().map(|right| format!("  {:width$}    {};", right.what, right.grant)).collect();
    format!(
        "the database role `{role}` lacks {} right(s) that a gate needs. `console-gate migrate --grant-to {role}`, run \
         with the URL of the tables' owner, grants them; or by hand:\n{}",
        missing.len(),
        lines.join("\n")
    )
}

/// A right on a table: the word, and the columns that it is limited to.
fn each(rights: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = rights.trim();
    while !rest.is_empty() {
        let end = rest.find([',', '(']).unwrap_or(rest.len());
        let word = rest[..end].trim().to_owned();
        let mut columns = Vec::new();
        rest = &rest[end..];
        if let Some(list) = rest.strip_prefix('(') {
            let (inside, after) = list.split_once(')').unwrap_or((list, ""));
            columns = inside.split(',').map(|column| column.trim().to_owned()).collect();
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ']);
        found.push((word, columns));
    }
    found
}

/// The tables that a gate on this database needs, with the rights and where each is.
fn wanted(survey: &Survey) -> Vec<(Place, &'static str)> {
    let places = NEEDED.iter().filter_map(|(table, rights)| Some((survey.place(table)?, *rights)));
    places.collect()
}

/// The schemas in which these are, each once.
fn schemas(wanted: &[(Place, &'static str)]) -> Vec<String> {
    let mut schemas: Vec<String> = wanted.iter().map(|(place, _)| place.schema.clone()).collect();
    schemas.sort();
    schemas.dedup();
    schemas
}

fn named(place: &Place) -> String {
    format!("{}.{}", quoted(&place.schema), quoted(&place.table))
}

/// A function's signature in the gate's schema.
fn routine(survey: &Survey, signature: &str) -> String {
    format!("{}.{signature}", quoted(&survey.own))
}

impl Store {
    /// Grants a role what a serving gate needs, and no more. On SQLite there is nothing to grant.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if there is no such role; [`StoreError::Forbidden`] if this role may not grant on the
    /// gate's own tables.
    pub async fn grant_to(&self, role: &str) -> Result<Granting, StoreError> {
        let Pool::Postgres(pool) = &self.pool else { return Ok(Granting::default()) };
        let (placement, default) = pool.placement().await?;
        let mut lease = pool.acquire().await?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
            .bind(role)
            .fetch_one(&mut *lease)
            .await?;
        if !exists {
            return Err(StoreError::Conflict(format!(
                "there is no role `{role}`: `CREATE ROLE {} LOGIN`",
                quoted(role)
            )));
        }
        let survey = Survey::take(&mut lease, placement, default).await?.unambiguous()?;
        let wanted = wanted(&survey);
        let to = quoted(role);
        let mut outcome = Granting::default();
        let mut statements = Vec::new();
        for schema in schemas(&wanted) {
            let grant = format!("GRANT USAGE ON SCHEMA {} TO {to}", quoted(&schema));
            statements.push((grant, may_grant_schema(&mut lease, &schema).await?));
        }
        for (place, rights) in &wanted {
            let grant = format!("GRANT {rights} ON {} TO {to}", named(place));
            statements.push((grant, may_grant_table(&mut lease, place).await?));
        }
        for signature in NEEDED_FUNCTIONS {
            let grant = format!("GRANT EXECUTE ON FUNCTION {} TO {to}", routine(&survey, signature));
            statements.push((grant, true));
        }
        let (granted, left): (Vec<_>, Vec<_>) = statements.into_iter().partition(|(_, may)| *may);
        outcome.left = left.into_iter().map(|(statement, _)| statement).collect();
        outcome.granted = granted.into_iter().map(|(statement, _)| statement).collect();
        let all = format!("BEGIN; {}; COMMIT", outcome.granted.join("; "));
        if let Err(error) = lease.execute(sqlx::raw_sql(AssertSqlSafe(all))).await {
            lease.close_on_drop();
            return Err(error.into());
        }
        Ok(outcome)
    }

    /// Every right that a serving gate needs and the role of this store lacks, and the role. Empty on SQLite.
    pub async fn missing_rights(&self) -> Result<(Vec<MissingRight>, String), StoreError> {
        let Pool::Postgres(pool) = &self.pool else { return Ok((Vec::new(), String::new())) };
        self.bounded(async {
            let (placement, default) = pool.placement().await?;
            let mut lease = pool.acquire().await?;
            let survey = Survey::take(&mut lease, placement, default).await?.unambiguous()?;
            let missing = missing(&mut lease, &survey).await?;
            Ok((missing, survey.role))
        })
        .await
    }
}

async fn may_grant_schema(connection: &mut PgConnection, schema: &str) -> Result<bool, StoreError> {
    const MAY: &str = "
        SELECT has_schema_privilege(oid, 'USAGE WITH GRANT OPTION') FROM pg_namespace WHERE nspname = $1";
    Ok(sqlx::query_scalar(MAY).bind(schema).fetch_one(connection).await?)
}

async fn may_grant_table(connection: &mut PgConnection, place: &Place) -> Result<bool, StoreError> {
    const MAY: &str = "
        SELECT has_table_privilege(c.oid, 'SELECT WITH GRANT OPTION')
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2";
    Ok(sqlx::query_scalar(MAY).bind(&place.schema).bind(&place.table).fetch_one(connection).await?)
}

async fn missing(connection: &mut PgConnection, survey: &Survey) -> Result<Vec<MissingRight>, StoreError> {
    const SCHEMA: &str = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1";
    const TABLE: &str = "
        SELECT has_table_privilege(c.oid, $3)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2";
    const COLUMN: &str = "
        SELECT has_column_privilege(c.oid, $4, $3)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2";
    const ROUTINE: &str = "
        SELECT has_function_privilege(p.oid, 'EXECUTE')
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = $1 AND p.proname = $2";
    let to = quoted(&survey.role);
    let wanted = wanted(survey);
    let mut missing = Vec::new();
    for schema in schemas(&wanted) {
        let has: bool = sqlx::query_scalar(SCHEMA).bind(&schema).fetch_one(&mut *connection).await?;
        if !has {
            let grant = format!("GRANT USAGE ON SCHEMA {} TO {to}", quoted(&schema));
            missing.push(MissingRight { what: format!("USAGE on the schema {schema}"), grant });
        }
    }
    for (place, rights) in &wanted {
        let mut lacks = Vec::new();
        for (right, columns) in each(rights) {
            let ask =
                |statement| sqlx::query_scalar::<_, bool>(statement).bind(&place.schema).bind(&place.table);
            if columns.is_empty() {
                if !ask(TABLE).bind(&right).fetch_one(&mut *connection).await? {
                    lacks.push(right);
                }
                continue;
            }
            let mut denied = Vec::new();
            for column in columns {
                if !ask(COLUMN).bind(&right).bind(&column).fetch_one(&mut *connection).await? {
                    denied.push(column);
                }
            }
            if !denied.is_empty() {
                lacks.push(format!("{right} ({})", denied.join(", ")));
            }
        }
        if !lacks.is_empty() {
            let lacks = lacks.join(", ");
            let grant = format!("GRANT {lacks} ON {} TO {to}", named(place));
            missing.push(MissingRight { what: format!("{lacks} on {place}"), grant });
        }
    }
    for signature in NEEDED_FUNCTIONS {
        let name = signature.split('(').next().unwrap_or(signature);
        let has: Option<bool> =
            sqlx::query_scalar(ROUTINE).bind(&survey.own).bind(name).fetch_optional(&mut *connection).await?;
        if has == Some(false) {
            let grant = format!("GRANT EXECUTE ON FUNCTION {} TO {to}", routine(survey, signature));
            missing.push(MissingRight { what: format!("EXECUTE on {}.{name}", survey.own), grant });
        }
    }
    Ok(missing)
}

/// `deploy/postgres/grants.sql`, for who would rather read what is granted than run a program as the owner.
pub fn file() -> String {
    let mut text = String::from(FILE_HEAD);
    for (table, rights) in NEEDED {
        if DOCUMENTS_TABLES.contains(&table) {
            continue;
        }
        text.push_str(&format!("GRANT {rights}\n    ON {table} TO :\"role\";\n"));
    }
    for signature in NEEDED_FUNCTIONS {
        text.push_str(&format!("GRANT EXECUTE ON FUNCTION {signature} TO :\"role\";\n"));
    }
    text.push_str(FILE_DOCUMENTS);
    for table in DOCUMENTS_TABLES {
        text.push_str(&format!("GRANT SELECT ON {table} TO :\"role\";\n"));
    }
    text.push_str("\\endif\nCOMMIT;\n");
    text
}

const FILE_HEAD: &str = "\
-- What the role of a serving gate may do, and no more; the same as `console-gate migrate --grant-to ROLE`, which finds
-- out by itself where the tables are. Run it as the owner of the tables, after `console-gate migrate`:
--
--   psql -v role=gate_app -v schema=console_gate -v console=public -v documents=true -f grants.sql DATABASE
--
-- `schema` is `database.schema` of gate.toml, `console` the schema of Console's tables. With SELECTs in `[console]` of
-- gate.toml, say `documents=false` and grant SELECT on the tables that they read.
\\set ON_ERROR_STOP on
BEGIN;
GRANT USAGE ON SCHEMA :\"schema\", :\"console\" TO :\"role\";
SET LOCAL search_path = :\"schema\", :\"console\", pg_temp;
";

const FILE_DOCUMENTS: &str = "\\if :documents\n";

/// What Postgres said of a missing right, and the statement that mends it.
pub(super) fn hint(message: &str, routine: Option<&str>) -> String {
    // A trigger refuses with the same code, and no GRANT changes its mind.
    if routine == Some("exec_stmt_raise") {
        return message.to_owned();
    }
    let Some((kind, name)) =
        message.strip_prefix("permission denied for ").and_then(|rest| rest.split_once(' '))
    else {
        return format!("{message}: `console-gate migrate` and `retention` are for the owner of the tables");
    };
    let name = name.trim_matches('"');
    match kind {
        "table" | "relation" => match NEEDED.iter().find(|(table, _)| *table == name) {
            Some((_, rights)) => {
                format!(
                    "{message}: as the table's owner, `GRANT {rights} ON {name} TO` the role of `database.url`"
                )
            }
            None => format!("{message}: its owner has to grant it to the role of `database.url`"),
        },
        "schema" => format!(
            "{message}: `GRANT USAGE ON SCHEMA {name} TO` the role of `database.url`; for `console-gate migrate`, CREATE \
             as well"
        ),
        "function" => format!("{message}: `GRANT EXECUTE ON FUNCTION {name} TO` the role of `database.url`"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_grant() {
        let table = [
            (
                "permission denied for table gate_flags",
                "permission denied for table gate_flags: as the table's owner, `GRANT SELECT, INSERT, UPDATE ON gate_flags \
                 TO` the role of `database.url`",
            ),
            (
                "permission denied for table admin_notes",
                "permission denied for table admin_notes: its owner has to grant it to the role of `database.url`",
            ),
            (
                "permission denied for schema public",
                "permission denied for schema public: `GRANT USAGE ON SCHEMA public TO` the role of `database.url`; for \
                 `console-gate migrate`, CREATE as well",
            ),
            (
                "must be owner of table admins",
                "must be owner of table admins: `console-gate migrate` and `retention` are for the owner of the tables",
            ),
        ];
        for (message, expected) in table {
            assert_eq!(hint(message, Some("aclcheck_error")), expected);
        }
        assert_eq!(hint("`x` keeps what it holds", Some("exec_stmt_raise")), "`x` keeps what it holds");
    }
}

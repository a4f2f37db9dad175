//! Rights on Postgres, by the one list of [`grants`](crate::schema::privileges): granting them to a role, and what a role lacks.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::console::mirror::rights::Writes;
use crate::console::reads::{self, Reads};
use crate::control::{SAME_COLUMNS, WHOLE_ON_POSTGRES};
use crate::engine::connection::{Connection, Pool};
use crate::schema::placement::{DOCUMENTS_TABLES, FoundTable, Survey, quoted};
use crate::schema::privileges::{NEEDED, NEEDED_FUNCTIONS};
use crate::{Store, StoreError};

/// What `migrate --grant-to` did, and what it leaves to others.
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
fn wanted(survey: &Survey) -> Vec<(FoundTable, &'static str)> {
    let places = NEEDED.iter().filter_map(|(table, rights)| Some((survey.place(table)?, *rights)));
    places.collect()
}

/// The schemas in which these are, each once.
fn schemas(wanted: &[(FoundTable, &'static str)], reads: &Reads, writes: Option<&Writes>) -> Vec<String> {
    let places = wanted.iter().map(|(place, _)| place).chain(reads.keys());
    let written =
        writes.into_iter().flat_map(|writes| std::iter::once(&writes.table).chain(&writes.sequences));
    let places = places.chain(written);
    let mut schemas: Vec<String> = places.map(|place| place.schema.clone()).collect();
    schemas.sort();
    schemas.dedup();
    schemas
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
        let mut connection = Connection::Postgres(lease);
        let reads = reads::of(&mut connection, &self.console).await?;
        let Connection::Postgres(mut lease) = connection else { return Ok(Granting::default()) };
        let writes = self.mirrored(&mut lease).await?;
        let to = quoted(role);
        let mut outcome = Granting::default();
        let mut statements = Vec::new();
        for schema in schemas(&wanted, &reads, writes.as_ref()) {
            let grant = format!("GRANT USAGE ON SCHEMA {} TO {to}", quoted(&schema));
            statements.push((grant, may_grant_schema(&mut lease, &schema).await?));
        }
        for (place, rights) in &wanted {
            let grant = format!("GRANT {rights} ON {} TO {to}", reads::named(place));
            statements.push((grant, may_grant_table(&mut lease, place, "SELECT").await?));
        }
        for (place, columns) in &reads {
            let grant = format!("GRANT {} ON {} TO {to}", reads::right(columns), reads::named(place));
            statements.push((grant, may_grant_table(&mut lease, place, "SELECT").await?));
        }
        if let Some(Writes { table, columns, sequences }) = &writes {
            let grant = format!("GRANT {} ON {} TO {to}", Writes::right(columns), reads::named(table));
            statements.push((grant, may_grant_table(&mut lease, table, "INSERT").await?));
            for sequence in sequences {
                let grant = format!("GRANT USAGE ON SEQUENCE {} TO {to}", reads::named(sequence));
                let may = has_sequence(&mut lease, sequence, "USAGE WITH GRANT OPTION").await?;
                statements.push((grant, may));
            }
        }
        for signature in NEEDED_FUNCTIONS {
            let grant = format!("GRANT EXECUTE ON FUNCTION {} TO {to}", routine(&survey, signature));
            statements.push((grant, true));
        }
        let (granted, left): (Vec<_>, Vec<_>) = statements.into_iter().partition(|(_, may)| *may);
        outcome.left = left.into_iter().map(|(statement, _)| statement).collect();
        outcome.granted = granted.into_iter().map(|(statement, _)| statement).collect();
        if let Err(error) = carry_out(&mut lease, &outcome.granted).await {
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
            let mut connection = Connection::Postgres(lease);
            let reads = reads::of(&mut connection, &self.console).await?;
            let Connection::Postgres(mut lease) = connection else { return Ok((Vec::new(), String::new())) };
            let writes = self.mirrored(&mut lease).await?;
            let missing = missing(&mut lease, &survey, &reads, writes.as_ref()).await?;
            Ok((missing, survey.role))
        })
        .await
    }

    /// The writes to Console's audit table, where it is mirrored.
    async fn mirrored(&self, connection: &mut PgConnection) -> Result<Option<Writes>, StoreError> {
        match self.mirror.get() {
            Some(mirror) => mirror.writes(connection).await,
            None => Ok(None),
        }
    }
}

/// Grants all of it or nothing. A GRANT on columns does not change what they hold, so their recorded state remains valid;
/// their tables are locked against any other change meanwhile.
async fn carry_out(connection: &mut PgConnection, grants: &[String]) -> Result<(), sqlx::Error> {
    const TABLES: &str = "
        SELECT DISTINCT object, has_table_privilege(object_id::oid, 'SELECT') FROM gate_console_watch
         WHERE aspect = 'parts' ORDER BY 1";
    connection.execute("BEGIN; SET LOCAL lock_timeout = '5s'").await?;
    let tables: Vec<(String, bool)> = sqlx::query_as(TABLES).fetch_all(&mut *connection).await?;
    let mut is_whole = false;
    if !tables.is_empty() && tables.iter().all(|(_, may_lock)| *may_lock) {
        let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
        let locks = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        connection.execute(sqlx::raw_sql(AssertSqlSafe(locks))).await?;
        let whole: Option<String> =
            sqlx::query_scalar(WHOLE_ON_POSTGRES).fetch_optional(&mut *connection).await?;
        is_whole = whole.is_some();
    }
    connection.execute(sqlx::raw_sql(AssertSqlSafe(grants.join("; ")))).await?;
    if is_whole {
        sqlx::query(SAME_COLUMNS).execute(&mut *connection).await?;
    }
    connection.execute("COMMIT").await.map(drop)
}

async fn may_grant_schema(connection: &mut PgConnection, schema: &str) -> Result<bool, StoreError> {
    const MAY: &str = "
        SELECT has_schema_privilege(oid, 'USAGE WITH GRANT OPTION') FROM pg_namespace WHERE nspname = $1";
    Ok(sqlx::query_scalar(MAY).bind(schema).fetch_one(connection).await?)
}

async fn may_grant_table(
    connection: &mut PgConnection,
    place: &FoundTable,
    right: &str,
) -> Result<bool, StoreError> {
    const MAY: &str = "
        SELECT has_table_privilege(c.oid, $3 || ' WITH GRANT OPTION')
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2";
    let may = sqlx::query_scalar(MAY).bind(&place.schema).bind(&place.table).bind(right);
    Ok(may.fetch_one(connection).await?)
}

async fn has_sequence(
    connection: &mut PgConnection,
    place: &FoundTable,
    right: &str,
) -> Result<bool, StoreError> {
    const HAS: &str = "
        SELECT has_sequence_privilege(c.oid, $3)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2";
    let has = sqlx::query_scalar(HAS).bind(&place.schema).bind(&place.table).bind(right);
    Ok(has.fetch_one(connection).await?)
}

async fn missing(
    connection: &mut PgConnection,
    survey: &Survey,
    reads: &Reads,
    writes: Option<&Writes>,
) -> Result<Vec<MissingRight>, StoreError> {
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
    for schema in schemas(&wanted, reads, writes) {
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
            let grant = format!("GRANT {lacks} ON {} TO {to}", reads::named(place));
            missing.push(MissingRight { what: format!("{lacks} on {place}"), grant });
        }
    }
    for (place, columns) in reads {
        let mut denied = Vec::new();
        for column in columns {
            let asked = sqlx::query_scalar::<_, bool>(COLUMN).bind(&place.schema).bind(&place.table);
            if !asked.bind("SELECT").bind(column).fetch_one(&mut *connection).await? {
                denied.push(column.clone());
            }
        }
        let may_whole = sqlx::query_scalar::<_, bool>(TABLE).bind(&place.schema).bind(&place.table);
        let lacks_whole = columns.is_empty() && !may_whole.bind("SELECT").fetch_one(&mut *connection).await?;
        if lacks_whole || !denied.is_empty() {
            let what = match denied.is_empty() {
                true => format!("SELECT on {place}"),
                false => format!("SELECT ({}) on {place}", denied.join(", ")),
            };
            let right = reads::right(&denied.into_iter().collect());
            let grant = format!("GRANT {right} ON {} TO {to}", reads::named(place));
            missing.push(MissingRight { what, grant });
        }
    }
    if let Some(Writes { table, columns, sequences }) = writes {
        let mut denied = Vec::new();
        for column in columns {
            let asked = sqlx::query_scalar::<_, bool>(COLUMN).bind(&table.schema).bind(&table.table);
            if !asked.bind("INSERT").bind(column).fetch_one(&mut *connection).await? {
                denied.push(column.clone());
            }
        }
        if !denied.is_empty() {
            let grant = format!("GRANT {} ON {} TO {to}", Writes::right(&denied), reads::named(table));
            missing.push(MissingRight { what: format!("INSERT ({}) on {table}", denied.join(", ")), grant });
        }
        for sequence in sequences {
            if !has_sequence(&mut *connection, sequence, "USAGE").await? {
                let grant = format!("GRANT USAGE ON SEQUENCE {} TO {to}", reads::named(sequence));
                missing.push(MissingRight { what: format!("USAGE on the sequence {sequence}"), grant });
            }
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

/// `deploy/postgres/grants.sql`, for operators who would rather read the grants than run a program as the owner.
pub fn file() -> String {
    let mut text = String::from(FILE_HEAD);
    for (table, rights) in NEEDED {
        if DOCUMENTS_TABLES.contains(&table) {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "GRANT {rights}\n    ON {table} TO :\"role\";");
    }
    for signature in NEEDED_FUNCTIONS {
        let _ = writeln!(text, "GRANT EXECUTE ON FUNCTION {signature} TO :\"role\";");
    }
    text.push_str(FILE_DOCUMENTS);
    for table in DOCUMENTS_TABLES {
        let _ = writeln!(text, "GRANT SELECT ON {table} TO :\"role\";");
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

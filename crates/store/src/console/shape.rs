//! What the columns of Console's relations are, and whether they are what the gate needs.

use std::collections::HashMap;
use std::fmt;

use metrics::counter;
use sqlx::postgres::{PgColumn, PgDatabaseError};
use sqlx::sqlite::SqliteColumn;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, SqlSafeStr as _, Statement as _,
    TypeInfo as _,
};

use super::select::{Dialect, Select};
use super::{Console, Documented, Relation, Source, quoted};
use crate::engine::connection::Connection;
use crate::engine::sql::Statement;
use crate::{Store, StoreError};

/// A mismatch between a relation and what the gate needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub relation: Relation,
    /// The output column; `None` where it is about the whole SELECT.
    pub column: Option<&'static str>,
    /// What was found, and how to correct it.
    pub message: String,
    /// Whether the gate can work with it all the same.
    pub is_warning: bool,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.relation)?;
        if let Some(column) = self.column {
            write!(f, ", column `{column}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The columns of a relation's result, by name, each with the name of its type; the type is empty where it is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns(Vec<(String, String, Option<Origin>)>);

/// The table's column that an output column is, as the databases report it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// The numbers of the table and of its column.
    Postgres(i64, i16),
    Sqlite(String, String),
}

impl Columns {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(column, ..)| column == name)
    }

    /// The table's column that an output column is, if it is one as it is.
    fn origin(&self, name: &str) -> Option<&Origin> {
        self.0.iter().find(|(column, ..)| column == name)?.2.as_ref()
    }
}

/// What a relation's output columns must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Id,
    Switch,
    Text,
    End,
    Payload,
}

/// The output columns of a relation; the last of each is whether it must be there. A session's row identifies its admin by
/// id, or by a payload.
fn needs(relation: Relation, session_payload: bool) -> &'static [(&'static str, Need, bool)] {
    match relation {
        Relation::Admins | Relation::AllAdmins => {
            &[("id", Need::Id, true), ("disabled", Need::Switch, true), ("label", Need::Text, true)]
        }
        Relation::LegacyRoles => &[("role", Need::Text, true), ("until", Need::End, false)],
        Relation::AllLegacyRoles => {
            &[("admin_id", Need::Id, true), ("role", Need::Text, true), ("until", Need::End, false)]
        }
        Relation::Sessions if session_payload => &[
            ("id", Need::Id, true),
            ("payload", Need::Payload, true),
            ("ends", Need::End, false),
            ("ended", Need::Switch, false),
        ],
        Relation::Sessions => &[
            ("id", Need::Id, true),
            ("admin_id", Need::Id, true),
            ("ends", Need::End, false),
            ("ended", Need::Switch, false),
        ],
    }
}

impl Need {
    /// The problem with a type; `None` where there is none, or where the type is not known.
    fn lacks(self, kind: &str) -> Option<&'static str> {
        let kind = kind.to_uppercase();
        let is = |kinds: &[&str]| kinds.contains(&kind.as_str());
        let is_list = kind.ends_with("[]");
        let is_time = is(&["TIMESTAMPTZ", "TIMESTAMP", "DATETIME", "DATE"]);
        let is_blob = is(&["BYTEA", "BLOB", "JSON", "JSONB", "XML"]);
        match self {
            Need::Id
                if is_list || is_time || is_blob || is(&["BOOL", "BOOLEAN", "FLOAT4", "FLOAT8", "REAL"]) =>
            {
                Some("it must be an id: text, a UUID or an integer; for bytes, write `encode(x, 'hex')`")
            }
            Need::Switch
                if !is(&[
                    "", "NULL", "BOOL", "BOOLEAN", "INT2", "INT4", "INT8", "INTEGER", "INT", "TINYINT",
                ]) =>
            {
                Some(
                    "it must be a boolean: write a condition, such as `NOT u.is_active AS disabled` or \
                     `u.disabled_at IS NOT NULL AS disabled`",
                )
            }
            Need::Text if is_list => Some("it must be one text a row: write `unnest(x) AS role`"),
            Need::Text if is_blob || is(&["BOOL", "BOOLEAN"]) => {
                Some("it must be a text: write the name, one a row, such as `r.name AS role`")
            }
            Need::End
                if is(&[
                    "INT2", "INT4", "INT8", "INTEGER", "INT", "FLOAT4", "FLOAT8", "REAL", "NUMERIC", "BIGINT",
                ]) =>
            {
                Some(
                    "it must be a time or NULL: write `to_timestamp(x)` on Postgres, `datetime(x, 'unixepoch')` on SQLite",
                )
            }
            Need::End if is_list || is_blob || is(&["BOOL", "BOOLEAN", "UUID", "TIME", "INTERVAL"]) => {
                Some("it must be a time or NULL")
            }
            Need::Payload
                if !is(&[
                    "", "NULL", "TEXT", "VARCHAR", "CHAR", "BPCHAR", "BYTEA", "BLOB", "JSON", "JSONB",
                ]) =>
            {
                Some(
                    "it must be a text, JSON or bytes: return the column in which Console keeps the session's data",
                )
            }
            Need::Id | Need::Switch | Need::Text | Need::End | Need::Payload => None,
        }
    }
}

/// Compares the columns found with those needed.
pub(super) fn compare(relation: Relation, columns: &Columns, session_payload: bool) -> Vec<Mismatch> {
    let mismatch =
        |column, message: String| Mismatch { relation, column: Some(column), message, is_warning: false };
    let mut found = Vec::new();
    for (name, need, must_be) in needs(relation, session_payload).iter().copied() {
        let kinds: Vec<&String> =
            columns.0.iter().filter(|(column, ..)| column == name).map(|(_, kind, _)| kind).collect();
        match kinds.as_slice() {
            [] if must_be => {
                let names: Vec<&str> = columns.0.iter().map(|(name, ..)| name.as_str()).collect();
                let message = format!("it is not there, but {}: name it with `AS {name}`", list(&names));
                found.push(mismatch(name, message));
            }
            [] => {}
            [kind] => {
                if let Some(fix) = need.lacks(kind) {
                    found.push(mismatch(name, format!("its type is {}; {fix}", kind.to_lowercase())));
                }
            }
            _ => found.push(mismatch(name, "it is there twice: leave one out".into())),
        }
    }
    found
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "no other".into()
    } else {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

/// Why the columns of a relation are not known.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// A table that it reads is not there.
    Gone(String),
    /// The database does not take the SELECT, or a column does not fit.
    Unfit(Vec<Mismatch>),
    Other(StoreError),
}

impl From<StoreError> for Unreadable {
    fn from(error: StoreError) -> Self {
        Unreadable::Other(error)
    }
}

impl Unreadable {
    /// As an error of the store, which names the relation.
    pub(super) fn of(self, relation: Relation) -> StoreError {
        let message = match self {
            Unreadable::Other(error) => return error,
            Unreadable::Gone(message) => format!("{relation}: {message}"),
            Unreadable::Unfit(mismatches) => {
                mismatches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
        };
        counter!("gate_console_unreadable_total", "relation" => relation.key()).increment(1);
        tracing::error!(
            relation = relation.key(),
            "what the gate reads of Console cannot be read: {message}"
        );
        StoreError::Schema(message)
    }
}

/// The columns of a query's result. Nothing is read.
async fn describe(connection: &mut Connection, text: String) -> Result<Columns, sqlx::Error> {
    let text = AssertSqlSafe(text).into_sql_str();
    let columns = match connection {
        Connection::Postgres(to) => {
            // What was prepared before the table changed would have the old columns.
            to.clear_cached_statements().await?;
            let prepared = (&mut **to).prepare(text).await?;
            let column = |column: &PgColumn| {
                let place = column.relation_id().zip(column.relation_attribute_no());
                let origin = place.map(|(table, number)| Origin::Postgres(table.0.into(), number));
                (column.name().to_owned(), column.type_info().name().to_owned(), origin)
            };
            prepared.columns().iter().map(column).collect()
        }
        Connection::Sqlite(to) => {
            to.clear_cached_statements().await?;
            // To prepare is to go by the schema that the connection knows; to run anything brings the one that is there.
            to.execute("SELECT 1 FROM sqlite_schema LIMIT 1").await?;
            let prepared = (&mut **to).prepare(text).await?;
            let column = |column: &SqliteColumn| {
                let origin = column.origin();
                let origin = origin
                    .table_column()
                    .map(|place| Origin::Sqlite(place.table.to_string(), place.name.to_string()));
                (column.name().to_lowercase(), column.type_info().name().to_owned(), origin)
            };
            prepared.columns().iter().map(column).collect()
        }
    };
    Ok(Columns(columns))
}

/// The reason why the database did not take a SELECT.
fn refusal(relation: Relation, error: sqlx::Error) -> Unreadable {
    let Some(said) = error.as_database_error() else { return Unreadable::Other(error.into()) };
    let (message, code) = (said.message().to_owned(), said.code().unwrap_or_default().into_owned());
    let is_postgres = said.try_downcast_ref::<PgDatabaseError>().is_some();
    let is_gone = if is_postgres { code == "42P01" } else { message.starts_with("no such table") };
    if is_gone {
        return Unreadable::Gone(message);
    }
    // Syntax, names, types, rights, values: errors of the SELECT. Anything else is the database's.
    let is_about_the_text = match is_postgres {
        true => ["42", "3F", "22", "0A"].contains(&code.get(..2).unwrap_or_default()),
        false => code == "1",
    };
    if !is_about_the_text {
        return Unreadable::Other(error.into());
    }
    let fix = match code.as_str() {
        "42883" if relation.takes_id() => {
            ". `$1` is a text: cast it to the column's type, as in `WHERE u.id = $1::uuid`"
        }
        "42501" => ". The role of `database.url` needs SELECT on it, and USAGE on its schema",
        "42703" => ". Was it renamed? Change the SELECT to what Console's table is now",
        _ => "",
    };
    Unreadable::Unfit(vec![Mismatch {
        relation,
        column: None,
        message: format!("{message}{fix}"),
        is_warning: false,
    }])
}

/// The type of each of these columns that is there, as SQL names it; on SQLite none, for a value is compared there as
/// the column needs it.
pub(crate) async fn column_types(
    connection: &mut Connection,
    columns: &[(&'static str, &'static str)],
) -> Result<HashMap<(&'static str, &'static str), String>, StoreError> {
    const TYPES: &str = "
        SELECT format_type(a.atttypid, NULL) FROM pg_attribute a
         WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped";
    let mut types = HashMap::new();
    if let Connection::Postgres(_) = connection {
        for &(table, column) in columns {
            let statement = crate::engine::sql::sql(TYPES).bind(quoted(table)).bind(column);
            if let Some((kind,)) = connection.first::<(String,)>(statement).await? {
                types.insert((table, column), kind);
            }
        }
    }
    Ok(types)
}

/// `expression`, which is a text, as a value of the type that a column has.
pub(super) fn cast(expression: &str, kind: Option<&str>) -> String {
    match kind {
        None | Some("text" | "character varying" | "character") => expression.to_owned(),
        Some(kind) => format!("CAST({expression} AS {kind})"),
    }
}

impl Console {
    /// The text of a relation's SELECT, in which `$1` is `id`, a text. `None` if there is no such relation.
    pub(super) async fn text_of(
        &self,
        connection: &mut Connection,
        relation: Relation,
        id: &str,
    ) -> Result<Option<String>, StoreError> {
        let Some(select) = self.relations.select(relation) else { return Ok(None) };
        let argument = match (self.relations.source(relation), self.dialect) {
            (_, Dialect::Sqlite) => id.to_owned(),
            (Source::Documents(Documented { table, key, .. }), Dialect::Postgres) => {
                let types = column_types(connection, &[(table, key)]).await?;
                format!("({})", cast(id, types.get(&(*table, *key)).map(String::as_str)))
            }
            (_, Dialect::Postgres) => format!("({id})"),
        };
        self.written(relation, &select, &argument).map(Some)
    }

    fn written(&self, relation: Relation, select: &Select, argument: &str) -> Result<String, StoreError> {
        let text = select.with_parameter(self.dialect, argument);
        text.map_err(|problem| StoreError::Unusable(format!("{relation}: {problem}")))
    }

    /// The columns of a relation, checked. `None` if there is no such relation.
    pub(super) async fn columns(
        &self,
        connection: &mut Connection,
        relation: Relation,
    ) -> Result<Option<Columns>, Unreadable> {
        let nothing = match self.dialect {
            Dialect::Postgres => "NULL::text",
            Dialect::Sqlite => "NULL",
        };
        let Some(text) = self.text_of(connection, relation, nothing).await? else { return Ok(None) };
        let columns = describe(connection, text).await.map_err(|error| refusal(relation, error))?;
        let mismatches = compare(relation, &columns, self.relations.session_payload);
        if mismatches.is_empty() { Ok(Some(columns)) } else { Err(Unreadable::Unfit(mismatches)) }
    }
}

impl Console {
    /// A relation's SELECT, or why it cannot be read for now: a table is gone.
    ///
    /// # Errors
    ///
    /// The database does not take the SELECT, or did not answer.
    pub(crate) async fn readable_text(
        &self,
        connection: &mut Connection,
        relation: Relation,
        id: &str,
    ) -> Result<Option<Result<String, String>>, StoreError> {
        // What fails inside a transaction of Postgres ends it: the tables of the documents are looked for first.
        if let (Source::Documents(documented), Connection::Postgres(_)) =
            (self.relations.source(relation), &mut *connection)
        {
            let there = Statement::of("SELECT to_regclass($1) IS NOT NULL", "SELECT $1 IS NOT NULL");
            let (is_there,): (bool,) = connection.one(there.bind(documented.table)).await?;
            if !is_there {
                return Ok(Some(Err(format!("there is no table `{}`", documented.table))));
            }
        }
        match self.columns(connection, relation).await {
            Ok(None) => return Ok(None),
            Ok(Some(_)) => {}
            Err(Unreadable::Gone(message)) if self.dialect == Dialect::Sqlite => {
                return Ok(Some(Err(message)));
            }
            Err(unreadable) => return Err(unreadable.of(relation)),
        }
        let text = self.text_of(connection, relation, id).await?;
        Ok(text.map(Ok))
    }

    /// Whether the key identifies the session of a changed row: the key must be what the SELECT calls `id`. Otherwise the
    /// sessions that are named as changed would be other ones.
    pub(crate) async fn lists_sessions(&self, connection: &mut Connection) -> Result<bool, StoreError> {
        let Some(key) = &self.relations.sessions_key else { return Ok(false) };
        if self.relations.is_documented(Relation::Sessions) {
            return Ok(key.table.name == "admin_sessions" && key.column == "id");
        }
        let columns = match self.columns(connection, Relation::Sessions).await {
            Ok(Some(columns)) => columns,
            Ok(None) => return Ok(false),
            Err(unreadable) => return Err(unreadable.of(Relation::Sessions)),
        };
        match columns.origin("id") {
            None => Ok(false),
            Some(Origin::Sqlite(table, column)) => {
                Ok(table.eq_ignore_ascii_case(&key.table.name) && column.eq_ignore_ascii_case(&key.column))
            }
            Some(Origin::Postgres(table, number)) => {
                const IS_KEY: &str = "
                    SELECT EXISTS (SELECT 1 FROM pg_attribute a
                                    WHERE a.attrelid = to_regclass($1) AND a.attname = $2
                                      AND a.attrelid::bigint = $3 AND a.attnum = $4)";
                let look = Statement::of(IS_KEY, "SELECT FALSE");
                let look =
                    look.bind(key.table.to_string()).bind(key.column.clone()).bind(*table).bind(*number);
                let (is_key,): (bool,) = connection.one(look).await?;
                Ok(is_key)
            }
        }
    }
}

impl Store {
    /// Everything about Console's relations that is not as the gate needs it.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn console_mismatches(&self) -> Result<Vec<Mismatch>, StoreError> {
        let mut found = Vec::new();
        let mut connection = self.access_pool.acquire().await?;
        let console = &self.console;
        for relation in Relation::ALL {
            let outcome = self.bounded(console.checked(&mut connection, relation)).await?;
            found.extend(outcome);
        }
        if let Some((relation, word)) = console.relations.changes_by_itself(console.dialect) {
            let message = format!(
                "`{word}` changes its result without a write, so Console is read for each request: return \
                 the end as `until` or `ends` instead"
            );
            found.push(Mismatch { relation, column: None, message, is_warning: true });
        }
        Ok(found)
    }
}

impl Console {
    async fn checked(
        &self,
        connection: &mut Connection,
        relation: Relation,
    ) -> Result<Vec<Mismatch>, StoreError> {
        let (message, is_warning) = match self.columns(connection, relation).await {
            Ok(_) => return Ok(Vec::new()),
            Err(Unreadable::Unfit(mismatches)) => return Ok(mismatches),
            Err(Unreadable::Other(error)) => return Err(error),
            Err(Unreadable::Gone(message)) => match relation {
                Relation::LegacyRoles | Relation::AllLegacyRoles => {
                    let effect = "legacy rows are refused, and RBAC V2 rows work; set `legacy_roles = \"none\"` if that is intended";
                    (format!("{message}: {effect}"), true)
                }
                Relation::Sessions if self.relations.is_documented(relation) => {
                    (format!("{message}: every caller whose cookie names a session is denied"), true)
                }
                Relation::Admins | Relation::AllAdmins | Relation::Sessions => (
                    format!("{message}. Was it renamed? Change the SELECT to what Console's table is now"),
                    false,
                ),
            },
        };
        Ok(vec![Mismatch { relation, column: None, message, is_warning }])
    }
}

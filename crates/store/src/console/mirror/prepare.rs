//! Console's audit table, compared with what the settings send it.

use ledger::AuditRecord;
use policy::diagnostic::closest;

use super::field::{ColumnSource, Field, Given};
use super::fit::Kind;
use super::{Mirror, MirrorError, MirrorOptions};
use crate::StoreError;
use crate::engine::connection::Connection;
use crate::engine::sql::Statement;

/// The prepared write, column by column.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Quoted, with its schema.
    table: String,
    columns: Vec<Column>,
    /// In `columns`: the one that holds the event's id.
    id: Option<usize>,
    pub(super) search_path: String,
    casts: bool,
}

#[derive(Debug)]
struct Column {
    /// Quoted.
    name: String,
    /// The type, as the database names it.
    declared: String,
    kind: Kind,
    given: Given,
    /// Whether it refers to a row of another table.
    is_reference: bool,
}

impl Column {
    /// Its value from a record. A machine has no row in Console's admins: where the actor must be one, it is left empty.
    fn value_of(&self, record: &AuditRecord) -> Option<String> {
        let is_actor = self.given == Given::Field(Field::Actor);
        match self.is_reference && is_actor && record.actor_kind != "admin" {
            true => None,
            false => self.kind.fit(&self.given.of(record)),
        }
    }
}

#[derive(sqlx::FromRow)]
struct Found {
    table_name: String,
    schema_path: String,
    name: String,
    quoted: String,
    declared: String,
    is_required: bool,
    is_reference: bool,
}

impl Prepared {
    /// The statements that write these records: all in one, or one by one where a row may be there already.
    pub(super) fn inserts<'q>(&self, records: &[&AuditRecord], once_by_id: bool) -> Vec<Statement<'q>> {
        match self.id.filter(|_| once_by_id) {
            None => vec![self.insert(records, "")],
            Some(id) => {
                let column = &self.columns[id];
                let only = format!(
                    " WHERE NOT EXISTS (SELECT 1 FROM {} m WHERE m.{} = {})",
                    self.table,
                    column.name,
                    self.value(id, id + 1),
                );
                records.iter().map(|record| self.insert(&[*record], &only)).collect()
            }
        }
    }

    fn insert<'q>(&self, records: &[&AuditRecord], only: &str) -> Statement<'q> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let width = self.columns.len();
        let row = |place: usize| {
            let values: Vec<String> =
                (0..width).map(|column| self.value(column, place * width + column + 1)).collect();
            format!("SELECT {}", values.join(", "))
        };
        let rows: Vec<String> = (0..records.len()).map(row).collect();
        let text =
            format!("INSERT INTO {} ({}) {}{only}", self.table, names.join(", "), rows.join(" UNION ALL "));
        let mut statement = Statement::composed_once(text).once();
        for record in records {
            for column in &self.columns {
                statement.push(column.value_of(record));
            }
        }
        statement
    }

    fn value(&self, column: usize, argument: usize) -> String {
        match self.casts {
            true => format!("CAST(${argument} AS {})", self.columns[column].declared),
            false => format!("${argument}"),
        }
    }
}

/// Reads the table, and reports every mistake at once.
pub(super) async fn prepare(
    connection: &mut Connection,
    options: &MirrorOptions,
    needs_id: bool,
) -> Result<Prepared, MirrorError> {
    let table = &options.table;
    let casts = matches!(connection, Connection::Postgres(_));
    let plain = if casts { table.as_str() } else { table.trim_start_matches("main.") };
    let found: Vec<Found> = connection.all(Statement::of(POSTGRES, SQLITE).bind(plain.to_owned())).await?;
    let mut problems = Vec::new();
    let Some(first) = found.first() else {
        return Err(MirrorError::Unsound(vec![format!(
            "[audit.mirror] there is no table `{table}`, or the gate's role cannot see it: name it with its schema, and \
             grant USAGE on the schema and INSERT on the table"
        )]));
    };
    if options.columns.is_empty() {
        problems.push("[audit.mirror] `columns` is empty: name what each column gets".to_owned());
    }
    if options.events.is_empty() {
        problems.push("[audit.mirror] `events` is empty: nothing would be mirrored".to_owned());
    }
    let mut columns = Vec::new();
    for (name, source) in &options.columns {
        let given = given(name, source, &mut problems);
        let Some(column) = found.iter().find(|column| column.name == *name) else {
            let near = closest(name, found.iter().map(|column| column.name.as_str()));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            problems.push(format!("[audit.mirror] `{table}` has no column `{name}`{near}"));
            continue;
        };
        let Some(given) = given else { continue };
        let kind = match casts {
            true => Kind::of_postgres(&column.declared),
            false => Kind::of_sqlite(&column.declared),
        };
        if !given.samples().iter().any(|sample| kind.fit(sample).is_some()) {
            problems.push(format!(
                "[audit.mirror] `{name}` is of the type `{}`, which cannot hold {}",
                column.declared,
                in_words(source),
            ));
        }
        let declared = column.declared.clone();
        let (name, is_reference) = (column.quoted.clone(), column.is_reference);
        columns.push(Column { name, declared, kind, given, is_reference });
    }
    for column in found.iter().filter(|column| column.is_required) {
        if !options.columns.contains_key(&column.name) {
            problems.push(format!(
                "[audit.mirror] `{table}` requires a value for `{}`: map it, or give the column a default",
                column.name
            ));
        }
    }
    let id = columns.iter().position(|column| column.given == Given::Field(Field::EventId));
    if needs_id && id.is_none() {
        problems.push(
            "[audit.mirror] with `url`, a column must get { field = \"event_id\" }: by it a row is there once".to_owned(),
        );
    }
    if !problems.is_empty() {
        return Err(MirrorError::Unsound(problems));
    }
    let (table, search_path) = (first.table_name.clone(), first.schema_path.clone());
    Ok(Prepared { table, columns, id, search_path, casts })
}

/// The fields that a source names; what does not exist is among the problems.
fn given(column: &str, source: &ColumnSource, problems: &mut Vec<String>) -> Option<Given> {
    let mut field = |name: &str| {
        let found = Field::parse(name);
        if found.is_none() {
            let names = Field::ALL.map(|(name, _)| name);
            let hint = match closest(name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the fields are {}", names.join(", ")),
            };
            problems.push(format!("[audit.mirror] `{column}`: a record has no field `{name}`; {hint}"));
        }
        found
    };
    match source {
        ColumnSource::Constant(text) => Some(Given::Constant(text.clone())),
        ColumnSource::Field(name) => field(name).map(Given::Field),
        ColumnSource::Json(names) => {
            let fields: Vec<_> = names.iter().map(|name| (name.clone(), field(name))).collect();
            let known: Option<Vec<_>> =
                fields.into_iter().map(|(name, field)| field.map(|field| (name, field))).collect();
            known.map(Given::Json)
        }
    }
}

fn in_words(source: &ColumnSource) -> String {
    match source {
        ColumnSource::Field(name) => format!("the field `{name}`"),
        ColumnSource::Constant(text) => format!("the constant `{text}`"),
        ColumnSource::Json(_) => "JSON".to_owned(),
    }
}

/// Compares the table with the settings, and lets the database plan an insertion: that finds missing rights and
/// constants that a type of Console's own does not have.
pub(super) async fn check(connection: &mut Connection, mirror: &Mirror) -> Result<(), MirrorError> {
    mirror.hurry(connection).await?;
    let prepared = prepare(connection, &mirror.options, mirror.remote.is_some()).await?;
    if !prepared.casts {
        return Ok(());
    }
    let mut problems = Vec::new();
    for column in &prepared.columns {
        if let (Given::Constant(text), Kind::Other) = (&column.given, column.kind) {
            connection.run("SAVEPOINT gate_mirror_check").await?;
            let cast = Statement::composed_once(format!("SELECT CAST($1 AS {}) IS NULL", column.declared));
            let tried: Result<(bool,), StoreError> = connection.one(cast.bind(text.clone()).once()).await;
            match tried {
                Ok(_) => {}
                Err(error) if error.is_final() => problems.push(format!(
                    "[audit.mirror] `{}` is of the type `{}`, which has no `{text}`",
                    column.name, column.declared
                )),
                Err(error) => return Err(error.into()),
            }
            connection.run("ROLLBACK TO SAVEPOINT gate_mirror_check").await?;
        }
    }
    let names: Vec<&str> = prepared.columns.iter().map(|column| column.name.as_str()).collect();
    let nothing: Vec<String> =
        prepared.columns.iter().map(|column| format!("CAST(NULL AS {})", column.declared)).collect();
    let plan = format!(
        "EXPLAIN INSERT INTO {} ({}) SELECT {}",
        prepared.table,
        names.join(", "),
        nothing.join(", ")
    );
    let planned: Result<Vec<(String,)>, StoreError> =
        connection.all(Statement::composed_once(plan).once()).await;
    match planned {
        Ok(_) => {}
        Err(error @ (StoreError::Forbidden(_) | StoreError::Schema(_) | StoreError::Refused(_))) => {
            problems.push(format!("[audit.mirror] {error}"));
        }
        Err(error) => return Err(error.into()),
    }
    if problems.is_empty() { Ok(()) } else { Err(MirrorError::Unsound(problems)) }
}

const POSTGRES: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS table_name,
           format('%I, public', n.nspname) AS schema_path,
           a.attname::text AS name, quote_ident(a.attname) AS quoted,
           format_type(a.atttypid, a.atttypmod) AS declared,
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS is_required,
           EXISTS (SELECT 1 FROM pg_catalog.pg_constraint f
                    WHERE f.conrelid = c.oid AND f.contype = 'f' AND a.attnum = ANY (f.conkey)) AS is_reference
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.oid = to_regclass($1)
     ORDER BY a.attnum";

const SQLITE: &str = "
    SELECT '\"' || REPLACE($1, '\"', '\"\"') || '\"' AS table_name, '' AS schema_path, name AS name,
           '\"' || REPLACE(name, '\"', '\"\"') || '\"' AS quoted, type AS declared,
           \"notnull\" = 1 AND dflt_value IS NULL AND NOT (pk = 1 AND upper(type) = 'INTEGER') AS is_required,
           name IN (SELECT \"from\" FROM pragma_foreign_key_list($1)) AS is_reference
      FROM pragma_table_info($1)";

//! Which tables and columns a role must be able to read for the SELECTs of `[console]`, on Postgres.
//!
//! The database determines it: each SELECT is made a temporary view for a moment. Only the tables that it names count,
//! not those behind a view of Console's, which is read with the rights of the view's owner unless the view specifies
//! otherwise.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::{Console, Relation, Source};
use crate::StoreError;
use crate::engine::connection::Connection;
use crate::schema::placement::{FoundTable, quoted};

/// The columns that are read of each table or view; none where the whole of it is needed.
pub(crate) type Reads = BTreeMap<FoundTable, BTreeSet<String>>;

/// What the probe's SELECT names, and what the views behind it name that are read with the caller's rights. The column is
/// NULL for the relation itself and for whole rows.
const NAMED: &str = "
    WITH RECURSIVE reads(relation, attnum, rule) AS (
        SELECT d.refobjid, d.refobjsubid, r.oid
          FROM pg_rewrite r
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
         WHERE r.ev_class = to_regclass('pg_temp.console_gate_rights')
        UNION
        SELECT d.refobjid, d.refobjsubid, r.oid
          FROM reads
          JOIN pg_class v ON v.oid = reads.relation AND v.relkind = 'v'
           AND EXISTS (SELECT 1 FROM pg_options_to_table(v.reloptions) o
                        WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)
          JOIN pg_rewrite r ON r.ev_class = v.oid
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    )
    SELECT DISTINCT n.nspname::text, c.relname::text, a.attname::text,
           (SELECT bool_or(w.ev_action::text LIKE '%:varattno 0 %') FROM pg_rewrite w WHERE w.oid = reads.rule)
      FROM reads
      JOIN pg_class c ON c.oid = reads.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = reads.attnum AND reads.attnum > 0";

/// Schema, name, column, and whether whole rows are meant.
type Named = (String, String, Option<String>, Option<bool>);

/// The reads, as far as the role may look: where it may not use a schema, the tables that the texts name in it, whole.
pub(crate) async fn of(connection: &mut Connection, console: &Console) -> Result<Reads, StoreError> {
    let mut reads = Reads::new();
    for relation in Relation::ALL {
        let Source::Written(select) = console.relations.source(relation) else { continue };
        let Some(text) = console.text_of(connection, relation, "NULL::text").await? else { continue };
        let Connection::Postgres(to) = connection else { return Ok(Reads::new()) };
        let named = named_in(to, select.text()).await?;
        match probed(to, &text).await? {
            Some(found) => merge(&mut reads, found),
            // The check of the SELECTs reports errors in the text itself.
            None => merge(&mut reads, named.into_iter().map(|place| (place, BTreeSet::new())).collect()),
        }
    }
    Ok(reads)
}

fn merge(reads: &mut Reads, found: Reads) {
    for (place, columns) in found {
        match reads.get_mut(&place) {
            // The whole of it is needed already.
            Some(known) if known.is_empty() => {}
            Some(known) if columns.is_empty() => known.clear(),
            Some(known) => known.extend(columns),
            None => drop(reads.insert(place, columns)),
        }
    }
}

/// What one SELECT reads; `None` where the role may not so much as look it up.
async fn probed(to: &mut PgConnection, text: &str) -> Result<Option<Reads>, StoreError> {
    let probe =
        format!("BEGIN; CREATE TEMPORARY VIEW console_gate_rights AS SELECT 1 AS one FROM (\n{text}) c");
    if let Err(error) = to.execute(sqlx::raw_sql(AssertSqlSafe(probe))).await {
        to.execute("ROLLBACK").await?;
        return match error.as_database_error() {
            Some(_) => Ok(None),
            None => Err(error.into()),
        };
    }
    let rows = sqlx::query_as::<_, Named>(NAMED).fetch_all(&mut *to).await;
    to.execute("ROLLBACK").await?;
    let (mut reads, mut whole) = (Reads::new(), BTreeSet::new());
    for (schema, table, column, has_whole_rows) in rows? {
        let place = FoundTable { schema, table };
        let columns = reads.entry(place.clone()).or_default();
        match column {
            Some(column) => drop(columns.insert(column)),
            None if has_whole_rows == Some(true) => drop(whole.insert(place)),
            None => {}
        }
    }
    for place in whole {
        reads.insert(place, BTreeSet::new());
    }
    Ok(Some(reads))
}

/// The tables that a text names with their schema.
async fn named_in(to: &mut PgConnection, text: &str) -> Result<Vec<FoundTable>, StoreError> {
    const TABLES: &str = "
        SELECT DISTINCT n.nspname::text, c.relname::text
          FROM unnest($1::text[], $2::text[]) AS named(schema, name)
          JOIN pg_namespace n ON n.nspname = named.schema
          JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = named.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         ORDER BY 1, 2";
    let (schemas, names): (Vec<String>, Vec<String>) = pairs(text).into_iter().unzip();
    let found: Vec<(String, String)> = sqlx::query_as(TABLES).bind(schemas).bind(names).fetch_all(to).await?;
    Ok(found.into_iter().map(|(schema, table)| FoundTable { schema, table }).collect())
}

/// Every `one.other` of a text, with quotes or without. The catalog determines which of them are tables.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut names: Vec<Option<String>> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let inside = &rest[1..];
            let end = inside.find('"').unwrap_or(inside.len());
            names.push(Some(inside[..end].to_owned()));
            rest = inside.get(end + 1..).unwrap_or_default();
        } else if first.is_alphanumeric() || first == '_' {
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            names.push(Some(rest[..end].to_lowercase()));
            rest = &rest[end..];
        } else {
            if first != '.' {
                names.push(None);
            }
            rest = &rest[first.len_utf8()..];
            continue;
        }
        if !rest.starts_with('.') {
            names.push(None);
        }
    }
    let of_two = |two: &[Option<String>]| Some((two.first()?.clone()?, two.get(1)?.clone()?));
    names.windows(2).filter_map(of_two).collect()
}

/// `"app"."users"`, as SQL takes it.
pub(crate) fn named(place: &FoundTable) -> String {
    format!("{}.{}", quoted(&place.schema), quoted(&place.table))
}

/// `SELECT ("id", "email")`, or `SELECT` for the whole.
pub(crate) fn right(columns: &BTreeSet<String>) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    if columns.is_empty() { "SELECT".to_owned() } else { format!("SELECT ({})", columns.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_schema_are_found_however_they_are_written() {
        let found =
            pairs("SELECT u.id FROM App.users u JOIN \"My Shop\".\"Odd.Roles\" r ON u.id=r.user_id, x . y");
        let wanted = [("u", "id"), ("app", "users"), ("My Shop", "Odd.Roles"), ("u", "id"), ("r", "user_id")];
        assert_eq!(found, wanted.map(|(schema, table)| (schema.to_owned(), table.to_owned())));
    }
}

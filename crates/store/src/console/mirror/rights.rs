//! What a role must be allowed to do to write into Console's audit table, on Postgres.

use sqlx::PgConnection;

use super::Mirror;
use crate::StoreError;
use crate::console::TableName;
use crate::schema::placement::{FoundTable, quoted};

/// The table, and the columns written to it.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) table: FoundTable,
    /// The columns that get a value.
    pub(crate) columns: Vec<String>,
    /// The sequences that the defaults of the other columns draw from. One of an identity column needs no right.
    pub(crate) sequences: Vec<FoundTable>,
}

impl Writes {
    /// `INSERT ("action", "actor")`
    pub(crate) fn right(columns: &[String]) -> String {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        format!("INSERT ({})", columns.join(", "))
    }
}

/// By the catalog, which everybody may read: `to_regclass` fails where the role may not use the schema.
const TABLE: &str = "
    SELECT n.nspname::text, c.relname::text
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'f')
       AND CASE WHEN $1::text IS NULL THEN c.oid = to_regclass(quote_ident($2::text))
                ELSE n.nspname = $1::text AND c.relname = $2::text END";

const COLUMNS: &str = "
    SELECT a.attname::text
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = ANY ($3::text[]) AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum";

const SEQUENCES: &str = "
    SELECT DISTINCT m.nspname::text, s.relname::text
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity = '' AND a.attname <> ALL ($3::text[])
      JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
      JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
      JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
      JOIN pg_namespace m ON m.oid = s.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2
     ORDER BY 1, 2";

impl Mirror {
    /// The writes to the gate's own database; `None` where the table is in another one, or there is none, which the check
    /// of the mirror reports.
    pub(crate) async fn writes(&self, connection: &mut PgConnection) -> Result<Option<Writes>, StoreError> {
        if self.remote.is_some() {
            return Ok(None);
        }
        let Ok(TableName { schema, name }) = TableName::parse(&self.options.table) else { return Ok(None) };
        let found: Option<(String, String)> =
            sqlx::query_as(TABLE).bind(schema).bind(name).fetch_optional(&mut *connection).await?;
        let Some((schema, table)) = found else { return Ok(None) };
        let given: Vec<String> = self.options.columns.keys().cloned().collect();
        let columns: Vec<String> = sqlx::query_scalar(COLUMNS)
            .bind(&schema)
            .bind(&table)
            .bind(&given)
            .fetch_all(&mut *connection)
            .await?;
        let sequences: Vec<(String, String)> =
            sqlx::query_as(SEQUENCES).bind(&schema).bind(&table).bind(&given).fetch_all(connection).await?;
        let sequences = sequences.into_iter().map(|(schema, table)| FoundTable { schema, table }).collect();
        let writes = Writes { table: FoundTable { schema, table }, columns, sequences };
        Ok((!writes.columns.is_empty()).then_some(writes))
    }
}

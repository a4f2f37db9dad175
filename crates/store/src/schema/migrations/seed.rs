//! The rows of documents, which only `migrate --seed` writes: a database of another shop has no groups of these names.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use crate::StoreError;

/// What to seed a database with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// The tables, groups, roles and permissions of the RBAC V2 documents.
    RbacV2,
}

impl Seed {
    /// What the command line calls so.
    pub fn parse(word: &str) -> Option<Seed> {
        [Seed::RbacV2].into_iter().find(|seed| seed.word() == word)
    }

    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Seed::RbacV2 => "rbac-v2",
        }
    }

    /// The statements: the rows, and the documents' tables unless Console's are given.
    pub(super) fn postgres(self, console_is_given: bool) -> Vec<&'static str> {
        const TABLES: &str = include_str!("../../../../../migrations/seed/postgres/documents.sql");
        let rows = match self {
            Seed::RbacV2 => include_str!("../../../../../migrations/seed/postgres/rbac_v2.sql"),
        };
        if console_is_given { vec![rows] } else { vec![TABLES, rows] }
    }

    /// The statements for a SQLite file with these tables. Unlike Postgres, SQLite cannot look at a table before it
    /// writes, so what an adopted table lacks is taken out here.
    pub(super) async fn sqlite(
        self,
        connection: &mut SqliteConnection,
        tables: &BTreeSet<String>,
        console_is_given: bool,
    ) -> Result<String, StoreError> {
        const TABLES: &str = include_str!("../../../../../migrations/seed/sqlite/documents.sql");
        let rows = match self {
            Seed::RbacV2 => include_str!("../../../../../migrations/seed/sqlite/rbac_v2.sql"),
        };
        let mut text = if console_is_given { rows.to_owned() } else { format!("{TABLES}\n{rows}") };
        if tables.contains("admin_sessions") {
            text = text.replace(
                "CREATE INDEX IF NOT EXISTS idx_admin_sessions_admin ON admin_sessions (admin_id);\n",
                "",
            );
        }
        for table in ["rbac_groups", "rbac_roles", "rbac_permissions"] {
            let columns = columns_of_sqlite(&mut *connection, table).await?;
            let kind: Option<String> =
                sqlx::query_scalar("SELECT upper(type) FROM pragma_table_info($1) WHERE name = 'id'")
                    .bind(table)
                    .fetch_optional(&mut *connection)
                    .await?;
            let has_text_id = !kind.is_some_and(|kind| kind.contains("INT"));
            let all = format!(
                "INSERT INTO {table} (id, name, description)\nSELECT seed.name, seed.name, seed.description FROM seed"
            );
            let mut wanted: Vec<(&str, &str)> = vec![("name", "seed.name")];
            if has_text_id {
                wanted.insert(0, ("id", "seed.name"));
            }
            if columns.contains("description") {
                wanted.push(("description", "seed.description"));
            }
            let (into, from): (Vec<&str>, Vec<&str>) = wanted.into_iter().unzip();
            let fitted =
                format!("INSERT INTO {table} ({})\nSELECT {} FROM seed", into.join(", "), from.join(", "));
            text = text.replace(&all, &fitted);
        }
        Ok(text)
    }
}

pub(super) async fn columns_of_sqlite(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<BTreeSet<String>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
        .bind(table)
        .fetch_all(connection)
        .await?;
    Ok(names.into_iter().collect())
}

//! Where the gate's tables are in a Postgres database, and where Console's are.
//!
//! The gate's own are in a schema of their own. Console's are looked for by their names in every schema, because a
//! connection sees only what its search path shows: a gate that made a second, empty set of tables would send everybody
//! to the login page. The search path of every connection is then pinned to what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sqlx::PgConnection;

use crate::StoreError;

/// The schema of the gate's tables where nothing else is set.
pub const DEFAULT_SCHEMA: &str = "console_gate";

/// The ledger of migrations.
pub(crate) const LEDGER: &str = "_sqlx_migrations";

/// The name of a schema that the gate makes: a plain identifier, so that it reads the same in every statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// # Errors
    ///
    /// It is no plain identifier, or a schema of Postgres itself.
    pub fn parse(name: &str) -> Result<SchemaName, String> {
        let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_plain || name.len() > 63 {
            return Err(format!(
                "`{name}` is not a valid schema name: a lower-case letter or `_`, then letters, digits and `_`, at most 63"
            ));
        }
        if name.starts_with("pg_") || name == "information_schema" {
            return Err(format!("the schema `{name}` belongs to Postgres: choose another name"));
        }
        Ok(SchemaName(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        SchemaName(DEFAULT_SCHEMA.to_owned())
    }
}

/// What the settings say about where tables are.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The schema of the gate's own tables.
    pub schema: SchemaName,
    /// Where to look for Console's tables; without it, in every schema.
    pub console_schema: Option<String>,
    /// Whether SELECTs of the settings say what Console's tables are: the documents' are not looked for then.
    pub console_is_given: bool,
}

/// Console's tables in the documents.
pub(crate) const DOCUMENTS_TABLES: [&str; 3] = ["admins", "admin_roles", "admin_sessions"];

/// The tables that Console may have made, or the gate.
pub(crate) const SHARED_TABLES: [&str; 12] = [
    "rbac_groups",
    "rbac_roles",
    "rbac_permissions",
    "rbac_role_permissions",
    "rbac_role_inheritance",
    "rbac_group_roles",
    "rbac_user_groups",
    "rbac_grants_audit",
    "rbac_ticket_grants",
    "rbac_break_glass_sessions",
    "console_flag_promotions",
    "customer_audit_events",
];

/// Those of them by which the gate decides.
pub(crate) const DECIDING_TABLES: [&str; 10] = [
    "rbac_groups",
    "rbac_roles",
    "rbac_permissions",
    "rbac_role_permissions",
    "rbac_role_inheritance",
    "rbac_group_roles",
    "rbac_user_groups",
    "rbac_ticket_grants",
    "rbac_break_glass_sessions",
    "console_flag_promotions",
];

/// The gate's own tables by which it decides who has access, and who may change that.
pub(crate) const OWN_DECIDING_TABLES: [&str; 8] = [
    "gate_blocked_admins",
    "gate_flags",
    "gate_grantors",
    "gate_grants",
    "gate_machine_tokens",
    "gate_machine_token_groups",
    "gate_machine_token_legacy_roles",
    LOGIN_SESSIONS,
];

/// The sessions that the gate begins itself. A change of one concerns that session alone, so its triggers are its own.
pub(crate) const LOGIN_SESSIONS: &str = "gate_sessions";

/// A table that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundTable {
    pub(crate) schema: String,
    pub(crate) table: String,
}

impl fmt::Display for FoundTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// What a look through every schema has found.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// The schema of the gate's own tables.
    pub(crate) own: String,
    pub(crate) own_exists: bool,
    /// Where the role's own search path would make a table; `None` where the role may use none of its schemas.
    pub(crate) default: Option<String>,
    pub(crate) role: String,
    /// Where each of Console's tables is, and each that it may have made: found outside the gate's own schema.
    pub(crate) adopted: BTreeMap<String, String>,
    /// The tables in the gate's own schema.
    pub(crate) own_tables: BTreeSet<String>,
    /// Why two sets of tables cannot be distinguished.
    pub(crate) conflicts: Vec<String>,
}

/// The catalog lists every table to every role; `information_schema` only those that the role may use.
const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
       AND (c.relname = ANY($1) OR c.relname LIKE 'gate\\_%')
     ORDER BY 1, 2";

/// The schemas of other gates, complete: an incomplete one lacks this function.
const SETTLED: &str = "
    SELECT n.nspname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE p.proname = 'gate_forget_admin'";

const CIRCUMSTANCES: &str = "
    SELECT current_user::text, EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";

/// The schema in which this connection, whose search path is not pinned, would make a table.
pub(crate) async fn default_schema(connection: &mut PgConnection) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT current_schema()::text").fetch_one(connection).await?)
}

impl Survey {
    /// Looks through every schema.
    pub(crate) async fn take(
        connection: &mut PgConnection,
        placement: &Placement,
        default: Option<String>,
    ) -> Result<Survey, StoreError> {
        let mut names: Vec<&str> = vec![LEDGER, "rbac_ticket_grants_archive"];
        names.extend(SHARED_TABLES);
        names.extend(DOCUMENTS_TABLES);
        let found: Vec<(String, String)> =
            sqlx::query_as(TABLES).bind(names).fetch_all(&mut *connection).await?;
        let settled: Vec<String> = sqlx::query_scalar(SETTLED).fetch_all(&mut *connection).await?;
        let own = placement.schema.as_str().to_owned();
        let (role, own_exists): (String, bool) =
            sqlx::query_as(CIRCUMSTANCES).bind(&own).fetch_one(&mut *connection).await?;
        let mut schemas: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (schema, table) in found {
            schemas.entry(schema).or_default().insert(table);
        }
        let mut survey = Survey {
            own_tables: schemas.remove(&own).unwrap_or_default(),
            own,
            own_exists,
            default,
            role,
            adopted: BTreeMap::new(),
            conflicts: Vec::new(),
        };
        // Another gate of the same database has tables of its own, which are not Console's.
        schemas.retain(|schema, tables| !(settled.contains(schema) && tables.contains("gate_epoch")));
        survey.find_strays(&schemas);
        survey.find_adopted(placement, &schemas);
        Ok(survey)
    }

    /// A gate's tables outside of the gate's own schema.
    fn find_strays(&mut self, schemas: &BTreeMap<String, BTreeSet<String>>) {
        for (schema, tables) in schemas {
            if tables.contains("gate_epoch") {
                self.conflicts.push(format!(
                    "the schema `{schema}` has tables of a gate (`{schema}.gate_epoch`): name it in `database.schema` if it \
                     is meant, else drop them or move them to another database"
                ));
            }
        }
    }

    fn find_adopted(&mut self, placement: &Placement, schemas: &BTreeMap<String, BTreeSet<String>>) {
        let documents = if placement.console_is_given { &[][..] } else { &DOCUMENTS_TABLES[..] };
        for name in SHARED_TABLES.iter().chain(documents) {
            let is_looked_in =
                |schema: &&String| placement.console_schema.as_ref().is_none_or(|chosen| chosen == *schema);
            let mut places: Vec<&String> = schemas
                .iter()
                .filter(|(_, tables)| tables.contains(*name))
                .map(|(schema, _)| schema)
                .filter(is_looked_in)
                .collect();
            if self.own_tables.contains(*name) {
                places.insert(0, &self.own);
            }
            match places.as_slice() {
                [] => {}
                [only] if **only == self.own => {}
                [only] => {
                    self.adopted.insert((*name).to_owned(), (*only).clone());
                }
                [first, second, ..] => self.conflicts.push(format!(
                    "two tables have the name `{name}`, `{first}.{name}` and `{second}.{name}`: name the schema of \
                     Console's tables in `database.console_schema`, or drop or rename the one that is not meant"
                )),
            }
        }
    }

    /// Fails where two sets of the same names cannot be distinguished.
    pub(crate) fn unambiguous(self) -> Result<Survey, StoreError> {
        match self.conflicts.as_slice() {
            [] => Ok(self),
            conflicts => Err(StoreError::Schema(conflicts.join("; "))),
        }
    }

    /// The schema in which the documents' tables are, or would be made.
    pub(crate) fn console(&self) -> Option<&str> {
        let of_the_documents = DOCUMENTS_TABLES.iter().find_map(|table| self.adopted.get(*table));
        of_the_documents.or(self.default.as_ref()).map(String::as_str)
    }

    /// The schemas in which the gate's statements find their tables, in order.
    pub(crate) fn schemas(&self) -> Vec<&str> {
        let mut schemas = vec![self.own.as_str()];
        let others = self.adopted.values().chain(&self.default);
        for schema in others.map(String::as_str) {
            if !schemas.contains(&schema) {
                schemas.push(schema);
            }
        }
        schemas
    }

    /// The value of `search_path`: the temporary schema is last, and not first as it is where it is not named.
    pub(crate) fn search_path(&self) -> String {
        search_path(&self.schemas())
    }

    /// The ledger's schema, if there is a ledger.
    pub(crate) fn ledger(&self) -> Option<&str> {
        self.own_tables.contains(LEDGER).then_some(self.own.as_str())
    }

    /// Where a table of the gate's own or of Console's is.
    pub(crate) fn place(&self, table: &str) -> Option<FoundTable> {
        let schema = if self.own_tables.contains(table) { Some(&self.own) } else { self.adopted.get(table) };
        schema.map(|schema| FoundTable { schema: schema.clone(), table: table.to_owned() })
    }
}

/// A search path of these schemas, without blanks.
pub(crate) fn search_path(schemas: &[&str]) -> String {
    let mut path: Vec<String> = schemas.iter().map(|schema| quoted(schema)).collect();
    path.push("pg_temp".to_owned());
    path.join(",")
}

/// An identifier as a statement spells it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_plain_name() {
        for name in ["console_gate", "_gate2", "g"] {
            assert_eq!(SchemaName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "Gate", "2gate", "a-b", "a b", "a\"b", "pg_gate", "information_schema", "é"] {
            assert!(SchemaName::parse(name).is_err(), "{name}");
        }
        assert!(SchemaName::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_search_path_quotes_each_name() {
        assert_eq!(search_path(&["console_gate", "My \"app"]), "\"console_gate\",\"My \"\"app\",pg_temp");
    }
}

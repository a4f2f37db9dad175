//! The checks before the first statement of a migration. All of them run, so that a database is migrated whole or not
//! touched, and an operator reads every problem at once.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, SqliteConnection};

use super::seed::{Seed, columns_of_sqlite};
use crate::StoreError;
use crate::schema::placement::{DOCUMENTS_TABLES, FoundTable, LEDGER, Survey, quoted};

/// The intended run, as far as it decides what must be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intent {
    /// No gate has migrated the database before.
    pub(super) is_new: bool,
    pub(super) console_is_given: bool,
    pub(super) seed: Option<Seed>,
}

/// The columns by which the gate decides, of tables that Console may have made. A missing one is not added: if Console
/// marks a disabled admin in some other way, a fresh `disabled_at_utc` would be null for everybody, and the gate would
/// let in admins that Console has disabled. Columns that only inform (`description`, `granted_at_utc`) are optional.
const COLUMNS: [(&str, &[&str]); 15] = [
    ("admins", &["id", "email", "disabled_at_utc"]),
    ("admin_roles", &["admin_id", "role"]),
    ("admin_sessions", &["id", "admin_id", "expires_at_utc", "revoked_at_utc"]),
    ("rbac_groups", &["id", "name"]),
    ("rbac_roles", &["id", "name"]),
    ("rbac_permissions", &["id", "name"]),
    ("rbac_role_permissions", &["role_id", "permission_id"]),
    ("rbac_role_inheritance", &["child_role_id", "parent_role_id"]),
    ("rbac_group_roles", &["group_id", "role_id"]),
    ("rbac_user_groups", &["user_id", "group_id"]),
    (
        "rbac_ticket_grants",
        &["user_id", "role_id", "ticket_id", "customer_id", "expires_at_utc", "revoked_at_utc"],
    ),
    ("rbac_break_glass_sessions", &["id", "user_id", "granted_at_utc", "expires_at_utc", "revoked_at_utc"]),
    ("rbac_grants_audit", &["id", "target_user_id", "group_id", "role_id"]),
    ("console_flag_promotions", &["flag", "current_env"]),
    (
        "customer_audit_events",
        &[
            "id",
            "tenant_id",
            "dimension",
            "action",
            "occurred_at_utc",
            "source",
            "actor_kind",
            "actor_id",
            "subject_id",
            "request_id",
            "detail",
            "salt",
            "erased_by",
        ],
    ),
];

/// The columns that hold ids: a text, a UUID or a number, which is to the gate its text.
fn is_id(column: &str) -> bool {
    column == "id" || column.ends_with("_id") && !["ticket_id", "customer_id", "tenant_id"].contains(&column)
}

/// Every problem, as one error.
#[derive(Debug, Default)]
struct Problems {
    schema: Vec<String>,
    rights: Vec<String>,
}

impl Problems {
    fn outcome(self) -> Result<(), StoreError> {
        let Problems { schema, rights } = self;
        let count = schema.len() + rights.len();
        let make = if schema.is_empty() { StoreError::Forbidden } else { StoreError::Schema };
        let all: Vec<String> = schema.into_iter().chain(rights).collect();
        match all.as_slice() {
            [] => Ok(()),
            [only] => Err(make(format!("{only}. Nothing was changed"))),
            _ => Err(make(format!(
                "{count} problems prevent the migration; nothing was changed:\n  - {}",
                all.join("\n  - ")
            ))),
        }
    }
}

/// What to do where Console's tables are not the documents'.
fn documents_are_missing(missing: &[&str], problems: &mut Problems) {
    if missing.contains(&"admins") {
        problems.schema.push(
            "no table `admins` is in any schema. Say what Console's tables are: SELECTs in `[console]` of gate.toml, \
             for an application with tables of its own; or `console-gate migrate --seed rbac-v2`, which makes the \
             tables, groups and roles of the RBAC V2 documents"
                .to_owned(),
        );
        return;
    }
    for table in missing {
        problems.schema.push(format!(
            "there is a table `admins` and no table `{table}`: `--seed rbac-v2` makes it, or name Console's own in \
             `[console]` of gate.toml"
        ));
    }
}

/// A column of a table that was adopted: its type, and the category of that type.
type Columns = BTreeMap<(String, String), (String, String)>;

const TYPES: &str = "
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), t.typcategory::text, t.typname::text
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_type t ON t.oid = a.atttypid
     WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped";

/// Fails with everything that keeps a migration of Postgres from succeeding, and changes nothing.
pub(super) async fn of_postgres(
    connection: &mut PgConnection,
    survey: &Survey,
    intent: Intent,
) -> Result<(), StoreError> {
    let mut problems = Problems::default();
    if intent.is_new && !intent.console_is_given && intent.seed.is_none() {
        let missing: Vec<&str> =
            DOCUMENTS_TABLES.into_iter().filter(|table| survey.place(table).is_none()).collect();
        documents_are_missing(&missing, &mut problems);
    }
    let own = &survey.own;
    if intent.is_new {
        let taken: Vec<&str> =
            survey.own_tables.iter().map(String::as_str).filter(|table| *table != LEDGER).collect();
        if !taken.is_empty() {
            problems.schema.push(format!(
                "the schema `{own}` has tables of the gate's names and no ledger of migrations: {}. Restore it whole, \
                 drop them, or name another schema in `database.schema`",
                taken.join(", ")
            ));
        }
    }
    let mut columns = Columns::new();
    for (table, schema) in &survey.adopted {
        let rows: Vec<(String, String, String, String, String)> =
            sqlx::query_as(TYPES).bind(schema).bind(table).fetch_all(&mut *connection).await?;
        for (table, column, shown, category, name) in rows {
            let kind = if name == "uuid" { "uuid".to_owned() } else { category };
            columns.insert((table, column), (shown, kind));
        }
    }
    for (table, needed) in COLUMNS {
        let Some(schema) = survey.adopted.get(table) else { continue };
        for column in needed {
            match columns.get(&(table.to_owned(), (*column).to_owned())) {
                None => problems.schema.push(format!(
                    "`{schema}.{table}` lacks the column `{column}`: add it with the values that Console means, or \
                     name Console's own tables in `[console]` of gate.toml"
                )),
                Some((shown, kind)) if is_id(column) && !["S", "N", "uuid"].contains(&kind.as_str()) => {
                    problems.schema.push(format!(
                        "`{schema}.{table}.{column}` has the type `{shown}`: an id is a text, a UUID or a number"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    if intent.seed.is_some() && !intent.console_is_given {
        let id = columns.get(&("admins".to_owned(), "id".to_owned()));
        let misses = DOCUMENTS_TABLES.iter().any(|table| survey.place(table).is_none());
        if let Some((shown, kind)) = id
            && kind != "S"
            && misses
        {
            problems.schema.push(format!(
                "the seed would make tables that refer to `admins`, whose ids have the type `{shown}` and not `text`: \
                 name Console's own tables in `[console]` of gate.toml"
            ));
        }
    }
    rights(connection, survey, intent, &mut problems).await?;
    problems.outcome()
}

/// What the role may do, of what a migration will do.
async fn rights(
    connection: &mut PgConnection,
    survey: &Survey,
    intent: Intent,
    problems: &mut Problems,
) -> Result<(), StoreError> {
    const DATABASE: &str = "
        SELECT current_database()::text, has_database_privilege(current_database(), 'CREATE')";
    const SCHEMA: &str = "
        SELECT has_schema_privilege(oid, 'CREATE'), has_schema_privilege(oid, 'USAGE')
          FROM pg_namespace WHERE nspname = $1";
    const TABLE: &str = "
        SELECT c.relkind::text, pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT'),
               pg_get_userbyid(c.relowner)::text
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2";
    let (own, role) = (&survey.own, quoted(&survey.role));
    if survey.own_exists {
        let (may_create, _): (bool, bool) =
            sqlx::query_as(SCHEMA).bind(own).fetch_one(&mut *connection).await?;
        if !may_create {
            problems.rights.push(format!(
                "`{}` may not create tables in the schema `{own}`: `GRANT USAGE, CREATE ON SCHEMA {} TO {role}`",
                survey.role,
                quoted(own)
            ));
        }
    } else {
        let (database, may_create): (String, bool) =
            sqlx::query_as(DATABASE).fetch_one(&mut *connection).await?;
        if !may_create {
            problems.rights.push(format!(
                "`{}` may not create a schema: `GRANT CREATE ON DATABASE {} TO {role}`, or as a role that may, \
                 `CREATE SCHEMA {} AUTHORIZATION {role}`",
                survey.role,
                quoted(&database),
                quoted(own)
            ));
        }
    }
    let makes_documents = intent.seed.is_some()
        && !intent.console_is_given
        && DOCUMENTS_TABLES.iter().any(|table| survey.place(table).is_none());
    if makes_documents {
        let place: Option<(bool, bool)> = match survey.console() {
            Some(schema) => sqlx::query_as(SCHEMA).bind(schema).fetch_optional(&mut *connection).await?,
            None => None,
        };
        match (survey.console(), place) {
            (Some(_), Some((true, _))) => {}
            (Some(schema), _) => problems.rights.push(format!(
                "`{}` may not create tables in the schema `{schema}`, where the documents' are to be: `GRANT USAGE, \
                 CREATE ON SCHEMA {} TO {role}`",
                survey.role,
                quoted(schema)
            )),
            (None, _) => problems.rights.push(format!(
                "the role `{}` may not use any schema of its `search_path`: `GRANT USAGE, CREATE ON SCHEMA ... TO \
                 {role}`",
                survey.role
            )),
        }
    }
    if makes_documents && let Some(schema) = survey.adopted.get("admins") {
        const REFERENCES: &str = "
            SELECT has_table_privilege(c.oid, 'REFERENCES')
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = 'admins'";
        let may: bool = sqlx::query_scalar(REFERENCES).bind(schema).fetch_one(&mut *connection).await?;
        if !may {
            problems.rights.push(format!(
                "`{}` may not refer to `{schema}.admins`, as the tables of the seed do: `GRANT REFERENCES ON {}.admins \
                 TO {role}`",
                survey.role,
                quoted(schema)
            ));
        }
    }
    // A table that takes no trigger does not block a migration: it is then read for each request.
    let tables = survey.adopted.iter().filter(|(table, _)| {
        *table != "customer_audit_events" && !DOCUMENTS_TABLES.contains(&table.as_str())
    });
    for (table, schema) in tables {
        let found: Option<(String, bool, bool, String)> =
            sqlx::query_as(TABLE).bind(schema).bind(table).fetch_optional(&mut *connection).await?;
        let Some((kind, _, may_seed, owner)) = found else { continue };
        let place = FoundTable { schema: schema.clone(), table: table.clone() };
        let name = format!("{}.{}", quoted(schema), quoted(table));
        if !["r", "p"].contains(&kind.as_str()) {
            problems.schema.push(format!(
                "`{place}` is a view and not a table: it cannot report its changes to the gate: name Console's own \
                 tables in `[console]` of gate.toml"
            ));
        }
        if intent.seed.is_some() && table.starts_with("rbac_") && !may_seed {
            problems.rights.push(format!(
                "`{}` may not seed `{place}`: as `{owner}`, `GRANT SELECT, INSERT ON {name} TO {role}`",
                survey.role
            ));
        }
    }
    Ok(())
}

/// Fails with everything that keeps a migration of a SQLite file from succeeding, and changes nothing.
pub(super) async fn of_sqlite(
    connection: &mut SqliteConnection,
    tables: &BTreeSet<String>,
    intent: Intent,
) -> Result<(), StoreError> {
    let mut problems = Problems::default();
    if intent.is_new && !intent.console_is_given && intent.seed.is_none() {
        let missing: Vec<&str> =
            DOCUMENTS_TABLES.into_iter().filter(|table| !tables.contains(*table)).collect();
        documents_are_missing(&missing, &mut problems);
    }
    for (table, needed) in COLUMNS {
        let is_looked_at = !(intent.console_is_given && DOCUMENTS_TABLES.contains(&table));
        if !is_looked_at || !tables.contains(table) {
            continue;
        }
        let columns: BTreeSet<String> = columns_of_sqlite(&mut *connection, table).await?;
        for column in needed.iter().filter(|column| !columns.contains(**column)) {
            problems.schema.push(format!(
                "`{table}` lacks the column `{column}`: add it with the values that Console means, or name Console's \
                 own tables in `[console]` of gate.toml"
            ));
        }
    }
    problems.outcome()
}

//! The types of the columns that hold ids: where the tables are Console's own, ids are of its types.

use crate::StoreError;
use crate::engine::connection::Connection;
use crate::engine::sql::Statement;

/// The columns into which ids are written as texts.
pub(crate) struct Columns {
    pub(super) member: Column,
    pub(super) member_by: Column,
    pub(super) grant_id: Column,
    pub(super) grant_admin: Column,
    pub(super) grant_by: Column,
    pub(super) grant_ticket: Column,
    pub(super) grant_customer: Column,
    pub(super) ticket_grant_id: Column,
    pub(super) ticket_admin: Column,
    pub(super) ticket_ticket: Column,
    pub(super) ticket_customer: Column,
    pub(super) ticket_by: Column,
    pub(super) glass_id: Column,
    pub(super) glass_admin: Column,
    pub(super) glass_by: Column,
    pub(super) group_id: Column,
    pub(super) role_id: Column,
    pub(super) permission_id: Column,
}

/// The type of a column, as the database names it.
pub(super) struct Column {
    kind: String,
    /// SQLite's columns convert the values put into them.
    casts: bool,
}

#[derive(sqlx::FromRow)]
struct Found {
    relation: String,
    name: String,
    kind: String,
}

impl Columns {
    pub(crate) async fn read(connection: &mut Connection) -> Result<Columns, StoreError> {
        let found: Vec<Found> = connection.all(Statement::of(POSTGRES, SQLITE)).await?;
        let casts = matches!(connection, Connection::Postgres(_));
        let column = |relation: &str, name: &str| {
            let column = found.iter().find(|found| found.relation == relation && found.name == name);
            column.map(|found| Column { kind: found.kind.clone(), casts }).ok_or_else(|| {
                StoreError::Schema(format!(
                    "the table `{relation}` lacks the column `{name}`: run `console-gate migrate`"
                ))
            })
        };
        Ok(Columns {
            member: column("rbac_user_groups", "user_id")?,
            member_by: column("rbac_user_groups", "granted_by")?,
            grant_id: column("rbac_grants_audit", "id")?,
            grant_admin: column("rbac_grants_audit", "target_user_id")?,
            grant_by: column("rbac_grants_audit", "granted_by")?,
            grant_ticket: column("rbac_grants_audit", "ticket_id")?,
            grant_customer: column("rbac_grants_audit", "customer_id")?,
            ticket_grant_id: column("rbac_ticket_grants", "id")?,
            ticket_admin: column("rbac_ticket_grants", "user_id")?,
            ticket_ticket: column("rbac_ticket_grants", "ticket_id")?,
            ticket_customer: column("rbac_ticket_grants", "customer_id")?,
            ticket_by: column("rbac_ticket_grants", "granted_by")?,
            glass_id: column("rbac_break_glass_sessions", "id")?,
            glass_admin: column("rbac_break_glass_sessions", "user_id")?,
            glass_by: column("rbac_break_glass_sessions", "granted_by")?,
            group_id: column("rbac_groups", "id")?,
            role_id: column("rbac_roles", "id")?,
            permission_id: column("rbac_permissions", "id")?,
        })
    }
}

impl Column {
    /// Checks that the column can hold a number. SQLite's integers are as large as the number's own.
    pub(super) fn check(&self, number: i64, what: &str) -> Result<(), StoreError> {
        let most = match self.kind.to_lowercase().as_str() {
            "smallint" if self.casts => i64::from(i16::MAX),
            "integer" if self.casts => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        if number <= most {
            return Ok(());
        }
        Err(StoreError::OutOfRange(format!(
            "{what} {number} is more than its column can hold: it is of the type {}",
            self.kind
        )))
    }

    /// The argument of that number as a value of the column.
    pub(super) fn cast(&self, argument: usize) -> String {
        match self.casts {
            true => format!("CAST(${argument} AS {})", self.kind),
            false => format!("${argument}"),
        }
    }

    /// A new row with a name. Its id is its name where an id can be one, else fresh, else the table's own default.
    pub(super) fn insert<'q>(&self, table: &str, name: &'q str, description: &'q str) -> Statement<'q> {
        let kind = self.kind.to_lowercase();
        let id = if kind.is_empty() || kind.contains("char") || kind.contains("text") {
            Some(name.to_owned())
        } else if kind == "uuid" {
            Some(uuid::Uuid::new_v4().to_string())
        } else {
            None
        };
        match id {
            Some(id) => Statement::composed_once(format!(
                "INSERT INTO {table} (name, description, id) VALUES ($1, $2, {})",
                self.cast(3)
            ))
            .bind(name)
            .bind(description)
            .bind(id),
            None => {
                Statement::composed_once(format!("INSERT INTO {table} (name, description) VALUES ($1, $2)"))
                    .bind(name)
                    .bind(description)
            }
        }
    }
}

const POSTGRES: &str = "
    SELECT t.relation AS relation, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS kind
      FROM (VALUES ('rbac_user_groups'), ('rbac_grants_audit'), ('rbac_ticket_grants'), ('rbac_groups'), ('rbac_roles'),
                   ('rbac_permissions'), ('rbac_break_glass_sessions')) AS t (relation)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = to_regclass(t.relation) AND a.attnum > 0 AND NOT a.attisdropped";

const SQLITE: &str = "
    SELECT t.relation AS relation, c.name AS name, c.type AS kind
      FROM (SELECT 'rbac_user_groups' AS relation UNION ALL SELECT 'rbac_grants_audit' UNION ALL SELECT 'rbac_ticket_grants'
            UNION ALL SELECT 'rbac_groups' UNION ALL SELECT 'rbac_roles' UNION ALL SELECT 'rbac_permissions'
            UNION ALL SELECT 'rbac_break_glass_sessions') t
      JOIN pragma_table_info(t.relation) c";

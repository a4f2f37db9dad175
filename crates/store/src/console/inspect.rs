//! A proposal for `[console]`, from the tables that are there: for a person to read, correct and confirm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::select::Dialect;
use super::{Relation, composed, is_false, quoted};
use crate::engine::connection::Connection;
use crate::engine::sql::Statement;
use crate::engine::tolerant::Lenient;
use crate::{Store, StoreError};

/// A table of Console's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Empty where there are no schemas.
    pub schema: String,
    pub name: String,
    /// Each with its type, as the database calls it.
    pub columns: Vec<(String, String)>,
    pub key: Vec<String>,
    /// Column, other table, its column.
    pub refers: Vec<(String, String, String)>,
}

/// A person as the SELECTs show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub id: String,
    pub label: String,
    pub is_disabled: bool,
    pub roles: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct ColumnRow {
    schema_name: String,
    table_name: String,
    column_name: String,
    kind: String,
    is_key: bool,
}

#[derive(sqlx::FromRow)]
struct ReferenceRow {
    schema_name: String,
    table_name: String,
    column_name: String,
    other_table: String,
    other_column: String,
}

#[derive(sqlx::FromRow)]
struct PersonRow {
    #[sqlx(try_from = "Lenient<String>")]
    id: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    label: Option<String>,
    is_active: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct RoleRow {
    #[sqlx(try_from = "Lenient<String>")]
    id: Option<String>,
    #[sqlx(try_from = "Lenient<String>")]
    role: Option<String>,
}

const POSTGRES_COLUMNS: &str = "
    SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, a.attname::text AS column_name,
           format_type(a.atttypid, NULL) AS kind,
           EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)) AS is_key
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
       AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'console_gate') AND n.nspname NOT LIKE 'pg\\_%'
     ORDER BY 1, 2, a.attnum";

const POSTGRES_REFERENCES: &str = "
    SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, a.attname::text AS column_name,
           o.relname::text AS other_table, b.attname::text AS other_column
      FROM pg_constraint k
      JOIN pg_class c ON c.oid = k.conrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_class o ON o.oid = k.confrelid
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
      JOIN pg_attribute b ON b.attrelid = o.oid AND b.attnum = k.confkey[1]
     WHERE k.contype = 'f' AND cardinality(k.conkey) = 1
     ORDER BY 1, 2, 3";

const SQLITE_COLUMNS: &str = "
    SELECT '' AS schema_name, t.name AS table_name, c.name AS column_name, lower(c.type) AS kind, c.pk > 0 AS is_key
      FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c
     WHERE t.type IN ('table', 'view') AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
     ORDER BY t.name, c.cid";

const SQLITE_REFERENCES: &str = "
    SELECT '' AS schema_name, t.name AS table_name, r.\"from\" AS column_name, r.\"table\" AS other_table,
           COALESCE(r.\"to\", 'id') AS other_column
      FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) r
     WHERE t.type = 'table'
     ORDER BY 2, 3";

impl Store {
    /// The tables that may be Console's.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn console_tables(&self) -> Result<Vec<Table>, StoreError> {
        let (columns, references): (Vec<ColumnRow>, Vec<ReferenceRow>) = self
            .bounded(async {
                let mut connection = self.access_pool.acquire().await?;
                let columns = connection.all(Statement::of(POSTGRES_COLUMNS, SQLITE_COLUMNS)).await?;
                let references =
                    connection.all(Statement::of(POSTGRES_REFERENCES, SQLITE_REFERENCES)).await?;
                Ok((columns, references))
            })
            .await?;
        let mut tables: BTreeMap<(String, String), Table> = BTreeMap::new();
        for row in columns {
            let is_ours = row.table_name.starts_with("gate_")
                || row.table_name.starts_with("rbac_")
                || [
                    "_sqlx_migrations",
                    "console_flag_promotions",
                    "customer_audit_events",
                    "alembic_version",
                ]
                .contains(&row.table_name.as_str());
            if is_ours {
                continue;
            }
            let table =
                tables.entry((row.schema_name.clone(), row.table_name.clone())).or_insert_with(|| Table {
                    schema: row.schema_name,
                    name: row.table_name,
                    ..Table::default()
                });
            if row.is_key {
                table.key.push(row.column_name.clone());
            }
            table.columns.push((row.column_name, row.kind));
        }
        for row in references {
            if let Some(table) = tables.get_mut(&(row.schema_name, row.table_name)) {
                table.refers.push((row.column_name, row.other_table, row.other_column));
            }
        }
        Ok(tables.into_values().collect())
    }

    /// The words of the database, for a proposal.
    pub fn is_postgres(&self) -> bool {
        self.console.dialect == Dialect::Postgres
    }

    /// The first `most` people as the SELECTs of everybody show them, with their roles.
    ///
    /// # Errors
    ///
    /// A SELECT does not fit, or the database did not answer.
    pub async fn console_people(&self, most: usize) -> Result<Vec<Shown>, StoreError> {
        self.bounded(async {
            let mut connection = self.access_pool.acquire().await?;
            let mut people = Vec::new();
            if let Some(admins) = self.console.listed(&mut connection, Relation::AllAdmins).await? {
                let text = format!(
                    "SELECT CAST(c.id AS TEXT) AS id, CAST(c.label AS TEXT) AS label, {} AS is_active
                       FROM (\n{}) c ORDER BY 1 LIMIT {most}",
                    is_false("c.disabled"),
                    admins.text
                );
                people = connection.all::<PersonRow>(composed(text).once()).await?;
            }
            let roles = self.roles_of_all(&mut connection).await?;
            let shown = people.into_iter().filter_map(|person| {
                let id = person.id?;
                let roles = roles.get(&id).cloned().unwrap_or_default();
                let label = person.label.unwrap_or_default();
                Some(Shown {
                    id,
                    label,
                    is_disabled: person.is_active != Some(true),
                    roles: roles.into_iter().collect(),
                })
            });
            Ok(shown.collect())
        })
        .await
    }

    async fn roles_of_all(
        &self,
        connection: &mut Connection,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, StoreError> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        if let Some(roles) = self.console.listed(connection, Relation::AllLegacyRoles).await? {
            let text = format!(
                "SELECT CAST(c.admin_id AS TEXT) AS id, CAST(c.role AS TEXT) AS role FROM (\n{}) c",
                roles.text
            );
            for row in connection.all::<RoleRow>(composed(text).once()).await? {
                if let (Some(id), Some(role)) = (row.id, row.role) {
                    all.entry(id).or_default().insert(role);
                }
            }
        }
        Ok(all)
    }
}

/// A proposal: the section, and what a person has to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// `[console]`, ready to paste; empty where the defaults fit, or where nothing was found.
    pub section: String,
    /// `[session]`; empty where nothing is known of it.
    pub session: String,
    /// Each a sentence.
    pub notes: Vec<String>,
}

/// What Console's source shows about its users and sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceHints {
    /// Tables that it calls its users', in lower case.
    pub users: BTreeSet<String>,
    pub cookie_name: Option<String>,
    /// The key of the session under which it keeps the admin's id.
    pub admin_id_key: Option<String>,
    /// The key under which it keeps the session's own id.
    pub session_id_key: Option<String>,
    pub login_path: Option<String>,
    /// The cookie is a token that it reads by itself, and not Flask's session.
    pub is_token: bool,
}

/// Proposes the sections from the tables.
pub fn propose(tables: &[Table], is_postgres: bool, hints: &SourceHints) -> Proposal {
    let hinted = &hints.users;
    let mut proposal = Proposal::default();
    if is_documented(tables) {
        proposal.notes.push("the documents' tables are there: no [console] section is needed".into());
        return proposal;
    }
    let mut users: Vec<(i32, &Table)> = tables
        .iter()
        .map(|table| (score_of_users(table, hinted), table))
        .filter(|(score, _)| *score > 0)
        .collect();
    users.sort_by_key(|(score, table)| (-score, table.name.clone()));
    let Some((_, user)) = users.first().copied() else {
        proposal.notes.push("no table looks like one of admins or users: write [console] by hand".into());
        return proposal;
    };
    for (_, other) in users.iter().skip(1) {
        proposal.notes.push(format!("another table could be the admins': {}", other.full_name()));
    }
    let writer = Writer { is_postgres, user, id: user.id() };
    let disabled = writer.disabled(&mut proposal.notes);
    let label = writer.label();
    let (id, place) = (quoted(&writer.id), user.full_name());
    let columns = format!("u.{id}{} AS id, {disabled} AS disabled, {label} AS label", "");
    let columns = if id == "id" { columns.replace("u.id AS id", "u.id") } else { columns };
    let mut section = String::from("[console]\n");
    let mut key = |name: &str, value: &str| {
        let _ = writeln!(section, "{name:16} = {}", toml_text(value));
    };
    let argument = writer.argument(&user.kind_of(&writer.id));
    key("admins", &format!("SELECT {columns} FROM {place} u WHERE u.{id} = {argument}"));
    key("all_admins", &format!("SELECT {columns} FROM {place} u"));
    match writer.roles(tables) {
        Some(Roles { one, all, note }) => {
            key("legacy_roles", &one);
            key("all_legacy_roles", &all);
            proposal.notes.extend(note);
        }
        None => {
            key("legacy_roles", "none");
            proposal.notes.push("no roles were found: write `legacy_roles`, or leave it as \"none\"".into());
        }
    }
    let sessions = writer.sessions(tables);
    proposal.session = session_section(hints, sessions.as_ref(), &mut proposal.notes);
    match sessions {
        Some(sessions) => {
            key("sessions", &sessions.select);
            key("sessions_key", &sessions.key);
        }
        None => proposal
            .notes
            .push("no table of sessions with a user was found: a session that Console ends is not seen before its cookie ends".into()),
    }
    key("admins_key", &format!("{place}.{id}"));
    proposal.section = section;
    proposal
}

/// The settings of the cookie, as far as source and tables show them.
fn session_section(hints: &SourceHints, sessions: Option<&Sessions>, notes: &mut Vec<String>) -> String {
    let is_django = sessions.is_some_and(|sessions| sessions.is_django);
    let is_hashed = sessions.is_some_and(|sessions| sessions.is_hashed);
    let found = |value: &Option<String>| value.clone().map(|value| toml_text(&value));
    let word = |value: &str| Some(toml_text(value));
    let login = found(&hints.login_path);
    let keys = if is_django {
        let cookie = found(&hints.cookie_name).or(word("sessionid"));
        let login = login.or(word("/accounts/login/"));
        vec![
            ("kind", word("opaque")),
            ("cookie_name", cookie),
            ("payload", word("django")),
            ("admin_id_key", word("_auth_user_id")),
            ("login_path", login),
        ]
    } else if hints.is_token {
        let lookup = word("sha256-hex").filter(|_| is_hashed);
        vec![
            ("kind", word("opaque")),
            ("cookie_name", found(&hints.cookie_name)),
            ("lookup", lookup),
            ("login_path", login),
        ]
    } else {
        let session = found(&hints.session_id_key).filter(|_| sessions.is_some());
        let hash = word("sha256").filter(|_| is_hashed && session.is_some());
        if sessions.is_some() && session.is_none() {
            let hash = if is_hashed { ", `session_id_hash = \"sha256\"`" } else { "" };
            notes.push(format!(
                "Console keeps a row for each session: set `session_id_key` to the key of Flask's session that names it{hash}, \
                 or `kind` where the cookie is a token"
            ));
        }
        vec![
            ("cookie_name", found(&hints.cookie_name)),
            ("admin_id_key", found(&hints.admin_id_key)),
            ("session_id_key", session),
            ("session_id_hash", hash),
            ("login_path", login),
        ]
    };
    let lines: String =
        keys.into_iter().filter_map(|(name, value)| Some(format!("{name:16} = {}\n", value?))).collect();
    if lines.is_empty() { lines } else { format!("[session]\n{lines}") }
}

fn toml_text(value: &str) -> String {
    if value.contains('"') { format!("'''{value}'''") } else { format!("\"{value}\"") }
}

fn is_documented(tables: &[Table]) -> bool {
    let has = |name: &str, columns: &[&str]| {
        tables.iter().any(|table| table.name == name && columns.iter().all(|column| table.has(column)))
    };
    has("admins", &["id", "email", "disabled_at_utc"]) && has("admin_roles", &["admin_id", "role"])
}

fn score_of_users(table: &Table, hinted: &BTreeSet<String>) -> i32 {
    const NAMES: [(&str, i32); 12] = [
        ("admins", 12),
        ("admin_users", 12),
        ("admin_user", 12),
        ("users", 10),
        ("user", 10),
        ("auth_user", 10),
        ("accounts", 8),
        ("account", 8),
        ("staff", 8),
        ("employees", 6),
        ("members", 5),
        ("people", 5),
    ];
    let name = table.name.to_lowercase();
    let by_name = NAMES.iter().find(|(known, _)| *known == name).map_or(0, |(_, score)| *score);
    let by_source = if hinted.contains(&name) { 20 } else { 0 };
    if by_name + by_source == 0 || table.key.len() != 1 {
        return 0;
    }
    let with =
        |columns: &[&str], score| if columns.iter().any(|column| table.has(column)) { score } else { 0 };
    by_name
        + by_source
        + with(&["email", "username", "login"], 3)
        + with(&["is_active", "active", "enabled", "disabled", "disabled_at", "deleted_at"], 3)
        + with(&["password", "password_hash", "hashed_password"], 2)
}

impl Table {
    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|(name, _)| name.eq_ignore_ascii_case(column))
    }

    /// The first of these columns that is there, as it is written.
    fn first_of(&self, columns: &[&str]) -> Option<&(String, String)> {
        columns
            .iter()
            .find_map(|column| self.columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)))
    }

    fn id(&self) -> String {
        self.key.first().cloned().unwrap_or_else(|| "id".into())
    }

    fn kind_of(&self, column: &str) -> String {
        self.columns
            .iter()
            .find(|(name, _)| name == column)
            .map_or_else(String::new, |(_, kind)| kind.clone())
    }

    fn full_name(&self) -> String {
        if self.schema.is_empty() {
            quoted(&self.name)
        } else {
            format!("{}.{}", quoted(&self.schema), quoted(&self.name))
        }
    }

    /// The column that names a row of `other`: by a foreign key, or by its name where there is none.
    fn column_to(&self, other: &Table) -> Option<String> {
        let single = other.name.trim_end_matches('s').to_lowercase();
        let names = [format!("{single}_id"), format!("{}_id", other.name.to_lowercase())];
        let usual = ["user_id", "admin_id", "account_id"];
        // Of several, `granted_by` and its like say who did it, and not whose the row is.
        let rank = |column: &str| {
            let column = column.to_lowercase();
            let is_usual = names.contains(&column) || usual.contains(&column.as_str());
            let is_doer =
                ["_by", "_by_id", "_from", "creator_id", "author_id"].iter().any(|end| column.ends_with(end));
            (is_doer, !is_usual, !self.key.iter().any(|key| key.eq_ignore_ascii_case(&column)))
        };
        let by_key = self.refers.iter().filter(|(_, table, _)| *table == other.name);
        if let Some((column, ..)) = by_key.min_by_key(|(column, ..)| rank(column)) {
            return Some(column.clone());
        }
        let is_user = score_of_users(other, &BTreeSet::new()) > 0;
        let mut columns = self.columns.iter().map(|(name, _)| name);
        columns
            .find(|name| {
                let name = name.to_lowercase();
                names.contains(&name) || (is_user && usual.contains(&name.as_str()))
            })
            .cloned()
    }
}

struct Roles {
    one: String,
    all: String,
    note: Option<String>,
}

struct Sessions {
    select: String,
    key: String,
    /// The column has a hash of what the cookie holds, by its name.
    is_hashed: bool,
    is_django: bool,
}

struct Writer<'t> {
    is_postgres: bool,
    user: &'t Table,
    id: String,
}

impl Writer<'_> {
    /// `$1` as a value of a type.
    fn argument(&self, kind: &str) -> String {
        match kind {
            _ if !self.is_postgres => "$1".into(),
            "text" | "character varying" | "character" | "" => "$1".into(),
            kind => format!("$1::{kind}"),
        }
    }

    /// The condition by which an admin is disabled.
    fn disabled(&self, notes: &mut Vec<String>) -> String {
        let mut conditions = Vec::new();
        for (column, kind) in &self.user.columns {
            let name = column.to_lowercase();
            // SQLite takes any word for a type, and has none for a switch.
            let is_switch = kind == "boolean" || !self.is_postgres && !is_of_time(kind);
            let value = format!("u.{}", quoted(column));
            match name.as_str() {
                "is_active" | "active" | "enabled" | "is_enabled" if is_switch => {
                    conditions.push(format!("NOT {value}"));
                }
                "is_disabled" | "disabled" | "blocked" | "is_blocked" | "banned" | "is_banned" | "locked"
                | "is_locked" | "suspended" | "is_deleted" | "deleted" | "archived"
                    if is_switch =>
                {
                    conditions.push(value);
                }
                _ if is_time_of_leaving(&name, kind) => {
                    conditions.push(format!("{value} IS NOT NULL"));
                    notes.push(format!(
                        "`{column}` is taken as when an admin left or was disabled: an admin with a value there is denied, even \
                         if it is in the future. Confirm it, or take it out of `disabled`"
                    ));
                }
                "status" | "state" => notes.push(format!(
                    "`{column}` may say who is locked out: add it to `disabled`, as in `{value} <> 'active'`"
                )),
                _ => {}
            }
        }
        if conditions.is_empty() {
            notes.push("no column shows who is disabled: everybody in the table is let in".into());
            return if self.is_postgres { "FALSE".into() } else { "0".into() };
        }
        if conditions.len() == 1 { conditions.concat() } else { format!("({})", conditions.join(" OR ")) }
    }

    fn label(&self) -> String {
        let label = self.user.first_of(&["email", "username", "login", "user_name", "display_name", "name"]);
        label.map_or_else(|| format!("u.{}", quoted(&self.id)), |(name, _)| format!("u.{}", quoted(name)))
    }

    /// Where the roles are: a table between users and roles, a table of words, or a column.
    fn roles(&self, tables: &[Table]) -> Option<Roles> {
        let is_of_roles = |table: &&Table| {
            table.name.to_lowercase().contains("role") || table.name.to_lowercase().contains("group")
        };
        let place = self.user.full_name();
        for between in tables.iter().filter(is_of_roles) {
            let Some(to_user) = between.column_to(self.user) else { continue };
            let argument = self.argument(&between.kind_of(&to_user));
            let (to_user, from) = (quoted(&to_user), between.full_name());
            let until =
                between.first_of(&["until", "expires_at", "expires_at_utc", "valid_until", "ends_at"]);
            let until = until.map_or_else(String::new, |(name, _)| format!(", ur.{} AS until", quoted(name)));
            for role in tables.iter().filter(is_of_roles).filter(|role| role.name != between.name) {
                let Some(name) = role.first_of(&["name", "role", "slug", "code", "key"]) else { continue };
                let Some(to_role) = between.column_to(role) else { continue };
                let tail = format!(
                    "FROM {from} ur JOIN {} r ON r.{} = ur.{}",
                    role.full_name(),
                    quoted(&role.id()),
                    quoted(&to_role)
                );
                let named = format!("r.{} AS role{until}", quoted(&name.0));
                return Some(Roles {
                    one: format!("SELECT {named} {tail} WHERE ur.{to_user} = {argument}"),
                    all: format!("SELECT ur.{to_user} AS admin_id, {named} {tail}"),
                    note: None,
                });
            }
            if let Some((word, _)) = between.first_of(&["role", "role_name", "name"]) {
                let named = format!("ur.{} AS role{until}", quoted(word));
                return Some(Roles {
                    one: format!("SELECT {named} FROM {from} ur WHERE ur.{to_user} = {argument}"),
                    all: format!("SELECT ur.{to_user} AS admin_id, {named} FROM {from} ur"),
                    note: None,
                });
            }
        }
        if let Some((column, kind)) =
            self.user.first_of(&["role", "role_name", "user_role", "user_type", "primary_role", "roles"])
        {
            let (word, note) = if kind.ends_with("[]") {
                (format!("unnest(u.{})", quoted(column)), None)
            } else {
                let note = column
                    .eq_ignore_ascii_case("roles")
                    .then(|| "`roles` may hold several words in one text: each has to be a row".to_owned());
                (format!("u.{}", quoted(column)), note)
            };
            let (id, argument) = (quoted(&self.id), self.argument(&self.user.kind_of(&self.id)));
            return Some(Roles {
                one: format!("SELECT {word} AS role FROM {place} u WHERE u.{id} = {argument}"),
                all: format!("SELECT u.{id} AS admin_id, {word} AS role FROM {place} u"),
                note,
            });
        }
        let (column, _) = self.user.first_of(&["is_superuser", "is_admin", "is_staff"])?;
        let (id, argument) = (quoted(&self.id), self.argument(&self.user.kind_of(&self.id)));
        let column = quoted(column);
        Some(Roles {
            one: format!("SELECT '{column}' AS role FROM {place} u WHERE u.{id} = {argument} AND u.{column}"),
            all: format!("SELECT u.{id} AS admin_id, '{column}' AS role FROM {place} u WHERE u.{column}"),
            note: Some(format!("`{column}` is taken as the only role")),
        })
    }

    /// The SELECT of sessions, and their key.
    fn sessions(&self, tables: &[Table]) -> Option<Sessions> {
        let django = tables.iter().find(|table| {
            table.name == "django_session"
                && ["session_key", "session_data", "expire_date"].iter().all(|name| table.has(name))
        });
        if let Some(table) = django {
            let from = table.full_name();
            return Some(Sessions {
                select: format!(
                    "SELECT s.session_key AS id, s.session_data AS payload, s.expire_date AS ends FROM {from} s WHERE s.session_key = $1"
                ),
                key: format!("{from}.session_key"),
                is_hashed: false,
                is_django: true,
            });
        }
        let is_of_sessions = |table: &&Table| {
            let name = table.name.to_lowercase();
            name.contains("session") || name.contains("login")
        };
        tables.iter().filter(is_of_sessions).find_map(|table| {
            let to_user = quoted(&table.column_to(self.user)?);
            let id = table.first_of(&[
                "session_id", "sid", "session_key", "token_hash", "token_sha256", "session_hash", "sid_hash", "sid_sha256", "id_hash",
                "token",
            ]).map(|(name, _)| name.clone());
            let id = id.unwrap_or_else(|| table.id());
            let argument = self.argument(&table.kind_of(&id));
            let ends = table.first_of(&[
                "expires_at", "expires_at_utc", "expires", "expiry", "expire_date", "valid_until", "ends_at",
            ]);
            let ends = ends.map_or_else(String::new, |(name, _)| format!(", s.{} AS ends", quoted(name)));
            let ended = table.first_of(&["revoked_at", "revoked_at_utc", "ended_at", "logged_out_at"]);
            let ended = ended.map_or_else(String::new, |(name, _)| format!(", s.{} IS NOT NULL AS ended", quoted(name)));
            let (from, id) = (table.full_name(), quoted(&id));
            let named = if id == "id" { "s.id".to_owned() } else { format!("s.{id} AS id") };
            Some(Sessions {
                is_hashed: ["hash", "sha256", "digest"].iter().any(|word| id.to_lowercase().contains(word)),
                select: format!(
                    "SELECT {named}, s.{to_user} AS admin_id{ends}{ended} FROM {from} s WHERE s.{id} = {argument}"
                ),
                key: format!("{from}.{id}"),
                is_django: false,
            })
        })
    }
}

/// Whether a column holds when an admin was disabled or left: `disabled_at`, `left_on`, `date_deleted`, and `ended` where
/// its type is one of time.
fn is_time_of_leaving(column: &str, kind: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "archived",
        "banned",
        "blocked",
        "deactivated",
        "deleted",
        "departed",
        "disabled",
        "ended",
        "left",
        "locked",
        "suspended",
        "terminated",
    ];
    let name = column.strip_suffix("_utc").unwrap_or(column);
    let after = ["_at", "_on", "_date", "_time", "_since"].into_iter().find_map(|end| name.strip_suffix(end));
    let before = ["date_", "when_"].into_iter().find_map(|start| name.strip_prefix(start));
    let stem = after.or(before).or(is_of_time(kind).then_some(name));
    stem.is_some_and(|stem| KNOWN.contains(&stem))
}

/// Whether a type holds a day or a time, by its name.
fn is_of_time(kind: &str) -> bool {
    kind.contains("date") || kind.contains("time")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staff(columns: &[(&str, &str)]) -> Table {
        let all = [("id", "integer"), ("email", "text")].iter().chain(columns);
        Table {
            name: "staff".into(),
            key: vec!["id".into()],
            columns: all.map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect(),
            ..Table::default()
        }
    }

    fn disabled(is_postgres: bool, columns: &[(&str, &str)]) -> (String, Vec<String>) {
        let Proposal { section, notes, .. } =
            propose(&[staff(columns)], is_postgres, &SourceHints::default());
        let (_, rest) =
            section.split_once(" AS id, ").or(section.split_once("u.id, ")).expect("a SELECT of admins");
        let (condition, _) = rest.split_once(" AS disabled").expect("a condition");
        (condition.to_owned(), notes)
    }

    #[test]
    fn when_somebody_left_is_proposed_for_a_person_to_confirm() {
        for (column, kind, on_postgres, on_sqlite) in [
            ("left_on", "text", true, true),
            ("left_on", "date", true, true),
            ("left", "date", true, true),
            ("ended", "timestamp with time zone", true, true),
            ("disabled", "datetime", true, true),
            ("deleted", "timestamp without time zone", true, true),
            ("deactivated_at_utc", "text", true, true),
            ("date_deleted", "integer", true, true),
            ("locked_since", "timestamp without time zone", true, true),
            // A word, or a number, whose meaning is unknown.
            ("left", "text", false, false),
            ("ended", "integer", false, false),
            ("created_at", "date", false, false),
            ("left_handed_on", "date", false, false),
        ] {
            for (is_postgres, is_taken) in [(true, on_postgres), (false, on_sqlite)] {
                let (condition, notes) = disabled(is_postgres, &[(column, kind)]);
                let start = format!("`{column}` is taken as when an admin left");
                let named = quoted(column);
                let never = if is_postgres { "FALSE" } else { "0" };
                let expected = if is_taken { format!("u.{named} IS NOT NULL") } else { never.to_owned() };
                assert_eq!(condition, expected, "{column} {kind} {is_postgres}");
                assert_eq!(
                    notes.iter().any(|note| note.starts_with(&start)),
                    is_taken,
                    "{column}: {notes:?}"
                );
                let open = notes.iter().any(|note| note.contains("everybody in the table is let in"));
                assert_eq!(open, !is_taken, "{column}: {notes:?}");
            }
        }
    }

    #[test]
    fn a_switch_is_no_time_and_both_count() {
        let columns = [("is_active", "boolean"), ("left_on", "date")];
        assert_eq!(disabled(true, &columns).0, "(NOT u.is_active OR u.left_on IS NOT NULL)");
        assert_eq!(disabled(false, &[("disabled", "integer")]).0, "u.disabled");
        assert_eq!(disabled(false, &[("deleted", "")]).0, "u.deleted");
        assert_eq!(disabled(true, &[("disabled", "boolean")]).0, "u.disabled");
    }

    fn table(name: &str, columns: &[&str], refers: &[(&str, &str)]) -> Table {
        Table {
            name: name.into(),
            key: vec![columns[0].into()],
            columns: columns.iter().map(|column| ((*column).to_owned(), "text".to_owned())).collect(),
            refers: refers
                .iter()
                .map(|(column, to)| ((*column).to_owned(), (*to).to_owned(), "id".to_owned()))
                .collect(),
            ..Table::default()
        }
    }

    #[test]
    fn whose_a_row_is_and_who_made_it_are_told_apart() {
        let users = || table("users", &["id", "email"], &[]);
        let roles = || table("roles", &["id", "name"], &[]);
        for columns in [
            ["granted_by", "user_id"],
            ["approved_by_id", "user_id"],
            ["author_id", "holder_id"],
            ["granted_by", "member"],
        ] {
            let between = table(
                "user_roles",
                &[columns[0], columns[1], "role_id"],
                &[(columns[0], "users"), (columns[1], "users"), ("role_id", "roles")],
            );
            let proposal = propose(&[roles(), between, users()], true, &SourceHints::default());
            let expected = format!("WHERE ur.{} = $1", columns[1]);
            assert!(proposal.section.contains(&expected), "{}", proposal.section);
        }
    }

    #[test]
    fn the_session_is_proposed_as_source_and_tables_show_it() {
        let users = || table("users", &["id", "email"], &[]);
        let sessions =
            |column: &str| table("login_sessions", &["id", column, "user_id"], &[("user_id", "users")]);
        let flask = SourceHints {
            cookie_name: Some("console".into()),
            admin_id_key: Some("user_id".into()),
            session_id_key: Some("sid".into()),
            login_path: Some("/login".into()),
            ..SourceHints::default()
        };
        let token = SourceHints { is_token: true, admin_id_key: None, session_id_key: None, ..flask.clone() };
        let lines = |section: &str| -> String {
            let words = section.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            words.collect::<Vec<_>>().join("|")
        };
        for (hints, tables, expected) in [
            (
                &flask,
                vec![users()],
                "cookie_name = \"console\"|admin_id_key = \"user_id\"|login_path = \"/login\"",
            ),
            (
                &flask,
                vec![users(), sessions("sid")],
                "cookie_name = \"console\"|admin_id_key = \"user_id\"|session_id_key = \"sid\"|login_path = \"/login\"",
            ),
            (
                &flask,
                vec![users(), sessions("token_hash")],
                "cookie_name = \"console\"|admin_id_key = \"user_id\"|session_id_key = \"sid\"|session_id_hash = \"sha256\"|login_path = \"/login\"",
            ),
            (
                &token,
                vec![users(), sessions("token_sha256")],
                "kind = \"opaque\"|cookie_name = \"console\"|lookup = \"sha256-hex\"|login_path = \"/login\"",
            ),
            (
                &token,
                vec![users(), sessions("token")],
                "kind = \"opaque\"|cookie_name = \"console\"|login_path = \"/login\"",
            ),
        ] {
            let proposal = propose(&tables, true, hints);
            let session = lines(&proposal.session);
            assert_eq!(session, format!("[session]|{expected}"), "{:?}", proposal.notes);
        }
        let unknown = propose(&[users(), sessions("token_hash")], true, &SourceHints::default());
        assert_eq!(unknown.session, "");
        assert!(unknown.notes.iter().any(|note| note.contains("session_id_hash")), "{:?}", unknown.notes);
    }

    #[test]
    fn djangos_own_tables_are_read() {
        let tables = [
            table("auth_group", &["id", "name"], &[]),
            table("auth_user", &["id", "username", "is_active"], &[]),
            table(
                "auth_user_groups",
                &["id", "user_id", "group_id"],
                &[("group_id", "auth_group"), ("user_id", "auth_user")],
            ),
            table("django_session", &["session_key", "session_data", "expire_date"], &[]),
        ];
        let proposal = propose(&tables, true, &SourceHints::default());
        for part in [
            "SELECT s.session_key AS id, s.session_data AS payload, s.expire_date AS ends FROM django_session s",
            "SELECT r.name AS role FROM auth_user_groups ur JOIN auth_group r ON r.id = ur.group_id WHERE ur.user_id = $1",
        ] {
            assert!(proposal.section.contains(part), "{}", proposal.section);
        }
        for part in [
            "payload          = \"django\"",
            "cookie_name      = \"sessionid\"",
            "admin_id_key     = \"_auth_user_id\"",
        ] {
            assert!(proposal.session.contains(part), "{}", proposal.session);
        }
    }
}

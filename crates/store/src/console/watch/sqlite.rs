//! Triggers on Console's tables on SQLite.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Executor as _, Row as _, SqliteConnection, SqlitePool};

use super::{Duties, Fault, PREFIX, Watch, WatchedTable, unwatched};
use crate::StoreError;
use crate::console::select::{Dialect, Select};
use crate::console::{Console, Relation};
use crate::engine::connection::Connection;
use crate::schema::placement::{DECIDING_TABLES, LOGIN_SESSIONS, OWN_DECIDING_TABLES};

pub(super) async fn install(pool: &SqlitePool, console: &Console) -> Result<Watch, StoreError> {
    let mut connection = begin(pool).await?;
    match within(&mut connection, console).await {
        Ok(watch) => {
            connection.run("COMMIT").await?;
            Ok(watch)
        }
        Err(fault) => {
            connection.close_on_drop();
            Err(fault.into())
        }
    }
}

async fn begin(pool: &SqlitePool) -> Result<Connection, StoreError> {
    let mut connection = Connection::Sqlite(pool.acquire().await?);
    connection.run("BEGIN IMMEDIATE").await?;
    Ok(connection)
}

async fn run(to: &mut SqliteConnection, text: impl Into<String>) -> Result<(), sqlx::Error> {
    to.execute(sqlx::raw_sql(AssertSqlSafe(text.into()))).await.map(drop)
}

/// A name in quotes: SQLite has keywords that are no names of Postgres.
fn named(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Does it within a transaction.
pub(crate) async fn within(connection: &mut Connection, console: &Console) -> Result<Watch, Fault> {
    let mut gaps: Vec<String> = unwatched(console).into_iter().collect();
    let mut tables: BTreeMap<String, Duties> = BTreeMap::new();
    let mut views: BTreeMap<String, String> = BTreeMap::new();
    if gaps.is_empty() {
        for relation in Relation::ALL {
            match console.readable_text(connection, relation, "NULL").await? {
                Some(Ok(text)) => {
                    let Connection::Sqlite(to) = &mut *connection else { continue };
                    look_at(to, relation, &text, &mut tables, &mut views, &mut gaps).await?;
                }
                Some(Err(gone)) => gaps.push(format!("{relation}: {gone}")),
                None => {}
            }
        }
    }
    let is_listed = unwatched(console).is_none() && console.lists_sessions(connection).await?;
    let Connection::Sqlite(to) = connection else { return Ok(Watch::default()) };
    let mut states: BTreeSet<(String, String, String, String)> = BTreeSet::new();
    if gaps.is_empty() {
        add_settings(to, console, is_listed, &mut tables, &mut gaps).await?;
        look_at_deciding(to, &mut states, &mut gaps).await?;
    }
    if !gaps.is_empty() {
        run(to, "DELETE FROM gate_console_watched; DELETE FROM gate_console_watch").await?;
        return Ok(Watch { gaps, ..Watch::default() });
    }
    let mut triggers = BTreeMap::new();
    let mut watched = Vec::new();
    for (table, duties) in &tables {
        let made = triggers_of(to, table, duties).await?;
        watched.push(WatchedTable {
            name: table.clone(),
            columns: duties.columns.iter().cloned().collect(),
            relations: duties.relations.clone(),
            triggers: made.iter().map(|(name, _)| name.clone()).collect(),
        });
        for (name, text) in made {
            states.insert((table.clone(), "trigger".into(), name.clone(), text.clone()));
            triggers.insert(name, text);
        }
        states.insert((table.clone(), "parts".into(), String::new(), parts(to, table).await?));
    }
    for (view, text) in views {
        states.insert((view, "view".into(), String::new(), text));
    }
    let is_new = !is_in_force(to, console, &triggers, &states).await?;
    let mut statements = Vec::new();
    if is_new {
        carry_out(to, console, &triggers, &states).await?;
        statements.extend(triggers.into_values());
    } else {
        run(to, SAME_AGAIN).await?;
    }
    Ok(Watch { tables: watched, gaps, is_new, statements })
}

/// Records the version of an unchanged schema after a change of something else, so that later checks cost less.
const SAME_AGAIN: &str = "
    UPDATE gate_console_watched SET schema_version = (SELECT schema_version FROM pragma_schema_version)
     WHERE schema_version <> (SELECT schema_version FROM pragma_schema_version)";

/// The tables that a SELECT opens, and the views that it names.
async fn look_at(
    to: &mut SqliteConnection,
    relation: Relation,
    text: &str,
    tables: &mut BTreeMap<String, Duties>,
    views: &mut BTreeMap<String, String>,
    gaps: &mut Vec<String>,
) -> Result<(), Fault> {
    let opened = sqlx::query(AssertSqlSafe(format!("EXPLAIN {text}"))).fetch_all(&mut *to).await?;
    let words =
        Select::parse(text).and_then(|select| select.words(Dialect::Sqlite)).map_err(StoreError::Refused)?;
    let mut names = words.names.clone();
    let all: Vec<(String, String, String, i64, Option<String>)> =
        sqlx::query_as("SELECT type, name, tbl_name, COALESCE(rootpage, 0), sql FROM sqlite_schema")
            .fetch_all(&mut *to)
            .await?;
    // Views of views: as many rounds as add a name.
    loop {
        let before = views.len();
        for (kind, name, _, _, sql) in &all {
            if kind == "view" && names.contains(&name.to_lowercase()) {
                let sql = sql.clone().unwrap_or_default();
                // From `SELECT` on, for the words in it; a view that cannot be read so changes with its text all the same.
                let body = sql.to_lowercase().find("select").map_or("", |at| &sql[at..]).to_owned();
                if let Ok(words) = Select::parse(&body).and_then(|body| body.words(Dialect::Sqlite)) {
                    if let Some(word) = words.changes_by_itself() {
                        gaps.push(format!(
                            "{relation}: `{word}` in the view {name} changes its result without a write"
                        ));
                    }
                    names.extend(words.names);
                }
                views.insert(name.clone(), sql);
            }
        }
        if views.len() == before {
            break;
        }
    }
    for row in opened {
        let opcode: String = row.try_get("opcode")?;
        if opcode == "VOpen" {
            gaps.push(format!("{relation}: it reads a virtual table, whose changes no trigger hears"));
        }
        if opcode != "OpenRead" && opcode != "ReopenIdx" {
            continue;
        }
        let (root, database): (i64, i64) = (row.try_get("p2")?, row.try_get("p3")?);
        let table = all.iter().find(|(.., page, _)| *page == root).map(|(_, _, table, ..)| table.clone());
        let Some(table) = table.filter(|_| database == 0) else {
            if database != 0 || root != 1 {
                gaps.push(format!("{relation}: it reads a table that is not in the file"));
            }
            continue;
        };
        let columns = columns_of(to, &table).await?;
        let is_plain = words.names.contains(&table.to_lowercase()) && !words.has_star && !words.has_natural;
        let read = columns
            .into_iter()
            .filter(|(column, is_key)| *is_key || !is_plain || words.names.contains(&column.to_lowercase()));
        let duties = tables.entry(table).or_default();
        duties.columns.extend(read.map(|(column, _)| column));
        duties.relations.insert(relation);
    }
    Ok(())
}

/// The columns of a table, each with whether it is of the primary key.
async fn columns_of(to: &mut SqliteConnection, table: &str) -> Result<Vec<(String, bool)>, sqlx::Error> {
    sqlx::query_as("SELECT name, pk > 0 FROM pragma_table_xinfo($1) WHERE hidden IN (0, 2, 3)")
        .bind(table.to_owned())
        .fetch_all(to)
        .await
}

/// The tables of RBAC V2 and the gate's own, by which it decides: their triggers, which `migrate` puts there, and how they
/// were made.
async fn look_at_deciding(
    to: &mut SqliteConnection,
    states: &mut BTreeSet<(String, String, String, String)>,
    gaps: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    let there: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT type, name, COALESCE(sql, '') FROM sqlite_schema WHERE type IN ('table', 'trigger')",
    )
    .fetch_all(&mut *to)
    .await?;
    let there: BTreeMap<(&str, &str), &str> =
        there.iter().map(|(kind, name, sql)| ((kind.as_str(), name.as_str()), sql.as_str())).collect();
    let words = |sql: &str| sql.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    for table in DECIDING_TABLES.into_iter().chain(OWN_DECIDING_TABLES) {
        if !there.contains_key(&("table", table)) {
            continue;
        }
        for (name, wanted) in raising(table) {
            match there.get(&("trigger", name.as_str())) {
                Some(sql) if words(sql) == words(&wanted) => {
                    states.insert((table.to_owned(), "trigger".into(), name.clone(), (*sql).to_owned()));
                }
                _ => gaps.push(format!("{table} lacks the trigger `{name}`: run `console-gate migrate`")),
            }
        }
        states.insert((table.to_owned(), "parts".into(), String::new(), parts(to, table).await?));
    }
    Ok(())
}

/// The name of a table as it was made: SQLite ignores case.
async fn as_made(to: &mut SqliteConnection, table: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower($1)")
        .bind(table.to_owned())
        .fetch_optional(to)
        .await
}

/// What the settings name: further tables, and the keys.
async fn add_settings(
    to: &mut SqliteConnection,
    console: &Console,
    is_listed: bool,
    tables: &mut BTreeMap<String, Duties>,
    gaps: &mut Vec<String>,
) -> Result<(), Fault> {
    for name in &console.relations.watch {
        let Some(table) = as_made(to, &name.name).await? else {
            gaps.push(format!("[console] watch: there is no table `{name}`"));
            continue;
        };
        let columns = columns_of(to, &table).await?;
        tables.entry(table).or_default().columns.extend(columns.into_iter().map(|(column, _)| column));
    }
    for (key, setting) in
        [(&console.relations.admins_key, "admins_key"), (&console.relations.sessions_key, "sessions_key")]
    {
        let Some(key) = key else { continue };
        let Some(table) = as_made(to, &key.table.name).await? else {
            gaps.push(format!("[console] {setting}: there is no table `{}`", key.table));
            continue;
        };
        let columns = columns_of(to, &table).await?;
        let column = columns.iter().find(|(column, _)| column.eq_ignore_ascii_case(&key.column));
        let Some((column, _)) = column.cloned() else {
            gaps.push(format!("[console] {setting}: there is no column `{key}`"));
            continue;
        };
        let is_apart = setting == "sessions_key" && is_listed && rows_are_apart(to, &table, &column).await?;
        let duties = tables.entry(table).or_default();
        duties.columns.insert(column.clone());
        match setting {
            "admins_key" => duties.admin = Some(column),
            _ if is_apart && duties.is_of_sessions_alone() => duties.session = Some(column),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a write to a row can change no other row. REPLACE deletes the rows in its way without a trigger; which these
/// are depends on the unique columns. Only where that is the key alone can a change concern one session.
async fn rows_are_apart(to: &mut SqliteConnection, table: &str, key: &str) -> Result<bool, sqlx::Error> {
    let keys: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_xinfo($1) WHERE pk > 0")
        .bind(table.to_owned())
        .fetch_all(&mut *to)
        .await?;
    // Without a row's number, which would be unique too, or with the key for it.
    let no_other_number: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_list($1) WHERE wr = 1)
             OR EXISTS (SELECT 1 FROM pragma_table_xinfo($1) WHERE pk > 0 AND lower(type) = 'integer')",
    )
    .bind(table.to_owned())
    .fetch_one(&mut *to)
    .await?;
    let others: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM pragma_index_list($1) WHERE \"unique\" = 1 AND origin <> 'pk'",
    )
    .bind(table.to_owned())
    .fetch_one(&mut *to)
    .await?;
    Ok(keys == [key] && no_other_number && others == 0)
}

const RAISE: &str = "UPDATE gate_epoch SET epoch = epoch + 1;";

const FORGET: &str = "DELETE FROM gate_session_changes WHERE epoch <= (SELECT epoch - 1024 FROM gate_epoch);";

/// The triggers by which a write to one of the gate's deciding tables is heard: name and statement. Any write concerns
/// everybody, except one to a session of the gate's own.
pub(crate) fn raising(table: &str) -> Vec<(String, String)> {
    if table == LOGIN_SESSIONS {
        return login_sessions().into();
    }
    let made = ["INSERT", "UPDATE", "DELETE"].map(|verb| {
        let name = format!("gate_epoch_{table}_{}", verb.to_lowercase());
        let statement = format!("CREATE TRIGGER {name} AFTER {verb} ON {table}\nBEGIN {RAISE} END");
        (name, statement)
    });
    made.into()
}

/// A new session and a slide of its end are not heard (0404), so a session may not be replaced either: that fires no trigger
/// of an update or a removal.
fn login_sessions() -> [(String, String); 3] {
    const CHANGES: [&str; 8] = [
        "id",
        "token_sha256",
        "admin_id",
        "scope",
        "methods",
        "stepped_up_at_utc",
        "absolute_ends_at_utc",
        "ended_at_utc",
    ];
    let changed: Vec<String> =
        CHANGES.iter().map(|column| format!("OLD.{column} IS NOT NEW.{column}")).collect();
    let listed = |ids: &str| {
        format!("{RAISE} INSERT OR IGNORE INTO gate_session_changes (epoch, session_id) {ids}; {FORGET}")
    };
    let old = "SELECT epoch, OLD.id FROM gate_epoch";
    let both = listed(&format!("{old} UNION SELECT epoch, NEW.id FROM gate_epoch"));
    [
        (
            "insert",
            format!(
                "BEFORE INSERT ON {LOGIN_SESSIONS}
WHEN EXISTS (SELECT 1 FROM {LOGIN_SESSIONS} WHERE id = NEW.id OR token_sha256 = NEW.token_sha256)
BEGIN SELECT RAISE(ABORT, '`{LOGIN_SESSIONS}` has this session: it is not replaced'); END"
            ),
        ),
        (
            "update",
            format!("AFTER UPDATE ON {LOGIN_SESSIONS}\nWHEN {}\nBEGIN {both} END", changed.join(" OR ")),
        ),
        (
            "delete",
            format!(
                "AFTER DELETE ON {LOGIN_SESSIONS}\nWHEN OLD.ended_at_utc IS NULL\nBEGIN {} END",
                listed(old)
            ),
        ),
    ]
    .map(|(verb, text)| {
        let name = format!("gate_epoch_{LOGIN_SESSIONS}_{verb}");
        (name.clone(), format!("CREATE TRIGGER {name} {text}"))
    })
}

/// Each trigger of a table with its text. They are for each row, for SQLite has no other kind.
async fn triggers_of(
    to: &mut SqliteConnection,
    table: &str,
    duties: &Duties,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    // A row without an id is no session, but may have replaced one: it is not listed.
    let list = |ids: &[&str]| {
        let Some(key) = &duties.session else { return String::new() };
        let key = named(key);
        let are = ids.iter().map(|row| format!("{row}.{key} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let rows: Vec<String> = ids
            .iter()
            .map(|row| format!("SELECT epoch, CAST({row}.{key} AS TEXT) FROM gate_epoch WHERE {are}"))
            .collect();
        let rows = rows.join(" UNION ");
        format!(" INSERT OR IGNORE INTO gate_session_changes (epoch, session_id) {rows}; {FORGET}")
    };
    let mut made = Vec::new();
    let mut add = |verb: &str, when: String, body: String| {
        let name = format!("{PREFIX}{table}_{}", verb.to_lowercase());
        let text = format!(
            "CREATE TRIGGER {} AFTER {verb} ON {}{when} BEGIN {body} END",
            named(&name),
            named(table)
        );
        made.push((name, text));
    };
    add("INSERT", String::new(), format!("{RAISE}{}", list(&["NEW"])));
    // Compared byte by byte, whatever the column's collation.
    let changed: Vec<String> = duties
        .columns
        .iter()
        .map(|column| named(column))
        .map(|column| format!("OLD.{column} COLLATE BINARY IS NOT NEW.{column} OR typeof(OLD.{column}) <> typeof(NEW.{column})"))
        .collect();
    if !changed.is_empty() {
        add("UPDATE", format!(" WHEN {}", changed.join(" OR ")), format!("{RAISE}{}", list(&["OLD", "NEW"])));
    }
    let mut deleted = format!("{RAISE}{}", list(&["OLD"]));
    if let Some(admin) = &duties.admin {
        deleted.push_str(&forget(to, &format!("OLD.{}", named(admin))).await?);
    }
    add("DELETE", String::new(), deleted);
    Ok(made)
}

/// The trigger's body for a deleted admin: it requests an erasure and removes the grants. Where ids are numbers, the next
/// admin may be given this one, and must not inherit.
async fn forget(to: &mut SqliteConnection, id: &str) -> Result<String, sqlx::Error> {
    const OF_ADMINS: [&str; 4] =
        ["rbac_user_groups", "rbac_ticket_grants", "rbac_ticket_grants_archive", "rbac_break_glass_sessions"];
    const BREAK_GLASS_TABLES: [&str; 4] =
        ["gate_passkeys", "gate_passkey_invites", "gate_webauthn_challenges", "gate_break_glass_reviews"];
    let mut body = format!(
        " INSERT INTO gate_pending_erasures (actor_id) SELECT CAST({id} AS TEXT) WHERE {id} IS NOT NULL \
         ON CONFLICT (actor_id) DO NOTHING; \
         DELETE FROM gate_drift_events WHERE actor_kind = 'admin' AND actor_id = CAST({id} AS TEXT); \
         DELETE FROM gate_decisions WHERE actor_kind = 'admin' AND actor_id = CAST({id} AS TEXT); \
         DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = CAST({id} AS TEXT);"
    );
    if as_made(to, "rbac_grants_audit").await?.is_some() {
        body.push_str(&format!(" DELETE FROM rbac_grants_audit WHERE target_user_id = CAST({id} AS TEXT);"));
    }
    for table in OF_ADMINS {
        if as_made(to, table).await?.is_some() {
            body.push_str(&format!(" DELETE FROM {table} WHERE user_id = CAST({id} AS TEXT);"));
        }
    }
    if as_made(to, "gate_grants").await?.is_some() {
        body.push_str(&format!(" DELETE FROM gate_grants WHERE admin_id = CAST({id} AS TEXT);"));
    }
    if as_made(to, "gate_access_requests").await?.is_some() {
        body.push_str(&format!(
            " DELETE FROM gate_access_requests WHERE CAST({id} AS TEXT) IN (admin_id, requested_by); \
             DELETE FROM gate_access_votes WHERE approver = CAST({id} AS TEXT);"
        ));
    }
    if as_made(to, "gate_passkeys").await?.is_some() {
        for table in BREAK_GLASS_TABLES {
            body.push_str(&format!(" DELETE FROM {table} WHERE admin_id = CAST({id} AS TEXT);"));
        }
    }
    Ok(body)
}

/// The definitions of a table and its indexes: the unique columns decide which rows a write can replace.
const PARTS: &str = "
    SELECT COALESCE(group_concat(sql, ' '), '') FROM (
        SELECT sql FROM sqlite_schema WHERE tbl_name = $1 AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY name)";

async fn parts(to: &mut SqliteConnection, table: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(PARTS).bind(table.to_owned()).fetch_one(to).await
}

/// The triggers that are there, with their texts.
async fn present(to: &mut SqliteConnection) -> Result<BTreeMap<String, String>, sqlx::Error> {
    let present: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, COALESCE(sql, '') FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, 13) = 'console_gate_'",
    )
    .fetch_all(to)
    .await?;
    Ok(present.into_iter().collect())
}

/// The triggers that migrations put on the documents' tables before.
async fn former(to: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT name FROM sqlite_schema
          WHERE type = 'trigger' AND tbl_name IN ('admins', 'admin_roles', 'admin_sessions')
            AND (name = 'gate_ask_for_erasure' OR substr(name, 1, 17) = 'gate_epoch_admins'
                 OR substr(name, 1, 22) = 'gate_epoch_admin_roles' OR substr(name, 1, 25) = 'gate_epoch_admin_sessions')",
    )
    .fetch_all(to)
    .await
}

async fn is_in_force(
    to: &mut SqliteConnection,
    console: &Console,
    triggers: &BTreeMap<String, String>,
    states: &BTreeSet<(String, String, String, String)>,
) -> Result<bool, sqlx::Error> {
    let selects: Option<String> = sqlx::query_scalar("SELECT selects FROM gate_console_watched WHERE id = 1")
        .fetch_optional(&mut *to)
        .await?;
    let stored: Vec<(String, String, String, String)> =
        sqlx::query_as("SELECT object, aspect, name, state FROM gate_console_watch")
            .fetch_all(&mut *to)
            .await?;
    let stored: BTreeSet<(String, String, String, String)> = stored.into_iter().collect();
    Ok(selects.as_deref() == console.expected.as_deref()
        && stored == *states
        && present(to).await? == *triggers
        && former(to).await?.is_empty())
}

async fn carry_out(
    to: &mut SqliteConnection,
    console: &Console,
    triggers: &BTreeMap<String, String>,
    states: &BTreeSet<(String, String, String, String)>,
) -> Result<(), sqlx::Error> {
    let there = present(to).await?;
    for name in there.keys().cloned().chain(former(to).await?) {
        run(to, format!("DROP TRIGGER {}", named(&name))).await?;
    }
    for text in triggers.values() {
        run(to, text.clone()).await?;
    }
    run(to, "DELETE FROM gate_console_watch; DELETE FROM gate_console_watched").await?;
    for (object, aspect, name, state) in states.iter().cloned() {
        sqlx::query("INSERT INTO gate_console_watch (object, aspect, name, state) VALUES ($1, $2, $3, $4)")
            .bind(object)
            .bind(aspect)
            .bind(name)
            .bind(state)
            .execute(&mut *to)
            .await?;
    }
    if let Some(expected) = &console.expected {
        const WATCHED: &str = "
            INSERT INTO gate_console_watched (id, selects, schema_version)
            SELECT 1, $1, schema_version FROM pragma_schema_version";
        sqlx::query(WATCHED).bind(expected.to_string()).execute(&mut *to).await?;
    }
    // Entries cached while changes went unnoticed are invalid.
    run(to, RAISE).await
}

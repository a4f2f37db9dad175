//! Triggers on Console's tables on Postgres.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::{Duties, Fault, PAUSE, PREFIX, Watch, WatchedTable, short, unwatched};
use crate::StoreError;
use crate::console::select::{Dialect, Select};
use crate::console::{Console, Relation, TableName, quoted};
use crate::control::{WATCHED_ON_POSTGRES, WHOLE_ON_POSTGRES};
use crate::engine::connection::Connection;
use crate::engine::postgres::PostgresPool;
use crate::schema::placement::{DECIDING_TABLES, OWN_DECIDING_TABLES};
use crate::schema::terms::MigrationTerms;

/// For all locks of one try together: a statement of Console's that waits behind it waits no longer.
const LOCKS_MS: u128 = 700;

pub(super) async fn install(
    pool: &PostgresPool,
    console: &Console,
    terms: MigrationTerms,
) -> Result<Watch, StoreError> {
    patiently(pool, terms, async |connection| within(connection, console, true).await).await
}

pub(super) async fn unheard(pool: &PostgresPool, console: &Console) -> Result<Vec<String>, StoreError> {
    let mut lease = pool.acquire().await?;
    // A probe of its own is undone with the connection.
    lease.close_on_drop();
    let mut connection = Connection::Postgres(lease);
    connection.run("BEGIN").await?;
    Ok(within(&mut connection, console, false).await?.gaps)
}

/// Does `work` in one transaction, again while others hold its locks.
async fn patiently<T>(
    pool: &PostgresPool,
    terms: MigrationTerms,
    work: impl AsyncFn(&mut Connection) -> Result<T, Fault>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    loop {
        let mut lease = pool.acquire().await?;
        // Settings, and anything that a try has left behind, end with the connection.
        lease.close_on_drop();
        let mut connection = Connection::Postgres(lease);
        connection.run("SET statement_timeout = 0; BEGIN").await?;
        let error = match work(&mut connection).await {
            Ok(value) => {
                connection.run("COMMIT").await?;
                return Ok(value);
            }
            Err(Fault::Store(error)) => return Err(error),
            Err(Fault::Sql(error)) => error,
        };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if !matches!(code.as_deref(), Some("55P03" | "40P01")) {
            return Err(error.into());
        }
        if began.elapsed() + PAUSE > terms.patience {
            return Err(StoreError::Busy(format!(
                "the triggers on Console's tables got no locks within {} s; none was created. Run `console-gate migrate` again at a quieter time",
                began.elapsed().as_secs()
            )));
        }
        drop(connection);
        sleep(PAUSE).await;
    }
}

/// Runs text that was put together from names of the catalog and the settings' SELECTs.
async fn run(to: &mut PgConnection, text: impl Into<String>) -> Result<(), sqlx::Error> {
    to.execute(sqlx::raw_sql(AssertSqlSafe(text.into()))).await.map(drop)
}

async fn bound_locks(to: &mut PgConnection, statements: usize) -> Result<(), sqlx::Error> {
    let each = (LOCKS_MS / (statements.max(1) as u128)).max(50);
    run(to, format!("SET LOCAL lock_timeout = {each}")).await
}

/// A table that is to be watched.
struct Base {
    oid: i64,
    /// With its schema, as SQL takes it.
    name: String,
    duties: Duties,
    is_partition: bool,
}

#[derive(Default)]
struct Found {
    tables: BTreeMap<i64, Base>,
    /// Each view with its version.
    views: BTreeMap<i64, (String, String)>,
    /// The tables of RBAC V2, wherever they are, and the gate's own: `migrate` puts the trigger on each.
    deciding: Vec<i64>,
    gaps: Vec<String>,
}

/// Does it within a transaction; or only reports what it would do, and takes no lock that keeps a writer out.
pub(crate) async fn within(
    connection: &mut Connection,
    console: &Console,
    keeps: bool,
) -> Result<Watch, Fault> {
    let texts = if unwatched(console).is_none() { texts(connection, console).await? } else { Vec::new() };
    let is_listed = unwatched(console).is_none() && console.lists_sessions(connection).await?;
    let Connection::Postgres(to) = connection else { return Ok(Watch::default()) };
    let mut found = Found::default();
    found.gaps.extend(unwatched(console));
    if found.gaps.is_empty() {
        look(to, console, texts, is_listed, &mut found).await?;
    }
    if found.gaps.is_empty() {
        check_rights(to, &mut found).await?;
        look_at_deciding(to, keeps, &mut found).await?;
    }
    if !found.gaps.is_empty() {
        // Half of the triggers prove nothing: those there stay, and are not trusted.
        if keeps {
            run(to, "DELETE FROM gate_console_watched; DELETE FROM gate_console_watch").await?;
        }
        return Ok(Watch { gaps: found.gaps, ..Watch::default() });
    }
    let plan = Plan::of(to, &found).await?;
    let is_new = !plan.is_in_force(to, console).await?;
    let statements = if is_new { plan.statements(to).await? } else { Vec::new() };
    if is_new && keeps {
        plan.carry_out(to, console, &statements).await?;
    }
    Ok(Watch { tables: plan.tables, gaps: Vec::new(), is_new, statements })
}

/// The SELECTs, with NULL for the id.
async fn texts(
    connection: &mut Connection,
    console: &Console,
) -> Result<Vec<(Relation, Result<String, String>)>, StoreError> {
    let mut texts = Vec::new();
    for relation in Relation::ALL {
        if let Some(text) = console.readable_text(connection, relation, "NULL::text").await? {
            texts.push((relation, text));
        }
    }
    Ok(texts)
}

/// What each relation reads.
async fn look(
    to: &mut PgConnection,
    console: &Console,
    texts: Vec<(Relation, Result<String, String>)>,
    is_listed: bool,
    found: &mut Found,
) -> Result<(), sqlx::Error> {
    for (relation, text) in texts {
        match text {
            Ok(text) => look_at(to, relation, &text, console, found).await?,
            Err(gone) => found.gaps.push(format!("{relation}: {gone}")),
        }
    }
    for name in &console.relations.watch {
        let table = named(to, name).await?;
        let Some((oid, _)) = table else {
            found.gaps.push(format!("[console] watch: there is no table `{name}`"));
            continue;
        };
        let columns = columns_of(to, oid).await?;
        add(to, oid, columns, None, found).await?;
    }
    for (key, setting) in
        [(&console.relations.admins_key, "admins_key"), (&console.relations.sessions_key, "sessions_key")]
    {
        let Some(key) = key else { continue };
        let table = named(to, &key.table).await?;
        let Some((oid, _)) = table else {
            found.gaps.push(format!("[console] {setting}: there is no table `{}`", key.table));
            continue;
        };
        if !columns_of(to, oid).await?.contains(&key.column) {
            found.gaps.push(format!("[console] {setting}: there is no column `{key}`"));
            continue;
        }
        add(to, oid, [key.column.clone()].into(), None, found).await?;
        for part in tree(to, oid).await? {
            let Some(base) = found.tables.get_mut(&part) else { continue };
            match setting {
                "admins_key" => base.duties.admin = Some(key.column.clone()),
                _ if is_listed && base.duties.is_of_sessions_alone() => {
                    base.duties.session = Some(key.column.clone());
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Each relation that a view of the SELECT depends on, with the column; the column is 0 for the relation itself.
const READS: &str = "
    WITH RECURSIVE reads(relation, attnum, rule) AS (
        SELECT d.refobjid, d.refobjsubid, r.oid
          FROM pg_rewrite r
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
         WHERE r.ev_class = to_regclass('pg_temp.console_gate_probe')
        UNION
        SELECT d.refobjid, d.refobjsubid, r.oid
          FROM reads
          JOIN pg_class v ON v.oid = reads.relation AND v.relkind = 'v'
          JOIN pg_rewrite r ON r.ev_class = v.oid
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    )
    SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), c.relkind::text, a.attname::text,
           (SELECT bool_or(w.ev_action::text LIKE '%:varattno 0 %') FROM pg_rewrite w
             WHERE w.oid IN (SELECT reads.rule FROM reads WHERE reads.relation = c.oid)),
           (SELECT string_agg(v.xmin::text, ' ' ORDER BY v.oid) FROM pg_rewrite v WHERE v.ev_class = c.oid),
           CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END,
           c.relrowsecurity
      FROM reads
      JOIN pg_class c ON c.oid = reads.relation
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = reads.attnum AND reads.attnum > 0
     ORDER BY c.oid, a.attnum";

/// User-defined functions, not those of an extension, that may read tables.
const CALLS: &str = "
    WITH RECURSIVE rules(rule) AS (
        SELECT r.oid FROM pg_rewrite r WHERE r.ev_class = to_regclass('pg_temp.console_gate_probe')
        UNION
        SELECT r.oid
          FROM rules
          JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = rules.rule
                          AND d.refclassid = 'pg_class'::regclass
          JOIN pg_rewrite r ON r.ev_class = d.refobjid
    )
    SELECT DISTINCT p.oid::regprocedure::text
      FROM rules
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = rules.rule
                      AND d.refclassid = 'pg_proc'::regclass
      JOIN pg_proc p ON p.oid = d.refobjid
     WHERE p.provolatile <> 'i'
       AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid
                          AND e.deptype = 'e')
     ORDER BY 1";

type Read = (i64, String, String, Option<String>, Option<bool>, Option<String>, Option<String>, bool);

async fn look_at(
    to: &mut PgConnection,
    relation: Relation,
    text: &str,
    console: &Console,
    found: &mut Found,
) -> Result<(), sqlx::Error> {
    let probe = format!("CREATE TEMPORARY VIEW console_gate_probe AS SELECT 1 AS one FROM (\n{text}) c");
    run(to, probe).await?;
    let reads: Vec<Read> = sqlx::query_as(READS).fetch_all(&mut *to).await?;
    let calls: Vec<String> = sqlx::query_scalar(CALLS).fetch_all(&mut *to).await?;
    run(to, "DROP VIEW pg_temp.console_gate_probe").await?;
    if console.relations.watch.is_empty() {
        found.gaps.extend(calls.iter().map(|call| {
            format!("{relation}: which tables `{call}` reads cannot be found: name them in `[console] watch`")
        }));
    }
    for (oid, name, kind, column, has_whole_rows, version, definition, has_policies) in reads {
        match kind.as_str() {
            "r" | "p" => {
                let columns = match (column, has_whole_rows) {
                    (_, Some(true)) => columns_of(to, oid).await?,
                    (Some(column), _) => [column].into(),
                    (None, _) => BTreeSet::new(),
                };
                add(to, oid, columns, Some(relation), found).await?;
                if has_policies && console.relations.watch.is_empty() {
                    tracing::debug!(table = name, "row-level security decides what the gate sees of it");
                }
            }
            "v" => {
                let words = definition.and_then(|text| Select::parse(text.trim_end_matches(';')).ok());
                let words = words.and_then(|select| select.words(Dialect::Postgres).ok());
                if let Some(word) = words.as_ref().and_then(|words| words.changes_by_itself()) {
                    found.gaps.push(format!(
                        "{relation}: `{word}` in the view {name} changes its result without a write: return the end as \
                         `until` or `ends`"
                    ));
                }
                found.views.insert(oid, (name, version.unwrap_or_default()));
            }
            "S" => {}
            _ => found.gaps.push(format!(
                "{relation}: {name} is a materialized view or a foreign table, whose changes no trigger hears: read the \
                 tables behind it"
            )),
        }
    }
    Ok(())
}

/// Adds a table and all its parts.
async fn add(
    to: &mut PgConnection,
    oid: i64,
    columns: BTreeSet<String>,
    relation: Option<Relation>,
    found: &mut Found,
) -> Result<(), sqlx::Error> {
    const TABLE: &str = "
        SELECT format('%I.%I', n.nspname, c.relname), c.relispartition, c.relkind::text
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid";
    for part in tree(to, oid).await? {
        let (name, is_partition, kind): (String, bool, String) =
            sqlx::query_as(TABLE).bind(part).fetch_one(&mut *to).await?;
        if kind == "f" {
            found.gaps.push(format!("{name} is a foreign table, whose changes no trigger hears"));
            continue;
        }
        let base = found.tables.entry(part).or_insert_with(|| Base {
            oid: part,
            name,
            duties: Duties::default(),
            is_partition,
        });
        base.duties.columns.extend(columns.iter().cloned());
        base.duties.relations.extend(relation);
    }
    Ok(())
}

/// A table with its partitions and the tables that inherit from it.
async fn tree(to: &mut PgConnection, oid: i64) -> Result<Vec<i64>, sqlx::Error> {
    const TREE: &str = "
        WITH RECURSIVE tree(part) AS (
            SELECT $1::oid UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.part
        )
        SELECT part::bigint FROM tree ORDER BY 1";
    sqlx::query_scalar(TREE).bind(oid).fetch_all(to).await
}

async fn named(to: &mut PgConnection, name: &TableName) -> Result<Option<(i64, String)>, sqlx::Error> {
    const NAMED: &str = "
        SELECT c.oid::bigint, c.relname::text FROM pg_class c
         WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')";
    sqlx::query_as(NAMED).bind(name.to_string()).fetch_optional(to).await
}

async fn columns_of(to: &mut PgConnection, oid: i64) -> Result<BTreeSet<String>, sqlx::Error> {
    const COLUMNS: &str = "
        SELECT attname::text FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped";
    let columns: Vec<String> = sqlx::query_scalar(COLUMNS).bind(oid).fetch_all(to).await?;
    Ok(columns.into_iter().collect())
}

/// The tables that rows of an admin are in.
const OF_ADMINS: [(&str, &str); 4] = [
    ("rbac_user_groups", "user_id"),
    ("rbac_ticket_grants", "user_id"),
    ("rbac_ticket_grants_archive", "user_id"),
    ("rbac_break_glass_sessions", "user_id"),
];

/// Names every table on which the role may put no trigger, before anything is changed.
async fn check_rights(to: &mut PgConnection, found: &mut Found) -> Result<(), sqlx::Error> {
    const MAY_TRIGGER: &str = "SELECT has_table_privilege($1::oid, 'TRIGGER'), current_user::text";
    const MAY_DELETE: &str =
        "SELECT COALESCE(has_table_privilege(to_regclass($1), 'DELETE'), TRUE), current_user::text";
    for base in found.tables.values() {
        let (may, role): (bool, String) =
            sqlx::query_as(MAY_TRIGGER).bind(base.oid).fetch_one(&mut *to).await?;
        if !may {
            found.gaps.push(format!(
                "the role `{role}` may not create a trigger on {}: its owner has to `GRANT TRIGGER ON {} TO {role}`, or set \
                 `triggers = false` in [console]",
                base.name, base.name
            ));
        }
    }
    if found.tables.values().any(|base| base.duties.admin.is_some()) {
        for (table, _) in OF_ADMINS {
            let (may, role): (bool, String) =
                sqlx::query_as(MAY_DELETE).bind(table).fetch_one(&mut *to).await?;
            if !may {
                found.gaps.push(format!(
                    "the role `{role}` may not delete from {table}, as the trigger on a deleted admin does: its owner has \
                     to `GRANT DELETE ON {table} TO {role}`, or leave out `admins_key` in [console]"
                ));
            }
        }
    }
    Ok(())
}

/// The tables of RBAC V2 and the gate's own, by which it decides: their trigger, and whether the role may put one there.
const DECIDING: &str = "
    SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), current_user::text,
           EXISTS (SELECT 1 FROM pg_trigger t
                    WHERE t.tgrelid = c.oid AND t.tgname = 'gate_epoch_on_write' AND t.tgenabled IN ('O', 'A')),
           has_table_privilege(c.oid, 'TRIGGER')
      FROM unnest($1::text[]) AS name
      JOIN pg_class c ON c.oid = to_regclass(name)
      JOIN pg_namespace n ON n.oid = c.relnamespace
     ORDER BY 2";

/// Where the tables of RBAC V2 are Console's and take no trigger of the gate's, changes of them go unheard too.
async fn look_at_deciding(to: &mut PgConnection, keeps: bool, found: &mut Found) -> Result<(), sqlx::Error> {
    let names = [DECIDING_TABLES.as_slice(), &OWN_DECIDING_TABLES].concat();
    let tables: Vec<(i64, String, String, bool, bool)> =
        sqlx::query_as(DECIDING).bind(names).fetch_all(&mut *to).await?;
    for (oid, name, role, is_there, may) in tables {
        found.deciding.push(oid);
        if !is_there && !may {
            found.gaps.push(format!(
                "the role `{role}` may not create a trigger on {name}: its owner has to `GRANT TRIGGER ON {name} TO {role}`"
            ));
        } else if !is_there && keeps {
            // Where it is only said what would be done, a migration would have put it there by now.
            found
                .gaps
                .push(format!("{name} lacks the trigger `gate_epoch_on_write`: run `console-gate migrate`"));
        }
    }
    Ok(())
}

/// The triggers and records that have to be there.
struct Plan {
    tables: Vec<WatchedTable>,
    /// The tables of RBAC V2 and the gate's own.
    deciding: Vec<i64>,
    /// Table and number of each column that is read.
    columns: Vec<(i64, i16)>,
    functions: Vec<(String, String)>,
    /// Of each trigger the table's number and name, its own name, and how it is made.
    triggers: Vec<(i64, String, String, String)>,
    /// Number, name, aspect, state.
    states: Vec<(i64, String, &'static str, String)>,
}

/// The triggers that migrations put on the documents' tables before.
const FORMER: [&str; 5] = [
    "gate_epoch_on_write",
    "gate_epoch_on_update",
    "gate_epoch_on_insert",
    "gate_epoch_on_delete",
    "gate_ask_for_erasure",
];
const FORMER_TABLES: [&str; 3] = ["admins", "admin_roles", "admin_sessions"];

/// The parts of a table, as one text.
const PARTS: &str = "
    SELECT COALESCE(string_agg(i.inhrelid::text, ' ' ORDER BY i.inhrelid), '')
      FROM pg_inherits i WHERE i.inhparent = $1::oid";

/// The numbers of a table's columns.
const NUMBERS: &str = "
    SELECT attnum FROM pg_attribute
     WHERE attrelid = $1::oid AND attname::text = ANY ($2::text[]) AND attnum > 0 AND NOT attisdropped
     ORDER BY attnum";

impl Plan {
    async fn of(to: &mut PgConnection, found: &Found) -> Result<Plan, sqlx::Error> {
        let mut plan = Plan {
            tables: Vec::new(),
            deciding: found.deciding.clone(),
            columns: Vec::new(),
            functions: Vec::new(),
            triggers: Vec::new(),
            states: Vec::new(),
        };
        let schema: String = sqlx::query_scalar(
            "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.oid = to_regclass('gate_epoch')",
        )
        .fetch_one(&mut *to)
        .await?;
        let everybody = format!("PERFORM {schema}.gate_raise_epoch();");
        plan.functions.push(function(&schema, "on_write", &everybody));
        for base in found.tables.values() {
            let id = short(&base.name);
            let mut names = Vec::new();
            let mut trigger = |name: &str, when: &str, function: &str| {
                let name = format!("{PREFIX}{name}");
                plan.triggers.push((
                    base.oid,
                    base.name.clone(),
                    name.clone(),
                    format!(
                        "CREATE OR REPLACE TRIGGER {name} {when} EXECUTE FUNCTION {schema}.{PREFIX}{function}()"
                    )
                    .replace("{table}", &base.name),
                ));
                names.push(name);
            };
            let columns: Vec<String> = base.duties.columns.iter().cloned().collect();
            let numbers: Vec<i16> =
                sqlx::query_scalar(NUMBERS).bind(base.oid).bind(&columns).fetch_all(&mut *to).await?;
            plan.columns.extend(numbers.into_iter().map(|number| (base.oid, number)));
            if let Some(session) = &base.duties.session {
                let key = quoted(session);
                let raise = |rows: &str| {
                    format!(
                        "PERFORM {schema}.gate_raise_epoch_for_sessions(ARRAY(SELECT DISTINCT {key}::text FROM {rows} \
                         WHERE {key} IS NOT NULL));"
                    )
                };
                trigger("on_truncate", "AFTER TRUNCATE ON {table} FOR EACH STATEMENT", "on_write");
                for (name, verb, rows) in
                    [("on_insert", "INSERT", "new_rows"), ("on_delete", "DELETE", "old_rows")]
                {
                    let image = if verb == "INSERT" { "NEW" } else { "OLD" };
                    let when = format!(
                        "AFTER {verb} ON {{table}} REFERENCING {image} TABLE AS {rows} FOR EACH STATEMENT"
                    );
                    trigger(name, &when, &format!("{name}_{id}"));
                    plan.functions.push(function(&schema, &format!("{name}_{id}"), &raise(rows)));
                }
                let (old, new) = (compared(&columns, "old_rows"), compared(&columns, "new_rows"));
                let at = columns.iter().position(|column| column == session).unwrap_or(0);
                let changed = format!(
                    "PERFORM {schema}.gate_raise_epoch_for_sessions(ARRAY(SELECT DISTINCT c{at} FROM (({old} EXCEPT ALL {new}) \
                     UNION ALL ({new} EXCEPT ALL {old})) AS changed WHERE c{at} IS NOT NULL));"
                );
                plan.functions.push(function(&schema, &format!("on_update_{id}"), &changed));
            } else {
                let when = "AFTER INSERT OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT";
                trigger("on_write", when, "on_write");
                if !columns.is_empty() {
                    let (old, new) = (compared(&columns, "old_rows"), compared(&columns, "new_rows"));
                    let changed = format!("IF EXISTS ({old} EXCEPT ALL {new}) THEN {everybody} END IF;");
                    plan.functions.push(function(&schema, &format!("on_update_{id}"), &changed));
                }
            }
            if !columns.is_empty() {
                let when = "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows \
                            FOR EACH STATEMENT";
                trigger("on_update", when, &format!("on_update_{id}"));
            }
            // A partition has its table's triggers for each row.
            if let Some(admin) = base.duties.admin.as_ref().filter(|_| !base.is_partition) {
                // No WHEN: it would keep Console from changing the column's type.
                let when = "AFTER DELETE ON {table} FOR EACH ROW";
                trigger("forget_admin", when, &format!("forget_admin_{id}"));
                let body = forget(to, &schema, base.oid, admin).await?;
                plan.functions.push(function(&schema, &format!("forget_admin_{id}"), &body));
            }
            let parts: String = sqlx::query_scalar(PARTS).bind(base.oid).fetch_one(&mut *to).await?;
            plan.states.push((base.oid, base.name.clone(), "parts", parts));
            plan.tables.push(WatchedTable {
                name: base.name.clone(),
                columns,
                relations: base.duties.relations.clone(),
                triggers: names,
            });
        }
        for (oid, (name, version)) in &found.views {
            plan.states.push((*oid, name.clone(), "view", version.clone()));
        }
        plan.tables.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(plan)
    }

    /// Whether all of it is there, for these SELECTs, with nothing besides.
    async fn is_in_force(&self, to: &mut PgConnection, console: &Console) -> Result<bool, sqlx::Error> {
        // As each read of the epoch compares it.
        let selects: Option<String> = sqlx::query_scalar(WHOLE_ON_POSTGRES).fetch_optional(&mut *to).await?;
        if selects.as_deref() != console.expected.as_deref() {
            return Ok(false);
        }
        const STATES: &str =
            "SELECT object_id, aspect, name, state FROM gate_console_watch ORDER BY object_id, aspect, name";
        let stored: Vec<(i64, String, String, String)> = sqlx::query_as(STATES).fetch_all(&mut *to).await?;
        let stored: BTreeSet<(i64, String, String, String)> = stored.into_iter().collect();
        let expected: BTreeSet<(i64, String, String, String)> = self.rows().collect();
        const FIRING: &str = "
            SELECT tgrelid::bigint, tgname::text FROM pg_trigger
             WHERE starts_with(tgname::text, 'console_gate_') AND tgenabled IN ('O', 'A')";
        let present: Vec<(i64, String)> = sqlx::query_as(FIRING).fetch_all(&mut *to).await?;
        let present: BTreeSet<(i64, String)> = present.into_iter().collect();
        let wanted: BTreeSet<(i64, String)> =
            self.triggers.iter().map(|(oid, _, name, _)| (*oid, name.clone())).collect();
        Ok(stored == expected && wanted.is_subset(&present) && former(to).await?.is_empty())
    }

    /// The rows that record it.
    fn rows(&self) -> impl Iterator<Item = (i64, String, String, String)> {
        let digest = |made: &str| {
            // The body of the function counts too: another release may write it differently.
            let function = made.rsplit("EXECUTE FUNCTION ").next().unwrap_or_default();
            let body = self.functions.iter().find(|(name, _)| function.starts_with(name.as_str()));
            short(&format!("{made}{}", body.map_or("", |(_, text)| text)))
        };
        let triggers = self
            .triggers
            .iter()
            .map(move |(oid, _, name, made)| (*oid, "trigger".to_owned(), name.clone(), digest(made)));
        let states = self
            .states
            .iter()
            .map(|(oid, _, aspect, state)| (*oid, (*aspect).to_owned(), String::new(), state.clone()));
        triggers.chain(states)
    }

    /// What makes and drops triggers and their functions, in order.
    async fn statements(&self, to: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
        let mut statements: Vec<String> = self.functions.iter().map(|(_, text)| text.clone()).collect();
        statements.extend(self.triggers.iter().map(|(_, _, _, made)| made.clone()));
        let wanted: BTreeSet<(i64, &str)> =
            self.triggers.iter().map(|(oid, _, name, _)| (*oid, name.as_str())).collect();
        for (oid, table, name) in present(to).await? {
            if !wanted.contains(&(oid, name.as_str())) {
                statements.push(format!("DROP TRIGGER IF EXISTS {} ON {table}", quoted(&name)));
            }
        }
        for (table, name) in former(to).await? {
            statements.push(format!("DROP TRIGGER {name} ON {table}"));
        }
        Ok(statements)
    }

    async fn carry_out(
        &self,
        to: &mut PgConnection,
        console: &Console,
        statements: &[String],
    ) -> Result<(), sqlx::Error> {
        const ROW: &str = "INSERT INTO gate_console_watch (object_id, object, aspect, name, state) VALUES ($1, $2, $3, $4, $5)";
        let drops = statements.iter().filter(|statement| statement.starts_with("DROP")).count();
        bound_locks(to, self.tables.len() + drops).await?;
        for statement in statements {
            run(to, statement.clone()).await?;
        }
        let functions: BTreeSet<String> = self.functions.iter().map(|(name, _)| name.clone()).collect();
        drop_functions(to, &functions).await?;
        run(to, "DELETE FROM gate_console_watch; DELETE FROM gate_console_watched").await?;
        let names: BTreeMap<i64, &String> = self
            .triggers
            .iter()
            .map(|(oid, table, ..)| (*oid, table))
            .chain(self.states.iter().map(|(oid, object, ..)| (*oid, object)))
            .collect();
        for (oid, aspect, name, state) in self.rows() {
            let object = names.get(&oid).map_or("", |name| name.as_str());
            sqlx::query(ROW)
                .bind(oid)
                .bind(object)
                .bind(aspect)
                .bind(name)
                .bind(state)
                .execute(&mut *to)
                .await?;
        }
        if let Some(expected) = &console.expected {
            let views = self.states.iter().filter(|(.., aspect, _)| *aspect == "view");
            let views: Vec<i64> = views.map(|(oid, ..)| *oid).collect();
            let tables = self.states.iter().filter(|(.., aspect, _)| *aspect == "parts");
            let tables: Vec<i64> =
                tables.map(|(oid, ..)| *oid).chain(self.deciding.iter().copied()).collect();
            let (of_tables, numbers): (Vec<i64>, Vec<i16>) = self.columns.iter().copied().unzip();
            sqlx::query(WATCHED_ON_POSTGRES)
                .bind(&**expected)
                .bind(tables)
                .bind(views)
                .bind(of_tables)
                .bind(numbers)
                .execute(&mut *to)
                .await?;
        }
        // Entries cached while changes went unnoticed are invalid.
        run(to, "SELECT gate_raise_epoch()").await
    }
}

/// The gate's triggers that are there, wherever they are: the number and the name of the table, and their own. Those of a
/// partition that come with its table's are left out.
async fn present(to: &mut PgConnection) -> Result<Vec<(i64, String, String)>, sqlx::Error> {
    const PRESENT: &str = "
        SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), t.tgname::text
          FROM pg_trigger t
          JOIN pg_class c ON c.oid = t.tgrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_proc p ON p.oid = t.tgfoid
         WHERE starts_with(t.tgname::text, 'console_gate_') AND t.tgparentid = 0 AND NOT t.tgisinternal
           AND starts_with(p.proname::text, 'console_gate_')
           AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('gate_epoch'))
         ORDER BY 2, 3";
    sqlx::query_as(PRESENT).fetch_all(to).await
}

async fn former(to: &mut PgConnection) -> Result<Vec<(String, String)>, sqlx::Error> {
    const THERE: &str = "
        SELECT c.oid::regclass::text, t.tgname::text
          FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.oid = ANY (ARRAY(SELECT to_regclass(name) FROM unnest($1::text[]) AS name))
           AND t.tgname::text = ANY ($2::text[])
         ORDER BY 1, 2";
    let (tables, names) = (FORMER_TABLES.map(str::to_owned), FORMER.map(str::to_owned));
    sqlx::query_as(THERE).bind(tables.to_vec()).bind(names.to_vec()).fetch_all(to).await
}

async fn drop_functions(to: &mut PgConnection, but: &BTreeSet<String>) -> Result<(), sqlx::Error> {
    const FUNCTIONS: &str = "
        SELECT format('%I.%I', n.nspname, p.proname)
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE starts_with(p.proname::text, 'console_gate_') AND p.prorettype = 'trigger'::regtype
           AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('gate_epoch'))";
    let functions: Vec<String> = sqlx::query_scalar(FUNCTIONS).fetch_all(&mut *to).await?;
    for function in functions.iter().filter(|function| !but.contains(*function)) {
        run(to, format!("DROP FUNCTION {function}()")).await?;
    }
    Ok(())
}

/// A trigger's function: its name and the statements that make it. It runs with its owner's rights, because who writes to
/// Console's tables need not be able to write to the gate's; so its search path is fixed, every name in it has its
/// schema, and no other role may use it in a trigger.
fn function(schema: &str, name: &str, body: &str) -> (String, String) {
    let name = format!("{schema}.{PREFIX}{name}");
    let text = format!(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp AS $console_gate$
         BEGIN
             {body}
             RETURN NULL;
         EXCEPTION WHEN undefined_column OR undefined_function OR datatype_mismatch THEN
             -- Console has renamed a column, or given it another type. Its write must not fail for that, and may be anything.
             PERFORM {schema}.gate_raise_epoch();
             RETURN NULL;
         END
         $console_gate$;
         REVOKE ALL ON FUNCTION {name}() FROM PUBLIC"
    );
    (name, text)
}

/// The columns that are read, as texts: some types have no equality, and some collations call different texts the same.
/// The result of a SELECT depends on these rows and how often each is there, so what leaves them the same changes nothing.
fn compared(columns: &[String], rows: &str) -> String {
    let columns: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| format!("{}::text COLLATE \"C\" AS c{at}", quoted(column)))
        .collect();
    format!("SELECT {} FROM {rows}", columns.join(", "))
}

/// The trigger's body for a deleted admin: it requests an erasure and removes the grants. Where ids are numbers, the next
/// admin may be given this one, and must not inherit.
async fn forget(to: &mut PgConnection, schema: &str, table: i64, key: &str) -> Result<String, sqlx::Error> {
    const TYPE: &str = "
        SELECT format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attrelid = $1::oid AND a.attname = $2";
    const PLACE: &str = "
        SELECT format('%I.%I', n.nspname, c.relname), format_type(a.atttypid, NULL)
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2
         WHERE c.oid = to_regclass($1)";
    let kind: String = sqlx::query_scalar(TYPE).bind(table).bind(key).fetch_one(&mut *to).await?;
    let id = format!("OLD.{}", quoted(key));
    // The audit cannot name an admin whose row has no id.
    let mut body = format!(
        "IF {id} IS NULL THEN RETURN NULL; END IF;
             PERFORM {schema}.gate_forget_admin({id}::text);"
    );
    for (table, column) in OF_ADMINS {
        let place: Option<(String, String)> =
            sqlx::query_as(PLACE).bind(table).bind(column).fetch_optional(&mut *to).await?;
        let Some((place, other)) = place else { continue };
        // The gate's own are `gate_forget_admin`'s.
        if place == format!("{schema}.{table}") {
            continue;
        }
        // A cast that fails would keep Console from deleting the row, so of two types both are texts.
        let text = ["text", "character varying"];
        let are_alike = other == kind || (text.contains(&other.as_str()) && text.contains(&kind.as_str()));
        let same =
            if are_alike { format!("{column} = {id}") } else { format!("{column}::text = {id}::text") };
        // Who takes a table away must not keep Console from deleting an admin.
        body.push_str(&format!(
            "\n             IF to_regclass('{}') IS NOT NULL THEN DELETE FROM {place} WHERE {same}; END IF;",
            place.replace('\'', "''")
        ));
    }
    Ok(body)
}

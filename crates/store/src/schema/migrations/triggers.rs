//! The gate's triggers on tables that are, or may be, Console's.
//!
//! They are no migration: Console may create its tables again, or remove the gate for a while. `migrate` puts
//! back those that are missing, `migrate --release` removes all of them, and a gate without them caches no answer. Those of
//! the gate's own deciding tables are made by migrations; where one is gone, `migrate` puts it back, and a release leaves it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, SqliteConnection};

use crate::StoreError;
use crate::console::watch::sqlite::raising;
use crate::schema::placement::{
    DECIDING_TABLES, FoundTable, OWN_DECIDING_TABLES, SHARED_TABLES, Survey, quoted,
};

/// A trigger on Postgres: its table, its name, when it fires, what it shows its function, and the function.
struct Watch {
    table: &'static str,
    name: &'static str,
    events: &'static str,
    scope: &'static str,
    function: &'static str,
    /// What the trigger gives its function.
    arguments: &'static str,
}

const ANY_WRITE: &str = "AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE";

/// A statement-level trigger fires once for a statement however many rows it writes, and is the only kind for TRUNCATE.
const STATEMENT: &str = "FOR EACH STATEMENT";

const fn any_write(table: &'static str) -> Watch {
    Watch {
        table,
        name: "gate_epoch_on_write",
        events: ANY_WRITE,
        scope: STATEMENT,
        function: "gate_epoch_on_write",
        arguments: "",
    }
}

/// Records who writes grants without the gate's commands (0401). `arguments`: the column of the subject, the table that
/// names it, and the same of the object.
const fn written(table: &'static str, arguments: &'static str) -> [Watch; 2] {
    let function = "gate_rbac_write";
    let (events, scope) = ("AFTER INSERT OR UPDATE OR DELETE", "FOR EACH ROW");
    [
        Watch { table, name: "gate_rbac_write", events, scope, function, arguments },
        Watch {
            table,
            name: "gate_rbac_truncate",
            events: "AFTER TRUNCATE",
            scope: STATEMENT,
            function,
            arguments,
        },
    ]
}

/// On the four tables of grants.
const WRITTEN: [[Watch; 2]; 4] = [
    written("rbac_user_groups", "'user_id', '', 'group_id', 'rbac_groups'"),
    written("rbac_group_roles", "'group_id', 'rbac_groups', 'role_id', 'rbac_roles'"),
    written("rbac_role_inheritance", "'child_role_id', 'rbac_roles', 'parent_role_id', 'rbac_roles'"),
    written("rbac_role_permissions", "'role_id', 'rbac_roles', 'permission_id', 'rbac_permissions'"),
];

/// On the gate's own tables by which it decides.
const OWN: [Watch; OWN_DECIDING_TABLES.len() + 2] = {
    let [blocked, flags, grantors, grants, tokens, groups, roles, sessions] = OWN_DECIDING_TABLES;
    [
        any_write(blocked),
        any_write(flags),
        any_write(grantors),
        any_write(grants),
        any_write(tokens),
        any_write(groups),
        any_write(roles),
        Watch { events: "AFTER TRUNCATE", ..any_write(sessions) },
        Watch {
            name: "gate_epoch_on_login_change",
            events: "AFTER UPDATE",
            scope: "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT",
            function: "gate_epoch_on_login_change",
            ..any_write(sessions)
        },
        Watch {
            name: "gate_epoch_on_login_delete",
            events: "AFTER DELETE",
            scope: "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT",
            function: "gate_epoch_on_login_delete",
            ..any_write(sessions)
        },
    ]
};

/// On the tables of RBAC V2, whether Console or the gate made them.
const SHARED: [Watch; 14] = [
    any_write("rbac_groups"),
    any_write("rbac_roles"),
    any_write("rbac_permissions"),
    any_write("rbac_role_permissions"),
    any_write("rbac_role_inheritance"),
    any_write("rbac_group_roles"),
    any_write("rbac_user_groups"),
    any_write("rbac_ticket_grants"),
    any_write("rbac_break_glass_sessions"),
    any_write("console_flag_promotions"),
    Watch {
        table: "rbac_groups",
        name: "gate_forget_group",
        events: "AFTER DELETE",
        scope: "FOR EACH ROW",
        function: "gate_forget_group",
        arguments: "",
    },
    // After, not before: a statement that inserts several edges is judged with all of them in place.
    Watch {
        table: "rbac_role_inheritance",
        name: "rbac_role_inheritance_acyclic",
        events: "AFTER INSERT OR UPDATE",
        scope: "FOR EACH ROW",
        function: "rbac_role_inheritance_acyclic",
        arguments: "",
    },
    Watch {
        table: "rbac_grants_audit",
        name: "rbac_grants_audit_append_only",
        events: "BEFORE UPDATE OR DELETE",
        scope: "FOR EACH ROW",
        function: "rbac_grants_audit_append_only",
        arguments: "",
    },
    Watch {
        table: "rbac_grants_audit",
        name: "gate_refuse_change",
        events: "BEFORE TRUNCATE",
        scope: STATEMENT,
        function: "gate_refuse_change",
        arguments: "",
    },
];

/// The gate's triggers that are there and enabled: schema, table, trigger, function.
const PRESENT: &str = "
    SELECT n.nspname::text, c.relname::text, t.tgname::text, p.proname::text
      FROM pg_trigger t
      JOIN pg_class c ON c.oid = t.tgrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_proc p ON p.oid = t.tgfoid
      JOIN pg_namespace f ON f.oid = p.pronamespace
     WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND f.nspname = $1
     ORDER BY 1, 2, 3";

/// The tables on which the role may put no trigger, as they are Console's. They are read for each request.
const FORBIDDEN: &str = "
    SELECT n.nspname::text, c.relname::text
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ($1) AND c.relname = ANY ($2) AND NOT has_table_privilege(c.oid, 'TRIGGER')";

/// The statements that put the missing triggers there, each with the trigger's name for people.
pub(super) async fn missing(
    connection: &mut PgConnection,
    survey: &Survey,
) -> Result<Vec<(String, String)>, StoreError> {
    let present: Vec<(String, String, String, String)> =
        sqlx::query_as(PRESENT).bind(&survey.own).fetch_all(&mut *connection).await?;
    let mut statements = Vec::new();
    let forbidden: Vec<(String, String)> = sqlx::query_as(FORBIDDEN)
        .bind(survey.schemas())
        .bind(SHARED_TABLES.as_slice())
        .fetch_all(&mut *connection)
        .await?;
    for watch in SHARED.iter().chain(WRITTEN.as_flattened()).chain(&OWN) {
        let Some(FoundTable { schema, table }) = survey.place(watch.table) else { continue };
        if forbidden.iter().any(|(on, to)| *on == schema && *to == table) {
            continue;
        }
        let is_there = present.iter().any(|(on, to, name, function)| {
            *on == schema && *to == table && name == watch.name && function == watch.function
        });
        if is_there {
            continue;
        }
        let Watch { name, events, scope, function, arguments, .. } = watch;
        let (on, to, own) = (quoted(&schema), quoted(&table), quoted(&survey.own));
        statements.push((
            format!("{name} on {schema}.{table}"),
            format!(
                "CREATE OR REPLACE TRIGGER {name}\n    {events} ON {on}.{to}\n    {scope} EXECUTE FUNCTION \
                 {own}.{function}({arguments})"
            ),
        ));
    }
    Ok(statements)
}

/// The triggers on tables outside the gate's own schema that call its functions: where they are, and how they go.
pub(super) async fn on_consoles_tables(
    connection: &mut PgConnection,
    own: &str,
) -> Result<Vec<(String, String)>, StoreError> {
    const ALL: &str = "
        SELECT n.nspname::text, c.relname::text, t.tgname::text
          FROM pg_trigger t
          JOIN pg_class c ON c.oid = t.tgrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_proc p ON p.oid = t.tgfoid
          JOIN pg_namespace f ON f.oid = p.pronamespace
         WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND f.nspname = $1
           AND (n.nspname <> $1 OR c.relname = ANY($2))
           AND (t.tgname LIKE 'console\\_gate\\_%' OR t.tgname LIKE 'gate\\_%' OR t.tgname LIKE 'rbac\\_%')
         ORDER BY 1, 2, 3";
    let documents: Vec<&str> = crate::schema::placement::DOCUMENTS_TABLES.to_vec();
    let found: Vec<(String, String, String)> =
        sqlx::query_as(ALL).bind(own).bind(documents).fetch_all(connection).await?;
    let statements = found.into_iter().map(|(schema, table, name)| {
        let statement = format!("DROP TRIGGER {} ON {}.{}", quoted(&name), quoted(&schema), quoted(&table));
        (format!("{name} on {schema}.{table}"), statement)
    });
    Ok(statements.collect())
}

/// The statements after the triggers are removed: earlier reads of Console's tables become invalid, the record of what was
/// put there is cleared, and the triggers' functions are dropped.
pub(super) fn after_release(own: &str) -> String {
    let own = quoted(own);
    format!(
        "SELECT {own}.gate_raise_epoch();
DO $$
DECLARE
    made REGPROCEDURE;
BEGIN
    FOR made IN
        SELECT p.oid FROM pg_proc p
         WHERE starts_with(p.proname::text, 'console_gate_') AND p.prorettype = 'trigger'::regtype
           AND p.pronamespace = '{own}'::regnamespace
    LOOP
        EXECUTE 'DROP FUNCTION ' || made;
    END LOOP;
    IF to_regclass('{own}.gate_console_watched') IS NOT NULL THEN
        DELETE FROM {own}.gate_console_watched;
        DELETE FROM {own}.gate_console_watch;
    END IF;
END
$$"
    )
}

/// The triggers on the tables of a SQLite file that are, or may be, Console's: name and statement.
pub(super) fn of_sqlite(tables: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut triggers = BTreeMap::new();
    let mut add = |name: &str, rest: &str| {
        triggers.insert(name.to_owned(), format!("CREATE TRIGGER {name} {rest}"));
    };
    let has = |table: &str| tables.contains(table);
    if has("rbac_groups") {
        // A new group may be given the id, and must not inherit what was granted of this one.
        add(
            "gate_forget_group",
            "AFTER DELETE ON rbac_groups
BEGIN
    DELETE FROM gate_machine_token_groups WHERE group_id = CAST(OLD.id AS TEXT);
    UPDATE gate_grants
       SET revoked_at_utc = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00', revoked_by = 'deleted group'
     WHERE group_id = CAST(OLD.id AS TEXT) AND revoked_at_utc IS NULL;
END",
        );
    }
    if has("rbac_role_inheritance") {
        for verb in ["INSERT", "UPDATE"] {
            let name = format!("rbac_role_inheritance_acyclic_{}", verb.to_lowercase());
            add(&name, &format!("AFTER {verb} ON rbac_role_inheritance{ACYCLIC}"));
        }
    }
    if has("rbac_grants_audit") {
        // Where the documents' admins are, the table may have a foreign key to them, which removes its rows first.
        let unless_gone = if has("admins") {
            "\n    AND EXISTS (SELECT 1 FROM admins WHERE id = OLD.target_user_id)"
        } else {
            ""
        };
        add(
            "rbac_grants_audit_refuse_delete",
            &format!("BEFORE DELETE ON rbac_grants_audit{GRANTS_DELETE}{unless_gone}{GRANTS_DELETE_END}"),
        );
        add("rbac_grants_audit_refuse_update", GRANTS_UPDATE);
        add("rbac_grants_audit_refuse_replace", GRANTS_REPLACE);
    }
    for (name, statement) in written_of_sqlite() {
        let table = name.trim_start_matches("gate_rbac_write_").rsplit_once('_').map(|(table, _)| table);
        if table.is_some_and(has) {
            add(name, &format!("{}\nEND", statement.trim_start_matches(name).trim_start()));
        }
    }
    triggers.extend(DECIDING_TABLES.into_iter().filter(|table| has(table)).flat_map(raising));
    triggers
}

/// What migration 0401 puts on the four tables of grants, as it is written there: name and statement.
fn written_of_sqlite() -> impl Iterator<Item = (&'static str, &'static str)> {
    const FILE: &str = include_str!("../../../../../migrations/sqlite/0401_recorded_writes.sql");
    const HEAD: &str = "CREATE TRIGGER IF NOT EXISTS ";
    FILE.split(HEAD).skip(1).filter_map(|text| {
        let (statement, _) = text.split_once("\nEND;")?;
        let name = statement.split_whitespace().next()?;
        name.starts_with("gate_rbac_write_").then_some((name, statement))
    })
}

/// SQLite has one writer at a time, so no lock is needed. A cycle that is in the table already does not disturb: UNION,
/// not UNION ALL, ends the walk.
const ACYCLIC: &str = "
WHEN NEW.child_role_id IN (
    WITH RECURSIVE ancestor (role_id) AS (
        SELECT NEW.parent_role_id
        UNION
        SELECT edge.parent_role_id
        FROM rbac_role_inheritance AS edge
        JOIN ancestor ON edge.child_role_id = ancestor.role_id
    )
    SELECT role_id FROM ancestor
)
BEGIN
    SELECT RAISE(ABORT, 'rbac_role_inheritance_acyclic: the roles would form a cycle');
END";

/// A row may go after seven years, once its admin's erasure is asked for, and once its admin is gone.
const GRANTS_DELETE: &str = "
WHEN OLD.created_at_utc >= strftime('%Y-%m-%dT%H:%M:%f', 'now', '-7 years')
    AND NOT EXISTS (SELECT 1 FROM gate_pending_erasures WHERE actor_id = CAST(OLD.target_user_id AS TEXT))";
const GRANTS_DELETE_END: &str = "
BEGIN
    SELECT RAISE(ABORT, '`rbac_grants_audit` keeps what it holds: `delete` is refused');
END";

/// A row may lose its group or role once that is gone, and nothing else about it may change.
const GRANTS_UPDATE: &str = "BEFORE UPDATE ON rbac_grants_audit
WHEN NOT (
    NEW.id IS OLD.id
    AND NEW.event_type IS OLD.event_type
    AND NEW.target_user_id IS OLD.target_user_id
    AND NEW.ticket_id IS OLD.ticket_id
    AND NEW.customer_id IS OLD.customer_id
    AND NEW.justification IS OLD.justification
    AND NEW.granted_by IS OLD.granted_by
    AND NEW.expires_at_utc IS OLD.expires_at_utc
    AND NEW.created_at_utc IS OLD.created_at_utc
    AND (NEW.group_id IS OLD.group_id
         OR (NEW.group_id IS NULL AND NOT EXISTS (SELECT 1 FROM rbac_groups WHERE id = OLD.group_id)))
    AND (NEW.role_id IS OLD.role_id
         OR (NEW.role_id IS NULL AND NOT EXISTS (SELECT 1 FROM rbac_roles WHERE id = OLD.role_id)))
    AND (NEW.group_id IS NOT OLD.group_id OR NEW.role_id IS NOT OLD.role_id)
)
BEGIN
    SELECT RAISE(ABORT, '`rbac_grants_audit` keeps what it holds: `update` is refused');
END";

/// INSERT OR REPLACE fires no delete trigger.
const GRANTS_REPLACE: &str = "BEFORE INSERT ON rbac_grants_audit
WHEN EXISTS (SELECT 1 FROM rbac_grants_audit WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, '`rbac_grants_audit` keeps what it holds: `replace` is refused');
END";

/// The triggers to drop and create again in a SQLite file: a readable name and the statements of each.
pub(super) async fn missing_of_sqlite(
    connection: &mut SqliteConnection,
    tables: &BTreeSet<String>,
) -> Result<Vec<(String, String)>, StoreError> {
    let present: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            .fetch_all(connection)
            .await?;
    let present: BTreeMap<String, String> =
        present.into_iter().map(|(name, sql)| (name, one_line(&sql))).collect();
    let mut statements = Vec::new();
    let own = OWN_DECIDING_TABLES.into_iter().filter(|table| tables.contains(*table)).flat_map(raising);
    for (name, wanted) in of_sqlite(tables).into_iter().chain(own) {
        if present.get(&name) != Some(&one_line(&wanted)) {
            let statement = format!("DROP TRIGGER IF EXISTS {name};\n{wanted}");
            statements.push((name, statement));
        }
    }
    Ok(statements)
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

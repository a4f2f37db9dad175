//! Rows that somebody wrote oddly: NULLs, unknown words, other cases, times that are none. In tables of Console's own no
//! constraint refuses them. Such a row allows nothing, and breaks nobody whom it does not name.

use std::collections::{BTreeMap, BTreeSet};

use policy::identity::Subject;
use policy::ids::{AdminId, SessionId};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::Person;
use policy::rbac::{Access, LegacyRole, Standing};

use crate::database::{Database, Raw, noon};

/// Console's tables without a constraint, and with the least that the gate's own tables refer to. The types are those of
/// Postgres; to SQLite they are only words.
const LOOSE: &str = "
    CREATE TABLE admins (id TEXT UNIQUE, email TEXT, display_name TEXT, disabled_at_utc TIMESTAMPTZ);
    CREATE TABLE admin_roles (admin_id TEXT, role TEXT, granted_by TEXT);
    CREATE TABLE admin_sessions (
        id TEXT, admin_id TEXT, expires_at_utc TIMESTAMPTZ, revoked_at_utc TIMESTAMPTZ);
    CREATE TABLE rbac_groups (id TEXT UNIQUE, name TEXT, description TEXT);
    CREATE TABLE rbac_roles (id TEXT UNIQUE, name TEXT, description TEXT);
    CREATE TABLE rbac_permissions (id TEXT UNIQUE, name TEXT, description TEXT);
    CREATE TABLE rbac_role_permissions (role_id TEXT, permission_id TEXT);
    CREATE TABLE rbac_role_inheritance (child_role_id TEXT, parent_role_id TEXT);
    CREATE TABLE rbac_group_roles (group_id TEXT, role_id TEXT);
    CREATE TABLE rbac_user_groups (user_id TEXT, group_id TEXT, granted_by TEXT, granted_at_utc TIMESTAMPTZ);
    CREATE TABLE rbac_break_glass_sessions (
        id TEXT, user_id TEXT, justification TEXT, granted_by TEXT, granted_at_utc TIMESTAMPTZ,
        expires_at_utc TIMESTAMPTZ, revoked_at_utc TIMESTAMPTZ);
    CREATE TABLE console_flag_promotions (flag TEXT, risk TEXT, current_env TEXT, promoted_by TEXT)";

/// Anna and Ben hold something; Carl holds nothing, so that whatever a row gives him shows.
const PEOPLE: &str = "
    INSERT INTO admins (id, email) VALUES ('anna', 'a@example.org'), ('ben', 'b@example.org'), ('carl', NULL);
    INSERT INTO admin_roles (admin_id, role) VALUES ('anna', 'ops'), ('ben', 'support');
    INSERT INTO admin_sessions (id, admin_id, expires_at_utc) VALUES
        ('sound', 'anna', '2026-03-29T13:00:00+00:00');
    INSERT INTO rbac_user_groups (user_id, group_id)
    SELECT 'anna', id FROM rbac_groups WHERE name = 'raxx-devops-team'";

async fn loose(database: &Database) {
    database.execute(LOOSE).await;
    database.store.migrate_seeded().await.unwrap();
    database.execute(PEOPLE).await;
}

/// An odd row, put in by plain SQL: whom it names, and what it is called where such rows are listed.
struct Odd {
    insert: &'static str,
    names: &'static [&'static str],
    flaw: &'static str,
}

const fn odd(insert: &'static str, names: &'static [&'static str], flaw: &'static str) -> Odd {
    Odd { insert, names, flaw }
}

const NOBODY: &[&str] = &[];
/// Nothing is wrong with the row as it is written.
const SOUND: &str = "";

/// Each would make somebody a superadmin or a console-manager, if it counted.
const ODD: [Odd; 33] = [
    odd(
        "INSERT INTO admin_roles (admin_id, role) VALUES ('carl', 'super admin')",
        &["carl"],
        "malformed-role-word admin_roles.role",
    ),
    odd(
        "INSERT INTO admin_roles (admin_id, role) VALUES ('carl', 'superadmin,ops')",
        &["carl"],
        "malformed-role-word admin_roles.role",
    ),
    odd(
        "INSERT INTO admin_roles (admin_id, role) VALUES ('carl', 'superadmin ')",
        &["carl"],
        "malformed-role-word admin_roles.role",
    ),
    odd(
        "INSERT INTO admin_roles (admin_id, role) VALUES ('carl', '')",
        &["carl"],
        "malformed-role-word admin_roles.role",
    ),
    odd(
        "INSERT INTO admin_roles (admin_id, role) VALUES ('carl', NULL)",
        &["carl"],
        "malformed-role-word admin_roles.role",
    ),
    odd(
        "INSERT INTO admin_roles (admin_id, role) VALUES (NULL, 'superadmin')",
        NOBODY,
        "unusable-row admin_roles.admin_id",
    ),
    odd(
        "INSERT INTO admin_roles (admin_id, role) VALUES ('Carl', 'superadmin')",
        NOBODY,
        "dangling-grant admin_roles.admin_id",
    ),
    odd(
        "INSERT INTO admins (id, email) VALUES (NULL, 'nobody@example.org')",
        NOBODY,
        "unusable-row admins.id",
    ),
    odd(
        "INSERT INTO rbac_groups (id, name) VALUES (NULL, 'without an id')",
        NOBODY,
        "unusable-row rbac_groups.id",
    ),
    odd(
        "INSERT INTO rbac_groups (id, name) VALUES ('nameless', NULL);
         INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('nameless', 'console-manager');
         INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('carl', 'nameless')",
        &["carl"],
        "unusable-row rbac_groups.name",
    ),
    odd(
        "INSERT INTO rbac_roles (id, name) VALUES (NULL, 'without an id')",
        NOBODY,
        "unusable-row rbac_roles.id",
    ),
    odd(
        "INSERT INTO rbac_roles (id, name) VALUES ('nameless', NULL);
         INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('raxx-devops-team', 'nameless');
         INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
         VALUES ('nameless', 'console-manager')",
        NOBODY,
        "unusable-row rbac_roles.name",
    ),
    odd(
        "INSERT INTO rbac_permissions (id, name) VALUES (NULL, 'without an id')",
        NOBODY,
        "unusable-row rbac_permissions.id",
    ),
    odd(
        "INSERT INTO rbac_permissions (id, name) VALUES ('nameless', NULL);
         INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES ('console-user', 'nameless')",
        NOBODY,
        "unusable-row rbac_permissions.name",
    ),
    odd(
        "INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES ('console-user', NULL)",
        NOBODY,
        "unusable-row rbac_role_permissions.permission_id",
    ),
    odd(
        "INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES (NULL, NULL)",
        NOBODY,
        "unusable-row rbac_role_permissions.role_id",
    ),
    odd(
        "INSERT INTO rbac_group_roles (group_id, role_id) VALUES (NULL, 'console-manager')",
        NOBODY,
        "unusable-row rbac_group_roles.group_id",
    ),
    odd(
        "INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('raxx-devops-team', NULL)",
        NOBODY,
        "unusable-row rbac_group_roles.role_id",
    ),
    odd(
        "INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id) VALUES (NULL, 'console-user')",
        NOBODY,
        "unusable-row rbac_role_inheritance.child_role_id",
    ),
    odd(
        "INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('carl', NULL)",
        &["carl"],
        "unusable-row rbac_user_groups.group_id",
    ),
    odd(
        "INSERT INTO rbac_user_groups (user_id, group_id)
         SELECT NULL, id FROM rbac_groups WHERE name = 'raxx-platform-admins'",
        NOBODY,
        "unusable-row rbac_user_groups.user_id",
    ),
    odd(
        "INSERT INTO rbac_user_groups (user_id, group_id)
         SELECT 'CARL', id FROM rbac_groups WHERE name = 'raxx-platform-admins'",
        NOBODY,
        "dangling-grant rbac_user_groups.user_id",
    ),
    odd(
        "INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('gone', 'console-manager');
         INSERT INTO rbac_user_groups (user_id, group_id) VALUES ('carl', 'gone')",
        &["carl"],
        "dangling-grant rbac_user_groups.group_id",
    ),
    odd(
        "INSERT INTO rbac_break_glass_sessions (id, user_id, granted_at_utc, expires_at_utc)
         VALUES ('fire', 'carl', '2026-03-29T11:00:00+00:00', NULL)",
        &["carl"],
        "unusable-row rbac_break_glass_sessions.expires_at_utc",
    ),
    odd(
        "INSERT INTO rbac_break_glass_sessions (id, user_id, expires_at_utc)
         VALUES ('fire', 'carl', '2099-01-01T00:00:00+00:00')",
        &["carl"],
        "unusable-row rbac_break_glass_sessions.granted_at_utc",
    ),
    odd(
        "INSERT INTO rbac_break_glass_sessions (id, user_id, granted_at_utc, expires_at_utc)
         VALUES (NULL, NULL, '2026-03-29T11:00:00+00:00', '2099-01-01T00:00:00+00:00')",
        NOBODY,
        "unusable-row rbac_break_glass_sessions.user_id",
    ),
    odd(
        "INSERT INTO admin_sessions (id, admin_id) VALUES (NULL, 'carl')",
        &["carl"],
        "unusable-row admin_sessions.id",
    ),
    odd(
        "INSERT INTO admin_sessions (id, admin_id) VALUES ('odd', NULL)",
        NOBODY,
        "unusable-row admin_sessions.admin_id",
    ),
    odd(
        "INSERT INTO console_flag_promotions (flag, current_env) VALUES ('FLAG_RBAC_V2', 'Production')",
        NOBODY,
        "misspelt-switch console_flag_promotions.current_env",
    ),
    odd(
        "INSERT INTO console_flag_promotions (flag, current_env) VALUES ('flag_rbac_v2', 'production')",
        NOBODY,
        "misspelt-switch console_flag_promotions.flag",
    ),
    odd("INSERT INTO console_flag_promotions (flag, current_env) VALUES (NULL, NULL)", NOBODY, SOUND),
    odd(
        "INSERT INTO gate_flags (name, enabled, changed_by) VALUES ('flag_rbac_v2', TRUE, 'carl')",
        NOBODY,
        "misspelt-switch gate_flags.name",
    ),
    odd("INSERT INTO admins (id, email) VALUES ('', 'empty@example.org')", NOBODY, SOUND),
];

/// Expiries that are no time, or none that can be read. What is not there is the database's own.
const SQLITE_TIMES: [&str; 9] = [
    "'tomorrow'",
    "'infinity'",
    "''",
    "'2099-99-99T00:00:00+00:00'",
    "'2099-01-01T00:00:00+0000 UTC'",
    "4102444800",
    "'4102444800'",
    "x'ff'",
    // An hour ago, in words that sort after now.
    "'2026-03-29T13:00:00+02:00'",
];
const POSTGRES_TIMES: [&str; 4] =
    ["'infinity'", "'-infinity'", "'294276-12-31 23:59:59+00'", "'4713-01-01 00:00:00+00 BC'"];

/// What the gate makes of everything: of each admin by name, and of all together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    holdings: BTreeMap<&'static str, Access>,
    people: Vec<Person>,
    catalog: Catalog,
    promoted: bool,
    rbac_v2: Option<bool>,
}

impl View {
    async fn of(database: &Database) -> Result<View, String> {
        let said = |error: store::StoreError| error.to_string();
        let mut holdings = BTreeMap::new();
        for id in ["anna", "ben", "carl"] {
            let access = holding(database, id, None).await?;
            holdings.insert(id, access);
        }
        let control = database.store.control().await.map_err(said)?;
        Ok(View {
            holdings,
            people: database.store.census(noon()).await.map_err(said)?,
            catalog: database.store.catalog().await.map_err(said)?,
            promoted: control.promoted,
            rbac_v2: control.rbac_v2,
        })
    }

    /// Nothing more than before, by anybody.
    fn grants_no_more_than(&self, before: &View) -> bool {
        let within = |id: &str, now: &Access| {
            let then = &before.holdings[id];
            now.legacy.is_subset(&then.legacy)
                && now.groups.is_subset(&then.groups)
                && now.roles.is_subset(&then.roles)
                && now.permissions.is_subset(&then.permissions)
        };
        self.holdings.iter().all(|(id, access)| within(id, access))
            && (before.promoted || !self.promoted)
            && self.rbac_v2 == before.rbac_v2
    }

    /// Apart from the epoch, which every write raises.
    fn same_for(&self, other: &View, id: &str) -> bool {
        let apart = |view: &View| Access { epoch: policy::ids::Epoch(0), ..view.holdings[id].clone() };
        let listed = |view: &View| view.people.iter().find(|person| *person.id == *id).cloned();
        apart(self) == apart(other) && listed(self) == listed(other)
    }
}

async fn holding(database: &Database, id: &str, session: Option<&str>) -> Result<Access, String> {
    let subject = Subject::Admin { id: AdminId::new(id), session: session.map(SessionId::new) };
    database.store.access(&subject, noon()).await.map_err(|error| error.to_string())
}

async fn an_odd_row_allows_nothing_and_breaks_nobody_else(database: &Database) {
    loose(database).await;
    let before = View::of(database).await.unwrap();
    assert_eq!(database.store.flaws().await.unwrap(), []);
    for Odd { insert, names, flaw } in ODD {
        within_a_copy(database, insert, async |database: &Database| {
            let after = View::of(database).await.unwrap_or_else(|error| panic!("{insert}\n{error}"));
            assert!(after.grants_no_more_than(&before), "{insert}\n{before:#?}\n{after:#?}");
            for id in ["anna", "ben", "carl"].into_iter().filter(|id| !names.contains(id)) {
                assert!(after.same_for(&before, id), "{insert}: {id}\n{before:#?}\n{after:#?}");
            }
            let found = found(database).await;
            assert_eq!(found.contains(flaw), flaw != SOUND, "{insert}: {found:?}");
            assert_eq!(found.is_empty(), flaw == SOUND, "{insert}: {found:?}");
        })
        .await;
    }
}

/// What is listed as unusable, each as its kind and place.
async fn found(database: &Database) -> BTreeSet<String> {
    let flaws = database.store.flaws().await.unwrap();
    flaws.iter().map(|flaw| format!("{} {}.{}", flaw.kind.word(), flaw.table, flaw.column)).collect()
}

/// Puts rows in, looks, and takes every row out again that was not there before.
async fn within_a_copy(database: &Database, insert: &str, look: impl AsyncFnOnce(&Database)) {
    let tables = LOOSE.split("CREATE TABLE ").skip(1).map(|rest| rest.split(' ').next().unwrap());
    let tables: Vec<&str> = tables.chain(["gate_flags"]).collect();
    for table in &tables {
        database.execute(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await;
    }
    database.execute(insert).await;
    look(database).await;
    // What refers to others goes first, and comes last.
    for table in tables.iter().rev() {
        database.execute(&format!("DELETE FROM {table}")).await;
    }
    for table in &tables {
        let back = format!("INSERT INTO {table} SELECT * FROM saved_{table}; DROP TABLE saved_{table}");
        database.execute(&back).await;
    }
}

async fn an_expiry_that_is_no_time_has_passed(database: &Database) {
    loose(database).await;
    let times: &[&str] = match database.raw {
        Raw::Sqlite(_) => &SQLITE_TIMES,
        Raw::Postgres(_) => &POSTGRES_TIMES,
    };
    let before = View::of(database).await.unwrap();
    for time in times {
        database
            .execute(&format!(
                "INSERT INTO admin_sessions (id, admin_id, expires_at_utc) VALUES ('odd', 'carl', {time});
                 INSERT INTO rbac_break_glass_sessions (id, user_id, granted_at_utc, expires_at_utc)
                 VALUES ('fire', 'carl', '2026-03-29T11:00:00+00:00', {time})"
            ))
            .await;
        let after = View::of(database).await.unwrap_or_else(|error| panic!("{time}: {error}"));
        assert!(after.grants_no_more_than(&before), "{time}: {after:#?}");
        assert!(after.people.iter().all(|person| !person.break_glass), "{time}: {after:#?}");
        let carl = holding(database, "carl", Some("odd")).await.unwrap();
        assert_eq!(carl.standing, Standing::SessionEnded, "{time}");
        let anna = holding(database, "anna", Some("sound")).await.unwrap();
        assert_eq!(anna.standing, Standing::Active, "{time}");
        let ended_long_ago = time.contains("+02:00");
        for table in ["admin_sessions", "rbac_break_glass_sessions"] {
            let flaw = format!("unusable-row {table}.expires_at_utc");
            let found = found(database).await;
            assert_eq!(found.contains(&flaw), !ended_long_ago, "{time}: {found:?}");
        }
        assert_eq!(carl.flaws.is_empty(), ended_long_ago, "{time}: {:?}", carl.flaws);
        database
            .execute("DELETE FROM admin_sessions WHERE id = 'odd'; DELETE FROM rbac_break_glass_sessions")
            .await;
    }
}

/// Written by hand with another offset, or without one: a time all the same, and `_utc` says which.
#[tokio::test]
async fn an_expiry_in_another_form_is_the_time_that_it_says_on_sqlite() {
    let database = Database::empty_sqlite().await;
    loose(&database).await;
    let table = [
        ("2026-03-29T14:00:00.2+02:00", true),
        ("2026-03-29T14:00:00.1+02:00", false),
        ("2026-03-29T12:00:00.2Z", true),
        ("2026-03-29T12:00:00.1Z", false),
        ("2026-03-29 12:00:00.2", true),
        ("2026-03-29 12:00:00.1", false),
    ];
    for (time, is_live) in table {
        database
            .execute(&format!(
                "INSERT INTO admin_sessions (id, admin_id, expires_at_utc) VALUES ('s', 'carl', '{time}')"
            ))
            .await;
        let carl = holding(&database, "carl", Some("s")).await.unwrap();
        assert_eq!(carl.standing == Standing::Active, is_live, "{time}");
        database.execute("DELETE FROM admin_sessions WHERE id = 's'").await;
    }
}

/// Two rows of one id, where nothing forbids that: the one that takes away counts.
async fn of_two_rows_of_one_id_the_stricter_counts(database: &Database) {
    loose(database).await;
    database
        .execute(
            "INSERT INTO admin_sessions (id, admin_id) VALUES ('twice', 'anna');
             INSERT INTO admin_sessions (id, admin_id, revoked_at_utc)
             VALUES ('twice', 'anna', '2026-01-01T00:00:00+00:00')",
        )
        .await;
    let anna = holding(database, "anna", Some("twice")).await.unwrap();
    assert_eq!(anna.standing, Standing::SessionEnded);
    assert_eq!(anna.legacy, [].into());
    let anna = holding(database, "anna", None).await.unwrap();
    assert_eq!(anna.legacy, [LegacyRole::literal("ops")].into());
}

on_both!(
    from empty_sqlite, empty_postgres:
    an_odd_row_allows_nothing_and_breaks_nobody_else,
    an_expiry_that_is_no_time_has_passed,
    of_two_rows_of_one_id_the_stricter_counts,
);

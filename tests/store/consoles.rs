//! Consoles with tables of their own: what is read of them, how a change of them is heard, and what goes wrong.

use chrono::{DateTime, TimeDelta, Utc};
use console_gate::settings::Settings;
use policy::identity::Subject;
use policy::ids::{AdminId, Epoch, SessionId};
use policy::rbac::flaw::FlawKind;
use policy::rbac::{Access, LegacyRole, Standing};
use store::StoreError;
use store::console::Relations;
use store::schema::migrations::MigrationTerms;

use crate::database::{Database, Raw, literal, noon};

const ANNA: &str = "7d1c0001-0000-4000-8000-000000000001";
const BEN: &str = "7d1c0001-0000-4000-8000-000000000002";
const CARL: &str = "7d1c0001-0000-4000-8000-000000000003";
const DORA: &str = "7d1c0001-0000-4000-8000-000000000004";

/// A shop as a team would write it that never heard of the gate: UUIDs, `is_active`, a table of roles, sessions.
const SHOP: &str = "
    CREATE SCHEMA shop;
    CREATE TABLE shop.users (
        id UUID PRIMARY KEY, email VARCHAR(254) NOT NULL, is_active BOOLEAN, last_seen TIMESTAMPTZ);
    CREATE TABLE shop.roles (id SERIAL PRIMARY KEY, name VARCHAR(40) NOT NULL);
    CREATE TABLE shop.user_roles (user_id UUID NOT NULL, role_id INTEGER NOT NULL, until TIMESTAMP);
    CREATE INDEX ON shop.user_roles (user_id);
    CREATE TABLE shop.sessions (
        id TEXT PRIMARY KEY, user_id UUID NOT NULL, expires_at TIMESTAMPTZ, last_seen TIMESTAMPTZ);
    INSERT INTO shop.users (id, email, is_active) VALUES
        ('7d1c0001-0000-4000-8000-000000000001', 'anna@example.org', TRUE),
        ('7d1c0001-0000-4000-8000-000000000002', 'ben@example.org', FALSE),
        ('7d1c0001-0000-4000-8000-000000000003', 'carl@example.org', NULL),
        ('7d1c0001-0000-4000-8000-000000000004', 'dora@example.org', TRUE);
    INSERT INTO shop.roles (name) VALUES ('ops'), ('support');
    INSERT INTO shop.user_roles (user_id, role_id) VALUES
        ('7d1c0001-0000-4000-8000-000000000001', 1), ('7d1c0001-0000-4000-8000-000000000002', 1),
        ('7d1c0001-0000-4000-8000-000000000003', 1);
    INSERT INTO shop.sessions (id, user_id) VALUES
        ('anna-1', '7d1c0001-0000-4000-8000-000000000001'), ('anna-2', '7d1c0001-0000-4000-8000-000000000001')";

const SHOP_SETTINGS: &str = r#"
admins = "SELECT u.id, NOT u.is_active AS disabled, u.email AS label FROM shop.users u WHERE u.id = $1::uuid"
all_admins = "SELECT u.id, NOT u.is_active AS disabled, u.email AS label FROM shop.users u"
legacy_roles = """
    SELECT r.name AS role, ur.until -- $1 is in a comment here
      FROM shop.user_roles ur JOIN shop.roles r ON r.id = ur.role_id WHERE ur.user_id = $1::uuid"""
all_legacy_roles = """
    SELECT ur.user_id AS admin_id, r.name AS role, ur.until
      FROM shop.user_roles ur JOIN shop.roles r ON r.id = ur.role_id"""
sessions = "SELECT s.id, s.user_id AS admin_id, s.expires_at AS ends FROM shop.sessions s WHERE s.id = $1"
admins_key = "shop.users.id"
sessions_key = "shop.sessions.id"
"#;

/// The same of a smaller one on SQLite: numbers for ids, and a column for the role.
const KIOSK: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, role TEXT, deleted_at TEXT, last_seen TEXT);
    CREATE TABLE logins (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users(id), ends TEXT, seen TEXT);
    INSERT INTO users (id, name, role, deleted_at) VALUES
        (1, 'Anna', 'ops', NULL), (2, 'Ben', 'ops', '2026-01-01'), (10, 'Dora', 'support', NULL);
    INSERT INTO logins (id, user_id) VALUES (1, 1), (2, 10)";

const KIOSK_SETTINGS: &str = r#"
admins = "SELECT id, deleted_at IS NOT NULL AS disabled, name AS label FROM users WHERE id = $1"
all_admins = "SELECT id, deleted_at IS NOT NULL AS disabled, name AS label FROM users"
legacy_roles = "SELECT role FROM users WHERE id = $1"
all_legacy_roles = "SELECT id AS admin_id, role FROM users"
sessions = "SELECT id, user_id AS admin_id, ends FROM logins WHERE id = $1"
admins_key = "users.id"
sessions_key = "logins.id"
"#;

fn relations(section: &str) -> Relations {
    let settings = Settings::parse("gate.toml", &format!("[console]\n{section}"));
    settings.unwrap_or_else(|mistakes| panic!("{mistakes}")).console.0
}

async fn shop_with(settings: &str) -> Database {
    let database = Database::empty_postgres().await.reading(relations(settings)).await;
    database.execute(SHOP).await;
    database.store.migrate_seeded().await.unwrap();
    database
}

async fn shop() -> Database {
    shop_with(SHOP_SETTINGS).await
}

async fn kiosk() -> Database {
    let database = Database::empty_sqlite().await.reading(relations(KIOSK_SETTINGS)).await;
    database.execute(KIOSK).await;
    database.store.migrate_seeded().await.unwrap();
    database
}

async fn attempt(database: &Database, id: &str, session: Option<&str>) -> Result<Access, StoreError> {
    let subject = Subject::Admin { id: AdminId::new(id), session: session.map(SessionId::new) };
    database.store.access(&subject, noon()).await
}

async fn holds(database: &Database, id: &str, session: Option<&str>) -> Access {
    attempt(database, id, session).await.unwrap_or_else(|error| panic!("{id}: {error}"))
}

async fn standing(database: &Database, id: &str, session: Option<&str>) -> Standing {
    holds(database, id, session).await.standing
}

#[tokio::test]
async fn a_shop_with_uuids_is_read_as_it_is_on_postgres() {
    let database = shop().await;
    assert_eq!(database.store.console_mismatches().await.unwrap(), []);
    let anna = holds(&database, ANNA, None).await;
    assert_eq!((anna.standing, anna.legacy), (Standing::Active, [LegacyRole::literal("ops")].into()));
    for (id, expected) in [
        (BEN, Standing::Disabled),
        // NULL says nothing, so it denies.
        (CARL, Standing::Disabled),
        ("7d1c0001-0000-4000-8000-00000000000f", Standing::Unknown),
        ("anna", Standing::Unknown),
        ("", Standing::Unknown),
        ("7D1C0001-0000-4000-8000-000000000001", Standing::Unknown),
        ("{7d1c0001-0000-4000-8000-000000000001}", Standing::Unknown),
    ] {
        let access = holds(&database, id, None).await;
        assert_eq!((access.standing, access.legacy.len()), (expected, 0), "{id:?}");
        assert_eq!(access.epoch, Epoch(database.epoch().await), "{id:?}");
    }
    // A membership, by the id as it is written there.
    database.store.join_group(&AdminId::new(ANNA), "raxx-devops-team", "test").await.unwrap();
    let anna = holds(&database, ANNA, None).await;
    assert!(anna.roles.contains("console-flag-admin"), "{anna:?}");
    let people = database.store.census(noon()).await.unwrap();
    let ids: Vec<&str> = people.iter().map(|person| &*person.id).collect();
    assert_eq!(ids, [ANNA, DORA]);
    assert_eq!((people[0].legacy.len(), people[0].groups.len()), (1, 1));
    assert_eq!(database.store.admins().await.unwrap()[0].email, "anna@example.org");
    database.store.leave_group(&AdminId::new(ANNA), "raxx-devops-team").await.unwrap();
    assert!(holds(&database, ANNA, None).await.roles.is_empty());
    let flaws = database.store.flaws().await.unwrap();
    assert_eq!(
        flaws.iter().map(|flaw| (&*flaw.table, &*flaw.column)).collect::<Vec<_>>(),
        [("[console] all_admins", "disabled")]
    );
}

#[tokio::test]
async fn a_kiosk_with_numbers_is_read_as_it_is_on_sqlite() {
    let database = kiosk().await;
    assert_eq!(database.store.console_mismatches().await.unwrap(), []);
    for (id, expected) in [
        ("1", Standing::Active),
        ("2", Standing::Disabled),
        ("10", Standing::Active),
        ("01", Standing::Unknown),
        ("1.0", Standing::Unknown),
        (" 1", Standing::Unknown),
        ("1e1", Standing::Unknown),
        ("anna", Standing::Unknown),
    ] {
        assert_eq!(standing(&database, id, None).await, expected, "{id:?}");
    }
    assert_eq!(holds(&database, "1", None).await.legacy, [LegacyRole::literal("ops")].into());
    for (session, expected) in [
        ("1", Standing::Active),
        ("2", Standing::SessionEnded),
        ("01", Standing::SessionEnded),
        ("x", Standing::SessionEnded),
    ] {
        assert_eq!(standing(&database, "1", Some(session)).await, expected, "{session:?}");
    }
    database.store.join_group(&AdminId::new("10"), "raxx-devops-team", "test").await.unwrap();
    assert!(holds(&database, "10", None).await.roles.contains("console-flag-admin"));
    let people = database.store.census(noon()).await.unwrap();
    assert_eq!(people.iter().map(|person| &*person.id).collect::<Vec<_>>(), ["1", "10"]);
    assert_eq!(database.store.flaws().await.unwrap(), []);
}

/// What ends by a time ends without a write, and is known to.
#[tokio::test]
async fn roles_and_sessions_end_by_themselves_on_postgres() {
    let database = shop().await;
    let (before, after) = (noon() - TimeDelta::seconds(1), noon() + TimeDelta::seconds(1));
    let naive = |time: DateTime<Utc>| format!("'{}'", time.format("%Y-%m-%d %H:%M:%S%.6f"));
    let table = [
        (naive(before), false),
        (naive(after), true),
        ("'infinity'".to_owned(), false),
        ("NULL".into(), true),
    ];
    for (until, lives) in table {
        database
            .execute(&format!(
                "UPDATE shop.user_roles SET until = {until}; UPDATE shop.sessions SET expires_at = {until}"
            ))
            .await;
        let anna = holds(&database, ANNA, Some("anna-1")).await;
        assert_eq!(anna.standing == Standing::Active, lives, "{until}");
        let anna = holds(&database, ANNA, None).await;
        assert_eq!(!anna.legacy.is_empty(), lives, "{until}");
        let is_limited = lives && until != "NULL";
        assert_eq!(anna.valid_until, is_limited.then_some(after), "{until}");
    }
}

/// Of two rows of one id the one that takes away counts; a session is its admin's alone.
#[tokio::test]
async fn of_two_rows_the_stricter_counts_on_postgres() {
    let database = shop().await;
    for (id, session, expected) in [
        (ANNA, "anna-1", Standing::Active),
        (DORA, "anna-1", Standing::SessionEnded),
        (ANNA, "anna-3", Standing::SessionEnded),
    ] {
        assert_eq!(standing(&database, id, Some(session)).await, expected, "{id} {session}");
    }
    let twice = format!(
        "ALTER TABLE shop.users DROP CONSTRAINT users_pkey; ALTER TABLE shop.sessions DROP CONSTRAINT sessions_pkey;
         INSERT INTO shop.users (id, email, is_active) VALUES ('{ANNA}', 'again@example.org', FALSE);
         INSERT INTO shop.sessions (id, user_id, expires_at) VALUES ('dora', '{DORA}', NULL), ('dora', '{DORA}', {})",
        literal(noon())
    );
    database.execute(&twice).await;
    assert_eq!(standing(&database, ANNA, None).await, Standing::Disabled);
    assert_eq!(standing(&database, DORA, Some("dora")).await, Standing::SessionEnded);
    assert_eq!(standing(&database, DORA, None).await, Standing::Active);
}

#[tokio::test]
async fn an_index_serves_each_principal_on_postgres() {
    let database = shop().await;
    database
        .execute(
            "INSERT INTO shop.users (id, email, is_active) SELECT gen_random_uuid(), 'x', TRUE FROM generate_series(1, 100000);
             INSERT INTO shop.user_roles (user_id, role_id) SELECT id, 1 FROM shop.users;
             INSERT INTO shop.sessions (id, user_id) SELECT id::text, id FROM shop.users;
             INSERT INTO rbac_user_groups (user_id, group_id) SELECT id, 'raxx-devops-team' FROM shop.users;
             ANALYZE",
        )
        .await;
    let plan =
        database.store.access_plan(&AdminId::new(ANNA), Some(&SessionId::new("anna-1"))).await.unwrap();
    let plan = plan.join("\n");
    for table in ["users", "user_roles", "sessions", "rbac_user_groups"] {
        assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
        assert!(plan.contains(&format!(" on {table}")), "{plan}");
    }
}

#[tokio::test]
async fn an_index_serves_each_principal_on_sqlite() {
    let database = kiosk().await;
    let plan = database.store.access_plan(&AdminId::new("1"), Some(&SessionId::new("1"))).await.unwrap();
    let searches =
        plan.iter().filter(|line| line.contains("SEARCH users") || line.contains("SEARCH logins")).count();
    assert_eq!(searches, 3, "{plan:#?}");
    assert!(
        !plan.iter().any(|line| line.contains("SCAN users") || line.contains("SCAN logins")),
        "{plan:#?}"
    );
}

/// Fails unless the access of everybody is refused with an error that contains all of `parts`.
async fn is_refused(database: &Database, id: &str, parts: &[&str]) {
    let error = attempt(database, id, None).await.unwrap_err();
    assert_eq!(error.kind(), "schema", "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}

#[tokio::test]
async fn a_column_that_was_renamed_is_an_error_and_never_nobody_on_postgres() {
    let database = shop().await;
    holds(&database, ANNA, None).await;
    database.execute("ALTER TABLE shop.users RENAME is_active TO enabled").await;
    is_refused(&database, ANNA, &["[console] admins", "u.is_active"]).await;
    is_refused(&database, BEN, &["[console] admins"]).await;
    // Console's own writes go on, and count as changes: who knows what they change.
    assert!(raises(&database, "UPDATE shop.users SET enabled = NOT enabled").await);
    assert!(raises(&database, "UPDATE shop.users SET enabled = NOT enabled").await);
    database
        .execute("ALTER TABLE shop.users RENAME id TO uuid; ALTER TABLE shop.sessions RENAME id TO sid")
        .await;
    assert!(raises(&database, "DELETE FROM shop.users WHERE email = 'ben@example.org'").await);
    assert!(raises(&database, "UPDATE shop.sessions SET expires_at = now() WHERE sid = 'anna-2'").await);
    assert!(raises(&database, "DELETE FROM shop.sessions WHERE sid = 'anna-2'").await);
    database
        .execute("ALTER TABLE shop.users RENAME uuid TO id; ALTER TABLE shop.sessions RENAME sid TO id")
        .await;
    let found = database.store.console_mismatches().await.unwrap();
    let mismatches: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        mismatches.len() == 2
            && mismatches.iter().all(|one| one.contains("is_active") && one.contains("renamed")),
        "{mismatches:?}"
    );
    assert!(database.store.census(noon()).await.is_err());
    database.execute("ALTER TABLE shop.users RENAME enabled TO is_active").await;
    assert_eq!(standing(&database, ANNA, None).await, Standing::Active);
    // Another type, under the plan that is prepared already.
    database.execute("ALTER TABLE shop.users ALTER is_active TYPE INTEGER USING is_active::int").await;
    is_refused(&database, ANNA, &["[console] admins"]).await;
    database.execute("DROP TABLE shop.users").await;
    is_refused(&database, ANNA, &["[console] admins", "shop.users"]).await;
}

#[tokio::test]
async fn a_column_that_was_renamed_is_an_error_and_never_nobody_on_sqlite() {
    let database = kiosk().await;
    holds(&database, "1", None).await;
    database.execute("ALTER TABLE users RENAME deleted_at TO gone_at").await;
    is_refused(&database, "1", &["[console] admins", "deleted_at"]).await;
    // The connection may know the table as it was.
    database.execute("SELECT 1 FROM sqlite_schema").await;
    database.execute("SELECT 1 FROM sqlite_schema; ALTER TABLE users RENAME gone_at TO deleted_at").await;
    assert_eq!(standing(&database, "1", None).await, Standing::Active);
}

/// RBAC V2 rows go on, and legacy rows have their reason.
#[tokio::test]
async fn legacy_roles_may_go_on_postgres() {
    let database = shop().await;
    database.store.join_group(&AdminId::new(ANNA), "raxx-devops-team", "test").await.unwrap();
    holds(&database, ANNA, None).await;
    database.execute("DROP TABLE shop.user_roles").await;
    let anna = holds(&database, ANNA, None).await;
    assert!(
        anna.standing == Standing::Active
            && anna.legacy.is_empty()
            && anna.roles.contains("console-flag-admin")
    );
    let [flaw] = anna.flaws.as_slice() else { panic!("{:?}", anna.flaws) };
    assert_eq!(flaw.kind, FlawKind::NoLegacyRoles);
    assert!(anna.valid_until.is_some(), "it may come back without a write");
    let found = database.store.console_mismatches().await.unwrap();
    assert!(found.len() == 2 && found.iter().all(|found| found.is_warning), "{found:?}");
    assert_eq!(database.store.census(noon()).await.unwrap().len(), 2);
    let none = Database::open_with(
        &database.url,
        relations(
            &SHOP_SETTINGS
                .split_inclusive('\n')
                .filter(|line| !line.contains("sessions"))
                .collect::<String>()
                .replace("legacy_roles = \"\"\"", "legacy_roles = 'none' #")
                .replace("all_legacy_roles = 'none' #", "#")
                .lines()
                .filter(|line| !line.starts_with("   "))
                .collect::<Vec<_>>()
                .join("\n"),
        ),
    )
    .await;
    let anna = holds(&none, ANNA, None).await;
    assert_eq!(anna.flaws.len(), 1, "{anna:?}");
    assert_eq!(none.store.console_mismatches().await.unwrap(), []);
}

/// Every mismatch is reported at once, with how to correct it.
#[tokio::test]
async fn all_mismatches_are_reported_at_once_on_postgres() {
    let settings = r#"
admins = "SELECT u.id, u.email AS disabled, u.last_seen FROM shop.users u WHERE u.id = $1"
all_admins = "SELECT u.last_seen AS id, NOT u.is_active AS disabled, u.email AS label FROM shop.users u"
legacy_roles = "SELECT ARRAY['x'] AS role, 1 AS until FROM shop.roles WHERE $1 <> ''"
all_legacy_roles = "SELECT user_id, role FROM shop.users_roles"
sessions = "SELECT s.id, s.user_id AS admin_id, s.expires_at AS ends, s.nonsense FROM shop.sessions s WHERE s.id = $1"
"#;
    let database = Database::empty_postgres().await.reading(relations(settings)).await;
    database.execute(SHOP).await;
    let mismatches: Vec<String> =
        database.store.console_mismatches().await.unwrap().iter().map(ToString::to_string).collect();
    let mismatches = mismatches.join("\n");
    for expected in [
        "[console] admins: operator does not exist: uuid = text. `$1` is a text: cast it",
        "[console] legacy_roles, column `role`: its type is text[]; it must be one text a row",
        "[console] legacy_roles, column `until`: its type is int4; it must be a time",
        "[console] sessions: column s.nonsense does not exist",
        "[console] all_admins, column `id`: its type is timestamptz; it must be an id",
        "[console] all_legacy_roles: relation \"shop.users_roles\" does not exist",
    ] {
        assert!(mismatches.contains(expected), "{expected}\nis not in\n{mismatches}");
    }
}

async fn raises(database: &Database, statement: &str) -> bool {
    let before = database.epoch().await;
    database.execute(statement).await;
    database.epoch().await > before
}

/// The sessions that a statement lists as changed; `None` where it concerns everybody.
async fn listed(database: &Database, statement: &str) -> Option<Vec<String>> {
    let before = Epoch(database.epoch().await);
    database.execute(statement).await;
    let reading = database.store.control_since(Some(before)).await.unwrap();
    let mut sessions: Vec<String> = reading.changes.iter().map(|change| change.session.to_string()).collect();
    sessions.sort();
    reading.only_sessions_changed_since(before).then_some(sessions)
}

#[tokio::test]
async fn what_is_read_is_watched_and_nothing_else_on_postgres() {
    let database = shop().await;
    assert!(database.store.control().await.unwrap().console_watched);
    let watch = database.store.install_triggers().await.unwrap();
    assert!(!watch.is_new && watch.gaps.is_empty(), "{watch:?}");
    let tables: Vec<String> = watch.tables.iter().map(ToString::to_string).collect();
    assert_eq!(
        tables,
        [
            "shop.roles for legacy_roles, all_legacy_roles: rows, and changes of id, name",
            "shop.sessions for sessions: rows, and changes of expires_at, id, user_id",
            "shop.user_roles for legacy_roles, all_legacy_roles: rows, and changes of role_id, until, user_id",
            "shop.users for admins, all_admins: rows, and changes of email, id, is_active",
        ]
    );
    for statement in [
        "UPDATE shop.users SET is_active = FALSE",
        "UPDATE shop.users SET is_active = NULL WHERE email = 'dora@example.org'",
        "INSERT INTO shop.user_roles VALUES ('7d1c0001-0000-4000-8000-000000000004', 2)",
        "UPDATE shop.user_roles SET role_id = 3 - role_id",
        "DELETE FROM shop.user_roles",
        "UPDATE shop.roles SET name = 'x' WHERE id = 1",
        "TRUNCATE shop.user_roles",
        "TRUNCATE shop.sessions",
    ] {
        assert!(raises(&database, statement).await, "{statement}");
    }
    for statement in ["UPDATE shop.users SET last_seen = now()", "UPDATE shop.sessions SET last_seen = now()"]
    {
        assert!(!raises(&database, statement).await, "{statement}");
    }
    // Two rows that change places: each has changed.
    database.execute("INSERT INTO shop.user_roles VALUES ('7d1c0001-0000-4000-8000-000000000001', 1), ('7d1c0001-0000-4000-8000-000000000004', 2)").await;
    assert!(raises(&database, "UPDATE shop.user_roles SET role_id = 3 - role_id").await);
}

#[tokio::test]
async fn a_sessions_change_concerns_that_session_on_postgres() {
    let database = shop().await;
    let table = [
        (format!("INSERT INTO shop.sessions (id, user_id) VALUES ('new', '{DORA}')"), Some(vec!["new"])),
        (
            format!("UPDATE shop.sessions SET expires_at = {} WHERE id = 'anna-1'", literal(noon())),
            Some(vec!["anna-1"]),
        ),
        ("UPDATE shop.sessions SET id = 'newer' WHERE id = 'new'".into(), Some(vec!["new", "newer"])),
        ("DELETE FROM shop.sessions WHERE id = 'newer'".into(), Some(vec!["newer"])),
        ("TRUNCATE shop.sessions".into(), None),
        ("UPDATE shop.users SET email = 'x'".into(), None),
    ];
    for (statement, expected) in table {
        let expected = expected.map(|ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect());
        assert_eq!(listed(&database, &statement).await, expected, "{statement}");
    }
    // A key that is not the `id` that is asked for would name other sessions: then it concerns everybody.
    let other = SHOP_SETTINGS
        .replace("sessions_key = \"shop.sessions.id\"", "sessions_key = \"shop.sessions.user_id\"");
    let database = shop_with(&other).await;
    let insert = format!("INSERT INTO shop.sessions (id, user_id) VALUES ('new', '{DORA}')");
    assert_eq!(listed(&database, &insert).await, None);
}

#[tokio::test]
async fn what_is_read_is_watched_and_nothing_else_on_sqlite() {
    let database = kiosk().await;
    assert!(database.store.control().await.unwrap().console_watched);
    let watch = database.store.install_triggers().await.unwrap();
    let tables: Vec<String> = watch.tables.iter().map(ToString::to_string).collect();
    assert_eq!(
        tables,
        [
            "logins for sessions: rows, and changes of ends, id, user_id",
            "users for admins, legacy_roles, all_admins, all_legacy_roles: rows, and changes of deleted_at, id, name, role",
        ]
    );
    assert!(!watch.is_new);
    for (statement, expected) in [
        ("UPDATE users SET role = 'support' WHERE id = 1", true),
        ("UPDATE users SET deleted_at = '2026-02-02' WHERE id = 10", true),
        ("UPDATE users SET last_seen = 'now' WHERE id = 1", false),
        ("UPDATE logins SET seen = 'now'", false),
        ("INSERT INTO users (id, name) VALUES (20, 'Eve')", true),
        ("REPLACE INTO users (id, name) VALUES (20, 'Eve')", true),
        ("DELETE FROM users WHERE id = 20", true),
    ] {
        assert_eq!(raises(&database, statement).await, expected, "{statement}");
    }
    assert_eq!(listed(&database, "DELETE FROM logins WHERE id = 2").await, Some(vec!["2".into()]));
    assert_eq!(
        listed(&database, "UPDATE logins SET ends = '2026-01-01' WHERE id = 1").await,
        Some(vec!["1".into()])
    );
}

/// Views of views, partitions that are written to directly, and a table that inherits.
#[tokio::test]
async fn the_tables_behind_views_and_their_parts_are_watched_on_postgres() {
    let settings = r#"
admins = "SELECT id, disabled, label FROM shop.people WHERE id = $1::uuid"
all_admins = "SELECT id, disabled, label FROM shop.people"
legacy_roles = "SELECT role FROM shop.grants WHERE user_id = $1::uuid"
all_legacy_roles = "SELECT user_id AS admin_id, role FROM shop.grants"
"#;
    let database = Database::empty_postgres().await.reading(relations(settings)).await;
    database.execute(SHOP).await;
    database
        .execute(
            "CREATE TABLE shop.grants (user_id UUID, role TEXT, note TEXT) PARTITION BY LIST (role);
             CREATE TABLE shop.grants_ops PARTITION OF shop.grants FOR VALUES IN ('ops');
             CREATE TABLE shop.grants_rest PARTITION OF shop.grants DEFAULT;
             CREATE VIEW shop.active AS SELECT * FROM shop.users WHERE email <> '';
             CREATE VIEW shop.people AS SELECT id, NOT is_active AS disabled, email AS label FROM shop.active",
        )
        .await;
    database.store.migrate().await.unwrap();
    let watch = database.store.install_triggers().await.unwrap();
    let names: Vec<&str> = watch.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["shop.grants", "shop.grants_ops", "shop.grants_rest", "shop.users"], "{watch:?}");
    for (statement, expected) in [
        (format!("INSERT INTO shop.grants VALUES ('{ANNA}', 'ops')"), true),
        (format!("INSERT INTO shop.grants_ops VALUES ('{DORA}', 'ops')"), true),
        ("UPDATE shop.grants_ops SET note = 'x'".into(), false),
        ("UPDATE shop.grants SET role = 'support'".into(), true),
        ("DELETE FROM shop.grants_rest".into(), true),
        ("TRUNCATE shop.grants_ops".into(), true),
        ("UPDATE shop.users SET is_active = FALSE".into(), true),
    ] {
        assert_eq!(raises(&database, &statement).await, expected, "{statement}");
    }
    let watched = async || database.store.control().await.unwrap().console_watched;
    assert!(watched().await);
    // A part that comes later, and a view that is another one, are found out at once.
    database.execute("CREATE TABLE shop.grants_more PARTITION OF shop.grants FOR VALUES IN ('more')").await;
    assert!(!watched().await);
    assert!(database.store.install_triggers().await.unwrap().is_new && watched().await);
    database
        .execute("CREATE OR REPLACE VIEW shop.active AS SELECT * FROM shop.users WHERE email <> 'x'")
        .await;
    assert!(!watched().await);
    assert!(database.store.install_triggers().await.unwrap().is_new && watched().await);
    assert_eq!(database.store.console_mismatches().await.unwrap(), []);
}

#[tokio::test]
async fn a_trigger_that_is_gone_is_found_out_at_once_on_postgres() {
    let database = shop().await;
    let watched = async || database.store.control().await.unwrap().console_watched;
    for harm in [
        "ALTER TABLE shop.user_roles DISABLE TRIGGER console_gate_on_write",
        "ALTER TABLE shop.user_roles DISABLE TRIGGER ALL",
        "DROP TRIGGER console_gate_on_update ON shop.users",
        "ALTER TABLE shop.users ENABLE REPLICA TRIGGER console_gate_on_write",
        "CREATE TABLE shop.roles2 AS SELECT * FROM shop.roles; DROP TABLE shop.roles; ALTER TABLE shop.roles2 RENAME TO roles",
    ] {
        assert!(watched().await, "before {harm}");
        database.execute(harm).await;
        assert!(!watched().await, "{harm}");
        let watch = database.store.install_triggers().await.unwrap();
        assert!(watch.is_new && watch.gaps.is_empty(), "{harm}: {watch:?}");
    }
    assert!(watched().await);
    // Other SELECTs than the triggers were made for.
    let other =
        Database::open_with(&database.url, relations(&SHOP_SETTINGS.replace("u.email AS", "u.id::text AS")))
            .await;
    assert!(!other.store.control().await.unwrap().console_watched);
    assert!(other.store.install_triggers().await.unwrap().is_new);
    assert!(other.store.control().await.unwrap().console_watched && !watched().await);
}

/// Where it was looked at between the change and its commit, too: the state that was found whole is another one by then.
#[tokio::test]
async fn a_trigger_that_a_transaction_takes_is_found_out_when_it_commits_on_postgres() {
    let database = shop().await;
    let watched = async || database.store.control().await.unwrap().console_watched;
    let Raw::Postgres(pool) = &database.raw else { panic!("it is on Postgres") };
    for (before, between) in [("", ""), ("SAVEPOINT s", "RELEASE s"), ("SAVEPOINT s", "SELECT 1")] {
        assert!(watched().await);
        let mut transaction = pool.begin().await.unwrap();
        sqlx::raw_sql(before).execute(&mut *transaction).await.unwrap();
        let harm = "ALTER TABLE shop.user_roles DISABLE TRIGGER console_gate_on_write";
        sqlx::raw_sql(harm).execute(&mut *transaction).await.unwrap();
        assert!(watched().await && watched().await, "not committed yet");
        sqlx::raw_sql(between).execute(&mut *transaction).await.unwrap();
        assert!(watched().await && watched().await, "not committed yet");
        transaction.commit().await.unwrap();
        assert!(!watched().await && !watched().await, "{before} {between}");
        assert!(database.store.install_triggers().await.unwrap().is_new);
    }
}

/// No trigger hears of a change of a column's definition, which may change what every row says.
#[tokio::test]
async fn a_column_that_is_another_one_is_found_out_at_once_on_postgres() {
    let database = shop().await;
    let watched = async || database.store.control().await.unwrap().console_watched;
    // What nobody reads, and what changes no value, has no effect.
    for harmless in [
        "ALTER TABLE shop.users ADD COLUMN locale TEXT NOT NULL DEFAULT 'en'",
        "ALTER TABLE shop.users ALTER COLUMN locale TYPE VARCHAR(8) USING 'de'; ALTER TABLE shop.users DROP COLUMN locale",
        "CREATE INDEX ON shop.users (last_seen); ANALYZE shop.users; ALTER TABLE shop.users RENAME COLUMN last_seen TO seen_at",
    ] {
        database.execute(harmless).await;
        assert!(watched().await, "{harmless}");
    }
    for harm in [
        "ALTER TABLE shop.users ALTER COLUMN is_active TYPE BOOLEAN USING NOT is_active",
        "ALTER TABLE shop.users RENAME COLUMN is_active TO active; ALTER TABLE shop.users RENAME COLUMN active TO is_active",
        "ALTER TABLE shop.roles ALTER COLUMN name TYPE TEXT USING upper(name)",
    ] {
        assert!(watched().await, "before {harm}");
        database.execute(harm).await;
        assert!(!watched().await, "{harm}");
        assert!(database.store.migrate().await.unwrap().watch.is_new, "{harm}");
    }
    assert!(watched().await);
    // One that is gone: never an answer without it, and what was cached counts no more.
    database.execute("ALTER TABLE shop.users RENAME COLUMN is_active TO active").await;
    assert!(!watched().await);
    let error = attempt(&database, ANNA, None).await.unwrap_err();
    assert!(error.to_string().contains("is_active"), "{error}");
}

/// Tables of RBAC V2 that are Console's, and on which the role may put no trigger, keep nobody from migrating: what is
/// read is then read for each request, and the reason is reported.
#[tokio::test]
async fn rbac_tables_that_take_no_trigger_are_read_for_each_request_on_postgres() {
    let database = shop().await;
    let tables = ["rbac_groups", "rbac_user_groups"];
    release(&database).await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE gate_migrator LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             CREATE SCHEMA people; GRANT USAGE ON SCHEMA people, shop TO gate_migrator;
             CREATE TABLE people.rbac_user_groups (user_id TEXT, group_id TEXT, granted_by TEXT, granted_at_utc TIMESTAMPTZ);
             CREATE TABLE people.rbac_groups (id TEXT PRIMARY KEY, name TEXT NOT NULL);
             DROP SCHEMA console_gate CASCADE;
             GRANT SELECT, TRIGGER ON ALL TABLES IN SCHEMA shop TO gate_migrator;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA people TO gate_migrator;
             DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO gate_migrator', current_database()); END $$",
        )
        .await;
    let url = database.url.replace("postgres://postgres@", "postgres://gate_migrator@");
    let guest = Database::open_with(&url, relations(SHOP_SETTINGS)).await;
    let report = guest.store.migrate().await.unwrap();
    for table in tables {
        let of_table =
            |gap: &&String| gap.contains(&format!("GRANT TRIGGER ON people.{table} TO gate_migrator"));
        assert_eq!(report.watch.gaps.iter().filter(of_table).count(), 1, "{report:?}");
    }
    assert_eq!(guest.store.unheard().await.unwrap(), report.watch.gaps);
    assert!(!guest.store.control().await.unwrap().console_watched);
    // The others have theirs.
    let of_roles = report.triggers.iter().any(|trigger| trigger.ends_with(" on console_gate.rbac_roles"));
    assert!(of_roles && report.triggers.iter().all(|trigger| !trigger.contains("on people.")), "{report:?}");
    database.execute("GRANT TRIGGER ON ALL TABLES IN SCHEMA people TO gate_migrator").await;
    let report = guest.store.migrate().await.unwrap();
    assert_eq!(report.watch.gaps, Vec::<String>::new());
    assert!(guest.store.control().await.unwrap().console_watched);
    // And one that goes later is found out at once, as on Console's other tables.
    database.execute("DROP TRIGGER gate_epoch_on_write ON people.rbac_user_groups").await;
    assert!(!guest.store.control().await.unwrap().console_watched);
}

/// `--grant-to` gives, and a start demands, the columns that the SELECTs of `[console]` read, and nothing else of Console's.
#[tokio::test]
async fn what_the_selects_read_is_granted_and_demanded_on_postgres() {
    let database = shop().await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE gate_reader LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        )
        .await;
    let url = database.url.replace("postgres://postgres@", "postgres://gate_reader@");
    let reader = Database::open_with(&url, relations(SHOP_SETTINGS)).await;
    // Without the schema, not even the columns can be looked up: the tables are named whole.
    let (missing, _) = reader.store.missing_rights().await.unwrap();
    let says = |missing: &[store::schema::rights::MissingRight], what: &str| {
        missing.iter().any(|right| right.what == what)
    };
    for what in [
        "USAGE on the schema shop",
        "SELECT on shop.users",
        "SELECT on shop.roles",
        "USAGE on the schema console_gate",
    ] {
        assert!(says(&missing, what), "no `{what}` in {missing:#?}");
    }
    let watched = async || database.store.control().await.unwrap().console_watched;
    assert!(watched().await);
    let granting = database.store.grant_to("gate_reader").await.unwrap();
    assert!(watched().await, "a GRANT on columns that are read is no change of them");
    let on_shop: Vec<&String> = granting.granted.iter().filter(|grant| grant.contains("\"shop\"")).collect();
    let expected = [
        "GRANT USAGE ON SCHEMA \"shop\" TO \"gate_reader\"",
        "GRANT SELECT (\"id\", \"name\") ON \"shop\".\"roles\" TO \"gate_reader\"",
        "GRANT SELECT (\"expires_at\", \"id\", \"user_id\") ON \"shop\".\"sessions\" TO \"gate_reader\"",
        "GRANT SELECT (\"role_id\", \"until\", \"user_id\") ON \"shop\".\"user_roles\" TO \"gate_reader\"",
        "GRANT SELECT (\"email\", \"id\", \"is_active\") ON \"shop\".\"users\" TO \"gate_reader\"",
    ];
    assert_eq!(on_shop, expected);
    assert_eq!(reader.store.missing_rights().await.unwrap().0, []);
    assert_eq!(reader.store.console_mismatches().await.unwrap(), []);
    holds(&reader, ANNA, Some("s1")).await;
    let others =
        "SELECT has_column_privilege('gate_reader', 'shop.users', 'last_seen', 'SELECT')::int::bigint";
    assert_eq!(database.number(others).await, 0);
    // All that is missing at once, each with its grant.
    database
        .execute(
            "REVOKE SELECT (email, is_active) ON shop.users FROM gate_reader; REVOKE SELECT (until) ON shop.user_roles FROM gate_reader;
             REVOKE INSERT ON console_gate.gate_decisions FROM gate_reader",
        )
        .await;
    let (missing, role) = reader.store.missing_rights().await.unwrap();
    let message = store::schema::rights::message(&missing, &role);
    assert_eq!(missing.len(), 3, "{message}");
    for words in [
        "SELECT (email, is_active) on shop.users",
        "GRANT SELECT (\"email\", \"is_active\") ON \"shop\".\"users\" TO \"gate_reader\"",
        "SELECT (until) on shop.user_roles",
        "INSERT on console_gate.gate_decisions",
    ] {
        assert!(message.contains(words), "no `{words}` in {message}");
    }
    // A view is read with its owner's rights: only what the SELECT names is needed.
    database
        .execute(
            "CREATE VIEW shop.staff AS SELECT id, email, is_active FROM shop.users;
             GRANT INSERT ON console_gate.gate_decisions TO gate_reader; GRANT SELECT (until) ON shop.user_roles TO gate_reader",
        )
        .await;
    let by_view = SHOP_SETTINGS.replace("shop.users u", "shop.staff u");
    let reader = Database::open_with(&url, relations(&by_view)).await;
    let missing: Vec<String> =
        reader.store.missing_rights().await.unwrap().0.into_iter().map(|right| right.what).collect();
    assert_eq!(missing, ["SELECT (email, id, is_active) on shop.staff"]);
}

#[tokio::test]
async fn a_trigger_that_is_gone_is_found_out_at_once_on_sqlite() {
    let database = kiosk().await;
    let watched = async || database.store.control().await.unwrap().console_watched;
    for harm in [
        "DROP TRIGGER console_gate_users_update",
        // As Alembic does it: the triggers go with the old table.
        "PRAGMA foreign_keys = OFF; CREATE TABLE users2 AS SELECT * FROM users; DROP TABLE users;
         ALTER TABLE users2 RENAME TO users; PRAGMA foreign_keys = ON",
        "CREATE UNIQUE INDEX one_login ON logins (user_id)",
    ] {
        assert!(watched().await, "before {harm}");
        database.execute(harm).await;
        assert!(!watched().await, "{harm}");
        assert!(database.store.install_triggers().await.unwrap().is_new, "{harm}");
    }
    assert!(watched().await);
}

/// The triggers of RBAC V2's tables and of the gate's own by which it decides, as the file has them: name and table.
async fn deciding_triggers_on_sqlite(database: &Database) -> Vec<(String, String)> {
    let names = database
        .texts(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'gate\\_epoch\\_%' ESCAPE '\\'
                AND tbl_name <> 'gate_epoch' ORDER BY name",
        )
        .await;
    let table = |name: &str| {
        name.trim_start_matches("gate_epoch_").rsplit_once('_').map(|(table, _)| table.to_owned())
    };
    names.into_iter().map(|name| (name.clone(), table(&name).expect("a table"))).collect()
}

/// Each trigger by which a gate hears of grants: gone, or with another body under its name.
#[tokio::test]
async fn a_deciding_trigger_that_is_gone_is_found_out_at_once_on_sqlite() {
    let database = kiosk().await;
    let other = Database::open_with(&database.url, relations(KIOSK_SETTINGS)).await;
    let watched = async || database.store.control().await.unwrap().console_watched;
    let triggers = deciding_triggers_on_sqlite(&database).await;
    assert_eq!(triggers.len(), 3 * 18, "{triggers:?}");
    for (trigger, table) in triggers {
        let silent = format!(
            "DROP TRIGGER {trigger}; CREATE TRIGGER {trigger} AFTER INSERT ON {table} BEGIN SELECT 1; END"
        );
        for harm in [format!("DROP TRIGGER {trigger}"), silent] {
            assert!(watched().await, "before {harm}");
            other.execute(&harm).await;
            assert!(!watched().await, "{harm}");
            // What a start does: it names what is missing, and takes nothing for heard.
            let watch = database.store.install_triggers().await.unwrap();
            assert!(watch.gaps.iter().any(|gap| gap.contains(&trigger)), "{watch:?}");
            assert!(!watched().await, "{harm}, and a start");
            let report = database.store.migrate().await.unwrap();
            assert!(report.triggers.contains(&trigger), "{report:?}");
        }
    }
    // A column of theirs can become another one without a write.
    other.execute("ALTER TABLE rbac_user_groups RENAME COLUMN granted_by TO given_by").await;
    assert!(!watched().await);
    // What is none of theirs disturbs nothing.
    database.store.migrate().await.unwrap();
    let is_compared = async || {
        let version = "SELECT count(*) FROM gate_console_watched w, pragma_schema_version v
                        WHERE w.schema_version <> v.schema_version";
        database.number(version).await == 1
    };
    assert!(!is_compared().await);
    other.execute("CREATE TABLE memos (id INTEGER PRIMARY KEY)").await;
    assert!(watched().await && is_compared().await);
    let epoch = database.epoch().await;
    assert!(!database.store.install_triggers().await.unwrap().is_new);
    assert!(watched().await && !is_compared().await);
    assert_eq!(database.epoch().await, epoch, "nobody is read again for that");
}

#[tokio::test]
async fn a_deciding_trigger_that_is_gone_is_found_out_at_once_on_postgres() {
    let database = shop().await;
    let watched = async || database.store.control().await.unwrap().console_watched;
    let tables = database
        .texts(
            "SELECT c.oid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
              WHERE t.tgname = 'gate_epoch_on_write' ORDER BY 1",
        )
        .await;
    assert_eq!(tables.len(), 18, "{tables:?}");
    for table in tables {
        for harm in [
            format!("DROP TRIGGER gate_epoch_on_write ON {table}"),
            format!("ALTER TABLE {table} DISABLE TRIGGER gate_epoch_on_write"),
        ] {
            assert!(watched().await, "before {harm}");
            database.execute(&harm).await;
            assert!(!watched().await, "{harm}");
            let report = database.store.migrate().await.unwrap();
            assert_eq!(
                report.triggers.iter().filter(|name| name.contains("gate_epoch")).count(),
                1,
                "{report:?}"
            );
        }
    }
    assert!(watched().await);
}

/// Takes every trigger off Console's tables, and returns their names.
async fn release(database: &Database) -> Vec<String> {
    database.store.release(MigrationTerms::default(), &|_| {}).await.unwrap()
}

/// A role that may not put triggers on some tables learns which, and nothing is put anywhere.
#[tokio::test]
async fn a_table_that_refuses_is_named_on_postgres() {
    let database = shop().await;
    release(&database).await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE gate_watcher LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             GRANT USAGE ON SCHEMA shop TO gate_watcher; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO gate_watcher;
             GRANT ALL ON ALL TABLES IN SCHEMA console_gate TO gate_watcher; GRANT ALL ON SCHEMA console_gate TO gate_watcher;
             GRANT TRIGGER ON shop.users TO gate_watcher; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA console_gate TO gate_watcher",
        )
        .await;
    let url = database.url.replace("postgres://postgres@", "postgres://gate_watcher@");
    let guest = Database::open_with(&url, relations(SHOP_SETTINGS)).await;
    let watch = guest.store.install_triggers().await.unwrap();
    assert!(watch.tables.is_empty() && watch.gaps.len() == 3, "{watch:?}");
    for table in ["shop.roles", "shop.sessions", "shop.user_roles"] {
        assert!(
            watch.gaps.iter().any(|gap| gap.contains(table) && gap.contains("GRANT TRIGGER")),
            "{watch:?}"
        );
    }
    assert!(!guest.store.control().await.unwrap().console_watched);
    assert!(!raises(&database, "UPDATE shop.users SET is_active = FALSE").await);
}

/// What cannot be watched is read for each request, and said.
#[tokio::test]
async fn what_changes_without_a_write_is_not_trusted_on_postgres() {
    for (from, to, reason) in [
        ("NOT u.is_active AS", "(NOT u.is_active OR u.last_seen < now()) AS", "`now` changes its result"),
        ("shop.users u", "shop.mirror u", "materialized view"),
        ("NOT u.is_active AS", "shop.is_off(u.id) AS", "is_off(uuid)"),
        ("shop.users u", "shop.timed u", "`now` in the view"),
        ("admins_key = ", "watch = [\"shop.nothing\"]\nadmins_key = ", "shop.nothing"),
        ("sessions_key = ", "triggers = false\nsessions_key = ", "`[console] triggers` is false"),
        ("shop.users.id", "shop.users.uuid", "no column"),
    ] {
        let database =
            Database::empty_postgres().await.reading(relations(&SHOP_SETTINGS.replace(from, to))).await;
        database.execute(SHOP).await;
        database
            .execute(
                "CREATE MATERIALIZED VIEW shop.mirror AS SELECT * FROM shop.users;
                 CREATE VIEW shop.timed AS SELECT id, email, is_active AND last_seen > now() AS is_active, last_seen FROM shop.users;
                 CREATE FUNCTION shop.is_off(of UUID) RETURNS BOOLEAN LANGUAGE sql STABLE AS
                     'SELECT NOT is_active FROM shop.users WHERE id = of'",
            )
            .await;
        database.store.migrate().await.unwrap();
        let watch = database.store.install_triggers().await.unwrap();
        assert!(watch.gaps.iter().any(|gap| gap.contains(reason)), "{reason}: {watch:?}");
        assert!(!database.store.control().await.unwrap().console_watched, "{reason}");
        assert_eq!(standing(&database, BEN, None).await, Standing::Disabled, "{reason}");
    }
}

/// Ids that are numbers are given away again: who has the number next must hold nothing of it.
async fn an_admin_who_is_deleted_leaves_nothing(database: &Database, users: &str, id: &str, again: &str) {
    database.store.join_group(&AdminId::new(id), "raxx-devops-team", "test").await.unwrap();
    database.execute(&format!("DELETE FROM {users} WHERE id = '{id}'")).await;
    assert_eq!(database.store.pending_erasures().await.unwrap(), [id]);
    assert_eq!(database.number("SELECT count(*) FROM rbac_user_groups").await, 0);
    database.execute(again).await;
    let other = holds(database, id, None).await;
    assert_eq!((other.standing, other.roles.len(), other.groups.len()), (Standing::Active, 0, 0));
}

#[tokio::test]
async fn an_admin_who_is_deleted_leaves_nothing_on_postgres() {
    let database = shop().await;
    let again = format!("INSERT INTO shop.users (id, email, is_active) VALUES ('{DORA}', 'new', TRUE)");
    an_admin_who_is_deleted_leaves_nothing(&database, "shop.users", DORA, &again).await;
}

#[tokio::test]
async fn an_admin_who_is_deleted_leaves_nothing_on_sqlite() {
    let database = kiosk().await;
    database.execute("DELETE FROM logins").await;
    an_admin_who_is_deleted_leaves_nothing(
        &database,
        "users",
        "10",
        "INSERT INTO users (id, name) VALUES (10, 'New')",
    )
    .await;
}

/// All of it goes, and what is left of Console's is what it was.
#[tokio::test]
async fn the_triggers_can_be_taken_off_again_on_postgres() {
    let database = shop().await;
    let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'console\\_gate\\_%'";
    let functions = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'console\\_gate\\_%'";
    assert!(database.number(left).await > 8 && database.number(functions).await > 4);
    let removed = release(&database).await;
    assert!(removed.len() > 8, "{removed:?}");
    assert_eq!((database.number(left).await, database.number(functions).await), (0, 0));
    assert!(!raises(&database, "UPDATE shop.users SET is_active = FALSE").await);
    assert!(!database.store.control().await.unwrap().console_watched);
    let database = kiosk().await;
    let removed = release(&database).await;
    let of_kiosk = removed.iter().filter(|name| name.starts_with("console_gate_"));
    assert_eq!(of_kiosk.count(), 6, "{removed:?}");
    assert!(removed.iter().any(|name| name.starts_with("gate_rbac_write_")), "{removed:?}");
    let left = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name <> 'customer_audit_events' AND tbl_name NOT LIKE 'gate\\_%' ESCAPE '\\'";
    assert_eq!(database.number(left).await, 0);
    assert!(!raises(&database, "UPDATE users SET role = 'x'").await);
}

/// Nobody of Console's waits for long: a writer that holds a table is let by, and the triggers come after it.
#[tokio::test]
async fn a_writer_of_consoles_is_not_held_up_on_postgres() {
    use std::time::Duration;

    let database = shop().await;
    release(&database).await;
    let crate::database::Raw::Postgres(pool) = &database.raw else { panic!("Postgres") };
    let mut writer = pool.begin().await.unwrap();
    sqlx::query("UPDATE shop.user_roles SET role_id = 2").execute(&mut *writer).await.unwrap();
    let terms = MigrationTerms { patience: Duration::from_secs(1), ..MigrationTerms::default() };
    let error = database.store.install_triggers_within(terms).await.unwrap_err();
    assert_eq!(error.kind(), "busy", "{error}");
    let there = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'console\\_gate\\_%'";
    assert_eq!(database.number(there).await, 0);
    writer.commit().await.unwrap();
    assert!(database.store.install_triggers().await.unwrap().is_new);
}

/// Requests go on while a trigger is dropped and roles change: the next request sees each change, whatever is cached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_missed_when_a_trigger_is_dropped_under_load_on_postgres() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use clock::SystemClock;
    use console_gate::freshness::{AccessResolver, Posture};
    use policy::mapping::Freshness;

    let database = shop().await;
    let posture = Posture { flag_at_start: None, production: false };
    let resolver =
        Arc::new(AccessResolver::start(database.store.clone(), Arc::new(SystemClock), posture, 100));
    let ask = async |resolver: &AccessResolver| {
        let subject = Subject::Admin { id: AdminId::new(ANNA), session: None };
        let control = resolver.observe(Freshness::Strict).await.unwrap();
        resolver.resolve(&subject, control.epoch).await.unwrap().legacy.contains(&LegacyRole::literal("ops"))
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (resolver, is_over) = (resolver.clone(), is_over.clone());
            tokio::spawn(async move {
                let subject = Subject::Admin { id: AdminId::new(ANNA), session: None };
                let mut asked = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let control = resolver.observe(Freshness::Strict).await.unwrap();
                    resolver.resolve(&subject, control.epoch).await.unwrap();
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    assert!(ask(&resolver).await);
    database
        .execute("DROP TRIGGER console_gate_on_write ON shop.user_roles; DROP TRIGGER console_gate_on_update ON shop.user_roles")
        .await;
    for _ in 0..20 {
        assert!(!raises(&database, "DELETE FROM shop.user_roles").await, "no trigger is there to raise it");
        assert!(!ask(&resolver).await);
        database
            .execute(&format!("INSERT INTO shop.user_roles (user_id, role_id) VALUES ('{ANNA}', 1)"))
            .await;
        assert!(ask(&resolver).await);
    }
    assert!(database.store.install_triggers().await.unwrap().is_new);
    assert!(raises(&database, "DELETE FROM shop.user_roles").await);
    assert!(!ask(&resolver).await);
    is_over.store(true, Ordering::Relaxed);
    for task in load {
        assert!(task.await.unwrap() > 20);
    }
}

/// What is proposed, as the tests below compare it: the section, and each of the people as a line.
async fn proposed(database: &Database) -> (String, Vec<String>) {
    let tables = database.store.console_tables().await.unwrap();
    let proposal = store::console::propose(&tables, database.is_postgres(), &Default::default());
    let section = proposal.section.replacen("[console]\n", "", 1);
    let reader = Database::open_with(&database.url, relations(&section)).await;
    assert_eq!(reader.store.console_mismatches().await.unwrap(), [], "{section}");
    let people = reader.store.console_people(10).await.unwrap().into_iter();
    let shown = people.map(|person| {
        let disabled = if person.is_disabled { " disabled" } else { "" };
        format!("{}{disabled}: {}", person.label, person.roles.join(" "))
    });
    (section, shown.collect())
}

#[tokio::test]
async fn a_shop_is_proposed_as_it_is_on_postgres() {
    let database = Database::empty_postgres().await;
    database.execute(SHOP).await;
    let (section, people) = proposed(&database).await;
    assert_eq!(
        section,
        r#"admins           = "SELECT u.id, NOT u.is_active AS disabled, u.email AS label FROM shop.users u WHERE u.id = $1::uuid"
all_admins       = "SELECT u.id, NOT u.is_active AS disabled, u.email AS label FROM shop.users u"
legacy_roles     = "SELECT r.name AS role, ur.until AS until FROM shop.user_roles ur JOIN shop.roles r ON r.id = ur.role_id WHERE ur.user_id = $1::uuid"
all_legacy_roles = "SELECT ur.user_id AS admin_id, r.name AS role, ur.until AS until FROM shop.user_roles ur JOIN shop.roles r ON r.id = ur.role_id"
sessions         = "SELECT s.id, s.user_id AS admin_id, s.expires_at AS ends FROM shop.sessions s WHERE s.id = $1"
sessions_key     = "shop.sessions.id"
admins_key       = "shop.users.id"
"#
    );
    assert_eq!(
        people,
        [
            "anna@example.org: ops",
            "ben@example.org disabled: ops",
            "carl@example.org disabled: ops",
            "dora@example.org: "
        ]
    );
}

#[tokio::test]
async fn a_kiosk_is_proposed_as_it_is_on_sqlite() {
    let database = Database::empty_sqlite().await;
    database.execute(KIOSK).await;
    let (section, people) = proposed(&database).await;
    assert!(
        section
            .contains("u.deleted_at IS NOT NULL AS disabled, u.name AS label FROM users u WHERE u.id = $1"),
        "{section}"
    );
    assert!(section.contains("SELECT u.role AS role FROM users u WHERE u.id = $1"), "{section}");
    assert!(section.contains("FROM logins s WHERE s.id = $1"), "{section}");
    assert_eq!(people, ["Anna: ops", "Dora: support", "Ben disabled: ops"]);
}

async fn the_documents_tables_need_no_section(database: &Database) {
    database
        .execute(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org');
             INSERT INTO admin_roles (admin_id, role) VALUES ('anna', 'ops'), ('anna', 'support')",
        )
        .await;
    let (section, people) = proposed(database).await;
    assert_eq!((section.as_str(), people), ("", vec!["anna@example.org: ops support".to_owned()]));
}

on_both!(the_documents_tables_need_no_section);

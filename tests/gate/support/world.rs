//! A database with people in it, and the gates in front of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use ledger::keys::KeyRing;
use ledger::{AuditRecord, Notary, Note};
use policy::identity::flask_cookie::SigningKeys;
use policy::ids::AdminId;
use policy::rbac::LegacyRole;
use serde_json::json;
use store::{DatabaseUrl, SharedStore, StoreOptions};

use super::console::{AUDIT_KEYS, SECRET_KEY};
use super::postgres::Postgres;
use super::{Gate, Setup, template};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// A migrated database of the test's own, and a folder for its gates.
pub struct World {
    /// The same database as the gates see it, for people and for assertions.
    pub store: SharedStore,
    pub database_url: String,
    /// The same for the gates, who may be another role.
    gates_url: String,
    keys: SigningKeys,
    gates: AtomicUsize,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn new(database: Database) -> World {
        // Not `temp_dir()`: the path of a socket is limited to 107 bytes.
        let folder = tempfile::Builder::new().prefix("gate-").tempdir_in("/tmp").expect("a folder in /tmp");
        let template = template::seeded();
        let database_url = match database {
            Database::Sqlite => {
                let file = folder.path().join("gate.sqlite");
                template.sqlite(&file);
                format!("sqlite:{}", file.display())
            }
            Database::Postgres => Postgres::shared().copy(&template.key(), template.migrate),
        };
        World::of(folder, database_url).await
    }

    /// The same on a database that the test has made.
    pub async fn on(database_url: String) -> World {
        let folder = tempfile::Builder::new().prefix("gate-").tempdir_in("/tmp").expect("a folder in /tmp");
        template::migrate(&database_url, AUDIT_KEYS);
        World::of(folder, database_url).await
    }

    async fn of(folder: tempfile::TempDir, database_url: String) -> World {
        let options = StoreOptions {
            url: DatabaseUrl::parse(&database_url).expect("a URL that was just made"),
            max_connections: 16,
            timeout: Duration::from_secs(30),
            console: store::console::Relations::default(),
        };
        let store = store::open(&options).await.expect("the database opens");
        let keys = SigningKeys::new(SECRET_KEY.as_bytes(), [""; 0]).expect("a key");
        World {
            store,
            gates_url: database_url.clone(),
            database_url,
            keys,
            gates: AtomicUsize::new(0),
            folder,
        }
    }

    /// A Postgres database whose gates, and the commands beside them, connect as a role with the rights that
    /// `migrate --grant-to` gives, and no other.
    pub async fn of_least_role() -> World {
        let mut world = World::new(Database::Postgres).await;
        Postgres::shared().execute(
            "DO $$ BEGIN CREATE ROLE gate_app LOGIN;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        );
        let granting = world.store.grant_to("gate_app").await.expect("a role that was just made");
        assert!(granting.left.is_empty(), "{granting:?}");
        world.gates_url = world.database_url.replace("postgres://postgres@", "postgres://gate_app@");
        assert_ne!(world.gates_url, world.database_url, "gates of a role of their own");
        world
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Starts a gate on this database.
    pub async fn gate(&self, setup: &Setup) -> Gate {
        let number = self.gates.fetch_add(1, Ordering::Relaxed);
        Gate::start(self.folder.path().join(format!("gate-{number}")), &self.gates_url, setup).await
    }

    /// Adds an admin.
    pub async fn admin(&self, id: &str, groups: &[&str], legacy: &[LegacyRole]) {
        let admin = AdminId::new(id);
        let added = self.store.add_admin(&admin, &format!("{id}@example.com"), id).await;
        added.unwrap_or_else(|error| panic!("{id}: {error}"));
        for group in groups {
            self.store.join_group(&admin, group, "tests").await.expect("a group to join");
        }
        for role in legacy {
            self.store.add_legacy_role(&admin, role, "tests").await.expect("a role to hold");
        }
    }

    /// Adds a group that holds `roles`, and an admin of the same name in it.
    pub async fn admin_holding(&self, id: &str, roles: &[&str]) {
        self.store.add_group(id, roles).await.unwrap_or_else(|error| panic!("{id}: {error}"));
        self.admin(id, &[id], &[]).await;
    }

    /// A session cookie of an admin, as Console signs it.
    pub fn cookie(&self, admin: &str) -> String {
        self.keys.sign(&json!({ "admin_id": admin }), Utc::now())
    }

    /// A record that the store is to seal, with the gates' own key.
    pub fn note(&self, record: AuditRecord) -> Note {
        Notary::new(KeyRing::parse(AUDIT_KEYS).expect("the keys of the tests")).note(record)
    }

    /// A cookie with this payload, signed at `issued_at`.
    pub fn sign(&self, payload: &serde_json::Value, issued_at: DateTime<Utc>) -> String {
        self.keys.sign(payload, issued_at)
    }

    /// How many denials the database has.
    pub async fn denials(&self) -> usize {
        let events = self.store.recent(1_000_000).await.expect("the audit rows");
        events.iter().filter(|event| event.event_type == "access_denied").count()
    }

    /// How to reach the Postgres database around the gate: both the gate's schema and Console's are looked through.
    pub fn around(&self) -> sqlx::postgres::PgConnectOptions {
        let options: sqlx::postgres::PgConnectOptions = self.database_url.parse().expect("a Postgres URL");
        options.options([("search_path", "console_gate,public")])
    }

    /// Makes every insert into a table fail, or takes that back.
    pub async fn break_inserts(&self, table: &str, broken: bool) {
        let statement = match (self.database_url.starts_with("sqlite:"), broken) {
            (true, true) => format!(
                "CREATE TRIGGER broken_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
            ),
            (true, false) => format!("DROP TRIGGER broken_{table}"),
            (false, true) => format!(
                "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
                 CREATE TRIGGER aaa_broken BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"
            ),
            (false, false) => format!("DROP TRIGGER aaa_broken ON {table}"),
        };
        self.execute(&statement).await;
    }

    /// Runs a statement around the gate, as Console would.
    pub async fn execute(&self, statement: &str) {
        use sqlx::Connection as _;
        if self.database_url.starts_with("sqlite:") {
            let mut connection = sqlx::SqliteConnection::connect(&self.database_url).await.expect("SQLite");
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
                .execute(&mut connection)
                .await
                .expect("SQLite takes the statement");
        } else {
            let mut connection = sqlx::PgConnection::connect_with(&self.around()).await.expect("Postgres");
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
                .execute(&mut connection)
                .await
                .expect("Postgres takes the statement");
        }
    }
}

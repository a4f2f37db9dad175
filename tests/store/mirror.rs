//! Console's own audit table: it has each denial once and in order, and whatever is wrong with it, the sealed row is there.

use std::time::Duration;

use console_gate::journal::erasure;
use ledger::AuditRecord;
use store::console::mirror::{ColumnSource, MirrorError, MirrorOptions};

use crate::audit::{denial, entry, notary, sealed};
use crate::database::{Database, PATIENCE, noon};

/// Console's table, as its own migrations would make it on either database.
async fn with_table(database: &Database) {
    let table = match database.is_postgres() {
        true => {
            "CREATE TABLE audit_log (
                 n BIGSERIAL, id UUID PRIMARY KEY, action VARCHAR(40) NOT NULL, actor TEXT, at TIMESTAMPTZ NOT NULL,
                 ip INET, epoch BIGINT, user_no INTEGER, details JSONB NOT NULL, seen BOOLEAN NOT NULL DEFAULT false)"
        }
        false => {
            "CREATE TABLE audit_log (
                 n INTEGER PRIMARY KEY, id CHAR(32) NOT NULL UNIQUE, action VARCHAR(40) NOT NULL, actor TEXT,
                 at DATETIME NOT NULL, ip TEXT, epoch BIGINT, user_no INTEGER, details JSON NOT NULL,
                 seen BOOLEAN NOT NULL DEFAULT 0)"
        }
    };
    database.execute(table).await;
}

fn field(name: &str) -> ColumnSource {
    ColumnSource::Field(name.into())
}

fn options() -> MirrorOptions {
    let columns = [
        ("id", field("event_id")),
        ("action", ColumnSource::Constant("access_denied".into())),
        ("actor", field("actor")),
        ("at", field("time")),
        ("ip", field("client_address")),
        ("epoch", field("epoch")),
        ("user_no", field("actor")),
        ("details", ColumnSource::Json(vec!["method".into(), "path".into(), "reason".into()])),
    ];
    MirrorOptions {
        table: "audit_log".into(),
        columns: columns.map(|(name, source)| (name.to_owned(), source)).into(),
        events: vec!["access_denied".into()],
    }
}

async fn mirrored(database: &Database) {
    with_table(database).await;
    database.store.set_mirror(options(), None, Duration::from_millis(200));
    database.store.check_mirror().await.unwrap();
}

fn by(number: u32, actor: &str) -> ledger::Entry {
    sealed(AuditRecord { actor_id: Some(actor.into()), ..denial(number) })
}

/// The numbers of the denials in Console's table, in the order in which they came.
async fn there(database: &Database) -> Vec<u128> {
    let ids = database.texts("SELECT CAST(id AS TEXT) FROM audit_log ORDER BY n").await;
    ids.iter().map(|id| uuid::Uuid::parse_str(id).unwrap().as_u128()).collect()
}

async fn waiting(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM gate_audit_outbox").await
}

async fn durable(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM gate_audit_events").await
}

async fn a_denial_is_there_at_once(database: &Database) {
    mirrored(database).await;
    let other = AuditRecord { event_type: "mapping_refused".into(), ..denial(2) };
    database.store.append(&[by(1, "7"), sealed(other), entry(3)]).await.unwrap();
    assert_eq!(there(database).await, [1, 3]);
    assert_eq!(waiting(database).await, 0);
    let select = match database.is_postgres() {
        true => {
            "SELECT action || ' ' || actor || ' ' || COALESCE(user_no::text, '-') || ' ' || host(ip) || ' '
                    || (details->>'method') || ' ' || (at = '2026-03-29T12:00:00.123457Z') || ' ' || epoch
               FROM audit_log ORDER BY n LIMIT 1"
        }
        false => {
            "SELECT action || ' ' || actor || ' ' || user_no || ' ' || ip || ' ' || json_extract(details, '$.method')
                    || ' ' || at || ' ' || epoch FROM audit_log ORDER BY n LIMIT 1"
        }
    };
    let at = if database.is_postgres() { "true" } else { "2026-03-29 12:00:00.123457" };
    let expected = format!("access_denied 7 7 203.0.113.0 POST {at} {}", i64::MAX);
    assert_eq!(database.texts(select).await, [expected]);
    // `anna` is no number: the row is there without it.
    assert_eq!(database.number("SELECT count(*) FROM audit_log WHERE user_no IS NULL").await, 1);
    // Replayed from a spool, of which it is not known what was committed.
    assert_eq!(database.store.append_missing(&[entry(3), entry(4)]).await.unwrap(), 1);
    assert_eq!(there(database).await, [1, 3, 4]);
}

async fn a_table_that_is_gone_costs_no_row_and_no_order(database: &Database) {
    mirrored(database).await;
    database.store.append(&[entry(1)]).await.unwrap();
    database.execute("ALTER TABLE audit_log RENAME TO away").await;
    database.store.append(&[entry(2), entry(3)]).await.unwrap();
    assert_eq!((durable(database).await, waiting(database).await), (3, 2));
    let delivery = database.store.deliver_mirror().await.unwrap();
    assert_eq!((delivery.rows, delivery.waiting), (0, 2));
    assert!(delivery.problem.unwrap().contains("audit_log"));

    database.execute("ALTER TABLE away RENAME TO audit_log").await;
    database.store.append(&[entry(4)]).await.unwrap();
    assert_eq!(there(database).await, [1], "a new row does not overtake those that wait");
    let delivery = database.store.deliver_mirror().await.unwrap();
    assert_eq!((delivery.rows, delivery.waiting, delivery.problem), (3, 0, None));
    database.store.append(&[entry(5)]).await.unwrap();
    assert_eq!(there(database).await, [1, 2, 3, 4, 5]);
    assert_eq!(waiting(database).await, 0);
}

/// A column that Console renames while the gate runs.
async fn a_renamed_column_costs_no_row(database: &Database) {
    mirrored(database).await;
    database.store.append(&[entry(1)]).await.unwrap();
    database.execute("ALTER TABLE audit_log RENAME COLUMN actor TO who").await;
    database.store.append(&[entry(2)]).await.unwrap();
    assert_eq!((durable(database).await, waiting(database).await), (2, 1));
    let problem = database.store.deliver_mirror().await.unwrap().problem.unwrap();
    assert!(problem.contains("has no column `actor`"), "{problem}");
    database.execute("ALTER TABLE audit_log RENAME COLUMN who TO actor").await;
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 1);
    assert_eq!(there(database).await, [1, 2]);
}

#[tokio::test]
async fn a_locked_table_costs_no_row_and_little_time_on_postgres() {
    let database = Database::postgres().await;
    mirrored(&database).await;
    let mut holder = database.store.postgres().unwrap().begin().await.unwrap();
    sqlx::query("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let began = std::time::Instant::now();
    database.store.append(&[entry(1)]).await.unwrap();
    database.store.append(&[entry(2)]).await.unwrap();
    assert!(began.elapsed() < PATIENCE / 2, "the lock is held all the while");
    assert_eq!((durable(&database).await, waiting(&database).await), (2, 2));
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 0);
    holder.rollback().await.unwrap();
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 2);
    assert_eq!(there(&database).await, [1, 2]);
}

/// The table is in a schema of Console's own, and its trigger names things as Console does: the gate's own statements in the
/// same transaction find theirs all the same.
#[tokio::test]
async fn the_tables_own_triggers_find_what_they_name_on_postgres() {
    let database = Database::postgres().await;
    database
        .execute(
            "CREATE SCHEMA shop;
             CREATE TABLE shop.audit_log (id UUID PRIMARY KEY, action TEXT);
             CREATE TABLE shop.counts (n INTEGER);
             CREATE FUNCTION shop.count_it() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO counts VALUES (1); RETURN NULL; END';
             CREATE TRIGGER count_it AFTER INSERT ON shop.audit_log FOR EACH ROW EXECUTE FUNCTION shop.count_it()",
        )
        .await;
    let store = Database::open(&database.url).await.store;
    let columns = [("id", field("event_id")), ("action", field("event"))];
    let options = MirrorOptions {
        table: "shop.audit_log".into(),
        columns: columns.map(|(name, source)| (name.to_owned(), source)).into(),
        ..options()
    };
    store.set_mirror(options, None, Duration::from_millis(500));
    store.check_mirror().await.unwrap();
    store.append(&[entry(1)]).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM shop.counts").await, 1);
    database.execute("ALTER TABLE shop.counts RENAME TO away").await;
    store.append(&[entry(2)]).await.unwrap();
    database.execute("ALTER TABLE shop.away RENAME TO counts").await;
    assert_eq!(store.deliver_mirror().await.unwrap().rows, 1);
    assert_eq!(database.number("SELECT count(*) FROM shop.counts").await, 2);
    assert_eq!(database.number("SELECT count(*) FROM gate_audit_outbox").await, 0);
}

/// An attempt that was cancelled from outside is not repeated: the row has waited long enough.
#[tokio::test]
async fn an_attempt_that_ran_out_of_time_is_not_repeated_on_postgres() {
    let database = Database::postgres().await;
    with_table(&database).await;
    database.store.set_mirror(options(), None, PATIENCE);
    database.store.check_mirror().await.unwrap();
    let mut holder = database.store.postgres().unwrap().begin().await.unwrap();
    sqlx::query("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let rows = [entry(1)];
    let tried = tokio::time::timeout(Duration::from_millis(500), database.store.append(&rows)).await;
    assert!(tried.is_err(), "the table is locked for as long as the attempt may take");
    assert_eq!(durable(&database).await, 0);
    assert_eq!(database.store.append_missing(&rows).await.unwrap(), 1);
    assert_eq!((durable(&database).await, waiting(&database).await), (1, 1));
    holder.rollback().await.unwrap();
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 1);
}

/// What is checked at the end of a transaction would take the sealed row with it.
#[tokio::test]
async fn a_deferred_constraint_costs_no_row_on_postgres() {
    let database = Database::postgres().await;
    mirrored(&database).await;
    database
        .execute(
            "CREATE TABLE users (name TEXT PRIMARY KEY);
             ALTER TABLE audit_log ADD FOREIGN KEY (actor) REFERENCES users (name) DEFERRABLE INITIALLY DEFERRED",
        )
        .await;
    database.store.append(&[entry(1)]).await.unwrap();
    assert_eq!((durable(&database).await, waiting(&database).await), (1, 1));
}

/// A machine is no row of Console's admins: where the actor refers to one, it is NULL, and the denial is there.
async fn a_machine_is_nobody_where_the_actor_refers_to_admins(database: &Database) {
    let id = if database.is_postgres() { "UUID PRIMARY KEY" } else { "CHAR(32) PRIMARY KEY" };
    let time = if database.is_postgres() { "TIMESTAMPTZ" } else { "DATETIME" };
    database
        .execute(&format!(
            "CREATE TABLE people (name VARCHAR(40) PRIMARY KEY);
             INSERT INTO people (name) VALUES ('anna');
             CREATE TABLE audit_log (
                 id {id}, at {time}, actor VARCHAR(40) REFERENCES people (name), who VARCHAR(40))"
        ))
        .await;
    let columns = [
        ("id", field("event_id")),
        ("at", field("time")),
        ("actor", field("actor")),
        ("who", field("actor")),
    ];
    let columns = columns.map(|(name, source)| (name.to_owned(), source)).into();
    let (table, events) = ("audit_log".into(), vec!["access_denied".into()]);
    database.store.set_mirror(MirrorOptions { table, columns, events }, None, Duration::from_millis(200));
    database.store.check_mirror().await.unwrap();
    let machine = AuditRecord { actor_kind: "machine".into(), actor_id: Some("m-1".into()), ..denial(2) };
    database.store.append(&[by(1, "anna"), sealed(machine)]).await.unwrap();
    assert_eq!(waiting(database).await, 0);
    let rows = database.texts("SELECT COALESCE(actor, '-') || ' ' || who FROM audit_log ORDER BY at").await;
    assert_eq!(rows, ["anna anna", "- m-1"]);
}

async fn a_row_that_is_refused_is_set_aside_and_others_pass(database: &Database) {
    mirrored(database).await;
    // Behind already, so that all of them go through the outbox.
    database.execute("ALTER TABLE audit_log RENAME TO away").await;
    database.store.append(&[by(1, "anna"), by(2, "ben"), by(3, "cleo")]).await.unwrap();
    database
        .execute("ALTER TABLE away RENAME TO audit_log; CREATE UNIQUE INDEX one_ben ON audit_log (actor)")
        .await;
    let copy = match database.is_postgres() {
        true => {
            "INSERT INTO audit_log (id, action, actor, at, details) VALUES (gen_random_uuid(), 'x', 'ben', now(), '{}')"
        }
        false => {
            "INSERT INTO audit_log (id, action, actor, at, details) VALUES ('00000000000000000000000000000063', 'x', 'ben', '', '{}')"
        }
    };
    database.execute(copy).await;
    let delivery = database.store.deliver_mirror().await.unwrap();
    assert_eq!((delivery.waiting, delivery.refused), (0, 1));
    let passed = "SELECT actor FROM audit_log ORDER BY n";
    assert_eq!(database.texts(passed).await, ["ben", "anna", "cleo"]);
    let why = database.texts("SELECT refused FROM gate_audit_outbox").await.remove(0);
    assert!(!why.contains("ben)"), "what was refused may be personal: {why}");
    // New rows pass it at once.
    database.store.append(&[by(4, "dora")]).await.unwrap();
    assert_eq!(database.texts(passed).await, ["ben", "anna", "cleo", "dora"]);
    database.execute("DROP INDEX one_ben").await;
    assert_eq!(database.store.retry_refused().await.unwrap(), 1);
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 1);
    assert_eq!(database.texts(passed).await, ["ben", "anna", "cleo", "dora", "ben"]);
}

async fn another_database_has_each_row_once(database: &Database) {
    let other = match database.is_postgres() {
        true => Database::empty_postgres().await,
        false => Database::empty_sqlite().await,
    };
    with_table(&other).await;
    database.store.set_mirror(options(), Some(other.store.clone()), Duration::from_millis(500));
    database.store.check_mirror().await.unwrap();
    database.store.append(&[entry(1), entry(2)]).await.unwrap();
    assert_eq!(waiting(database).await, 2);
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 2);
    assert_eq!(there(&other).await, [1, 2]);
    // Delivered, and its transaction here was lost.
    let again = format!("INSERT INTO gate_audit_outbox (event_id) VALUES ('{}')", uuid::Uuid::from_u128(2));
    database.execute(&again).await;
    database.store.append(&[entry(3)]).await.unwrap();
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 2);
    assert_eq!(there(&other).await, [1, 2, 3]);
    assert_eq!(waiting(database).await, 0);
}

/// Invariant I-6: what is erased before it was delivered is delivered without what was erased.
async fn an_erased_admin_is_not_delivered(database: &Database) {
    mirrored(database).await;
    database.execute("ALTER TABLE audit_log RENAME TO away").await;
    database.store.append(&[entry(1)]).await.unwrap();
    erasure::erase(&database.store, &notary(), "anna", "olga", noon()).await.unwrap();
    database.execute("ALTER TABLE away RENAME TO audit_log").await;
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 1);
    let count =
        "SELECT count(*) FROM audit_log WHERE actor IS NULL AND ip IS NULL AND action = 'access_denied'";
    assert_eq!(database.number(count).await, 1);
}

/// What commands record is delivered by a gate.
async fn events_of_commands_can_be_mirrored(database: &Database) {
    with_table(database).await;
    let options = MirrorOptions { events: vec!["flag_flipped".into()], ..options() };
    database.store.set_mirror(options, None, Duration::from_millis(200));
    let record = AuditRecord { event_type: "flag_flipped".into(), ..denial(9) };
    database.store.set_rbac_v2(true, "olga", noon(), &notary().note(record)).await.unwrap();
    assert_eq!(waiting(database).await, 1);
    assert_eq!(database.store.deliver_mirror().await.unwrap().rows, 1);
    assert_eq!(there(database).await, [9]);
}

async fn every_mistake_is_reported_at_once(database: &Database) {
    with_table(database).await;
    let columns = [
        ("actr", field("actor")),
        ("at", field("epoch")),
        ("details", ColumnSource::Json(vec!["methd".into()])),
        ("epoch", ColumnSource::Constant("many".into())),
        ("action", field("actin")),
    ];
    let options = MirrorOptions {
        columns: columns.map(|(name, source)| (name.to_owned(), source)).into(),
        ..options()
    };
    database.store.set_mirror(options, None, Duration::from_millis(200));
    let Err(MirrorError::Unsound(problems)) = database.store.check_mirror().await else {
        panic!("it is sound")
    };
    let problems = problems.join("\n");
    for words in [
        "has no column `actr`; did you mean `actor`?",
        "`at` is of the type",
        "no field `methd`; did you mean `method`?",
        "which cannot hold the constant `many`",
        "no field `actin`; did you mean `actor`?",
        "requires a value for `id`",
    ] {
        assert!(problems.contains(words), "no `{words}` in\n{problems}");
    }
}

#[tokio::test]
async fn a_missing_right_or_word_is_found_at_the_start_on_postgres() {
    let database = Database::postgres().await;
    with_table(&database).await;
    database.execute("CREATE TYPE verb AS ENUM ('denied'); ALTER TABLE audit_log ADD what verb").await;
    let mut with_word = options();
    with_word.columns.insert("what".into(), ColumnSource::Constant("access_denied".into()));
    database.store.set_mirror(with_word.clone(), None, Duration::from_millis(200));
    let error = database.store.check_mirror().await.unwrap_err().to_string();
    assert!(error.contains("which has no `access_denied`"), "{error}");
    // The word that the type has is written.
    let other = Database::open(&database.url).await;
    with_word.columns.insert("what".into(), ColumnSource::Constant("denied".into()));
    other.store.set_mirror(with_word, None, Duration::from_millis(200));
    other.store.check_mirror().await.unwrap();
    other.store.append(&[entry(1)]).await.unwrap();
    assert_eq!(there(&database).await, [1]);

    database
        .execute(
            "DO $$ BEGIN CREATE ROLE gate_mirror LOGIN;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             GRANT USAGE ON SCHEMA console_gate TO gate_mirror",
        )
        .await;
    let poor = Database::open(&database.url.replace("postgres://postgres@", "postgres://gate_mirror@")).await;
    poor.store.set_mirror(options(), None, Duration::from_millis(200));
    let error = poor.store.check_mirror().await.unwrap_err().to_string();
    assert!(error.contains("permission denied for table audit_log"), "{error}");
}

on_both!(
    a_denial_is_there_at_once,
    a_table_that_is_gone_costs_no_row_and_no_order,
    a_renamed_column_costs_no_row,
    a_machine_is_nobody_where_the_actor_refers_to_admins,
    a_row_that_is_refused_is_set_aside_and_others_pass,
    another_database_has_each_row_once,
    an_erased_admin_is_not_delivered,
    events_of_commands_can_be_mirrored,
    every_mistake_is_reported_at_once,
);

/// `migrate --grant-to` and the look at a start know what the mirror writes: the mapped columns, and what the defaults of
/// the others draw from.
#[tokio::test]
async fn a_least_role_is_granted_what_the_mirror_writes_on_postgres() {
    let database = Database::postgres().await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE gate_mirror LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             CREATE SCHEMA app; CREATE SCHEMA numbers; CREATE SEQUENCE numbers.lines;
             CREATE TABLE app.audit_log (
                 n BIGSERIAL, line BIGINT NOT NULL DEFAULT nextval('numbers.lines'),
                 i BIGINT GENERATED ALWAYS AS IDENTITY, id UUID PRIMARY KEY, action VARCHAR(40) NOT NULL, actor TEXT,
                 at TIMESTAMPTZ NOT NULL, ip INET, epoch BIGINT, user_no INTEGER, details JSONB NOT NULL,
                 seen BOOLEAN NOT NULL DEFAULT false, secret TEXT)",
        )
        .await;
    let options = || MirrorOptions { table: "app.audit_log".into(), ..options() };
    let limit = Duration::from_millis(200);
    database.store.set_mirror(options(), None, limit);
    let url = database.url.replace("postgres://postgres@", "postgres://gate_mirror@");
    let served = Database::open(&url).await;
    served.store.set_mirror(options(), None, limit);
    let lacks = async || -> Vec<String> {
        served.store.missing_rights().await.unwrap().0.into_iter().map(|right| right.what).collect()
    };
    let missing = lacks().await;
    for what in [
        "USAGE on the schema app",
        "USAGE on the schema numbers",
        "INSERT (id, action, actor, at, ip, epoch, user_no, details) on app.audit_log",
        "USAGE on the sequence app.audit_log_n_seq",
        "USAGE on the sequence numbers.lines",
    ] {
        assert!(missing.iter().any(|missing| missing == what), "no `{what}` in {missing:#?}");
    }
    assert!(!missing.iter().any(|what| what.contains("audit_log_i_seq")), "{missing:#?}");

    let granting = database.store.grant_to("gate_mirror").await.unwrap();
    assert_eq!(granting.left, [""; 0]);
    assert_eq!(lacks().await, [""; 0]);
    served.store.check_mirror().await.unwrap();
    served.store.append(&[by(1, "7")]).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM app.audit_log").await, 1, "written at once");
    assert_eq!(waiting(&database).await, 0);
    // No more than that.
    let more = "SELECT (has_table_privilege('gate_mirror', 'app.audit_log', 'SELECT')
                    OR has_column_privilege('gate_mirror', 'app.audit_log', 'secret', 'INSERT')
                    OR has_sequence_privilege('gate_mirror', 'app.audit_log_i_seq', 'USAGE'))::int::bigint";
    assert_eq!(database.number(more).await, 0);
    // One by one: what the message grants is what lacks.
    for (revoke, what) in [
        ("REVOKE INSERT (actor) ON app.audit_log FROM gate_mirror", "INSERT (actor) on app.audit_log"),
        ("REVOKE USAGE ON SEQUENCE numbers.lines FROM gate_mirror", "USAGE on the sequence numbers.lines"),
        ("REVOKE USAGE ON SCHEMA app FROM gate_mirror", "USAGE on the schema app"),
    ] {
        database.execute(revoke).await;
        let (missing, _) = served.store.missing_rights().await.unwrap();
        assert_eq!(missing.iter().map(|right| right.what.as_str()).collect::<Vec<_>>(), [what]);
        database.execute(&missing[0].grant).await;
        assert_eq!(lacks().await, [""; 0]);
    }
}

/// Whose table is another's: the statements are left to its owner.
#[tokio::test]
async fn the_mirror_of_another_owner_is_left_to_that_owner_on_postgres() {
    let database = Database::postgres().await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE gate_migrator LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             DO $$ BEGIN CREATE ROLE gate_mirror_2 LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             CREATE SCHEMA app; CREATE TABLE app.audit_log (
                 n BIGSERIAL, id UUID PRIMARY KEY, action VARCHAR(40) NOT NULL, actor TEXT,
                 at TIMESTAMPTZ NOT NULL, ip INET, epoch BIGINT, user_no INTEGER, details JSONB NOT NULL);
             GRANT USAGE ON SCHEMA console_gate TO gate_migrator WITH GRANT OPTION;
             GRANT ALL ON ALL TABLES IN SCHEMA console_gate TO gate_migrator WITH GRANT OPTION;
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO gate_migrator WITH GRANT OPTION;
             GRANT SELECT ON app.audit_log TO gate_migrator WITH GRANT OPTION;
             GRANT ALL ON ALL FUNCTIONS IN SCHEMA console_gate TO gate_migrator WITH GRANT OPTION",
        )
        .await;
    let url = database.url.replace("postgres://postgres@", "postgres://gate_migrator@");
    let migrator = Database::open(&url).await;
    let options = MirrorOptions { table: "app.audit_log".into(), ..options() };
    migrator.store.set_mirror(options, None, Duration::from_millis(200));
    let left = migrator.store.grant_to("gate_mirror_2").await.unwrap().left;
    for statement in [
        "GRANT USAGE ON SCHEMA \"app\" TO \"gate_mirror_2\"",
        "GRANT INSERT (\"id\", \"action\", \"actor\", \"at\", \"ip\", \"epoch\", \"user_no\", \"details\") ON \
         \"app\".\"audit_log\" TO \"gate_mirror_2\"",
        "GRANT USAGE ON SEQUENCE \"app\".\"audit_log_n_seq\" TO \"gate_mirror_2\"",
    ] {
        assert!(left.iter().any(|left| left == statement), "no `{statement}` in {left:#?}");
    }
}

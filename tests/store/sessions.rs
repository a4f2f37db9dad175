//! Sessions that the cookie only names: read with whose they are, in one snapshot.

use std::sync::Arc;

use chrono::TimeDelta;
use policy::identity::Subject;
use policy::identity::session_key::{Lookup, SessionKey, TokenForm, TokenVerifier};
use policy::identity::session_payload::{PayloadFormat, PayloadReader};
use policy::ids::AdminId;
use policy::rbac::{RowDigest, Standing};
use store::console::{KeyColumn, Relations, Select, Source};
use store::{SharedStore, StoreError, StoreOptions};

use crate::database::{Database, PATIENCE, noon, options};

/// A store that reads sessions by this SELECT, and its payload if there is one.
async fn store(database: &Database, select: &str, key: Option<&str>, session_payload: bool) -> SharedStore {
    let console = Relations {
        sessions: Source::Written(Select::parse(select).unwrap()),
        sessions_key: key.map(|key| KeyColumn::parse(key).unwrap()),
        session_payload,
        ..Relations::default()
    };
    let options = StoreOptions { console, ..options(&database.url, PATIENCE) };
    store::open(&options).await.unwrap()
}

fn key(token: &str, payload: Option<PayloadFormat>) -> SessionKey {
    let payload =
        payload.map(|format| Arc::new(PayloadReader { format, admin_id_key: "admin_id".to_owned() }));
    let verifier =
        TokenVerifier { form: TokenForm::Opaque, lookup: Lookup::Value, key_prefix: String::new(), payload };
    verifier.verify(token, noon()).unwrap()
}

async fn standing(store: &SharedStore, key: &SessionKey) -> Standing {
    store.access(&Subject::Session(key.clone()), noon()).await.unwrap().standing
}

/// Anna is somebody.
async fn people(database: &Database) {
    database.store.add_admin(&AdminId::new("anna"), "anna@example.com", "Anna").await.unwrap();
    database.store.join_group(&AdminId::new("anna"), "raxx-support-team", "test").await.unwrap();
    let time = if database.is_postgres() { "TIMESTAMPTZ" } else { "TEXT" };
    database
        .execute(&format!(
            "CREATE TABLE sessions (id INTEGER, token TEXT, user_id TEXT, ends {time}, over BOOLEAN);
             INSERT INTO sessions VALUES
                 (1, 'token-of-anna', 'anna', '2027-01-01 00:00:00+00:00', FALSE),
                 (2, 'token-of-a-stranger', 'nobody-knows', NULL, FALSE),
                 (3, 'token-of-nobody', NULL, NULL, FALSE),
                 (4, 'token-of-two', 'anna', NULL, FALSE),
                 (5, 'token-of-two', 'anna', NULL, FALSE),
                 (6, 'token-that-is-over', 'anna', NULL, TRUE),
                 (7, 'token-of-unknown-end', 'anna', NULL, NULL)"
        ))
        .await;
}

const SELECT: &str =
    "SELECT s.id, s.user_id AS admin_id, s.ends, s.over AS ended FROM sessions s WHERE s.token = $1";

async fn a_session_is_read_with_whose_it_is(database: &Database) {
    people(database).await;
    let store = store(database, SELECT, Some("sessions.id"), false).await;
    let subject = Subject::Session(key("token-of-anna", None));
    let access = store.access(&subject, noon()).await.unwrap();
    assert_eq!(access.standing, Standing::Active);
    assert!(access.roles.contains("console-user"), "{access:?}");
    let session = access.session.unwrap();
    assert_eq!((session.admin.as_str(), session.id.as_str()), ("anna", "1"));
    assert_eq!(session.row, Some(RowDigest::of("1")));
    assert_eq!(access.valid_until.map(|end| end.to_rfc3339()).as_deref(), Some("2027-01-01T00:00:00+00:00"));

    // Its end needs no write.
    let end = access.valid_until.unwrap();
    let just_before = store.access(&subject, end - TimeDelta::milliseconds(1)).await.unwrap();
    assert_eq!(just_before.standing, Standing::Active);
    let ended = store.access(&subject, end).await.unwrap();
    assert_eq!((ended.standing, ended.session, ended.roles.len()), (Standing::SessionEnded, None, 0));

    for (token, expected) in [
        ("token-nobody-has", Standing::Unknown),
        ("token-of-a-stranger", Standing::Unknown),
        ("token-of-nobody", Standing::Unknown),
        ("token-of-two", Standing::Unknown),
        ("token-that-is-over", Standing::SessionEnded),
        ("token-of-unknown-end", Standing::SessionEnded),
    ] {
        assert_eq!(standing(&store, &key(token, None)).await, expected, "{token}");
    }
    database.execute("UPDATE admins SET disabled_at_utc = '2026-11-01T00:00:00.000+00:00'").await;
    assert_eq!(standing(&store, &key("token-of-anna", None)).await, Standing::Disabled);
}

/// The documents' own sessions can be named by an opaque cookie too.
async fn the_documents_table_needs_no_select(database: &Database) {
    people(database).await;
    let (anna, id) = (AdminId::new("anna"), policy::ids::SessionId::new("session-1"));
    database.store.add_session(&id, &anna, Some(noon() + TimeDelta::hours(1))).await.unwrap();
    let session_key = key("session-1", None);
    let access = database.store.access(&Subject::Session(session_key.clone()), noon()).await.unwrap();
    assert_eq!(access.standing, Standing::Active);
    let session = access.session.unwrap();
    assert_eq!(session.id, session_key.shown_id(None), "its id is what the cookie holds");
    assert_eq!(session.row, Some(RowDigest::of("session-1")));
}

/// Only of a plain column of the table itself is it known that a change is listed under it.
async fn a_row_is_known_only_by_its_key(database: &Database) {
    people(database).await;
    database.execute("CREATE VIEW current_sessions AS SELECT * FROM sessions").await;
    let table = [
        ("SELECT s.id, s.user_id AS admin_id FROM sessions s WHERE s.token = $1", Some("sessions.id"), true),
        (
            "SELECT s.id, s.user_id AS admin_id FROM sessions s WHERE s.token = $1",
            Some("sessions.token"),
            false,
        ),
        ("SELECT s.id, s.user_id AS admin_id FROM sessions s WHERE s.token = $1", None, false),
        (
            "SELECT s.id + 0 AS id, s.user_id AS admin_id FROM sessions s WHERE s.token = $1",
            Some("sessions.id"),
            false,
        ),
        (
            "SELECT s.token AS id, s.user_id AS admin_id FROM sessions s WHERE s.token = $1",
            Some("sessions.id"),
            false,
        ),
        ("SELECT s.id, s.user_id AS admin_id FROM sessions s WHERE s.token = $1", Some("admins.id"), false),
        // Which table a view's column is of is not the same on both databases; that it is the view's own is on neither.
        (
            "SELECT s.id, s.user_id AS admin_id FROM current_sessions s WHERE s.token = $1",
            Some("current_sessions.token"),
            false,
        ),
    ];
    for (select, sessions_key, expected) in table {
        let store = store(database, select, sessions_key, false).await;
        let subject = Subject::Session(key("token-of-anna", None));
        let session = store.access(&subject, noon()).await.unwrap().session.unwrap();
        assert_eq!(session.row.is_some(), expected, "{select} {sessions_key:?}");
    }
}

/// A key of an impossible form is no session, and no error contains it.
async fn a_key_of_another_type_is_no_session(database: &Database) {
    people(database).await;
    let select = match database.is_postgres() {
        true => "SELECT s.id, s.user_id AS admin_id FROM sessions s WHERE s.id = $1::uuid::text::integer",
        false => "SELECT s.id, s.user_id AS admin_id FROM sessions s WHERE s.id = $1",
    };
    let store = store(database, select, Some("sessions.id"), false).await;
    assert_eq!(standing(&store, &key("a-secret-token", None)).await, Standing::Unknown);
    if database.is_postgres() {
        // A UUID, which is no integer: the value passes the plan and not the row.
        let refused = "00000000-0000-0000-0000-000000000001";
        let outcome = store.access(&Subject::Session(key(refused, None)), noon()).await;
        let shown = match outcome {
            Ok(access) => format!("{:?}", access.standing),
            Err(error) => error.to_string(),
        };
        assert!(!shown.contains(refused), "{shown}");
    }
}

async fn a_payload_says_whose_a_session_is(database: &Database) {
    people(database).await;
    let (bytes, json) = if database.is_postgres() { ("BYTEA", "JSONB") } else { ("BLOB", "TEXT") };
    let (before, after) = if database.is_postgres() { ("'\\x", "'") } else { ("x'", "'") };
    // {"admin_id": "anna"}, {"admin_id": 7}
    let (anna, seven) = ("81a861646d696e5f6964a4616e6e61", "81a861646d696e5f696407");
    database
        .execute(&format!(
            "CREATE TABLE payloads (id TEXT, raw {bytes}, doc {json}, txt TEXT);
             INSERT INTO payloads VALUES
                 ('key-of-anna', {before}{anna}{after}, '{{\"admin_id\": \"anna\"}}', '{{\"admin_id\": \"anna\"}}'),
                 ('key-of-seven', {before}{seven}{after}, '{{\"admin_id\": 7}}', '{{\"admin_id\": 7}}'),
                 ('key-of-nobody', {before}80{after}, '{{}}', '{{}}'),
                 ('key-of-null', NULL, NULL, NULL),
                 ('key-of-rubbish', {before}ff00{after}, '[]', 'rubbish')"
        ))
        .await;
    for column in ["raw", "doc", "txt"] {
        let select = format!("SELECT p.id, p.{column} AS payload FROM payloads p WHERE p.id = $1");
        let store = store(database, &select, Some("payloads.id"), true).await;
        let format = || if column == "raw" { PayloadFormat::Msgpack } else { PayloadFormat::Json };
        for (token, expected) in [
            ("key-of-anna", Standing::Active),
            ("key-of-seven", Standing::Unknown),
            ("key-of-nobody", Standing::Unknown),
            ("key-of-null", Standing::Unknown),
            ("key-of-rubbish", Standing::Unknown),
            ("key-nobody-has", Standing::Unknown),
        ] {
            let key = key(token, Some(format()));
            let access = store.access(&Subject::Session(key), noon()).await.unwrap();
            assert_eq!(access.standing, expected, "{column} {token}");
            let is_odd = token == "key-of-rubbish" && column != "doc";
            assert_eq!(access.flaws.len(), usize::from(is_odd), "{column} {token}: {:?}", access.flaws);
            let row = access.session.and_then(|session| session.row);
            assert_eq!(row, (expected == Standing::Active).then(|| RowDigest::of(token)), "{column} {token}");
        }
        // Another reader than the store was opened for is a mistake of the gate's, and nobody gets in by it.
        let outcome = store.access(&Subject::Session(key("key-of-anna", None)), noon()).await;
        assert!(matches!(outcome, Err(StoreError::Unusable(_))), "{outcome:?}");
    }
    let cached = Subject::Session(key("key-of-anna", None)).without_credential();
    assert!(database.store.access(&cached, noon()).await.is_err(), "the copy of a cache opens nothing");
}

on_both!(
    a_session_is_read_with_whose_it_is,
    the_documents_table_needs_no_select,
    a_row_is_known_only_by_its_key,
    a_key_of_another_type_is_no_session,
    a_payload_says_whose_a_session_is,
);

//! Sessions whose cookie only names them: tables of Console's own, Flask-Session, and Django's.
//!
//! What Console signs and stores is made here by other code than the gate's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::rbac::LegacyRole;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::support::console::SECRET_KEY;
use crate::support::recorder::Recorder;
use crate::support::scene::MAPPING;
use crate::support::{Ask, Database, Gate, Setup, World};

/// Where Console keeps its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// A table with the token itself as its key.
    Token,
    /// A table with an id of its own, and the token's SHA-256.
    Hash,
    /// The token, signed as Flask-Session signs it.
    Signed,
    /// Flask-Session in SQLAlchemy.
    FlaskSession,
    Django,
}

impl Kept {
    const ALL: [Kept; 5] = [Kept::Token, Kept::Hash, Kept::Signed, Kept::FlaskSession, Kept::Django];

    fn session(self) -> &'static str {
        match self {
            Kept::Token => "kind = \"opaque\"\n",
            Kept::Hash => "kind = \"opaque\"\nlookup = \"sha256-hex\"\n",
            Kept::Signed => "kind = \"signed\"\nsalt = \"flask-session\"\nkey_derivation = \"hmac\"\n",
            Kept::FlaskSession => {
                "kind = \"opaque\"\nkey_prefix = \"session:\"\npayload = \"msgpack\"\nadmin_id_key = \"_user_id\"\n"
            }
            Kept::Django => "kind = \"opaque\"\npayload = \"django\"\nadmin_id_key = \"_auth_user_id\"\n",
        }
    }

    fn console(self) -> &'static str {
        match self {
            Kept::Token | Kept::Signed => {
                "[console]\n\
                 sessions = \"SELECT s.token AS id, s.user_id AS admin_id, s.ends FROM app_tokens s WHERE s.token = $1\"\n\
                 sessions_key = \"app_tokens.token\"\n"
            }
            Kept::Hash => {
                "[console]\n\
                 sessions = \"SELECT s.id, s.user_id AS admin_id, s.ends FROM app_hashes s WHERE s.token_sha256 = $1\"\n\
                 sessions_key = \"app_hashes.id\"\n"
            }
            Kept::FlaskSession => {
                "[console]\n\
                 sessions = \"SELECT s.session_id AS id, s.data AS payload, s.expiry AS ends FROM flask_sessions s WHERE s.session_id = $1\"\n\
                 sessions_key = \"flask_sessions.session_id\"\n"
            }
            Kept::Django => {
                "[console]\n\
                 sessions = \"SELECT s.session_key AS id, s.session_data AS payload, s.expire_date AS ends FROM django_session s WHERE s.session_key = $1\"\n\
                 sessions_key = \"django_session.session_key\"\n"
            }
        }
    }

    fn tables(database: Database) -> String {
        let (time, bytes, number) = match database {
            Database::Sqlite => ("TEXT", "BLOB", "INTEGER PRIMARY KEY"),
            Database::Postgres => ("TIMESTAMPTZ", "BYTEA", "BIGSERIAL PRIMARY KEY"),
        };
        format!(
            "CREATE TABLE app_tokens (token VARCHAR(255) PRIMARY KEY, user_id TEXT, ends {time});
             CREATE TABLE app_hashes (id {number}, token_sha256 TEXT UNIQUE, user_id TEXT, ends {time});
             CREATE TABLE flask_sessions (id {number}, session_id VARCHAR(255) UNIQUE, data {bytes}, expiry {time});
             CREATE TABLE django_session (session_key VARCHAR(40) PRIMARY KEY, session_data TEXT NOT NULL, expire_date {time} NOT NULL);"
        )
    }

    /// Logs `user` in under `token`.
    fn login(self, database: Database, token: &str, user: &str, ends: DateTime<Utc>) -> String {
        let ends = ends.to_rfc3339();
        match self {
            Kept::Token | Kept::Signed => {
                format!(
                    "INSERT INTO app_tokens (token, user_id, ends) VALUES ('{token}', '{user}', '{ends}')"
                )
            }
            Kept::Hash => {
                let hash = hex(&Sha256::digest(token));
                format!(
                    "INSERT INTO app_hashes (token_sha256, user_id, ends) VALUES ('{hash}', '{user}', '{ends}')"
                )
            }
            Kept::FlaskSession => {
                let payload = hex(&msgpack(user));
                let payload = match database {
                    Database::Sqlite => format!("x'{payload}'"),
                    Database::Postgres => format!("'\\x{payload}'"),
                };
                format!(
                    "INSERT INTO flask_sessions (session_id, data, expiry) VALUES ('session:{token}', {payload}, '{ends}')"
                )
            }
            Kept::Django => {
                let data = django(&json!({ "_auth_user_id": user, "_auth_user_hash": "f".repeat(64) }));
                format!(
                    "INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('{token}', '{data}', '{ends}')"
                )
            }
        }
    }

    fn logout(self, token: &str) -> String {
        match self {
            Kept::Token | Kept::Signed => format!("DELETE FROM app_tokens WHERE token = '{token}'"),
            Kept::Hash => {
                format!("DELETE FROM app_hashes WHERE token_sha256 = '{}'", hex(&Sha256::digest(token)))
            }
            Kept::FlaskSession => format!("DELETE FROM flask_sessions WHERE session_id = 'session:{token}'"),
            Kept::Django => format!("DELETE FROM django_session WHERE session_key = '{token}'"),
        }
    }

    /// What the browser sends.
    fn cookie(self, token: &str) -> String {
        match self {
            Kept::Signed => format!("{token}.{}", signature(SECRET_KEY, token)),
            Kept::Token | Kept::Hash | Kept::FlaskSession | Kept::Django => token.to_owned(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `{"_permanent": True, "_user_id": user}`
fn msgpack(user: &str) -> Vec<u8> {
    let text =
        |text: &str| [&[0xa0 | u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    [vec![0x82], text("_permanent"), vec![0xc3], text("_user_id"), text(user)].concat()
}

/// `Signer(secret, salt="flask-session", key_derivation="hmac")`
fn signature(secret: &str, value: &str) -> String {
    let mac = |key: &[u8], message: &[u8]| {
        Hmac::<Sha1>::new_from_slice(key)
            .expect("a key")
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec()
    };
    URL_SAFE_NO_PAD.encode(mac(&mac(secret.as_bytes(), b"flask-session"), value.as_bytes()))
}

/// `signing.dumps(session, salt="django.contrib.sessions.SessionStore")`
fn django(session: &Value) -> String {
    let signed = format!("{}:1vYxyz", URL_SAFE_NO_PAD.encode(session.to_string()));
    let key = Sha256::digest(format!("django.contrib.sessions.SessionStoresigner{SECRET_KEY}"));
    let mac =
        Hmac::<Sha256>::new_from_slice(&key).expect("a key").chain_update(&signed).finalize().into_bytes();
    format!("{signed}:{}", URL_SAFE_NO_PAD.encode(mac))
}

/// A gate whose Console keeps sessions so, and people.
struct Scene {
    kept: Kept,
    database: Database,
    world: World,
    gate: Gate,
    upstream: Recorder,
}

impl Scene {
    async fn new(kept: Kept, database: Database) -> Scene {
        let world = World::new(database).await;
        world.execute(&Kept::tables(database)).await;
        world.admin("anna", &["raxx-platform-admins"], &[LegacyRole::literal("superadmin")]).await;
        world.admin_holding("ben", &["console-user"]).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let setup = Setup {
            mapping: Some(MAPPING),
            upstream: Some(upstream.socket()),
            session: kept.session(),
            sections: kept.console(),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        // Puts the triggers on Console's tables.
        gate.run(&["migrate"]);
        Scene { kept, database, world, gate, upstream }
    }

    async fn login(&self, token: &str, user: &str) {
        let ends = Utc::now() + TimeDelta::days(1);
        self.world.execute(&self.kept.login(self.database, token, user, ends)).await;
    }

    async fn logout(&self, token: &str) {
        self.world.execute(&self.kept.logout(token)).await;
    }

    /// The status of a request to a row that anna may and ben may not.
    async fn status(&self, cookie: &str) -> u16 {
        self.gate.send(&Ask::get("/v/audit").cookie(cookie)).await.status
    }

    async fn loads(&self) -> f64 {
        self.gate.metric("gate_access_loads_total").await.unwrap_or_default()
    }
}

fn token(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(name))[..32].to_owned()
}

async fn every_way_to_begin_and_end(kept: Kept, database: Database) {
    let scene = Scene::new(kept, database).await;
    let place = format!("{kept:?} {database:?}");
    let (anna, ben) = (token("anna"), token("ben"));
    assert_eq!(scene.status(&kept.cookie(&anna)).await, 302, "{place}: unknown");
    scene.login(&anna, "anna").await;
    scene.login(&ben, "ben").await;

    assert_eq!(scene.status(&kept.cookie(&anna)).await, 200, "{place}: allowed, although unknown before");
    let loads = scene.loads().await;
    assert_eq!(scene.status(&kept.cookie(&anna)).await, 200, "{place}: allowed again");
    assert!((scene.loads().await - loads).abs() < 0.5, "{place}: the second time from the cache");
    let denied = scene.gate.send(&Ask::get("/v/audit").cookie(&kept.cookie(&ben))).await;
    assert_eq!(denied.status, 403, "{place}: denied");
    let rows = scene.world.store.by_request(denied.request_id()).await.expect("the audit rows");
    assert_eq!(rows.len(), 1, "{place}");
    assert_eq!(rows[0].actor_id.as_deref(), Some("ben"), "{place}");
    let named = rows[0].session_id.clone().expect("the session is named");
    // By a keyed hash, whatever the operator's SELECT returns as its id.
    assert!(named.len() == 32 && named.bytes().all(|byte| byte.is_ascii_hexdigit()), "{place}: {named}");

    // The assertion names whom the session is of, and not the credential.
    let recorded = scene.upstream.requests();
    let claims = recorded.last().expect("a request").claims();
    assert_eq!(claims["sub"], "anna", "{place}");
    assert!(!claims["sid"].as_str().expect("a session").is_empty(), "{place}");
    assert!(!claims.to_string().contains(&anna), "{place}");
    assert!(!scene.gate.log().contains(&anna), "{place}");

    // Another session's logout does not end hers; her own does, at the next request.
    scene.logout(&ben).await;
    let loads = scene.loads().await;
    assert_eq!(scene.status(&kept.cookie(&anna)).await, 200, "{place}: another session ended");
    // On SQLite a change of a session may concern everybody: a REPLACE removes rows without a trigger.
    if database == Database::Postgres {
        assert!((scene.loads().await - loads).abs() < 0.5, "{place}: and hers was not read again");
    }
    assert_eq!(scene.status(&kept.cookie(&ben)).await, 302, "{place}: revoked");
    scene.logout(&anna).await;
    assert_eq!(scene.status(&kept.cookie(&anna)).await, 302, "{place}: revoked while cached");

    let past = Utc::now() - TimeDelta::seconds(1);
    let old = token("old");
    scene.world.execute(&kept.login(database, &old, "anna", past)).await;
    assert_eq!(scene.status(&kept.cookie(&old)).await, 302, "{place}: ended by time");

    let stranger = token("stranger");
    scene.login(&stranger, "nobody-of-that-id").await;
    assert_eq!(scene.status(&kept.cookie(&stranger)).await, 302, "{place}: an unknown admin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_any_kind_begins_and_ends_on_sqlite() {
    for kept in Kept::ALL {
        every_way_to_begin_and_end(kept, Database::Sqlite).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_any_kind_begins_and_ends_on_postgres() {
    for kept in Kept::ALL {
        every_way_to_begin_and_end(kept, Database::Postgres).await;
    }
}

/// Of several tokens, the one that is somebody's counts, and two people's are nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_tokens_the_only_persons_counts() {
    for kept in [Kept::Token, Kept::Signed, Kept::FlaskSession] {
        let scene = Scene::new(kept, Database::Sqlite).await;
        let cookie = |name: &str| kept.cookie(&token(name));
        scene.login(&token("anna"), "anna").await;
        scene.login(&token("anna's other"), "anna").await;
        scene.login(&token("ben"), "ben").await;
        let table = [
            (vec![cookie("unknown"), cookie("anna")], 200, Some("anna")),
            (vec![cookie("anna"), cookie("unknown")], 200, Some("anna")),
            (vec!["short".to_owned(), cookie("anna"), "%%%".to_owned()], 200, Some("anna")),
            (vec![cookie("anna"), cookie("anna's other")], 200, Some("anna")),
            (vec![cookie("anna"), cookie("ben")], 302, None),
            (vec![cookie("unknown"), cookie("unknown too")], 302, None),
            (vec![cookie("unknown"), cookie("ben")], 403, None),
        ];
        for (cookies, status, forwarded) in table {
            let before = scene.upstream.requests().len();
            let place = format!("{kept:?}: {cookies:?}");
            assert_eq!(scene.status(&cookies.join("; session=")).await, status, "{place}");
            let seen = scene
                .upstream
                .requests()
                .split_off(before)
                .pop()
                .and_then(|request| request.header("cookie"));
            assert_eq!(seen, forwarded.map(|name| format!("session={}", cookie(name))), "{place}");
        }
    }
}

/// What cannot be a session's costs no look at the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_cookie_is_not_looked_up() {
    let scene = Scene::new(Kept::Signed, Database::Sqlite).await;
    let anna = token("anna");
    scene.login(&anna, "anna").await;
    assert_eq!(scene.status(&Kept::Signed.cookie(&anna)).await, 200);
    let loads = scene.loads().await;
    let forged = [
        (anna.clone(), "missing-part"),
        (format!("{anna}.{}", signature("another secret", &anna)), "bad-signature"),
        (format!("x{}", Kept::Signed.cookie(&anna)), "bad-signature"),
        (Kept::Signed.cookie("short"), "malformed-token"),
        (Kept::Signed.cookie(&"x".repeat(513)), "malformed-token"),
    ];
    for (cookie, reason) in forged {
        let metric = format!("gate_cookies_refused_total{{reason=\"{reason}\"}}");
        let before = scene.gate.metric(&metric).await.unwrap_or_default();
        assert_eq!(scene.status(&cookie).await, 302, "{cookie}");
        let after = scene.gate.metric(&metric).await.unwrap_or_default();
        assert!((after - before - 1.0).abs() < 0.5, "{cookie}: {reason}");
    }
    assert!((scene.loads().await - loads).abs() < 0.5);
    // One that is signed and unknown is looked up, once.
    for _ in 0..3 {
        assert_eq!(scene.status(&Kept::Signed.cookie(&token("unknown"))).await, 302);
    }
    assert!((scene.loads().await - loads - 1.0).abs() < 0.5);
}

/// A payload that is not Console's identifies nobody, and the operator gets a warning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_cannot_be_read_identifies_nobody() {
    let scene = Scene::new(Kept::Django, Database::Sqlite).await;
    let data = django(&json!({ "_auth_user_id": "anna" }));
    let (payload, rest) = data.split_once(':').expect("a signed payload");
    let other = URL_SAFE_NO_PAD.encode(json!({ "_auth_user_id": "anna", "x": 1 }).to_string());
    assert_ne!(payload, other);
    let table = [
        ("forged", format!("{other}:{rest}")),
        ("pickled", "gAR9cQCMDV9hdXRoX3VzZXJfaWRxAYwEYW5uYXECcy4=".to_owned()),
        ("empty", String::new()),
        ("nobody", django(&json!({}))),
        ("a number", django(&json!(7))),
    ];
    let ends = (Utc::now() + TimeDelta::days(1)).to_rfc3339();
    for (name, data) in table {
        let key = token(name);
        let insert = format!(
            "INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('{key}', '{data}', '{ends}')"
        );
        scene.world.execute(&insert).await;
        assert_eq!(scene.status(&key).await, 302, "{name}");
    }
    let refused = "gate_session_payloads_refused_total{reason=\"bad-signature\"}";
    assert_eq!(scene.gate.metric(refused).await, Some(1.0));
    assert!(scene.gate.log().contains("cannot be used"), "{}", scene.gate.log());
}

/// Flask's own session with an id of which Console's table has only the hash.
#[tokio::test]
async fn a_flask_session_whose_table_has_the_hash_of_its_id() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = World::new(database).await;
        world.execute(&Kept::tables(database)).await;
        world.admin("anna", &["raxx-platform-admins"], &[LegacyRole::literal("superadmin")]).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let setup = Setup {
            mapping: Some(MAPPING),
            upstream: Some(upstream.socket()),
            session: "session_id_key = \"sid\"\nsession_id_hash = \"sha256\"\n",
            sections: "[console]\n\
                 sessions = \"SELECT s.token_sha256 AS id, s.user_id AS admin_id, s.ends FROM app_hashes s WHERE s.token_sha256 = $1\"\n\
                 sessions_key = \"app_hashes.token_sha256\"\n",
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        gate.run(&["migrate"]);
        let status = async |sid: &str| {
            let cookie = world.sign(&json!({ "admin_id": "anna", "sid": sid }), Utc::now());
            gate.send(&Ask::get("/v/audit").cookie(&cookie)).await.status
        };
        let (first, second) = (token("first"), token("second"));
        assert_eq!(status(&first).await, 302, "{database:?}: no row");
        for sid in [&first, &second] {
            world.execute(&Kept::Hash.login(database, sid, "anna", Utc::now() + TimeDelta::days(1))).await;
            assert_eq!(status(sid).await, 200, "{database:?}");
        }
        let hash = hex(&Sha256::digest(&first));
        assert_eq!(status(&hash).await, 302, "{database:?}: the hash is no credential");
        world.execute(&Kept::Hash.logout(&first)).await;
        assert_eq!(
            (status(&first).await, status(&second).await),
            (302, 200),
            "{database:?}: one session ended"
        );
    }
}

//! Break-glass over HTTP: a passkey is registered, a session starts, what it lets in is recorded, and somebody else ends and
//! reviews it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use webauthn_authenticator_rs::WebauthnAuthenticator as _;
use webauthn_authenticator_rs::prelude::Url;
use webauthn_authenticator_rs::softpasskey::SoftPasskey;

use super::openapi::compare;
use super::{Api, BOTH, MAPPING, is_problem, names, text};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Ask, Database, Setup, World};

const REASON: &str = "the database is down, and nobody on call answers";
const ORIGIN: &str = "https://console.test";

/// Whoever is logged in reaches break-glass; who may do what there is no row's matter. `/invites` is for break-glass alone.
const ROWS: &str = r#"
"GET,POST /api/rbac/break-glass" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST,DELETE /api/rbac/break-glass/*" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/passkeys" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/passkeys/challenge" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/emergencies" = { role = "only-in-emergencies", gate = true, unauthenticated = "401" }
[blueprints.invites]
cluster = "V"
[blueprints.invites.routes]
"GET /invites/<int:id>" = { legacy = ["nobody"], role = "only-in-emergencies" }
"#;

const SESSIONS: &str = "/api/rbac/break-glass";
const SESSION: &str = "/api/rbac/break-glass/{id}";

/// A stand-in for Slack's incoming webhooks; it stops with this value.
struct Slack {
    address: std::net::SocketAddr,
    is_down: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Slack {
    async fn start() -> Slack {
        async fn webhook(State(is_down): State<Arc<AtomicBool>>) -> (StatusCode, &'static str) {
            match is_down.load(Ordering::SeqCst) {
                true => (StatusCode::INTERNAL_SERVER_ERROR, "rollup_error"),
                false => (StatusCode::OK, "ok"),
            }
        }
        let is_down = Arc::new(AtomicBool::new(false));
        let router = Router::new().route("/services/T0/B0/x", post(webhook)).with_state(is_down.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Slack { address, is_down, serving }
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Scene {
    api: Api,
    slack: Slack,
    key: SoftPasskey,
    document: Value,
}

impl Scene {
    async fn new(database: Database) -> Scene {
        Scene::with(database, "").await
    }

    async fn with(database: Database, audit: &'static str) -> Scene {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        for admin in ["anna", "petra"] {
            world.admin(admin, &["raxx-platform-admins"], &[]).await;
        }
        world.admin("ben", &["raxx-support-team"], &[]).await;
        let statement =
            "INSERT INTO rbac_roles (id, name) VALUES ('only-in-emergencies', 'only-in-emergencies');
            INSERT INTO rbac_group_roles (group_id, role_id)
            SELECT g.id, 'only-in-emergencies' FROM rbac_groups g WHERE g.name = 'break-glass'";
        world.execute(statement).await;
        let slack = Slack::start().await;
        let mapping: &'static str = Box::leak(format!("{MAPPING}{ROWS}").into_boxed_str());
        let setup = Setup {
            mapping: Some(mapping),
            upstream: Some(upstream.socket()),
            sections: "[break_glass]\norigin = \"https://console.test\"\n[alerts]\ndeadline_ms = 20000\n[alerts.slack]\n",
            variables: Some(vec![(
                "CONSOLE_GATE_SLACK_WEBHOOK",
                format!("http://{}/services/T0/B0/x", slack.address),
            )]),
            audit,
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        let api = Api { world, gate, upstream };
        let document = api.read("anna", "/api/rbac/openapi.json").await;
        let mut scene = Scene { api, slack, key: SoftPasskey::new(true), document };
        scene.register().await;
        scene
    }

    async fn post(&self, admin: &str, target: &str, body: &Value) -> Answer {
        self.api.ask(&self.api.write(admin, "POST", target, body)).await
    }

    /// Registers a passkey of Anna's with a code.
    async fn register(&mut self) {
        let code = self.api.gate.run(&["passkey", "invite", "anna"]);
        let (challenge, keys) = ("/api/rbac/passkeys/challenge", "/api/rbac/passkeys");
        let none = self.post("anna", challenge, &json!({ "label": "laptop" })).await;
        assert_eq!(none.status, 409, "{}", text(&none));
        let other = self.post("petra", challenge, &json!({ "label": "x", "code": code.trim() })).await;
        assert_eq!(other.status, 403, "a code is one admin's: {}", text(&other));
        let asked = self.post("anna", challenge, &json!({ "label": "laptop", "code": code.trim() })).await;
        assert_eq!(asked.status, 200, "{}", text(&asked));
        compare(&self.document, "POST", challenge, &asked);
        let asked = asked.json();
        let options = serde_json::from_value(json!({ "publicKey": asked["options"] })).expect("options");
        let credential = self.key.do_registration(origin(), options).expect("a credential");
        let answer = json!({ "challenge": asked["challenge"], "credential": credential });
        let registered = self.post("anna", keys, &answer).await;
        assert_eq!(registered.status, 201, "{}", text(&registered));
        compare(&self.document, "POST", keys, &registered);
        let listed = self.api.get("anna", keys).await;
        compare(&self.document, "GET", keys, &listed);
        assert_eq!(listed.json()["passkeys"][0]["label"], "laptop");
        let again = self.post("anna", keys, &answer).await;
        assert_eq!(again.status, 403, "{}", text(&again));
    }

    /// The answer of Anna's passkey to a challenge for a session.
    async fn signed(&mut self, wanted: &Value) -> Value {
        let target = "/api/rbac/break-glass/challenge";
        let asked = self.post("anna", target, wanted).await;
        assert_eq!(asked.status, 200, "{}", text(&asked));
        compare(&self.document, "POST", target, &asked);
        let asked = asked.json();
        let options = serde_json::from_value(json!({ "publicKey": asked["options"] })).expect("options");
        let credential = self.key.do_authentication(origin(), options).expect("a signature");
        let mut body = wanted.clone();
        body["answer"] = json!({ "challenge": asked["challenge"], "credential": credential });
        body
    }

    async fn started(&mut self) -> String {
        let body = self.signed(&wanted()).await;
        let started = self.post("anna", SESSIONS, &body).await;
        assert_eq!(started.status, 201, "{}", text(&started));
        compare(&self.document, "POST", SESSIONS, &started);
        assert_eq!(started.json()["alerted"], json!(["slack"]));
        assert_eq!(self.post("anna", SESSIONS, &body).await.status, 403, "an answer counts once");
        started.json()["id"].as_str().expect("an id").to_owned()
    }

    async fn invites(&self, number: u32) -> Answer {
        self.api.get("anna", &format!("/invites/{number}")).await
    }

    /// The audit rows of a request.
    async fn rows_of(&self, answer: &Answer) -> Vec<String> {
        let rows = self.api.world.store.by_request(answer.request_id()).await.expect("the rows");
        rows.into_iter().map(|row| row.event_type).collect()
    }
}

/// The path of a request's first line.
fn path_of(head: &str) -> String {
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn origin() -> Url {
    Url::parse(ORIGIN).expect("an origin")
}

fn wanted() -> Value {
    json!({ "reason": REASON, "minutes": 30, "ticket": "RAXX-7" })
}

#[tokio::test]
async fn what_a_session_lets_in_is_recorded_until_somebody_ends_and_reviews_it() {
    for database in BOTH {
        let mut scene = Scene::new(database).await;
        assert_eq!(scene.invites(1).await.status, 403);
        let id = scene.started().await;
        let used = scene.invites(7).await;
        assert_eq!(used.status, 200, "{}", text(&used));
        // What would be let in anyway is no use of it.
        let usual = scene.api.get("anna", "/audit").await;
        assert_eq!((usual.status, scene.rows_of(&usual).await), (200, Vec::new()));
        let one = format!("{SESSIONS}/{id}");
        let seen = scene.api.get("petra", &one).await;
        compare(&scene.document, "GET", SESSION, &seen);
        assert_eq!((&seen.json()["live"], &seen.json()["review"]["state"]), (&json!(true), &json!("open")));
        assert_eq!(scene.api.get("ben", &one).await.status, 404, "others' sessions are not for everybody");
        let none = scene.api.read("ben", SESSIONS).await;
        assert_eq!(none, json!({ "sessions": [] }));
        compare(&scene.document, "GET", SESSIONS, &scene.api.get("petra", SESSIONS).await);
        // The gate's own routes count too.
        let own = scene.api.get("anna", "/api/rbac/emergencies").await;
        assert_eq!(own.status, 404, "{}", text(&own));
        // Petra ends it: when that is answered, it lets nobody in.
        assert_eq!(
            scene.api.gate.send(&scene.api.write("ben", "DELETE", &one, &Value::Null)).await.status,
            404
        );
        let ended = scene.api.gate.send(&scene.api.write("petra", "DELETE", &one, &Value::Null)).await;
        assert_eq!(ended.status, 204, "{}", text(&ended));
        compare(&scene.document, "DELETE", SESSION, &ended);
        let denied = scene.invites(8).await;
        assert_eq!((denied.status, scene.rows_of(&denied).await), (403, vec!["access_denied".to_owned()]));
        // What it let in, with the answers: they are written behind the requests.
        let target = format!("{one}/requests");
        let requests = loop {
            let read = scene.api.get("petra", &target).await;
            compare(&scene.document, "GET", "/api/rbac/break-glass/{id}/requests", &read);
            let requests = read.json()["requests"].as_array().expect("requests").clone();
            if requests.iter().all(|request| !request["status"].is_null()) {
                break requests;
            }
            tokio::task::yield_now().await;
        };
        let said: Vec<String> = requests
            .iter()
            .map(|one| format!("{} {} {}", one["method"], one["path"], one["status"]))
            .collect();
        assert_eq!(said, ["\"GET\" \"/invites/7\" 200", "\"GET\" \"/api/rbac/emergencies\" 404"]);
        let mut kinds = scene.rows_of(&used).await;
        kinds.sort();
        assert_eq!(kinds, ["break_glass_answered", "break_glass_used"]);
        // An open review blocks the next one, and is closed by somebody else.
        let blocked = scene.post("anna", "/api/rbac/break-glass/challenge", &wanted()).await;
        assert_eq!(blocked.status, 409, "{}", text(&blocked));
        let review = format!("{one}/review");
        let comment = json!({ "comment": "it was right" });
        assert_eq!(scene.post("anna", &review, &comment).await.status, 403);
        assert_eq!(scene.post("ben", &review, &comment).await.status, 404);
        let closed = scene.post("petra", &review, &comment).await;
        compare(&scene.document, "POST", "/api/rbac/break-glass/{id}/review", &closed);
        assert_eq!(closed.json()["review"]["requests"], 2, "{}", text(&closed));
        scene.started().await;
        let (code, said) = scene.api.gate.attempt(&["audit", "verify"]);
        assert_eq!(code, 0, "{said}");
    }
}

/// Neither the database nor the spool takes the row of a request that rests on break-glass: it is not forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn a_use_that_cannot_be_recorded_is_not_forwarded() {
    let mut scene = Scene::with(Database::Postgres, "spool_bytes = 0\n").await;
    scene.started().await;
    assert_eq!(scene.invites(1).await.status, 200);
    let before = scene.api.upstream.requests().len();
    scene.api.world.execute("ALTER TABLE gate_audit_events RENAME TO away").await;
    assert_eq!(scene.invites(2).await.status, 503);
    assert_eq!(scene.api.get("anna", "/audit").await.status, 200, "what rests on nothing else goes on");
    let paths: Vec<String> =
        scene.api.upstream.requests()[before..].iter().map(|request| path_of(&request.head)).collect();
    assert_eq!(paths, ["/audit"]);
    scene.api.world.execute("ALTER TABLE away RENAME TO gate_audit_events").await;
}

#[tokio::test]
async fn without_an_accepted_alert_there_is_no_session() {
    for database in BOTH {
        let mut scene = Scene::new(database).await;
        scene.slack.is_down.store(true, Ordering::SeqCst);
        let body = scene.signed(&wanted()).await;
        let refused = scene.post("anna", SESSIONS, &body).await;
        assert_eq!(refused.status, 503, "{}", text(&refused));
        is_problem(&refused);
        assert_eq!(scene.invites(1).await.status, 403);
        assert_eq!(scene.api.read("petra", SESSIONS).await, json!({ "sessions": [] }));
        let drill = scene.command(&["break-glass", "drill"]).await;
        assert!(drill.0 == 1 && drill.1.contains("failed  alert"), "{drill:?}");
        scene.slack.is_down.store(false, Ordering::SeqCst);
        let drill = scene.command(&["break-glass", "drill"]).await;
        assert!(drill.0 == 1 && drill.1.contains("without a passkey: petra"), "{drill:?}");
        let id = scene.started().await;
        let listed = scene.command(&["break-glass", "list"]).await;
        assert!(listed.1.contains(&id) && listed.1.contains("review open"), "{listed:?}");
        assert_eq!(scene.command(&["break-glass", "end", &id]).await.0, 0);
        assert_eq!(scene.invites(1).await.status, 403);
        let review = ["break-glass", "review", &id, "--comment", "seen"];
        assert_eq!(scene.command(&review).await.0, 0);
        let key = scene.api.world.store.passkeys(None, false).await.expect("the passkeys").remove(0).id;
        assert_eq!(scene.command(&["passkey", "revoke", &key]).await.0, 0);
        let none = scene.post("anna", "/api/rbac/break-glass/challenge", &wanted()).await;
        assert_eq!(none.status, 409, "{}", text(&none));
    }
}

impl Scene {
    async fn command(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.api.gate.command(arguments);
        // Slack answers it from this thread.
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("it ends").expect("the binary runs");
        let said = String::from_utf8(output.stdout).expect("the binary writes UTF-8");
        (output.status.code().expect("it ended by itself"), said)
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_the_page_has_moved() {
    let mut scene = Scene::new(Database::Sqlite).await;
    let challenge = "/api/rbac/break-glass/challenge";
    for (body, status) in [
        (json!({ "reason": "too short" }), 422),
        (json!({ "reason": REASON, "minutes": 241 }), 422),
        (json!({ "reason": REASON, "minutes": 0 }), 422),
        (json!({ "reason": REASON, "hours": 1 }), 422),
        (json!({ "reason": REASON, "ticket": " " }), 422),
        (json!([]), 422),
    ] {
        let refused = scene.post("anna", challenge, &body).await;
        assert_eq!(refused.status, status, "{body}: {}", text(&refused));
        is_problem(&refused);
        compare(&scene.document, "POST", challenge, &refused);
    }
    let ineligible = scene.post("ben", challenge, &wanted()).await;
    assert_eq!(ineligible.status, 403, "{}", text(&ineligible));
    let mut body = scene.signed(&wanted()).await;
    body["answer"]["credential"] = json!({ "id": "x" });
    assert_eq!(scene.post("anna", SESSIONS, &body).await.status, 422);
    // Another site's page.
    let body = scene.signed(&wanted()).await;
    let ask = Ask::new("POST", SESSIONS).cookie(&scene.api.world.cookie("anna"));
    let ask = ask.header("content-type", "application/json").header("origin", "https://evil.test");
    assert_eq!(scene.api.ask(&ask.body(body.to_string())).await.status, 403);
    let page = scene.api.get("anna", "/api/rbac/break-glass/page").await;
    assert_eq!((page.status, page.header("location")), (308, "/console/rbac/break-glass"));
    // What a session would open, to those who may start one and to others.
    for (admin, eligible) in [("anna", true), ("ben", false)] {
        let opens = scene.api.get(admin, "/api/rbac/break-glass/opens").await;
        compare(&scene.document, "GET", "/api/rbac/break-glass/opens", &opens);
        let opens = opens.json();
        assert_eq!(opens["eligible"], json!(eligible), "{admin}");
        assert!(names(&opens["now"]).contains("GET /invites/<int:id>"), "{opens:#}");
        assert_eq!(opens["longest_minutes"], json!(240));
    }
    // Without V2 none of it is there.
    scene.api.gate.run(&["flag", "rbac-v2", "off"]);
    for target in [SESSIONS, "/api/rbac/break-glass/page", "/api/rbac/break-glass/x", "/api/rbac/passkeys"] {
        assert_eq!(scene.api.get("anna", target).await.status, 404, "{target}");
    }
    assert_eq!(scene.post("anna", challenge, &wanted()).await.status, 404);
}

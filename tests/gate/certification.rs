//! The certification scenario of OpenID's AuthZEN working group for the Authorization API 1.0 ("AuthZEN Authorization API 1.0 -
//! Certification Scenario", 2026): Basic Core, Batch Core, Search Core and Discovery, by the numbers of its tests.
//!
//! Its fixture has users and records. The settings say what these are here: `user` is an admin, `record` a path, and an action a
//! method. The levels that ask for `properties` are for policies over attributes, which the gate has none of.

use serde_json::{Value, json};

use crate::support::recorder::Recorder;
use crate::support::scene::create_token;
use crate::support::{Answer, Ask, Client, Database, Gate, Setup, World};

const BASE: &str = "https://pdp.example.com";
const SETTINGS: &str = r#"
[api]
callers = ["harness"]
public_url = "https://pdp.example.com"
subjects = { user = "admin" }
resources.record = { path = "/records/{id}", actions = { read = "GET", write = "PUT", delete = "DELETE" } }
"#;
/// Alice reads and writes, Bob reads (c-1-4, rules 1 to 4).
const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
[blueprints.records]
cluster = "V"
[blueprints.records.routes]
"GET /records/record-1" = { role = "record-reader" }
"PUT /records/record-1" = { role = "record-writer" }
"GET /records/record-2" = { role = "record-reader" }
"PUT /records/record-2" = { role = "record-nobody" }
"GET /records/<id>/history" = { role = "record-reader" }
"GET /api/rbac/requests/<id>" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/requests/<id>/<step>" = { session = true, gate = true, unauthenticated = "401" }
"#;

struct Harness {
    gate: Gate,
    token: String,
    _upstream: Recorder,
    world: World,
}

impl Harness {
    async fn new() -> Harness {
        Harness::with(SETTINGS, MAPPING).await
    }

    async fn with(sections: &'static str, mapping: &'static str) -> Harness {
        let world = World::new(Database::Sqlite).await;
        let roles = "INSERT INTO rbac_roles (id, name) VALUES
            ('record-reader', 'record-reader'), ('record-writer', 'record-writer'), ('record-nobody', 'record-nobody')";
        world.execute(roles).await;
        world.store.add_group("nobody", &["record-nobody"]).await.expect("a group");
        world.admin_holding("alice", &["record-reader", "record-writer"]).await;
        world.admin_holding("bob", &["record-reader"]).await;
        world.store.add_group("record-writers", &["record-writer"]).await.expect("a group");
        world.admin_holding("leads", &["record-reader"]).await;
        world.admin("lea", &["leads"], &[]).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let setup =
            Setup { mapping: Some(mapping), upstream: Some(upstream.socket()), sections, ..Setup::V2 };
        let gate = world.gate(&setup).await;
        let token = create_token(&gate, "harness", &[]);
        Harness { gate, token, _upstream: upstream, world }
    }

    fn ask(&self, path: &str, body: impl Into<String>) -> Ask {
        Ask::new("POST", path).bearer(&self.token).body(body.into())
    }

    async fn send(&self, ask: &Ask) -> Answer {
        Client::to(&self.gate.admin_socket()).send(ask).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(&self.ask(path, body.to_string()).header("content-type", "application/json")).await
    }

    /// A 200 with JSON.
    async fn ok(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
            "{body}: {said}"
        );
        answer.json()
    }

    async fn is_refused(&self, path: &str, body: &Value) {
        assert_eq!(self.post(path, body).await.status, 400, "{path} {body}");
    }
}

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

fn question(user: &str, action: &str, record: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": user },
        "action": { "name": action },
        "resource": { "type": "record", "id": record },
    })
}

/// With a member changed, or without it where it becomes null.
fn with(mut question: Value, path: &str, value: Value) -> Value {
    let (parent, name) = path.rsplit_once('/').expect("a pointer");
    let parent = question.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Value::Null => drop(parent.remove(name)),
        value => drop(parent.insert(name.to_owned(), value)),
    }
    question
}

fn context() -> Value {
    json!({ "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" })
}

#[tokio::test]
async fn basic_core() {
    let harness = Harness::new().await;
    let base = || question("alice", "read", "record-1");
    let properties = json!({ "department": "Sales", "role": "manager" });
    let additional = with(base(), "/subject/properties", properties);
    let additional = with(additional, "/action/properties", json!({ "method": "GET" }));
    let additional = with(additional, "/resource/properties", json!({ "status": "active", "owner": "bob" }));
    let unknown = with(with(base(), "/foo", json!("bar")), "/futureField", json!({ "nested": true }));
    for (case, question, expected) in [
        ("c-2-2-1", base(), true),
        ("c-1-4 rule 2", question("alice", "write", "record-1"), true),
        ("c-1-4 rule 3", question("bob", "read", "record-1"), true),
        ("c-2-2-2", question("bob", "write", "record-1"), false),
        ("c-2-2-3", with(base(), "/context", context()), true),
        ("c-2-2-8", additional, true),
        ("c-2-2-9", unknown, true),
        ("c-2-6", base(), true),
        ("c-2-6", base(), true),
    ] {
        let said = harness.ok(EVALUATION, &question).await;
        assert_eq!(said["decision"], expected, "{case}: {said}");
        assert!(said["context"].is_null() || said["context"].is_object(), "c-2-3-2");
    }
    for path in [
        "/subject",
        "/action",
        "/resource",
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
    ] {
        harness.is_refused(EVALUATION, &with(base(), path, Value::Null)).await;
    }
    harness.is_refused(EVALUATION, &with(base(), "/subject", json!("alice"))).await;
    harness.is_refused(EVALUATION, &with(base(), "/action/name", json!(123))).await;
    for (case, kind, body) in [
        ("c-2-4-3", "text/plain", base().to_string()),
        ("c-2-4-3", "application/x-www-form-urlencoded", base().to_string()),
        ("c-2-4-4", "application/json", "{\"subject\":".to_owned()),
        ("c-2-4-5", "application/json", String::new()),
    ] {
        let answer = harness.send(&harness.ask(EVALUATION, body).header("content-type", kind)).await;
        assert_eq!(answer.status, 400, "{case} {kind}");
    }
    let ask = harness.ask(EVALUATION, base().to_string()).header("content-type", "application/json");
    let echoed = harness.send(&ask.header("x-request-id", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716")).await;
    assert_eq!(echoed.header("x-request-id"), "bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "c-2-5-1");
}

#[tokio::test]
async fn batch_core() {
    let harness = Harness::new().await;
    let record = |id: &str| json!({ "resource": { "type": "record", "id": id } });
    let action = |name: &str| json!({ "action": { "name": name } });
    let alice = || with(question("alice", "read", "-"), "/resource", Value::Null);
    let batch = |base: Value, evaluations: Value| with(base, "/evaluations", evaluations);
    let of_bob = with(question("bob", "-", "record-1"), "/action", Value::Null);
    let overriding = with(
        record("record-2"),
        "/context",
        json!({ "time": "2025-06-27T19:00-07:00", "source": "batch-override" }),
    );
    let execute_all = json!({ "evaluations_semantic": "execute_all" });
    for (case, question, expected) in [
        ("c-3-2-1", batch(alice(), json!([record("record-1"), record("record-2")])), [true, true]),
        ("c-3-2-2", batch(of_bob, json!([action("read"), action("write")])), [true, false]),
        (
            "c-3-2-5",
            json!({ "evaluations": [question("alice", "read", "record-1"), question("bob", "write", "record-1")] }),
            [true, false],
        ),
        (
            "c-3-2-6",
            batch(with(alice(), "/context", context()), json!([record("record-1"), overriding])),
            [true, true],
        ),
        (
            "c-3-4-1",
            batch(with(alice(), "/options", execute_all), json!([record("record-1"), {}])),
            [true, false],
        ),
    ] {
        let said = harness.ok(EVALUATIONS, &question).await;
        let decisions: Vec<bool> =
            said["evaluations"].as_array().expect(case).iter().map(|one| one["decision"] == true).collect();
        assert_eq!(decisions, expected, "{case}: {said}");
        assert!(
            said["evaluations"].as_array().unwrap().iter().all(|one| one["decision"].is_boolean()),
            "{case}"
        );
    }
    for evaluations in [Value::Null, json!([])] {
        let one = with(question("alice", "read", "record-1"), "/evaluations", evaluations);
        assert_eq!(harness.ok(EVALUATIONS, &one).await["decision"], true, "c-3-4-2, c-3-4-3");
    }
}

#[tokio::test]
async fn search_core() {
    let harness = Harness::new().await;
    let path = |kind: &str| format!("/access/v1/search/{kind}");
    let subjects = || with(question("-", "read", "record-1"), "/subject/id", Value::Null);
    let resources = || with(question("alice", "read", "-"), "/resource/id", Value::Null);
    let actions = || with(question("alice", "-", "record-1"), "/action", Value::Null);
    let user = |id: &str| json!({ "type": "user", "id": id });
    let readers = || ["alice", "bob", "lea", "leads"].map(user).to_vec();
    let record = |id: &str| json!({ "type": "record", "id": id });
    let name = |name: &str| json!({ "name": name });
    for (case, kind, search, expected) in [
        ("c-4-2-1", "subject", subjects(), readers()),
        ("c-4-2-2", "subject", with(subjects(), "/context", context()), readers()),
        ("c-4-2-3", "subject", question("alice", "read", "record-1"), readers()),
        ("writers", "subject", with(subjects(), "/action/name", json!("write")), vec![user("alice")]),
        ("c-4-3-1", "resource", resources(), vec![record("record-1"), record("record-2")]),
        (
            "c-4-3-2",
            "resource",
            with(resources(), "/context", context()),
            vec![record("record-1"), record("record-2")],
        ),
        (
            "c-4-3-3",
            "resource",
            question("alice", "read", "record-1"),
            vec![record("record-1"), record("record-2")],
        ),
        (
            "what is written",
            "resource",
            with(resources(), "/action/name", json!("write")),
            vec![record("record-1")],
        ),
        ("c-4-4-1", "action", actions(), vec![name("read"), name("write")]),
        ("c-4-4-2", "action", with(actions(), "/context", context()), vec![name("read"), name("write")]),
        ("what Bob does", "action", with(actions(), "/subject/id", json!("bob")), vec![name("read")]),
        ("c-4-6-1", "action", with(actions(), "/subject/id", json!("nonexistent-user")), vec![]),
        ("c-4-6-1", "resource", with(resources(), "/subject/id", json!("nonexistent-user")), vec![]),
        ("c-4-6-1", "subject", with(subjects(), "/resource/id", json!("nonexistent")), vec![]),
        ("c-4-6-2", "subject", with(subjects(), "/subject/type", json!("spaceship")), vec![]),
        ("c-4-6-2", "resource", with(resources(), "/resource/type", json!("spaceship")), vec![]),
        ("c-4-6-2", "resource", with(resources(), "/subject/type", json!("spaceship")), vec![]),
        ("c-4-6-2", "action", with(actions(), "/resource/type", json!("spaceship")), vec![]),
        ("an action that is none", "subject", with(subjects(), "/action/name", json!("sing")), vec![]),
    ] {
        let found = harness.ok(&path(kind), &search).await;
        assert_eq!(found["results"], json!(expected), "{case}: {search}");
        assert_eq!(found["page"], json!({ "next_token": "", "count": expected.len() }), "{case}");
        // What is found is allowed, and what is not found is not.
        for user in ["alice", "bob"] {
            let asked = with(search.clone(), "/subject/id", json!(user));
            if kind == "subject" && asked.pointer("/subject/type") == Some(&json!("user")) {
                let is_found = expected.iter().any(|one| one["id"] == user);
                assert_eq!(harness.ok(EVALUATION, &asked).await["decision"], is_found, "{case} {user}");
            }
        }
    }
    for (kind, search, missing) in [
        ("subject", subjects(), vec!["/action", "/subject", "/resource", "/resource/id", "/subject/type"]),
        ("resource", resources(), vec!["/subject", "/action", "/resource", "/subject/id", "/resource/type"]),
        ("action", actions(), vec!["/resource", "/subject", "/subject/id", "/resource/id"]),
    ] {
        for missing in missing {
            harness.is_refused(&path(kind), &with(search.clone(), missing, Value::Null)).await;
        }
        let ask = harness.ask(&path(kind), search.to_string());
        assert_eq!(harness.send(&ask).await.status, 400, "c-5: {kind} without a content type");
        let ask = ask.header("content-type", "application/json").header("x-request-id", "x-7");
        assert_eq!(harness.send(&ask).await.header("x-request-id"), "x-7");
    }
    // c-4-5: the pages together are the whole, and a token is of its search.
    let first = harness.ok(&path("subject"), &with(subjects(), "/page", json!({ "limit": 1 }))).await;
    assert_eq!((&first["results"], &first["page"]["count"]), (&json!([user("alice")]), &json!(1)));
    let token = first["page"]["next_token"].as_str().filter(|token| !token.is_empty()).expect("a next page");
    let next = harness.ok(&path("subject"), &with(subjects(), "/page", json!({ "token": token }))).await;
    assert_eq!(next["results"], json!([user("bob")]), "with the limit of the first");
    let whole = with(subjects(), "/page", json!({ "limit": 4 }));
    assert_eq!(
        harness.ok(&path("subject"), &whole).await["page"]["next_token"],
        "",
        "a page that is just full"
    );
    for (kind, search) in [
        ("subject", with(subjects(), "/page", json!({ "token": token, "limit": 2 }))),
        (
            "subject",
            with(with(subjects(), "/action/name", json!("write")), "/page", json!({ "token": token })),
        ),
        ("resource", with(resources(), "/page", json!({ "token": token }))),
        ("subject", with(subjects(), "/page", json!({ "token": "x" }))),
    ] {
        harness.is_refused(&path(kind), &search).await;
    }
    let roles = json!({ "subject": user("bob"), "action": name("hold"), "resource": { "type": "role" } });
    let held = harness.ok(&path("resource"), &roles).await;
    assert_eq!(held["results"], json!([{ "type": "role", "id": "record-reader" }]));
    let routes = json!({ "subject": user("bob"), "action": name("GET"), "resource": { "type": "route" } });
    let open = harness.ok(&path("resource"), &routes).await;
    let ids: Vec<&Value> = open["results"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["/records/record-1", "/records/record-2"]);
    let stranger = Ask::new("POST", &path("subject")).header("content-type", "application/json");
    assert_eq!(harness.send(&stranger.body(subjects().to_string())).await.status, 401);
}

#[tokio::test]
async fn discovery() {
    let harness = Harness::new().await;
    let answer = harness.send(&Ask::get("/.well-known/authzen-configuration")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let expected = json!({
        "policy_decision_point": BASE,
        "access_evaluation_endpoint": format!("{BASE}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{BASE}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{BASE}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{BASE}/access/v1/search/resource"),
        "search_action_endpoint": format!("{BASE}/access/v1/search/action"),
    });
    assert_eq!(answer.json(), expected);
}

/// The core of the Access Request and Approval Profile, a draft: denied, asked for, approved, evaluated again.
#[tokio::test]
async fn a_denial_is_asked_about_and_evaluated_again() {
    const RULES: &str = "\n[approval]\nrecord-writers = { by = [\"leads\"], longest = \"2h\" }\n";
    let settings = format!("{SETTINGS}access_requests = true\n");
    for is_on in [true, false] {
        let settings: &'static str = if is_on { settings.clone().leak() } else { SETTINGS };
        let harness = Harness::with(settings, format!("{MAPPING}{RULES}").leak()).await;
        let metadata = harness.send(&Ask::get("/.well-known/authzen-configuration")).await.json();
        let context = json!({ "time": "12:00" });
        let asked = with(question("bob", "write", "record-1"), "/context", context);
        let denied = harness.ok(EVALUATION, &asked).await;
        assert_eq!(denied["decision"], false);
        if !is_on {
            assert!(metadata["access_request_endpoint"].is_null() && metadata["capabilities"].is_null());
            assert!(
                denied["context"]["access_request"].is_null() && denied["context"]["evaluation_id"].is_null()
            );
            assert_eq!(harness.post("/access/v1/requests", &asked).await.status, 404);
            continue;
        }
        assert_eq!(metadata["access_request_endpoint"], format!("{BASE}/access/v1/requests"));
        assert_eq!(metadata["capabilities"], json!(["urn:openid:authzen:capability:access-request"]));
        assert_eq!(denied["context"]["access_request"]["template"], "record-writers");
        // What is allowed, or what no group opens, is not requestable.
        for question in [question("alice", "read", "record-1"), question("bob", "write", "record-2")] {
            let said = harness.ok(EVALUATION, &question).await;
            assert!(said["context"]["access_request"].is_null(), "{said}");
        }
        let id = &denied["context"]["evaluation_id"];
        let submission = |id: &Value| with(asked.clone(), "/denial", json!({ "evaluation_id": id }));
        let problem = async |body: &Value, word: &str| {
            let refused = harness.post("/access/v1/requests", body).await;
            let expected = format!("urn:openid:authzen:access-request:error:{word}");
            assert_eq!((refused.status, &refused.json()["type"]), (400, &json!(expected)), "{body}");
        };
        problem(&asked, "invalid_denial_binding").await;
        problem(&submission(&json!("AAAA")), "invalid_denial_binding").await;
        for (path, value) in [
            ("/subject/id", json!("alice")),
            ("/resource/id", json!("record-2")),
            ("/action/name", json!("delete")),
            ("/context/body", json!({ "target": "prod" })),
        ] {
            problem(&with(submission(id), path, value), "invalid_denial_binding").await;
        }
        let augmented = with(submission(id), "/context/business_justification", json!("the audit"));
        let sent = harness.post("/access/v1/requests", &augmented).await;
        assert_eq!(sent.status, 202, "{}", String::from_utf8_lossy(&sent.body));
        let task = sent.json()["task"].clone();
        assert_eq!(task["status"], "pending");
        assert_eq!(sent.header("location"), task["status_endpoint"].as_str().unwrap());
        let again = harness.post("/access/v1/requests", &augmented).await;
        assert_eq!(
            (again.status, &again.json()["task"]["id"]),
            (202, &task["id"]),
            "a repeat is the same task"
        );
        let path = format!("/access/v1/requests/{}", task["id"].as_str().unwrap());
        let look = async |path: &str| harness.send(&Ask::get(path).bearer(&harness.token)).await;
        let unknown = look("/access/v1/requests/6f9619ff-8b86-4011-b42d-00cf4fc964ff").await;
        assert_eq!(unknown.json()["type"], "urn:openid:authzen:access-request:error:unknown_task");
        assert_eq!(harness.send(&Ask::get(&path)).await.status, 401);

        let store = &harness.world.store;
        let stored = store.access_request(task["id"].as_str().unwrap()).await.unwrap().unwrap();
        assert_eq!(
            [stored.admin, stored.requested_by, stored.reason],
            ["bob", "harness", "the audit"].map(String::from)
        );
        assert_eq!(stored.minutes, 120);
        let lead =
            |ask: Ask| ask.cookie(&harness.world.cookie("lea")).header("sec-fetch-site", "same-origin");
        let place = format!("/api/rbac/requests/{}", task["id"].as_str().unwrap());
        let shown = harness.gate.send(&lead(Ask::get(&place))).await.json();
        let approve =
            Ask::new("POST", &format!("{place}/approve")).header("content-type", "application/json");
        let approve = approve.body(json!({ "impact_sha256": shown["impact_sha256"] }).to_string());
        assert_eq!(harness.gate.send(&lead(approve)).await.status, 200, "{shown:#}");
        let done = look(&path).await.json();
        assert_eq!(
            (&done["task"]["status"], &done["result"]["mode"]),
            (&json!("approved"), &json!("reevaluate"))
        );
        assert_eq!(harness.ok(EVALUATION, &asked).await["decision"], true);
    }
}

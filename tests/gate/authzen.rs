//! The OpenID AuthZEN endpoints: what they answer is what the gate does to a real request, and nobody asks unseen.

use serde_json::{Value, json};

use crate::support::recorder::Recorder;
use crate::support::scene::{MAPPING, REQUESTS, Request, Scene, create_token};
use crate::support::{Answer, Ask, Client, Database, Findings, Setup, World};

const API: &str = "[api]\ncallers = [\"console\"]\n";

fn question(kind: &str, id: &str, (method, target, body): Request) -> Value {
    let mut question = json!({
        "subject": { "type": kind, "id": id },
        "action": { "name": method },
        "resource": { "type": "route", "id": target },
    });
    match body {
        Some(("application/json", body)) => {
            question["context"] = json!({ "body": serde_json::from_str::<Value>(body).expect("JSON") });
        }
        Some((_, form)) => {
            let (name, value) = form.split_once('=').expect("one field");
            question["context"] = json!({ "form": { name: value.replace("%20", " ") } });
        }
        None => {}
    }
    question
}

/// What the gate did, in the words of an evaluation.
fn done(answer: &Answer) -> (bool, String) {
    let problem = answer.json()["type"].as_str().unwrap_or_default().to_owned();
    let word = problem.rsplit(':').next().unwrap_or_default().to_owned();
    let reason = match answer.status {
        200 => "allowed",
        400 => "empty_segment",
        // HEAD has no body to name the reason in.
        302 if word.is_empty() => "login",
        403 if word.is_empty() => "missing_legacy_role",
        _ => &word,
    };
    (answer.status == 200, reason.to_owned())
}

async fn an_evaluation_is_what_the_gate_does(database: Database) {
    let scene = Scene::new(database, API).await;
    let mut findings = Findings::default();
    let mut client = scene.gate.client();
    let mut both = [0, 0];
    for admin in ["anna", "ben", "carol", "dora", "eve", "nobody"] {
        for request in REQUESTS {
            let (method, target, body) = request;
            let mut ask = Ask::new(method, target).cookie(&scene.world.cookie(admin));
            if let Some((content_type, body)) = body {
                ask = ask.header("content-type", content_type).body(body);
            }
            let done = done(&client.send(&ask).await);
            let said = scene.evaluate(&question("admin", admin, request)).await;
            let reason = said["context"]["reason"].as_str().unwrap_or_default().to_owned();
            both[usize::from(done.0)] += 1;
            let who = format!("{admin} {method} {target} {body:?}: {said}");
            findings.equal(&who, (said["decision"].as_bool() == Some(true), reason), done);
        }
    }
    assert!(both.iter().all(|count| *count > 20), "the table has both answers: {both:?}");
    findings.conclude(140);
}

#[tokio::test]
async fn an_evaluation_is_what_the_gate_does_on_sqlite() {
    an_evaluation_is_what_the_gate_does(Database::Sqlite).await;
}

#[tokio::test]
async fn an_evaluation_is_what_the_gate_does_on_postgres() {
    an_evaluation_is_what_the_gate_does(Database::Postgres).await;
}

#[tokio::test]
async fn an_answer_says_why() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let mut said = scene.evaluate(&question("admin", "dora", ("GET", "/v/audit", None))).await;
    let context = said["context"].as_object_mut().expect("a context");
    assert_eq!(context.remove("mapping_sha256").and_then(|sha| sha.as_str().map(str::len)), Some(64));
    assert!(context.remove("epoch").is_some_and(|epoch| epoch.is_i64()));
    let expected = json!({ "decision": false, "context": {
        "reason": "missing_role", "subject": "active", "route": "GET /v/audit", "cluster": "V", "gate": "v2",
        "required": ["role console-audit-user"],
    }});
    assert_eq!(said, expected);
    let said = scene.evaluate(&question("admin", "carol", ("GET", "/v/audit", None))).await;
    assert_eq!(said["context"]["through"], json!(["console-audit-user"]));
}

/// A question is not a request: nothing was denied, so nothing of it is recorded. What changes is seen at once.
#[tokio::test]
async fn a_question_leaves_no_row_and_sees_every_change() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let denied = question("admin", "dora", ("GET", "/v/audit", None));
    let shadow = question("admin", "carol", ("GET", "/s/audit", None));
    assert_eq!(scene.evaluate(&denied).await["decision"], false);
    assert_eq!(scene.evaluate(&shadow).await["decision"], false);
    assert_eq!(scene.world.denials().await, 0);
    assert_eq!(scene.world.store.drift().await.expect("drift"), []);
    let dora = policy::ids::AdminId::new("dora");
    scene.world.store.join_group(&dora, "carol", "tests").await.expect("a group to join");
    assert_eq!(scene.evaluate(&denied).await["decision"], true);
    scene.world.store.leave_group(&dora, "carol").await.expect("a group to leave");
    assert_eq!(scene.evaluate(&denied).await["decision"], false);
    let counted = scene.gate.metric("gate_evaluations_total{decision=\"false\"}").await;
    assert_eq!(counted, Some(3.0));
}

/// Raptor asks for its own permission by name; the cluster's mode has nothing to do with it.
#[tokio::test]
async fn what_somebody_holds_can_be_asked_by_name() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let table = [
        ("carol", "role", "console-audit-user", true, "held"),
        ("dora", "role", "console-audit-user", false, "missing_role"),
        ("carol", "role", "no-such-role", false, "missing_role"),
        ("carol", "permission", "console-audit-user", false, "missing_permission"),
        ("carol", "permission", "raptor:audit:read-admin", false, "missing_permission"),
        ("anna", "permission", "raptor:audit:read-admin", true, "held"),
        ("eve", "permission", "raptor:audit:read-admin", false, "missing_permission"),
        ("nobody", "role", "console-user", false, "missing_role"),
    ];
    for (admin, kind, name, decision, reason) in table {
        let said = scene
            .evaluate(&json!({
                "subject": { "type": "admin", "id": admin },
                "action": { "name": "hold" },
                "resource": { "type": kind, "id": name },
            }))
            .await;
        assert_eq!(
            (&said["decision"], &said["context"]["reason"]),
            (&json!(decision), &json!(reason)),
            "{admin} {name}"
        );
    }
}

/// A machine is known by its token's id, as assertions and audit rows name it.
#[tokio::test]
async fn a_machine_is_asked_about_by_its_id() {
    let scene = Scene::new(Database::Sqlite, API).await;
    create_token(&scene.gate, "robot", &["--group", "carol"]);
    let tokens = scene.world.store.tokens().await.expect("tokens");
    let id = &tokens.iter().find(|token| token.name == "robot").expect("the robot").id;
    let mut decisions = Vec::new();
    for (subject, target) in [
        (id.as_str(), "/v/machines"),
        (id.as_str(), "/v/audit"),
        (id.as_str(), "/machine"),
        ("robot", "/v/machines"),
        ("nobody", "/machine"),
    ] {
        let said = scene.evaluate(&question("machine", subject, ("GET", target, None))).await;
        decisions.push(said["decision"].as_bool().expect("a decision"));
    }
    assert_eq!(decisions, [true, false, true, false, false]);
    scene.gate.run(&["token", "revoke", "robot"]);
    let said = scene.evaluate(&question("machine", id, ("GET", "/v/machines", None))).await;
    assert_eq!((&said["decision"], &said["context"]["subject"]), (&json!(false), &json!("disabled")));
}

/// Several questions share what they do not name, and stop where the request asks for it.
#[tokio::test]
async fn several_questions_at_once() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let batch = |semantic: &str| {
        json!({
            "subject": { "type": "admin", "id": "carol" },
            "action": { "name": "GET" },
            "evaluations": [
                { "resource": { "type": "route", "id": "/v/audit" } },
                { "resource": { "type": "route", "id": "/l/audit" } },
                { "subject": { "type": "admin", "id": "anna" }, "resource": { "type": "route", "id": "/l/audit" } },
                { "resource": { "type": "route" } },
                { },
            ],
            "options": { "evaluations_semantic": semantic },
        })
    };
    let table: [(&str, &[bool]); 3] = [
        ("execute_all", &[true, false, true, false, false]),
        ("deny_on_first_deny", &[true, false]),
        ("permit_on_first_permit", &[true]),
    ];
    for (semantic, expected) in table {
        let answer = scene.post("/access/v1/evaluations", &batch(semantic)).await;
        let said = answer.json();
        let decisions: Vec<bool> = said["evaluations"]
            .as_array()
            .expect("evaluations")
            .iter()
            .map(|one| one["decision"].as_bool().expect("a decision"))
            .collect();
        assert_eq!(decisions, expected, "{semantic}");
        if semantic == "execute_all" {
            assert_eq!(said["evaluations"][3]["context"]["error"]["status"], 400);
            assert_eq!(said["evaluations"][4]["context"]["error"]["message"], "`resource` is missing");
        }
    }
    let single = question("admin", "carol", ("GET", "/v/audit", None));
    assert_eq!(scene.post("/access/v1/evaluations", &single).await.json()["decision"], true);
    let many = json!({ "evaluations": vec![json!({}); 101] });
    assert_eq!(scene.post("/access/v1/evaluations", &many).await.status, 413);
}

#[tokio::test]
async fn what_is_malformed_is_400_and_what_is_unknown_is_no() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let sound = question("admin", "anna", ("GET", "/v/audit", None));
    let mut malformed = vec![json!([]), json!({}), json!("GET")];
    for pointer in
        ["/subject", "/action", "/resource", "/subject/id", "/subject/type", "/action/name", "/resource/id"]
    {
        for value in [Value::Null, json!(7)] {
            let mut question = sound.clone();
            *question.pointer_mut(pointer).expect("it is there") = value;
            malformed.push(question);
        }
    }
    for id in ["", "a\u{0}b", "x".repeat(257).as_str()] {
        let mut question = sound.clone();
        question["subject"]["id"] = json!(id);
        malformed.push(question);
    }
    for context in [json!({ "body": 1 }), json!({ "form": { "a": 1 } }), json!({ "body": {}, "form": {} })] {
        let mut question = sound.clone();
        question["context"] = context;
        malformed.push(question);
    }
    for question in &malformed {
        assert_eq!(scene.post("/access/v1/evaluation", question).await.status, 400, "{question}");
    }
    let unknown = json!({ "evaluations_semantic": "as_you_like" });
    let batch = json!({ "evaluations": [sound], "options": unknown });
    assert_eq!(scene.post("/access/v1/evaluations", &batch).await.status, 400);
    for (pointer, value, reason) in [
        ("/subject/type", "user", "unknown_subject_type"),
        ("/resource/type", "document", "unknown_resource_type"),
        ("/action/name", "FROB", "unknown_method"),
        ("/resource/id", "http://evil.test/v/audit", "target_form"),
        ("/resource/id", "/v/../v/audit", "dot_segment"),
    ] {
        let mut question = sound.clone();
        *question.pointer_mut(pointer).expect("it is there") = json!(value);
        let said = scene.evaluate(&question).await;
        assert_eq!(
            (&said["decision"], &said["context"]["reason"]),
            (&json!(false), &json!(reason)),
            "{question}"
        );
    }
}

#[tokio::test]
async fn only_a_live_token_that_is_named_may_ask() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let other = create_token(&scene.gate, "somebody-else", &["--group", "raxx-platform-admins"]);
    let body = question("admin", "anna", ("GET", "/v/audit", None)).to_string();
    for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
        let ask = Ask::new("POST", path).header("content-type", "application/json").body(body.clone());
        let ask = ask.header("x-request-id", "r-7");
        let table = [
            (ask.clone(), 401),
            (ask.clone().bearer("cgm_wrong"), 401),
            (ask.clone().header("authorization", format!("Basic {}", scene.token)), 401),
            (ask.clone().cookie(&scene.world.cookie("anna")), 401),
            (ask.clone().bearer(&other), 403),
            (ask.bearer(&scene.token), 200),
        ];
        for (ask, expected) in table {
            let answer = scene.send(&ask).await;
            assert_eq!(answer.status, expected);
            assert_eq!(answer.request_id(), "r-7");
            assert_eq!(answer.json()["decision"] == true, expected == 200);
        }
    }
    scene.gate.run(&["token", "revoke", "console"]);
    assert_eq!(scene.post("/access/v1/evaluation", &json!({})).await.status, 401);
}

/// Without the database the gate knows nothing, so the answer is none: not even for a page that anybody may see.
#[tokio::test]
async fn without_the_database_nothing_is_true() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let asked = question("admin", "anna", ("GET", "/v/audit", None));
    assert_eq!(scene.evaluate(&asked).await["decision"], true);
    scene.world.execute("ALTER TABLE gate_epoch RENAME TO gate_epoch_away").await;
    for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
        for target in ["/v/audit", "/public"] {
            let answer = scene.post(path, &question("admin", "anna", ("GET", target, None))).await;
            assert_eq!(answer.status, 503, "{path} {target}");
            assert!(answer.json().get("decision").is_none());
        }
    }
}

#[tokio::test]
async fn the_metadata_say_where_the_endpoints_are() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let answer = scene.send(&Ask::get("/.well-known/authzen-configuration")).await;
    let expected = json!({
        "policy_decision_point": "http://console.test",
        "access_evaluation_endpoint": "http://console.test/access/v1/evaluation",
        "access_evaluations_endpoint": "http://console.test/access/v1/evaluations",
        "search_subject_endpoint": "http://console.test/access/v1/search/subject",
        "search_resource_endpoint": "http://console.test/access/v1/search/resource",
        "search_action_endpoint": "http://console.test/access/v1/search/action",
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
    let named = "[api]\ncallers = [\"console\"]\npublic_url = \"https://gate.internal:9901\"\n";
    let scene = Scene::new(Database::Sqlite, named).await;
    let answer = scene.send(&Ask::get("/.well-known/authzen-configuration")).await;
    assert_eq!(answer.json()["policy_decision_point"], "https://gate.internal:9901");
}

/// Where nobody may ask there is nothing to ask.
#[tokio::test]
async fn without_callers_there_is_no_endpoint() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let token = create_token(&gate, "console", &[]);
    let mut client = Client::to(&gate.admin_socket());
    for (method, path) in [
        ("POST", "/access/v1/evaluation"),
        ("POST", "/access/v1/evaluations"),
        ("POST", "/access/v1/search/subject"),
        ("POST", "/access/v1/requests"),
        ("GET", "/.well-known/authzen-configuration"),
        ("GET", "/api/gate/mapping"),
        ("GET", "/forward-auth"),
    ] {
        assert_eq!(client.send(&Ask::new(method, path).bearer(&token)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_caller_has_a_rate() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let sections = "[api]\ncallers = [\"console\"]\nper_minute = 3\n";
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), sections, ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let token = create_token(&gate, "console", &[]);
    let mut client = Client::to(&gate.admin_socket());
    let four = json!({ "evaluations": vec![question("admin", "anna", ("GET", "/public", None)); 4] });
    let ask = |body: &Value| {
        let ask = Ask::new("POST", "/access/v1/evaluations").header("content-type", "application/json");
        ask.bearer(&token).body(body.to_string())
    };
    assert_eq!(client.send(&ask(&four)).await.status, 429);
    let one = question("admin", "anna", ("GET", "/public", None));
    let statuses = [client.send(&ask(&one)).await.status, client.send(&ask(&one)).await.status];
    assert_eq!(statuses, [200, 200]);
    let answer = client.send(&ask(&one)).await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
}

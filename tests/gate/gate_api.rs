//! `/api/gate/*`: what the commands report, as JSON, for those who may ask.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::scene::{MAPPING, Scene, create_token};
use crate::support::{Ask, Database};

const API: &str = "[api]\ncallers = [\"console\"]\n";

/// Every endpoint.
const ENDPOINTS: [(&str, &str); 7] = [
    ("GET", "/api/gate/mapping"),
    ("POST", "/api/gate/diff"),
    ("GET", "/api/gate/drift"),
    ("GET", "/api/gate/soak"),
    ("GET", "/api/gate/explain?method=GET&path=/s/audit"),
    ("GET", "/api/gate/history"),
    ("GET", "/api/gate/refusals"),
];

impl Scene {
    async fn read(&self, target: &str) -> Value {
        let answer = self.send(&Ask::get(target).bearer(&self.token)).await;
        assert_eq!(answer.status, 200, "{target}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    async fn diff(&self, query: &str, candidate: &str) -> (u16, Value) {
        let ask = Ask::new("POST", &format!("/api/gate/diff{query}"))
            .bearer(&self.token)
            .body(candidate.to_owned());
        let answer = self.send(&ask).await;
        (answer.status, answer.json())
    }
}

#[tokio::test]
async fn only_a_live_token_that_is_named_may_ask() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let other = create_token(&scene.gate, "somebody-else", &["--group", "raxx-platform-admins"]);
    for (method, path) in ENDPOINTS {
        let ask = Ask::new(method, path).body(if method == "POST" { MAPPING } else { "" });
        let table = [
            (ask.clone(), 401),
            (ask.clone().bearer("cgm_wrong"), 401),
            (ask.clone().cookie(&scene.world.cookie("anna")), 401),
            (ask.clone().bearer(&other), 403),
            (ask.bearer(&scene.token), 200),
        ];
        for (ask, expected) in table {
            assert_eq!(scene.send(&ask).await.status, expected, "{method} {path}");
        }
    }
    scene.gate.run(&["token", "revoke", "console"]);
    for (method, path) in ENDPOINTS {
        assert_eq!(scene.send(&Ask::new(method, path).bearer(&scene.token)).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn without_the_database_nobody_gets_a_report() {
    let scene = Scene::new(Database::Sqlite, API).await;
    scene.world.execute("ALTER TABLE gate_epoch RENAME TO gate_epoch_away").await;
    for (method, path) in ENDPOINTS {
        assert_eq!(scene.send(&Ask::new(method, path).bearer(&scene.token)).await.status, 503, "{path}");
    }
}

#[tokio::test]
async fn the_running_mapping_row_by_row() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let running = scene.read("/api/gate/mapping").await;
    assert_eq!(running["sha256"].as_str().map(str::len), Some(64));
    let switches = json!([running["unmapped"], running["rbac_v2"], running["may_enforce"]]);
    assert_eq!(switches, json!(["deny", true, true]));
    let clusters = json!([
        { "name": "L", "mode": "legacy", "rollout": "legacy", "rows": 2, "undecided": 1 },
        { "name": "S", "mode": "shadow", "rollout": "shadow", "rows": 1, "undecided": 0 },
        { "name": "V", "mode": "v2", "rollout": "v2", "rows": 6, "undecided": 0 },
    ]);
    assert_eq!(running["clusters"], clusters);
    // The same table as the command's, which has golden files of its own.
    let file = scene.gate.mapping_file().display().to_string();
    let (_, printed) = scene.gate.attempt(&["check", &file, "--table", "--format", "json"]);
    let checked: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(running["rows"], checked["table"]);
    assert_eq!(running["rows"].as_array().map(Vec::len), Some(14));
    scene.gate.run(&["flag", "rbac-v2", "off"]);
    assert_eq!(scene.read("/api/gate/mapping").await["rbac_v2"], false);
}

/// The API and the command report the same for the same change, and neither makes it.
#[tokio::test]
async fn what_a_candidate_would_change() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let forward = MAPPING.replace("version = 1\n", "version = 1\nunmapped = \"forward\"\n");
    let candidate = forward.replace("S = \"shadow\"", "S = \"v2\"").replace(
        "\"GET /public\" = { public = true }",
        "\"GET /public\" = { legacy = [\"ops\"], undecided = \"AMBIGUOUS-2\", options = { A = \"console-user\", B = \"console-manager\" } }",
    );
    let new = scene.world.folder().join("candidate.toml");
    std::fs::write(&new, &candidate).expect("a file");
    let (old, new) = (scene.gate.mapping_file().display().to_string(), new.display().to_string());
    for (query, arguments) in [
        ("", &[][..]),
        ("?flag=off", &["--flag", "off"]),
        (
            "?legacy_as=superadmin=raxx-platform-admins,support=",
            &["--legacy-as", "superadmin=raxx-platform-admins,support="],
        ),
    ] {
        let (status, mut report) = scene.diff(query, &candidate).await;
        assert_eq!(status, 200, "{report}");
        let shas =
            ["from_sha256", "to_sha256"].map(|name| report.as_object_mut().expect("an object").remove(name));
        assert_ne!(shas[0], shas[1]);
        let (code, printed) =
            scene.gate.attempt(&[&["diff", &old, &new, "--format", "json"], arguments].concat());
        assert_eq!(code, 1, "{printed}");
        assert_eq!(report, serde_json::from_str::<Value>(&printed).expect("JSON"), "{query}");
        // What nobody wrote down comes first.
        let first = &report["changes"][0];
        assert_eq!((&first["route"], &first["strangers"]), (&Value::Null, &json!("gain")), "{query}");
        assert!(
            report["warnings"][0].as_str().is_some_and(|text| text.starts_with("what no row covers opens"))
        );
    }
    let (_, report) = scene.diff("", MAPPING).await;
    assert_eq!((&report["changes"], &report["from_sha256"]), (&json!([]), &report["to_sha256"]));
    let history = scene.read("/api/gate/history").await;
    assert_eq!(history["activations"].as_array().map(Vec::len), Some(1));
}

/// A candidate that flips a cluster before its time is compared all the same, and says what is missing, as the command does.
#[tokio::test]
async fn a_candidate_out_of_order_says_so() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let candidate =
        MAPPING.replace("L = \"legacy\"", "L = { mode = \"v2\", after = [\"S\"], soaked_hours = 24 }");
    assert_ne!(candidate, MAPPING);
    let (status, report) = scene.diff("", &candidate).await;
    assert_eq!(status, 200, "{report}");
    let order = report["order"].as_array().expect("the order");
    assert_eq!((order.len(), &order[0]["cluster"]), (1, &json!("L")), "{report}");
    let missing = order[0]["missing"].to_string();
    assert!(missing.contains("`S` is shadow in this file") && missing.contains("0 of 24 hours"), "{missing}");
    let in_time = MAPPING.replace("L = \"legacy\"", "L = { mode = \"v2\", after = [\"V\"] }");
    assert_eq!(scene.diff("", &in_time).await.1.get("order"), None);
}

#[tokio::test]
async fn a_candidate_that_the_gate_would_refuse_is_422() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let unknown_role = MAPPING.replace("\"console-audit-user\"", "\"console-no-such-role\"");
    for (candidate, expected) in
        [("version = ", "syntax"), ("version = 1\nx = 1\n", "unknown-key"), (&unknown_role, "missing-role")]
    {
        let (status, report) = scene.diff("", candidate).await;
        assert_eq!((status, &report["status"]), (422, &json!(422)), "{report}");
        let findings = report["errors"].as_array().expect("findings");
        let found = findings.iter().find(|finding| finding["id"] == expected);
        let found = found.unwrap_or_else(|| panic!("no `{expected}` in {report}"));
        assert_eq!((&found["level"], &found["place"]["file"]), (&json!("error"), &json!("candidate")));
        assert!(found["place"]["line"].as_u64().is_some_and(|line| line > 0));
    }
    let (status, _) = scene.diff("", &"#".repeat(1024 * 1024 + 1)).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn disagreements_and_their_sum() {
    let scene = Scene::new(Database::Sqlite, API).await;
    for admin in ["carol", "carol", "ben"] {
        let ask = Ask::get("/s/audit").cookie(&scene.world.cookie(admin));
        assert_eq!(scene.gate.send(&ask).await.status, 403);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let requests = |report: &Value| -> i64 {
        report["disagreements"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|one| one["count"].as_i64())
            .sum()
    };
    let report = loop {
        let report = scene.read("/api/gate/drift").await;
        if requests(&report) == 3 {
            break report;
        }
        assert!(Instant::now() < deadline, "the disagreements are not there: {report}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let (_, printed) = scene.gate.attempt(&["drift", "--format", "json"]);
    assert_eq!(report, serde_json::from_str::<Value>(&printed).expect("JSON"));
    for (query, count) in [
        ("?cluster=S", 2),
        ("?cluster=V", 0),
        ("?direction=would_newly_allow", 2),
        ("?direction=would_newly_deny", 0),
    ] {
        let report = scene.read(&format!("/api/gate/drift{query}")).await;
        assert_eq!(report["disagreements"].as_array().map(Vec::len), Some(count), "{query}");
    }
    let id = report["disagreements"][0]["id"].as_str().expect("an id");
    scene.gate.run(&["drift", "--sign-off", id, "--reason", "looked at"]);
    let (unexplained, all) =
        (scene.read("/api/gate/drift").await, scene.read("/api/gate/drift?all=true").await);
    let count = |report: &Value| report["disagreements"].as_array().map(Vec::len);
    assert_eq!((count(&unexplained), count(&all)), (Some(1), Some(2)));
    assert_eq!((&unexplained["signed_off"], &all["signed_off"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn explain_and_soak_are_as_the_commands_report_them() {
    let scene = Scene::new(Database::Sqlite, API).await;
    // The flag of the gate is in its environment; the command is run beside it and has it from the database.
    scene.gate.run(&["flag", "rbac-v2", "on"]);
    for (query, arguments) in [
        ("method=GET&path=/s/audit", &["GET", "/s/audit"][..]),
        ("method=GET&path=/s/audit&as=ben", &["GET", "/s/audit", "--as", "ben"]),
        ("method=GET&path=/nowhere&as=ben", &["GET", "/nowhere", "--as", "ben"]),
        (
            "method=GET&path=/s/audit&group=raxx-platform-admins",
            &["GET", "/s/audit", "--group", "raxx-platform-admins"],
        ),
        ("method=GET&path=/s/audit&legacy_role=ops", &["GET", "/s/audit", "--legacy-role", "ops"]),
    ] {
        let explanation = scene.read(&format!("/api/gate/explain?{query}")).await;
        let (_, printed) = scene.gate.attempt(&[&["explain"], arguments, &["--format", "json"]].concat());
        let mut printed: Value = serde_json::from_str(&printed).expect("JSON");
        // The command reads a file and the gate what runs: they differ in what they call it.
        printed["file"] = explanation["file"].clone();
        assert_eq!(explanation, printed, "{query}");
    }
    let (_, printed) = scene.gate.attempt(&["soak", "--format", "json"]);
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let soak = scene.read("/api/gate/soak").await;
    let verdicts = |soak: &Value| -> Vec<(Value, Value)> {
        let states = soak.as_array().or_else(|| soak["clusters"].as_array()).expect("clusters");
        states.iter().map(|state| (state["cluster"].clone(), state["verdict"].clone())).collect()
    };
    assert_eq!(verdicts(&soak), verdicts(&printed));
    assert!(!verdicts(&soak).is_empty());
}

#[tokio::test]
async fn a_parameter_that_is_none_is_400() {
    let scene = Scene::new(Database::Sqlite, API).await;
    for target in [
        "/api/gate/drift?direction=up",
        "/api/gate/drift?clutser=S",
        "/api/gate/explain?method=GET",
        "/api/gate/explain?method=GET&path=/x&as=ben&group=ops-admins",
        "/api/gate/explain?method=GET&path=/x&group=nobody",
        "/api/gate/explain?method=GET&path=/x&legacy_role=boss",
        "/api/gate/history?limit=-1",
        "/api/gate/history?limit=many",
    ] {
        let answer = scene.send(&Ask::get(target).bearer(&scene.token)).await;
        assert_eq!(answer.status, 400, "{target}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    for query in ["?flag=maybe", "?legacy_as=superadmin", "?legacy_as=superadmin=no-such-group"] {
        assert_eq!(scene.diff(query, MAPPING).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn the_history_of_mappings() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let history = scene.read("/api/gate/history?limit=1").await;
    let activation = &history["activations"][0];
    assert_eq!(activation["outcome"], json!("activated"));
    // With the owner of the file.
    let by = activation["activated_by"].as_str().unwrap_or_default();
    assert!(by.starts_with("start of "), "{by}");
    assert_eq!(activation["sha256"], scene.read("/api/gate/mapping").await["sha256"]);
    assert_eq!(scene.read("/api/gate/history?limit=0").await["activations"], json!([]));
}

/// What the firewall turns away, with enough of it to know the client by, and no secret.
#[tokio::test]
async fn what_was_refused_is_shown() {
    let scene = Scene::new(Database::Sqlite, "[api]\ncallers = [\"console\"]\nforward_auth = true\n").await;
    assert_eq!(scene.read("/api/gate/refusals").await["reasons"], json!([]));
    let asked = |target: &str| {
        Ask::get("/forward-auth").header("x-original-method", "GET").header("x-original-uri", target)
    };
    for number in 0..25 {
        let answer = scene.send(&asked(&format!("/{number}//x?token=secret"))).await;
        assert_eq!(answer.status, 400);
    }
    assert_eq!(scene.send(&asked("/a/%2e%2e/b")).await.status, 400);
    // A row that takes no WebSocket, and a caller who may have it.
    let upgrade = Ask::get("/account")
        .cookie(&scene.world.cookie("anna"))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let refused = scene.gate.send(&upgrade).await;
    assert_eq!(refused.status, 400);
    let report = scene.read("/api/gate/refusals").await;
    let reasons = report["reasons"].as_array().expect("reasons");
    let shown: Vec<_> = reasons.iter().map(|one| (&one["reason"], &one["count"], &one["status"])).collect();
    let (empty, dots, upgrade) = (json!("empty_segment"), json!("dot_segment"), json!("upgrade"));
    assert_eq!(
        shown,
        [
            (&empty, &json!(25), &json!(400)),
            (&dots, &json!(1), &json!(400)),
            (&upgrade, &json!(1), &json!(400))
        ]
    );
    let last = reasons[0]["last"].as_array().expect("requests");
    assert_eq!((last.len(), &last[0]["path"], &last[0]["has_query"]), (20, &json!("/24//x"), &json!(true)));
    assert!(!report.to_string().contains("secret"), "{report}");
    let request = &reasons[2]["last"][0];
    assert_eq!((&request["method"], &request["path"]), (&json!("GET"), &json!("/account")));
    assert_eq!(request["request_id"], refused.request_id());
}

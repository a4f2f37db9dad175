//! Reports about requests that nobody has made, compared with what the running gate answers to them: for bodies that
//! cannot be read, and for what no row covers.

use std::time::{Duration, Instant};

use policy::rbac::LegacyRole;
use serde_json::{Value, json};

use crate::support::findings::Findings;
use crate::support::recorder::Recorder;
use crate::support::scene::create_token;
use crate::support::{Ask, Database, Gate, Setup, World};

const BODIES: &str = r#"
version = 1
[clusters]
V = "v2"
S = "shadow"
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"POST /v" = { legacy = ["ops"], role = "console-user", when = [{ json = "/n", equals = "30", role = "console-audit-user" }] }
[blueprints.s]
cluster = "S"
[blueprints.s.routes]
"POST /s" = { legacy = ["ops"], role = "console-user", when = [{ json = "/n", equals = "30", role = "console-audit-user" }] }
"#;

/// Bodies of each kind, with their types; a request may have none.
const KINDS: [(&str, Option<(&str, &str)>); 14] = [
    ("no_rule", Some(("application/json", r#"{"n":31}"#))),
    ("no_rule", Some(("application/json", r#"{"n":"30.0"}"#))),
    ("no_rule", Some(("application/json", r#"{"n":30.5}"#))),
    ("rule", Some(("application/json", r#"{"n":30}"#))),
    ("rule", Some(("application/json", r#"{"n":"30"}"#))),
    ("unreadable", None),
    ("unreadable", Some(("application/json", ""))),
    ("unreadable", Some(("application/json", r#"{"n":30.0}"#))),
    ("unreadable", Some(("application/json", r#"{"n":3e1}"#))),
    ("unreadable", Some(("application/json", r#"{"n":31.0}"#))),
    ("unreadable", Some(("application/json", r#"{"m":30}"#))),
    ("unreadable", Some(("application/json", r#"{"n":31,"n":30}"#))),
    ("unreadable", Some(("application/x-www-form-urlencoded", "n=31"))),
    ("unreadable", Some(("text/plain", r#"{"n":31}"#))),
];

fn request(method: &str, path: &str, body: Option<(&str, &str)>) -> Ask {
    match body {
        Some((content_type, text)) => {
            Ask::new(method, path).header("content-type", content_type).body(text.to_owned())
        }
        None => Ask::new(method, path),
    }
}

/// What `explain` answers for each kind of body; `null` for all of them.
fn explained(gate: &Gate, method: &str, path: &str, admin: &str) -> Vec<(Value, String)> {
    let (_, printed) = gate.attempt(&["explain", method, path, "--as", admin, "--format", "json"]);
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let answers = report["caller"]["answers"].as_array().expect("answers");
    let answer = |one: &Value| one["answer"].as_str().expect("an answer").to_owned();
    answers.iter().map(|one| (one["body"]["kind"].clone(), answer(one))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_explained_as_it_is_answered() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin_holding("both", &["console-user", "console-audit-user"]).await;
    world.admin_holding("user", &["console-user"]).await;
    world.admin_holding("auditor", &["console-audit-user"]).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    let setup = Setup { mapping: Some(BODIES), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let mut findings = Findings::default();
    for flag in ["on", "off"] {
        gate.run(&["flag", "rbac-v2", flag]);
        for admin in ["both", "user", "auditor", "olaf"] {
            for (method, path) in [("POST", "/v"), ("POST", "/s"), ("OPTIONS", "/v"), ("OPTIONS", "/s")] {
                let answers = explained(&gate, method, path, admin);
                for (kind, body) in KINDS.iter().filter(|(_, body)| method == "POST" || body.is_none()) {
                    let ask = request(method, path, *body).cookie(&world.cookie(admin));
                    let status = gate.send(&ask).await.status;
                    let is_of_kind = |answer: &&(Value, String)| answer.0.is_null() || answer.0 == *kind;
                    let matching: Vec<&str> =
                        answers.iter().filter(is_of_kind).map(|(_, answer)| answer.as_str()).collect();
                    let expected = if status == 200 { "allow" } else { "deny" };
                    let what = format!("{flag} {admin} {method} {path} {body:?}: {status}");
                    findings.equal(&what, matching, vec![expected]);
                }
            }
        }
    }
    // Whatever somebody holds, V2 lets no unreadable body through; the legacy gate never looks.
    findings.conclude(2 * 4 * 2 * (14 + 1));
}

/// The disagreement that an unreadable body makes in shadow is explained by the body.
#[tokio::test(flavor = "multi_thread")]
async fn drift_by_an_unreadable_body_is_explained_by_it() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("uma", &["raxx-platform-admins"], &[LegacyRole::literal("ops")]).await;
    let setup = Setup { mapping: Some(BODIES), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let ask = request("POST", "/s", Some(("application/json", r#"{"n":3e1}"#))).cookie(&world.cookie("uma"));
    assert_eq!(gate.send(&ask).await.status, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    let id = loop {
        let (_, output) = gate.attempt(&["drift", "--format", "json"]);
        let output: Value = serde_json::from_str(&output).expect("JSON");
        if let Some(id) = output["disagreements"][0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(Instant::now() < deadline, "{output}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let (code, output) = gate.attempt(&["drift", "--explain", &id]);
    assert_eq!(code, 0, "it was explained: {output}");
    assert!(output.contains("sends an unreadable or missing body"), "{output}");
    assert!(output.contains("change     have the client send JSON with a single value for /n\n"), "{output}");
}

const DENY: &str = "version = 1\nunmapped = \"deny\"\n[blueprints.b.routes]\n\"GET /known\" = { session = true }\n\
    \"* /machine\" = { machine = true }\n";
const FORWARD: &str = "version = 1\nunmapped = \"forward\"\n[blueprints.b.routes]\n\"GET /known\" = { session = true }\n\
    \"* /machine\" = { machine = true }\n";

/// Requests that no row covers: a path, a method of a path that has rows, and `OPTIONS *`, which nothing opens.
const UNCOVERED: [(&str, &str); 5] = [
    ("GET", "/nowhere"),
    ("OPTIONS", "/nowhere"),
    ("POST", "/known"),
    ("DELETE", "/known"),
    ("OPTIONS", "*"),
];

/// How a stranger, a machine with a token and an admin fare.
async fn answers(world: &World, gate: &Gate, token: &str, (method, path): (&str, &str)) -> [u16; 3] {
    let ask = || Ask::new(method, path);
    [
        gate.send(&ask()).await.status,
        gate.send(&ask().bearer(token)).await.status,
        gate.send(&ask().cookie(&world.cookie("anna"))).await.status,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_row_covers_is_reported_as_it_is_answered() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-platform-admins"], &[LegacyRole::literal("superadmin")]).await;
    let setup = Setup { mapping: Some(DENY), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let token = create_token(&gate, "robot", &[]);
    for request in UNCOVERED {
        assert_eq!(answers(&world, &gate, &token, request).await, [302, 302, 403], "{request:?}");
    }
    let files = [("deny.toml", DENY), ("forward.toml", FORWARD)].map(|(name, text)| {
        let file = world.folder().join(name);
        std::fs::write(&file, text).expect("a file");
        file.to_str().expect("UTF-8").to_owned()
    });
    let opens = "what no row covers opens to anyone, logged in or not: only Console decides\n";
    let (code, output) = gate.attempt(&["diff", &files[0], &files[1]]);
    assert_eq!(code, 1, "{output}");
    assert!(output.starts_with(opens), "{output}");
    let (code, json) = gate.attempt(&["diff", &files[0], &files[1], "--format", "json"]);
    let report: Value = serde_json::from_str(&json).expect("JSON");
    let change = &report["changes"][0];
    assert_eq!((code, &change["route"], &change["strangers"]), (1, &Value::Null, &json!("gain")));
    assert_eq!(report["changes"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["summary"]["admins"], json!({ "count": 1, "gains": 1, "losses": 0 }));
    assert_eq!(report["summary"]["machines"], json!({ "count": 1, "gains": 1, "losses": 0 }));
    let (code, sarif) = gate.attempt(&["diff", &files[0], &files[1], "--format", "sarif"]);
    let result = &serde_json::from_str::<Value>(&sarif).expect("JSON")["runs"][0]["results"][0];
    let message = result["message"]["text"].as_str().expect("a message");
    assert!(message.starts_with("Gains what no row covers: anyone, logged in or not ("), "{message}");
    assert_eq!((code, &result["level"]), (1, &json!("error")));
    let line = &result["locations"][0]["physicalLocation"]["region"]["startLine"];
    assert_eq!(line, &json!(2), "where `unmapped` is");

    let replay = ["replay", "--since", "2026-01-01", "--mapping", &files[1]];
    let deadline = Instant::now() + Duration::from_secs(20);
    let output = loop {
        let (code, output) = gate.attempt(&replay);
        if output.starts_with("15 request(s)") {
            assert_eq!(code, 1, "{output}");
            break output;
        }
        assert!(Instant::now() < deadline, "{output}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // Each but the three for the asterisk.
    assert!(output.contains("\n12 newly allowed, 0 newly denied\n"), "{output}");
    assert!(!output.contains("OPTIONS *"), "{output}");

    std::fs::write(gate.mapping_file(), FORWARD).expect("the mapping");
    let deadline = Instant::now() + Duration::from_secs(20);
    while gate.send(&Ask::get("/nowhere")).await.status != 200 {
        assert!(Instant::now() < deadline, "{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for request in UNCOVERED {
        let expected = if request.1 == "*" { [302, 302, 403] } else { [200, 200, 200] };
        assert_eq!(answers(&world, &gate, &token, request).await, expected, "{request:?}");
        let (code, output) = gate.attempt(&["explain", request.0, request.1, "--as", "anna"]);
        assert_eq!(code == 0, expected[2] == 200, "{request:?}\n{output}");
    }
    // The way there is in the history, and the way back says what happens to whom.
    let (_, output) = gate.attempt(&["history", "--limit", "1"]);
    let unwrapped = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains(opens.trim_end()), "{output}");
    let (code, output) = gate.attempt(&["rollback", "--yes"]);
    assert_eq!(code, 0, "{output}");
    let closes = "what no row covers closes: admins get 403, everyone else is redirected to log in\n";
    // It acts before it prints; what this does to whom follows.
    assert!(output.contains(closes), "{output}");
}

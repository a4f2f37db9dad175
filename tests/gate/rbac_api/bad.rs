//! Requests that nobody should send: each is refused as what it is, none is a failure of the gate, and none changes
//! anything.

use serde_json::Value;

use super::{Api, BOTH, is_problem, text};
use crate::support::Ask;

/// Bodies of `POST /api/rbac/grants`, and the statuses that each may get.
const BODIES: [(&str, u16); 45] = [
    ("", 400),
    (" ", 400),
    ("{", 400),
    ("}", 400),
    ("[", 400),
    ("\"", 400),
    ("null", 422),
    ("true", 422),
    ("7", 422),
    ("\"x\"", 422),
    ("[]", 422),
    ("{}", 422),
    ("{}{}", 422),
    ("{} x", 422),
    ("{\"user\":\"carol\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\"}", 422),
    ("{\"user\":7,\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":null,\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":[\"carol\"],\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":{},\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"  \"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"a\\u0000b\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":7}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":null}", 422),
    ("{\"user\":\"ca\\u0000rol\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx\\u0000\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol\\n\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"nobody\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"CAROL\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"nothing\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"RAXX-SUPPORT-TEAM\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol' OR '1'='1\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    (
        "{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"x\",\"role\":\"console-manager\"}",
        422,
    ),
    ("{\"user\":\"carol\",\"user\":\"ben\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"x\",\"until\":\"\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"x\",\"until\":\"tomorrow\"}", 422),
    ("{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"x\",\"until\":7}", 422),
    (
        "{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"x\",\"until\":\"1999-01-01T00:00:00Z\"}",
        422,
    ),
    (
        "{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"x\",\"until\":\"9999-01-01T00:00:00Z\"}",
        422,
    ),
    (
        "{\"user\":\"carol\",\"group\":\"raxx-support-team\",\"reason\":\"x\",\"until\":\"2026-02-30T00:00:00Z\"}",
        422,
    ),
    ("\u{feff}{}", 400),
    ("{\"user\":\"\\ud800\",\"group\":\"raxx-support-team\",\"reason\":\"x\"}", 400),
];

/// Targets, each with the status for somebody who may read and write everything.
const TARGETS: [(&str, &str, u16); 38] = [
    ("GET", "/api/rbac/me?x=1", 400),
    ("GET", "/api/rbac/roles?limit=1", 400),
    ("GET", "/api/rbac/grants?limit=0", 400),
    ("GET", "/api/rbac/grants?limit=501", 400),
    ("GET", "/api/rbac/grants?limit=-1", 400),
    ("GET", "/api/rbac/grants?limit=1e2", 400),
    ("GET", "/api/rbac/grants?limit=99999999999999999999", 400),
    ("GET", "/api/rbac/grants?origin=x", 400),
    ("GET", "/api/rbac/grants?live=1", 400),
    ("GET", "/api/rbac/grants?user=a&user=b", 400),
    ("GET", "/api/rbac/grants?user=%00", 400),
    ("GET", "/api/rbac/grants?user=%ff", 400),
    ("GET", "/api/rbac/grants?cursor=x", 400),
    ("GET", "/api/rbac/grants?cursor=x.y", 400),
    ("GET", "/api/rbac/grants/audit?event=x", 400),
    ("GET", "/api/rbac/grants/audit?cursor=e30.e30", 400),
    ("GET", "/api/rbac/permissions/check", 400),
    ("GET", "/api/rbac/permissions/check?permission=", 400),
    ("GET", "/api/rbac/permissions/check?permission=x&kind=machine", 400),
    ("GET", "/api/rbac/who", 400),
    ("GET", "/api/rbac/who?route=", 400),
    ("GET", "/api/rbac/who?route=GET", 400),
    ("GET", "/api/rbac/who?route=GET%20%0d%0a", 400),
    ("GET", "/api/rbac/who?route=GET%20/a%20b", 400),
    ("GET", "/api/rbac/who?route=GET%20/%2e%2e/x", 400),
    ("GET", "/api/rbac/roles/%27%20OR%201=1", 404),
    ("GET", "/api/rbac/groups/x%0Ay", 404),
    ("GET", "/api/rbac/admins/%F0%9F%92%A5", 404),
    ("DELETE", "/api/rbac/grants/x", 404),
    ("DELETE", "/api/rbac/grants/direct.YQ", 404),
    ("DELETE", "/api/rbac/grants/direct.YQ.Zw?reason=", 422),
    ("DELETE", "/api/rbac/grants/direct.AA.Zw", 404),
    ("DELETE", "/api/rbac/grants/6f9619ff-8b86-4011-b42d-00cf4fc964ff", 404),
    ("PUT", "/api/rbac/groups/g/roles/r", 428),
    ("PUT", "/api/rbac/roles/r/inherits/r", 428),
    ("PUT", "/api/rbac/roles/new?dry_run=maybe", 400),
    ("PUT", "/api/rbac/roles/new%09role", 400),
    ("POST", "/api/rbac/roles", 405),
];

#[tokio::test]
async fn no_request_is_a_failure_and_none_changes_anything() {
    for database in BOTH {
        let api = Api::new(database).await;
        let before = api.everything().await;
        let mut wrong = Vec::new();
        for (body, expected) in BODIES {
            let ask = api.write("anna", "POST", "/api/rbac/grants", &Value::Null);
            let ask = ask.header("content-type", "application/json").body(body);
            let answer = api.gate.send(&ask).await;
            if answer.status != expected {
                wrong.push(format!("{body}: {expected} expected, {}", text(&answer)));
            }
            is_problem(&answer);
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!said.contains("OR '1'='1") || body.contains("nobody"), "{said}");
        }
        let ask = api
            .write("anna", "POST", "/api/rbac/grants", &Value::Null)
            .header("content-type", "application/json");
        let not_text = api.gate.send(&ask.clone().body(b"{\"user\":\"\xff\"}".to_vec())).await;
        assert_eq!(not_text.status, 400, "{}", text(&not_text));
        let deep = api.gate.send(&ask.clone().body("[".repeat(60_000))).await;
        assert_eq!(deep.status, 400, "{}", text(&deep));
        let large = api.gate.send(&ask.clone().body(vec![b' '; 70_000])).await;
        assert_eq!(large.status, 413);
        for (method, target, expected) in TARGETS {
            let ask = Ask::new(method, target).cookie(&api.world.cookie("anna"));
            let answer = api.gate.send(&ask.header("sec-fetch-site", "same-origin")).await;
            if answer.status != expected {
                wrong.push(format!("{method} {target}: {expected} expected, {}", text(&answer)));
            }
            is_problem(&answer);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(api.everything().await, before);
    }
}

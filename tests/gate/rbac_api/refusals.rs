//! I-2 where the gate itself answers: each 403 has an audit row that says who was refused what, and why, before it is answered.

use serde_json::{Value, json};

use super::requests::with_rules;
use super::{Api, BOTH, WRITER, direct, text};
use crate::support::Ask;

/// What is refused: the request, and what its row says.
struct Case {
    ask: Ask,
    reason: &'static str,
    route: &'static str,
    /// A part of what was missing; empty where that has no name.
    required: &'static str,
}

const WRITE: &str = "/api/rbac/*";
const SUPPORT: &str = "raxx-support-team";

async fn cases(api: &Api) -> Vec<Case> {
    let case = |ask, reason, route, required| Case { ask, reason, route, required };
    let grant = |by: &str, user: &str, group: &str| {
        let body = json!({ "user": user, "group": group, "reason": "RAXX-7" });
        api.write(by, "POST", "/api/rbac/grants", &body)
    };
    let leads = "raxx-platform-admins";
    let asked = json!({ "group": SUPPORT, "for": "2h", "reason": "an incident" });
    let asked = api.send(&api.write("carol", "POST", "/api/rbac/requests", &asked)).await;
    let place = asked.header("location").to_owned();
    let shown = api.read("carol", &place).await;
    let approve = json!({ "impact_sha256": shown["impact_sha256"] });
    let step = |by: &str, step: &str, body: &Value| api.write(by, "POST", &format!("{place}/{step}"), body);
    let elsewhere = |ask: Ask| ask.header("origin", "https://evil.test");
    let target = format!("/api/rbac/grants/{}", direct("ben", SUPPORT));
    let bare = Ask::new("DELETE", &target).cookie(&api.world.cookie("anna"));
    let requests = "/api/rbac/requests/<id>/<step>";
    vec![
        case(bare.clone(), "cross_site", WRITE, ""),
        case(elsewhere(bare), "cross_site", WRITE, ""),
        case(grant("ivan", "ivan", leads), "rule_a", WRITE, "membership of `raxx-platform-admins`"),
        case(grant("ivan", "carol", "raxx-support-team"), "rule_b", WRITE, "role `"),
        case(grant("anna", "carol", leads), "rule_c", WRITE, "membership of `raxx-platform-admins`"),
        case(grant("ivan", "carol", "bare"), "rule_d", WRITE, "membership of `bare`"),
        case(step("carol", "approve", &approve), "rule_a", requests, ""),
        case(step("anna", "withdraw", &Value::Null), "not_the_requester", requests, ""),
        case(
            api.write("carol", "POST", "/api/rbac/grants", &json!({})),
            "missing_role",
            WRITE,
            "console-invite-admin",
        ),
    ]
}

async fn scene(database: crate::support::Database) -> Api {
    let api = with_rules(database, "").await;
    api.world.admin_holding("ivan", &WRITER).await;
    api.world.store.add_group("bare", &[]).await.expect("a group");
    api
}

#[tokio::test]
async fn every_403_says_in_the_audit_which_rule_refused() {
    for database in BOTH {
        let api = scene(database).await;
        for Case { ask, reason, route, required } in cases(&api).await {
            let answer = api.ask(&ask).await;
            let case = format!("{database:?} {} {}: {}", ask.method, ask.target, text(&answer));
            assert_eq!(answer.status, 403, "{case}");
            let rows = api.world.store.by_request(answer.request_id()).await.expect("the audit");
            let [row] = rows.as_slice() else { panic!("{case}: {rows:#?}") };
            assert_eq!(row.reason.as_deref(), Some(reason), "{case}");
            assert!(
                row.route.as_deref().is_some_and(|named| named.ends_with(route)),
                "{case}: {:?}",
                row.route
            );
            assert_eq!(row.path.as_deref(), ask.target.split('?').next(), "{case}");
            assert!(row.actor_id.is_some() && row.held.is_some() && row.mapping_sha256.is_some(), "{case}");
            let missing = row.required.as_ref().map(|json| json.0.to_string()).unwrap_or_default();
            assert!(missing.contains(required), "{case}: {missing}");
        }
        let (code, said) = api.gate.attempt(&["audit", "verify"]);
        assert_eq!(code, 0, "{said}");
    }
}

/// A refusal that cannot be recorded is not answered as one.
#[tokio::test]
async fn a_refusal_without_its_row_is_503_and_changes_nothing() {
    for database in BOTH {
        let api = scene(database).await;
        let cases = cases(&api).await;
        let before = api.everything().await;
        api.world.break_inserts("gate_audit_events", true).await;
        for Case { ask, .. } in &cases {
            let answer = api.gate.send(ask).await;
            assert_eq!(answer.status, 503, "{} {}: {}", ask.method, ask.target, text(&answer));
        }
        api.world.break_inserts("gate_audit_events", false).await;
        assert_eq!(api.everything().await, before, "{database:?}");
        for Case { ask, .. } in &cases {
            assert_eq!(api.ask(ask).await.status, 403, "{} {}", ask.method, ask.target);
        }
    }
}

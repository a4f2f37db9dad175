//! Requests for access over HTTP: a denied person asks, others approve on the basis of the impact, and the route opens
//! until the end.

use serde_json::{Value, json};

use super::openapi::compare;
use super::{Api, BOTH, MAPPING, SETTINGS, delegations, is_problem, text};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Ask, Database, Setup, World};

const SUPPORT: &str = "raxx-support-team";

/// Whoever is logged in may ask; `[approval]` says who decides.
pub const ROWS: &str = r#"
"DELETE /api/rbac/me/grants/<id>" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/requests/<id>" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/requests/<id>/<step>" = { session = true, gate = true, unauthenticated = "401" }

[approval]
raxx-support-team = { by = ["raxx-platform-admins"], longest = "8h" }
raxx-devops-team = { by = ["raxx-platform-admins"], quorum = 2 }
"#;

pub async fn api(database: Database) -> Api {
    with_rules(database, "").await
}

/// The same with further rules of approval.
pub async fn with_rules(database: Database, rules: &str) -> Api {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    for admin in ["anna", "paul"] {
        world.admin(admin, &["raxx-platform-admins"], &[]).await;
    }
    world.admin("ben", &[SUPPORT], &[]).await;
    world.admin("carol", &[], &[]).await;
    world.admin("dora", &[], &[]).await;
    world.execute(&delegations(&[SUPPORT, "raxx-devops-team"])).await;
    let mapping: &'static str = Box::leak(format!("{MAPPING}{ROWS}{rules}").into_boxed_str());
    let setup =
        Setup { mapping: Some(mapping), upstream: Some(upstream.socket()), sections: SETTINGS, ..Setup::V2 };
    let gate = world.gate(&setup).await;
    Api { world, gate, upstream }
}

pub async fn post(api: &Api, admin: &str, target: &str, body: &Value) -> Answer {
    api.send(&api.write(admin, "POST", target, body)).await
}

async fn page(api: &Api, admin: &str, target: &str) -> Answer {
    let ask = Ask::get(target).cookie(&api.world.cookie(admin)).header("accept", "text/html");
    api.ask(&ask).await
}

/// The 403 says where to ask, in each of its forms; what it says is what the API then takes.
#[tokio::test]
async fn a_denial_says_where_to_ask() {
    for database in BOTH {
        let api = api(database).await;
        let denied = api.get("carol", "/audit?x=secret").await;
        let groups = ["raxx-devops-team", SUPPORT];
        let offered = &denied.json()["request_access"];
        let expected = json!({ "method": "POST", "path": "/api/rbac/requests", "route": "GET /audit", "groups": groups });
        assert_eq!((denied.status, offered), (403, &expected));
        let shown = page(&api, "carol", "/audit").await;
        let html = text(&shown);
        assert_eq!(shown.status, 403);
        assert!(html.contains(r#"<form method="post" action="/api/rbac/requests""#), "{html}");
        assert!(html.contains(r#"<input type="hidden" name="route" value="GET /audit">"#), "{html}");
        assert!(html.contains(
            "<option>1h</option><option>2h</option><option>4h</option><option>8h</option></select>"
        ));
        let policy = shown.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'"), "{policy}");
        let ask = Ask::get("/audit").cookie(&api.world.cookie("carol")).header("hx-request", "true");
        let fragment = text(&api.gate.send(&ask).await);
        assert!(fragment.contains(r#"hx-post="/api/rbac/requests""#), "{fragment}");
        // A path is text on the page.
        let odd = page(&api, "carol", "/audit%22%3E%3Cscript%3E").await;
        assert_eq!((odd.status, odd.header("content-security-policy")), (403, ""), "no row, no offer");
        let ask = json!({ "route": offered["route"], "for": "1h", "reason": "an incident" });
        let asked = post(&api, "carol", "/api/rbac/requests", &ask).await;
        assert_eq!((asked.status, &asked.json()["group"]), (201, &offered["groups"][0]), "{}", text(&asked));
        // No group that can be asked for opens this one.
        let denied = api.get("carol", "/permission").await;
        assert_eq!((denied.status, &denied.json()["request_access"]), (403, &Value::Null));
        let shown = page(&api, "carol", "/permission").await;
        assert_eq!((shown.status, shown.header("content-security-policy")), (403, ""));
        assert!(!text(&shown).contains("<form"), "{}", text(&shown));
        // Who is let in reads nothing of groups, and who is not logged in neither.
        let open = page(&api, "ben", "/audit").await;
        assert_eq!((open.status, text(&open).contains("raxx-")), (200, false));
        let stranger = api.gate.send(&Ask::get("/audit").header("accept", "text/html")).await;
        assert_eq!((stranger.status, text(&stranger).contains("raxx-")), (302, false));
    }
}

/// The page's form, sent as a browser without JavaScript sends it. What shows that a page of this site sent it is the same as
/// for JSON, or the token that is in the form.
#[tokio::test]
async fn the_form_of_the_page_asks() {
    let api = api(Database::Sqlite).await;
    // The token is of the session, which is the cookie here.
    let cookie = api.world.cookie("carol");
    let denied = Ask::get("/audit").cookie(&cookie).header("accept", "text/html");
    let html = text(&api.gate.send(&denied).await);
    let token =
        html.split_once(r#"name="csrf_token" value=""#).unwrap().1.split_once('"').unwrap().0.to_owned();
    let form = |cookie: &str, token: &str, reason: &str| {
        Ask::new("POST", "/api/rbac/requests")
            .cookie(cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "text/html,application/xhtml+xml")
            .body(format!("route=GET+%2Faudit&csrf_token={token}&reason={reason}&ticket=&for=1h"))
    };
    for (case, ask) in [
        ("no token", form(&cookie, "", "x")),
        ("the token of another", form(&api.world.cookie("dora"), &token, "x")),
        ("another site", form(&cookie, &token, "x").header("sec-fetch-site", "cross-site")),
        ("another origin", form(&cookie, &token, "x").header("origin", "https://evil.example")),
    ] {
        assert_eq!(api.gate.send(&ask).await.status, 403, "{case}");
    }
    assert_eq!(api.read("carol", "/api/rbac/requests").await["requests"], json!([]));
    let empty = api.gate.send(&form(&cookie, &token, "")).await;
    assert_eq!(empty.status, 422, "{}", text(&empty));
    assert!(text(&empty).contains("Request not sent"), "{}", text(&empty));
    let sent = api
        .gate
        .send(&form(&cookie, &token, "an%20%3Cincident%3E").header("sec-fetch-site", "same-origin"))
        .await;
    assert_eq!(
        (sent.status, sent.header("content-type")),
        (201, "text/html; charset=utf-8"),
        "{}",
        text(&sent)
    );
    let requests = api.read("carol", "/api/rbac/requests").await;
    assert_eq!(requests["requests"][0]["reason"], "an <incident>");
    assert!(text(&sent).contains(requests["requests"][0]["id"].as_str().unwrap()), "{}", text(&sent));
    let again = api.gate.send(&form(&cookie, &token, "x").header("hx-request", "true")).await;
    assert!(
        again.status == 409 && text(&again).contains("class=\"console-gate-message\""),
        "{}",
        text(&again)
    );
    // Nothing else takes a form, and the form takes nothing else.
    let mut other = form(&api.world.cookie("anna"), &token, "x");
    other.target = "/api/rbac/grants".into();
    assert_eq!(api.gate.send(&other.header("sec-fetch-site", "same-origin")).await.status, 415);
    let more = form(&api.world.cookie("dora"), "", "x&user=carol").header("sec-fetch-site", "same-origin");
    assert_eq!(api.gate.send(&more).await.status, 400);
}

/// Without a rule, without the right to ask, or where a legacy role decides, a denial is as it was.
#[tokio::test]
async fn a_denial_offers_nothing_where_nobody_can_ask() {
    let approval = &ROWS[ROWS.find("[approval]").unwrap()..];
    let no_rule = ROWS.replace(approval, "");
    let tables = [
        ("no rule", format!("{MAPPING}{no_rule}"), true),
        ("nobody without a role may ask", format!("{MAPPING}{approval}"), true),
        ("V2 is off", format!("{MAPPING}{ROWS}"), false),
    ];
    for (case, mapping, is_v2) in tables {
        let world = World::new(Database::Sqlite).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        world.admin("carol", &[], &[]).await;
        let mapping: &'static str = Box::leak(mapping.into_boxed_str());
        let flag = if is_v2 { Some("1") } else { None };
        let setup = Setup {
            mapping: Some(mapping),
            upstream: Some(upstream.socket()),
            flag,
            sections: SETTINGS,
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        let denied = gate.send(&Ask::get("/audit").cookie(&world.cookie("carol"))).await;
        assert_eq!((denied.status, &denied.json()["request_access"]), (403, &Value::Null), "{case}");
    }
}

#[tokio::test]
async fn a_denied_person_asks_and_is_let_in_until_the_end() {
    for database in BOTH {
        let api = api(database).await;
        assert_eq!(api.get("carol", "/audit").await.status, 403);
        let document = api.read("anna", "/api/rbac/openapi.json").await;
        let (all, one) = ("/api/rbac/requests", "/api/rbac/requests/{id}");
        let ask = json!({ "route": "GET /audit", "for": "2h", "reason": "an incident", "ticket": "T-7" });
        let asked = post(&api, "carol", all, &ask).await;
        assert_eq!((asked.status, &asked.json()["route"]), (201, &json!("GET /audit")), "{}", text(&asked));
        // Both groups open the route and bring four roles; the first by name is asked for.
        assert_eq!(asked.json()["group"], "raxx-devops-team");
        let ask = json!({ "group": SUPPORT, "for": "2h", "reason": "an incident", "ticket": "T-7" });
        let asked = post(&api, "carol", all, &ask).await;
        assert_eq!(asked.status, 201, "{}", text(&asked));
        compare(&document, "POST", all, &asked);
        let place = asked.header("location").to_owned();
        let again = post(&api, "carol", "/api/rbac/requests", &ask).await;
        assert_eq!((again.status, &again.json()["request"]), (409, &asked.json()["id"]));
        // Who neither asked nor decides learns nothing of it.
        assert_eq!(api.get("dora", &place).await.status, 404);
        assert_eq!(api.read("dora", "/api/rbac/requests").await["requests"], json!([]));
        let mine = api.get("carol", "/api/rbac/requests?mine=true").await;
        compare(&document, "GET", all, &mine);
        assert_eq!(mine.json()["requests"].as_array().map_or(0, Vec::len), 2);
        compare(&document, "GET", one, &api.get("anna", &place).await);

        let shown = api.read("anna", &place).await;
        assert!(shown["impact"]["changes"].to_string().contains("/audit"), "{shown:#}");
        assert_eq!(
            shown["approval"],
            json!({ "by": ["raxx-platform-admins"], "quorum": 1, "longest": "8h" })
        );
        let approve = json!({ "impact_sha256": shown["impact_sha256"] });
        let own = post(&api, "carol", &format!("{place}/approve"), &approve).await;
        assert_eq!(own.status, 403, "{}", text(&own));
        let stale = json!({ "impact_sha256": "0".repeat(64) });
        let stale = post(&api, "anna", &format!("{place}/approve"), &stale).await;
        assert_eq!((stale.status, &stale.json()["impact_sha256"]), (412, &shown["impact_sha256"]));
        compare(&document, "POST", "/api/rbac/requests/{id}/approve", &stale);
        let done = post(&api, "anna", &format!("{place}/approve"), &approve).await;
        compare(&document, "POST", "/api/rbac/requests/{id}/approve", &done);
        assert_eq!((done.status, &done.json()["state"]), (200, &json!("approved")), "{}", text(&done));
        assert_eq!(api.get("carol", "/audit").await.status, 200, "the next request is let in");

        let grant =
            api.read("anna", &format!("/api/rbac/grants/{}", done.json()["grant"].as_str().unwrap())).await;
        assert_eq!(
            (&grant["origin"], &grant["granted_by"]),
            (&json!("request"), &json!("anna")),
            "{grant:#}"
        );
        let held = api.read("carol", "/api/rbac/me").await;
        assert!(held["grants"].to_string().contains("request"), "{held:#}");
        let late = post(&api, "paul", &format!("{place}/approve"), &approve).await;
        assert_eq!(late.status, 409, "{}", text(&late));
        // The grant ends before its time, and carol is out at once.
        let end = format!("/api/rbac/grants/{}", done.json()["grant"].as_str().unwrap());
        let ended = api.send(&api.write("anna", "DELETE", &end, &Value::Null)).await;
        assert_eq!(ended.status, 204, "{}", text(&ended));
        assert_eq!(api.get("carol", "/audit").await.status, 403);
    }
}

#[tokio::test]
async fn two_have_to_approve_where_the_rule_says_so() {
    let api = api(Database::Sqlite).await;
    let ask = json!({ "group": "raxx-devops-team", "for": "1h", "reason": "a deploy" });
    let asked = post(&api, "carol", "/api/rbac/requests", &ask).await;
    assert_eq!(asked.status, 201, "{}", text(&asked));
    let place = asked.header("location").to_owned();
    let look = api.read("anna", &place).await;
    let approve = json!({ "impact_sha256": look["impact_sha256"] });
    let first = post(&api, "anna", &format!("{place}/approve"), &approve).await;
    assert_eq!(first.json(), json!({ "state": "pending", "approvals": 1, "quorum": 2 }));
    let look = api.read("paul", &place).await;
    assert_eq!(look["approvals"][0]["approver"], "anna");
    assert_eq!(look["approvals"][0]["counts"], true);
    let second = post(&api, "paul", &format!("{place}/approve"), &approve).await;
    assert_eq!(second.json()["state"], "approved", "{}", text(&second));
}

#[tokio::test]
async fn a_request_is_denied_or_taken_back() {
    let api = api(Database::Sqlite).await;
    let ask = json!({ "group": SUPPORT, "for": "30m", "reason": "curious" });
    let asked = post(&api, "carol", "/api/rbac/requests", &ask).await;
    let place = asked.header("location").to_owned();
    let document = api.read("anna", "/api/rbac/openapi.json").await;
    let denied = post(&api, "anna", &format!("{place}/deny"), &json!({ "comment": "ask Ben" })).await;
    compare(&document, "POST", "/api/rbac/requests/{id}/deny", &denied);
    assert_eq!((&denied.json()["state"], &denied.json()["comment"]), (&json!("denied"), &json!("ask Ben")));
    let asked = post(&api, "carol", "/api/rbac/requests", &ask).await;
    let place = asked.header("location").to_owned();
    let others = post(&api, "anna", &format!("{place}/withdraw"), &Value::Null).await;
    assert_eq!(others.status, 403, "{}", text(&others));
    let taken_back = post(&api, "carol", &format!("{place}/withdraw"), &Value::Null).await;
    compare(&document, "POST", "/api/rbac/requests/{id}/withdraw", &taken_back);
    assert_eq!(taken_back.json()["state"], "withdrawn", "{}", text(&taken_back));
    assert_eq!(api.get("carol", "/audit").await.status, 403);
}

/// Each is refused with a problem, and nothing is kept.
#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let api = api(Database::Sqlite).await;
    let table = [
        (json!({ "group": SUPPORT, "for": "9h", "reason": "x" }), 422),
        (json!({ "group": SUPPORT, "for": "8", "reason": "x" }), 422),
        (json!({ "group": SUPPORT, "for": "1h", "reason": " " }), 422),
        (json!({ "group": "break-glass", "for": "1h", "reason": "x" }), 422),
        (json!({ "group": "no-such-group", "for": "1h", "reason": "x" }), 422),
        (json!({ "route": "GET /secrets", "for": "1h", "reason": "x" }), 422),
        (json!({ "route": "GET /public", "for": "1h", "reason": "x" }), 422),
        (json!({ "route": "/audit", "for": "1h", "reason": "x" }), 422),
        (json!({ "route": "LOOK /audit", "for": "1h", "reason": "x" }), 422),
        (json!({ "for": "1h", "reason": "x" }), 422),
        (json!({ "group": SUPPORT, "for": "1h" }), 422),
        (json!({ "group": SUPPORT, "for": 1, "reason": "x" }), 422),
        (json!({ "group": SUPPORT, "for": "1h", "reason": "x", "user": "nobody" }), 422),
        (json!({ "group": SUPPORT, "for": "1h", "reason": "x", "until": "later" }), 422),
    ];
    for (body, status) in table {
        let answer = post(&api, "carol", "/api/rbac/requests", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", text(&answer));
        is_problem(&answer);
    }
    let body = json!({ "group": SUPPORT, "for": "1h", "reason": "x" });
    let foreign = api.write("carol", "POST", "/api/rbac/requests", &body);
    let foreign = foreign.header("sec-fetch-site", "cross-site");
    assert!(api.send(&foreign).await.status >= 400, "a page of another site does not ask");
    assert_eq!(api.get("anna", "/api/rbac/requests/no-such-request").await.status, 404);
    let nobody = api.gate.send(&Ask::get("/api/rbac/requests")).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(api.read("carol", "/api/rbac/requests").await["requests"], json!([]));
    assert_eq!(api.get("carol", "/api/rbac/requests?state=open").await.status, 400);
}

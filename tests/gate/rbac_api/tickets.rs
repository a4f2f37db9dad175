//! Grants for tickets over the API: given while FreeScout calls the ticket open, and ended.

use serde_json::{Value, json};

use super::openapi::compare;
use super::{Api, BOTH, MAPPING, SETTINGS, names, text};
use crate::support::freescout::{FreeScout, KEY, MAILBOX, Mood};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Database, Setup, World};

const ROWS: &str = r#"
"DELETE /api/rbac/me/grants/<id>" = { session = true, gate = true, unauthenticated = "401" }
[blueprints.c]
cluster = "V"
routes."GET /customers/<int:id>" = { role = "raptor-audit-support", ticket = { query = "ticket_id", customer = "path:id" } }
"#;

struct Desk {
    api: Api,
    freescout: FreeScout,
}

impl Desk {
    async fn new(database: Database, variables: &[(&'static str, &str)]) -> Desk {
        Desk::with_rules(database, variables, "").await
    }

    async fn with_rules(database: Database, variables: &[(&'static str, &str)], rules: &str) -> Desk {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        world.admin("anna", &["raxx-platform-admins"], &[]).await;
        world.admin("ben", &["raxx-support-team"], &[]).await;
        world.admin("carol", &[], &[]).await;
        world.admin_holding("ivan", &super::WRITER).await;
        let freescout = FreeScout::start().await;
        freescout.open(42);
        let mut all = vec![("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned())];
        all.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let setup = Setup {
            mapping: Some(format!("{MAPPING}{ROWS}{rules}").leak()),
            upstream: Some(upstream.socket()),
            sections: format!("{SETTINGS}{}", freescout.settings(20_000)).leak(),
            variables: Some(all),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        Desk { api: Api { world, gate, upstream }, freescout }
    }

    async fn grant(&self, by: &str, body: &Value) -> Answer {
        let ask = self.api.write(by, "POST", "/api/rbac/grants/ticket-scoped", body);
        self.api.ask(&ask).await
    }
}

fn body(user: &str, ticket: &str) -> Value {
    json!({ "user": user, "role": "raptor-audit-support", "ticket": ticket, "customer": 7, "reason": "a refund" })
}

#[tokio::test]
async fn a_role_is_granted_for_an_open_ticket_and_ended() {
    for database in BOTH {
        let desk = Desk::new(database, &[]).await;
        let (api, path) = (&desk.api, "/api/rbac/grants/ticket-scoped");
        let document = api.read("anna", "/api/rbac/openapi.json").await;
        let page = "/customers/7?ticket_id=42";
        assert_eq!(api.get("carol", page).await.status, 403);
        let dry = api.write("anna", "POST", &format!("{path}?dry_run=true"), &body("carol", "42"));
        let dry = api.send(&dry).await;
        compare(&document, "POST", path, &dry);
        assert_eq!((dry.status, &dry.json()["audit"][0]["role"]), (200, &json!("raptor-audit-support")));
        let ask = api.write("anna", "POST", path, &body("carol", "42")).header("idempotency-key", "k");
        let made = api.send(&ask).await;
        assert_eq!(made.status, 201, "{}", text(&made));
        compare(&document, "POST", path, &made);
        let again = api.send(&ask).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
        assert_eq!(again.json(), made.json());
        assert_eq!(api.get("carol", page).await.status, 200);
        assert_eq!(api.get("carol", "/customers/8?ticket_id=42").await.status, 403);
        let place = made.header("location").to_owned();
        let shown = api.read("anna", &place).await;
        assert_eq!(
            (&shown["ticket_id"], &shown["customer_id"], &shown["live"]),
            (&json!("42"), &json!(7), &json!(true))
        );
        assert_eq!(api.read("carol", "/api/rbac/me").await["ticket_grants"][0]["id"], made.json()["id"]);
        let ended = api.send(&api.write("anna", "DELETE", &place, &Value::Null)).await;
        assert_eq!(ended.status, 204, "{}", text(&ended));
        assert_eq!(api.get("carol", page).await.status, 403);
        assert_eq!(api.send(&api.write("anna", "DELETE", &place, &Value::Null)).await.status, 204, "again");
        let events = api.read("anna", "/api/rbac/grants/audit?user=carol").await;
        let events: Vec<&Value> =
            events["events"].as_array().unwrap().iter().map(|row| &row["event_type"]).collect();
        assert_eq!(events, ["revoke", "ticket_grant"]);
        // The holder ends it without a permission, and nobody else's.
        let made = desk.grant("anna", &body("carol", "42")).await;
        let own = format!("/api/rbac/me/grants/{}", made.json()["id"].as_str().unwrap());
        assert_eq!(api.send(&api.write("ben", "DELETE", &own, &Value::Null)).await.status, 404);
        assert_eq!(api.get("carol", page).await.status, 200);
        let done = api.send(&api.write("carol", "DELETE", &own, &Value::Null)).await;
        compare(&document, "DELETE", "/api/rbac/me/grants/{id}", &done);
        assert_eq!((done.status, api.get("carol", page).await.status), (204, 403), "{}", text(&done));
    }
}

/// What is refused leaves nothing: I-7 and the guard as for other grants, tickets that are not open, and a FreeScout that says
/// nothing.
#[tokio::test]
async fn nothing_is_granted_for_what_is_not_open() {
    let desk = Desk::new(Database::Sqlite, &[]).await;
    let api = &desk.api;
    let document = api.read("anna", "/api/rbac/openapi.json").await;
    let refused = async |by: &str, body: &Value, status: u16| {
        let before = api.everything().await;
        let answer = desk.grant(by, body).await;
        assert_eq!(answer.status, status, "{body}: {}", text(&answer));
        compare(&document, "POST", "/api/rbac/grants/ticket-scoped", &answer);
        assert_eq!(api.everything().await, before, "{body}");
        assert_eq!(api.world.store.ticket_grants(None).await.unwrap(), []);
        answer
    };
    // Ivan may write, and holds no such role: not for himself, and not for others.
    let own = refused("ivan", &body("ivan", "42"), 403).await;
    assert!(names(&own.json()["missing_roles"]).contains("raptor-audit-support"), "{}", text(&own));
    refused("ivan", &body("carol", "42"), 403).await;
    refused("carol", &body("carol", "42"), 403).await;
    desk.freescout.put(43, "closed", "published", MAILBOX);
    refused("anna", &body("carol", "43"), 422).await;
    refused("anna", &body("carol", "44"), 422).await;
    refused("anna", &body("carol", "042"), 422).await;
    refused("anna", &body("nobody", "42"), 422).await;
    let with = |name: &str, value: Value| {
        let mut changed = body("carol", "42");
        changed[name] = value;
        changed
    };
    refused("anna", &with("role", json!("no-such-role")), 422).await;
    refused("anna", &with("customer", json!(0)), 422).await;
    refused("anna", &with("customer", json!("7")), 422).await;
    refused("anna", &with("reason", json!(" ")), 422).await;
    refused("anna", &with("until", json!("2020-01-01T00:00:00Z")), 422).await;
    refused("anna", &with("group", json!("raxx-support-team")), 422).await;
    for mood in [Mood::Failing(500), Mood::Page(200), Mood::Confused] {
        desk.freescout.is(mood);
        refused("anna", &body("carol", "42"), 503).await;
    }
}

/// What waits for another person is one request however often it is asked for, and the ticket is asked about again.
#[tokio::test]
async fn a_ticket_that_is_closed_while_its_grant_waits_opens_nothing() {
    const RULES: &str = r#"
[blueprints.requests.routes]
"POST /api/rbac/requests/<id>/<step>" = { session = true, gate = true, unauthenticated = "401" }
[approval]
edits = { by = ["raxx-platform-admins"] }
"#;
    for database in BOTH {
        let desk = Desk::with_rules(database, &[], RULES).await;
        let api = &desk.api;
        api.world
            .execute(
                "INSERT INTO gate_grantors (kind, name, grantor_group, with_approval, added_by, added_at_utc)
                 VALUES ('role', 'raptor-audit-support', 'ivan', TRUE, 'tests', '2026-03-29T12:00:00+00:00')",
            )
            .await;
        let asked = desk.grant("ivan", &body("carol", "42")).await;
        assert_eq!(asked.status, 202, "{}", text(&asked));
        let again = desk.grant("ivan", &body("carol", "42")).await;
        assert_eq!((again.status, &again.json()["request"]), (409, &asked.json()["id"]), "{}", text(&again));
        assert_eq!(desk.grant("ivan", &body("ben", "42")).await.status, 202, "another one");
        let place = asked.header("location").to_owned();
        let approve = async || {
            let shown = api.read("anna", &place).await;
            assert_eq!(shown["edit"].get("id"), None, "it gets one when it is approved: {shown:#}");
            let digest = json!({ "impact_sha256": shown["impact_sha256"] });
            api.send(&api.write("anna", "POST", &format!("{place}/approve"), &digest)).await
        };
        desk.freescout.put(42, "closed", "published", MAILBOX);
        let closed = approve().await;
        assert_eq!(closed.status, 422, "{}", text(&closed));
        assert_eq!(api.get("carol", "/customers/7?ticket_id=42").await.status, 403);
        desk.freescout.open(42);
        assert_eq!(approve().await.status, 200);
        assert_eq!(api.get("carol", "/customers/7?ticket_id=42").await.status, 200);
    }
}

#[tokio::test]
async fn switched_off_it_is_403() {
    let off = Desk::new(Database::Sqlite, &[("FLAG_TICKET_SCOPED_GRANTS", "0")]).await;
    assert_eq!(off.grant("anna", &body("carol", "42")).await.status, 403);
    let desk = Desk::new(Database::Sqlite, &[]).await;
    desk.api.gate.run(&["flag", "ticket-grants", "off"]);
    assert_eq!(desk.grant("anna", &body("carol", "42")).await.status, 403);
    desk.api.gate.run(&["flag", "ticket-grants", "on"]);
    assert_eq!(desk.grant("anna", &body("carol", "42")).await.status, 201);
    desk.api.gate.run(&["flag", "rbac-v2", "off"]);
    assert_eq!(desk.grant("anna", &body("carol", "42")).await.status, 404);
}

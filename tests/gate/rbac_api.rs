//! `/api/rbac` on the proxy's address, as the RBAC V2 design (2, 3.4, 6, 9) and the migration plan (phases 1 and 2) have
//! it: through the real binary, on both databases.

mod bad;
mod break_glass;
mod documented;
mod edits;
mod faults;
mod grants;
pub mod openapi;
mod own;
mod reads;
mod refusals;
mod requests;
mod rule;
mod tickets;

use std::collections::BTreeSet;

use policy::ids::AdminId;
use policy::rbac::LegacyRole;
use serde_json::{Value, json};

use crate::support::recorder::Recorder;
use crate::support::scene::create_token;
use crate::support::{Answer, Ask, Client, Database, Gate, Setup, World};

/// Rows of Console's, and those that turn the API over to the gate.
pub const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /audit" = { legacy = ["ops"], role = "console-audit-user" }
"GET /secrets" = { legacy = ["superadmin"], role = "console-secrets-admin" }
"GET /permission" = { legacy = ["ops"], permission = "raptor:audit:read-admin" }
"POST /deploys" = { legacy = ["ops"], role = "console-user", when = [{ json = "/target", equals = "prod", role = "console-prod-services-write" }] }
"GET /account" = { session = true }
"GET /public" = { public = true }
"GET /gone" = { gone = true }
[blueprints.api_rbac.routes]
"GET /api/rbac/me" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/permissions/check" = { role = "console-audit-user", machine_or_session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/*" = { role = "console-audit-user", machine_or_session = true, gate = true, unauthenticated = "401" }
"POST,PUT,DELETE /api/rbac/*" = { role = "console-invite-admin", machine_or_session = true, gate = true, unauthenticated = "401" }
"#;

const SETTINGS: &str = "[rbac_api]\ncheck_others = \"console:audit:read\"\ngrant_any = \"rbac:grant:any\"\n[api]\nforward_auth = true\n";

/// The roles of the people of the tests who may write.
const WRITER: [&str; 3] = ["console-user", "console-audit-user", "console-invite-admin"];

pub struct Api {
    pub world: World,
    pub gate: Gate,
    pub upstream: Recorder,
}

impl Api {
    pub async fn new(database: Database) -> Api {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        world.admin("anna", &["raxx-platform-admins"], &[LegacyRole::literal("superadmin")]).await;
        world.admin("ben", &["raxx-support-team"], &[]).await;
        world.admin("carol", &[], &[]).await;
        world.admin_holding("ivan", &WRITER).await;
        // A group that brings no right to write: its members may give it to others alone.
        world.store.add_group("watch", &["console-user"]).await.expect("a new group");
        world.store.join_group(&AdminId::new("ivan"), "watch", "tests").await.expect("a group to join");
        world
            .execute(&delegations(&["raxx-support-team", "raxx-devops-team", "night-shift", "night", "ivan"]))
            .await;
        let gate = world.gate(&Api::setup(&upstream)).await;
        Api { world, gate, upstream }
    }

    pub fn setup(upstream: &Recorder) -> Setup {
        Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), sections: SETTINGS, ..Setup::V2 }
    }

    /// Sends a request. A 403 has its audit row by the time it is answered (I-2), whichever endpoint answers it.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        let answer = self.gate.send(ask).await;
        if answer.status == 403 {
            let rows = self.world.store.by_request(answer.request_id()).await.expect("the audit");
            let denials = rows.iter().filter(|row| row.event_type == "access_denied").count();
            assert_eq!(denials, 1, "{} {}: {} {rows:#?}", ask.method, ask.target, text(&answer));
            // The API's own refusals, beside those of its rows, say who could do it instead.
            if answer.header("content-type") == "application/problem+json"
                && answer.json()["type"] == "about:blank"
            {
                assert!(!names(&answer.json()["could"]).is_empty(), "{}", text(&answer));
            }
        }
        answer
    }

    /// Asks with the cookie of an admin.
    pub async fn get(&self, admin: &str, target: &str) -> Answer {
        self.ask(&Ask::get(target).cookie(&self.world.cookie(admin))).await
    }

    /// A body that must be there.
    pub async fn read(&self, admin: &str, target: &str) -> Value {
        let answer = self.get(admin, target).await;
        assert_eq!(answer.status, 200, "{target}: {}", text(&answer));
        assert_eq!(answer.header("cache-control"), "no-store", "{target}");
        assert_eq!(answer.header("content-type"), "application/json", "{target}");
        answer.json()
    }

    /// A request of a page of this site.
    pub fn write(&self, admin: &str, method: &str, target: &str, body: &Value) -> Ask {
        let ask = Ask::new(method, target).cookie(&self.world.cookie(admin));
        let ask = ask.header("sec-fetch-site", "same-origin");
        match body {
            Value::Null => ask,
            body => ask.header("content-type", "application/json").body(body.to_string()),
        }
    }

    pub async fn send(&self, ask: &Ask) -> Answer {
        let answer = self.ask(ask).await;
        assert!(answer.status < 500, "{} {}: {}", ask.method, ask.target, text(&answer));
        if answer.status >= 400 {
            is_problem(&answer);
        }
        answer
    }

    pub async fn grant(&self, by: &str, user: &str, group: &str) -> Answer {
        let body = json!({ "user": user, "group": group, "reason": "RAXX-7" });
        self.send(&self.write(by, "POST", "/api/rbac/grants", &body)).await
    }

    pub async fn revoke(&self, by: &str, user: &str, group: &str) -> Answer {
        let target = format!("/api/rbac/grants/{}", direct(user, group));
        self.send(&self.write(by, "DELETE", &target, &Value::Null)).await
    }

    pub async fn is_member(&self, user: &str, group: &str) -> bool {
        let memberships = self.world.store.memberships().await.expect("the memberships");
        memberships.iter().any(|one| *one.admin == *user && *one.group == *group)
    }

    /// Everything that a write could change.
    pub async fn everything(&self) -> Value {
        let store = &self.world.store;
        let catalog = store.catalog().await.expect("the catalog");
        let grants = store.grants_audit(None, None, 10_000).await.expect("the grants");
        let sealed = store.recent(10_000).await.expect("the audit");
        let sealed = sealed.iter().filter(|event| event.event_type == "rbac_changed").count();
        json!([format!("{catalog:?}"), store.memberships().await.expect("the memberships"), grants, sealed])
    }
}

/// Lets the platform's admins give these groups to others.
pub fn delegations(groups: &[&str]) -> String {
    let row = |group: &&str| {
        format!(
            "INSERT INTO gate_grantors (kind, name, grantor_group, with_approval, added_by, added_at_utc)
             VALUES ('group', '{group}', 'raxx-platform-admins', FALSE, 'tests', '2026-03-29T12:00:00+00:00');"
        )
    };
    groups.iter().map(row).collect()
}

/// The id of a membership, as the documentation has it.
pub fn direct(user: &str, group: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    format!("direct.{}.{}", URL_SAFE_NO_PAD.encode(user), URL_SAFE_NO_PAD.encode(group))
}

pub fn text(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// RFC 9457, with the request's id and nothing for a cache.
pub fn is_problem(answer: &Answer) {
    let problem = answer.json();
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}", text(answer));
    assert_eq!(answer.header("cache-control"), "no-store", "{}", text(answer));
    assert_eq!(problem["status"], answer.status, "{}", text(answer));
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{}", text(answer));
    assert!(!answer.request_id().is_empty());
}

pub fn names(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    let name = |one: &Value| one.as_str().or(one["name"].as_str()).expect("a name").to_owned();
    list.iter().map(name).collect()
}

pub const BOTH: [Database; 2] = [Database::Sqlite, Database::Postgres];

/// What Console has of the paths is of no matter: the gate answers, and Console never sees a request.
#[tokio::test]
async fn the_gate_answers_and_console_is_not_asked() {
    let api = Api::new(Database::Sqlite).await;
    assert_eq!(api.get("anna", "/api/rbac/me").await.status, 200);
    assert_eq!(api.get("anna", "/api/rbac/nothing").await.status, 404);
    assert_eq!(api.get("carol", "/api/rbac/roles").await.status, 403);
    assert_eq!(api.gate.send(&Ask::get("/api/rbac/me")).await.status, 401);
    let head = api.gate.send(&Ask::new("HEAD", "/api/rbac/me").cookie(&api.world.cookie("anna"))).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let methods = api.gate.send(&Ask::new("POST", "/api/rbac/roles").cookie(&api.world.cookie("anna"))).await;
    assert_eq!((methods.status, methods.header("allow")), (405, "GET, HEAD, OPTIONS"));
    assert!(api.upstream.requests().is_empty(), "{:?}", api.upstream.requests());
    assert_eq!(api.get("anna", "/audit").await.status, 200);
    assert_eq!(api.upstream.requests().len(), 1);
}

/// Without V2 there are neither grants nor writes (migration plan, phase 1).
#[tokio::test]
async fn without_the_flag_grants_are_not_there() {
    let api = Api::new(Database::Sqlite).await;
    let body = json!({ "user": "carol", "group": "raxx-support-team", "reason": "x" });
    let asks = [
        api.write("anna", "POST", "/api/rbac/grants", &body),
        api.write(
            "anna",
            "DELETE",
            &format!("/api/rbac/grants/{}", direct("ben", "raxx-support-team")),
            &Value::Null,
        ),
        api.write("anna", "PUT", "/api/rbac/groups/new", &Value::Null).header("if-none-match", "*"),
        Ask::get("/api/rbac/grants").cookie(&api.world.cookie("anna")),
        Ask::get("/api/rbac/grants/audit").cookie(&api.world.cookie("anna")),
        Ask::get("/api/rbac/roles").cookie(&api.world.cookie("anna")),
    ];
    api.gate.run(&["flag", "rbac-v2", "off"]);
    let before = api.everything().await;
    for ask in &asks {
        assert_eq!(api.gate.send(ask).await.status, 404, "{} {}", ask.method, ask.target);
    }
    assert_eq!(api.read("anna", "/api/rbac/me").await["rbac_v2"], false);
    assert_eq!(api.everything().await, before);
    api.gate.run(&["flag", "rbac-v2", "on"]);
    assert_eq!(api.gate.send(&asks[0]).await.status, 201);
}

/// A machine of one's own and a proxy that asks by forward-auth: the one is served, the other would lead to Console.
#[tokio::test]
async fn machines_are_served_and_forward_auth_is_not() {
    let api = Api::new(Database::Sqlite).await;
    let token = create_token(&api.gate, "raptor", &["--group", "raxx-support-team"]);
    let check = "/api/rbac/permissions/check?permission=raptor:audit:read-admin&user=anna";
    let answer = api.gate.send(&Ask::get(check).bearer(&token)).await;
    assert_eq!((answer.status, &answer.json()["allowed"]), (200, &json!(true)), "{}", text(&answer));
    let body = json!({ "user": "carol", "group": "raxx-support-team", "reason": "x" });
    let write =
        Ask::new("POST", "/api/rbac/grants").bearer(&token).header("content-type", "application/json");
    assert_eq!(api.ask(&write.body(body.to_string())).await.status, 403);
    for (path, status) in [("/account", 200), ("/api/rbac/me", 503)] {
        let asked =
            Ask::get("/forward-auth").header("x-original-method", "GET").header("x-original-uri", path);
        let answer =
            Client::to(&api.gate.admin_socket()).send(&asked.cookie(&api.world.cookie("anna"))).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

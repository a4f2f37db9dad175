//! A gate with a row of every kind, people who hold different things, and a program that may ask about them.

use policy::rbac::LegacyRole;
use serde_json::Value;

use super::recorder::Recorder;
use super::{Answer, Ask, Client, Database, Gate, Setup, World};

/// A row of every kind, in a cluster of every mode.
pub const MAPPING: &str = r#"
version = 1
[clusters]
L = "legacy"
S = "shadow"
V = "v2"
[blueprints.l]
cluster = "L"
[blueprints.l.routes]
"GET /l/audit" = { legacy = ["ops", "superadmin"], role = "console-audit-user" }
"GET /l/open" = { legacy = ["support"], undecided = "AMBIGUOUS-3", options = { A = "console-manager", B = "console-audit-user" } }
[blueprints.s]
cluster = "S"
[blueprints.s.routes]
"GET /s/audit" = { legacy = ["ops", "superadmin"], role = "console-audit-user" }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /v/audit" = { legacy = ["ops", "superadmin"], role = "console-audit-user" }
"GET /v/permission" = { legacy = ["ops"], permission = "raptor:audit:read-admin" }
"* /v/machines" = { legacy = ["ops"], role = "console-audit-user", machine_or_session = true }
"POST /v/deploys" = { legacy = ["ops"], role = "console-user", when = [{ json = "/target", equals = "prod", role = "console-audit-user" }] }
"POST /v/forms" = { legacy = ["ops"], role = "console-user", when = [{ form = "target", equals = "prod", role = "console-audit-user" }] }
"GET /v/slash/" = { legacy = ["ops"], role = "console-user", unauthenticated = "401" }
[blueprints.other.routes]
"GET /account" = { session = true }
"GET /public" = { public = true }
"GET /gone" = { gone = true }
"* /machine" = { machine = true }
"* /ported/*" = { upstream = true }
"#;

/// A request, with its body as a real one carries it and as an evaluation names it.
pub type Request = (&'static str, &'static str, Option<(&'static str, &'static str)>);

pub const REQUESTS: [Request; 24] = [
    ("GET", "/l/audit", None),
    ("GET", "/l/audit?page=2", None),
    ("HEAD", "/l/audit", None),
    ("POST", "/l/audit", None),
    ("GET", "/l/open", None),
    ("GET", "/s/audit", None),
    ("GET", "/v/audit", None),
    ("GET", "/v/permission", None),
    ("GET", "/v/machines", None),
    ("POST", "/v/deploys", Some(("application/json", r#"{"target":"prod"}"#))),
    ("POST", "/v/deploys", Some(("application/json", r#"{"target":"staging"}"#))),
    ("POST", "/v/deploys", Some(("application/json", r#"{"other":1}"#))),
    ("POST", "/v/deploys", None),
    ("POST", "/v/forms", Some(("application/x-www-form-urlencoded", "target=prod"))),
    ("POST", "/v/forms", Some(("application/x-www-form-urlencoded", "target=sta%20ging"))),
    ("POST", "/v/forms", None),
    ("GET", "/v/slash", None),
    ("GET", "/v/slash/", None),
    ("GET", "/account", None),
    ("GET", "/public", None),
    ("GET", "/gone", None),
    ("GET", "/ported/x", None),
    ("GET", "/nowhere", None),
    ("GET", "/v//audit", None),
];

/// A gate in front of a recorder, and people.
pub struct Scene {
    pub world: World,
    pub gate: Gate,
    /// May ask, where `[api] callers` names `console`.
    pub token: String,
    pub upstream: Recorder,
}

/// Enrols a machine.
pub fn create_token(gate: &Gate, name: &str, further: &[&str]) -> String {
    gate.run(&[&["token", "create", name], further].concat()).trim_end().to_owned()
}

impl Scene {
    /// People who hold different things, and a gate with these further sections.
    pub async fn new(database: Database, sections: &'static str) -> Scene {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        world.admin("anna", &["raxx-platform-admins"], &[LegacyRole::literal("superadmin")]).await;
        world.admin("ben", &["raxx-support-team"], &[LegacyRole::literal("support")]).await;
        world.admin_holding("carol", &["console-audit-user", "console-user"]).await;
        world.admin_holding("dora", &["console-user"]).await;
        world
            .admin(
                "eve",
                &["raxx-platform-admins"],
                &[LegacyRole::literal("superadmin"), LegacyRole::literal("ops")],
            )
            .await;
        let disable = "UPDATE admins SET disabled_at_utc = '2026-11-01T00:00:00.000+00:00' WHERE id = 'eve'";
        world.execute(disable).await;
        let setup =
            Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), sections, ..Setup::V2 };
        let gate = world.gate(&setup).await;
        let token = create_token(&gate, "console", &[]);
        Scene { world, gate, token, upstream }
    }

    /// Sends to the admin address.
    pub async fn send(&self, ask: &Ask) -> Answer {
        Client::to(&self.gate.admin_socket()).send(ask).await
    }

    /// Asks with the token.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            &Ask::new("POST", path)
                .bearer(&self.token)
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
        .await
    }

    /// The answer to one question, which must be one.
    pub async fn evaluate(&self, question: &Value) -> Value {
        let answer = self.post("/access/v1/evaluation", question).await;
        assert_eq!(answer.status, 200, "{question}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }
}

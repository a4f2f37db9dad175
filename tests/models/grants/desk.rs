//! A gate with the people of the model, its clock, and a FreeScout: what is done to them, and what they answer.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{SecondsFormat, SubsecRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

use super::model::{DECIDERS, ForTicket, GROUP_ROLES, INHERITS, Need, PERMITS, ROLES, RULES, Target, Time};
use crate::support::freescout::{FreeScout, KEY, MAILBOX, SECRET, signature};
use crate::support::recorder::Recorder;
use crate::support::turned::Turned;
use crate::support::{Answer, Ask, Client, Database, Gate, Setup, World};

/// Those whose access is compared.
pub const SUBJECTS: [&str; 3] = ["ann", "ben", "cleo"];
/// Who may grant everything to others.
pub const OPERATOR: &str = "olga";
/// Who approve, for good.
pub const APPROVERS: [&str; 2] = ["petra", "paul"];
pub const TICKETS: [u64; 3] = [41, 42, 43];
pub const CUSTOMERS: [i64; 2] = [7, 8];

const SECTIONS: &str = "[rbac_api]\ngrant_any = \"rbac:grant:any\"\n";
const LIMIT: Duration = Duration::from_secs(30);
const REASONS: [&str; 6] = [
    "missing_role",
    "missing_permission",
    "ticket_required",
    "no_ticket_grant",
    "ticket_closed",
    "ticket_grants_off",
];

pub struct Desk {
    pub world: World,
    pub gate: Gate,
    pub freescout: FreeScout,
    pub targets: Vec<Target>,
    upstream: Recorder,
    clock: Turned,
    turned: TimeDelta,
}

impl Desk {
    pub async fn new(database: Database) -> Desk {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let freescout = FreeScout::start().await;
        let clock = Turned::new(world.folder());
        world.execute(&catalog()).await;
        for subject in SUBJECTS {
            world.admin(subject, &[], &[]).await;
        }
        world.admin(OPERATOR, &["operators"], &[]).await;
        for approver in APPROVERS {
            world.admin(approver, &[DECIDERS], &[]).await;
        }
        let mut variables = clock.variables();
        variables.push(("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned()));
        variables.push(("CONSOLE_GATE_FREESCOUT_WEBHOOK_SECRET", SECRET.to_owned()));
        let sections = format!("{SECTIONS}{}", freescout.settings(20_000));
        let setup = Setup {
            mapping: Some(mapping().leak()),
            upstream: Some(upstream.socket()),
            sections: sections.leak(),
            variables: Some(variables),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        Desk { world, gate, freescout, targets: targets(), upstream, clock, turned: TimeDelta::zero() }
    }

    /// The time by the gate's clock.
    pub fn now(&self) -> Time {
        Utc::now() + self.turned
    }

    /// A time from now, in whole seconds.
    pub fn later(&self, minutes: i64) -> Time {
        self.now().trunc_subsecs(0) + TimeDelta::minutes(minutes)
    }

    /// Turns the clock forward, and returns when the gate goes by that.
    pub async fn turn(&mut self, by: TimeDelta) {
        self.turned += by;
        self.clock.turn(&format!("+{}", self.turned.num_seconds()));
        let began = Instant::now();
        loop {
            let answer = self.gate.send(&Ask::get("/public")).await;
            let date = chrono::DateTime::parse_from_rfc2822(answer.header("date")).expect("a date");
            if date >= self.now() - TimeDelta::seconds(2) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "the gate's clock is not turned: {date}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn cookie(&self, who: &str) -> String {
        self.world.sign(&json!({ "admin_id": who }), self.now() - TimeDelta::seconds(30))
    }

    /// Sends a request to the API, which may refuse it and never fails.
    pub async fn api(&self, who: &str, method: &str, target: &str, body: &Value) -> Answer {
        let ask = Ask::new(method, target).cookie(&self.cookie(who)).header("sec-fetch-site", "same-origin");
        self.send(ask, body).await
    }

    /// An edit of a group, on the basis of what it is now.
    pub async fn edit(&self, method: &str, group: &str, role: &str) -> Answer {
        let shown = self.api(OPERATOR, "GET", &format!("/api/rbac/groups/{group}"), &Value::Null).await;
        let ask = Ask::new(method, &format!("/api/rbac/groups/{group}/roles/{role}"));
        let ask = ask.cookie(&self.cookie(OPERATOR)).header("sec-fetch-site", "same-origin");
        self.send(ask.header("if-match", shown.header("etag").to_owned()), &Value::Null).await
    }

    async fn send(&self, ask: Ask, body: &Value) -> Answer {
        let ask = match body {
            Value::Null => ask,
            body => ask.header("content-type", "application/json").body(body.to_string()),
        };
        let answer = self.gate.send(&ask).await;
        let said = String::from_utf8_lossy(&answer.body);
        assert!(answer.status < 500, "{} {}: {} {said}", ask.method, ask.target, answer.status);
        answer
    }

    /// Runs a command by the gate's clock: whether it succeeded, and what it printed as JSON.
    pub async fn command(&self, arguments: &[&str]) -> (bool, Value, String) {
        let mut command = self.gate.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("it ends").expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().expect("it ended by itself");
        assert!(code == 0 || code == 2, "{arguments:?}: {code}\n{error}");
        (code == 0, serde_json::from_slice(&output.stdout).unwrap_or_default(), error)
    }

    /// Makes FreeScout's conversation something that is not open, in one of the ways; what its webhook would say.
    pub fn close(&self, ticket: u64, way: usize) -> (&'static str, Value) {
        let ways = [
            ("closed", "published", MAILBOX),
            ("spam", "published", MAILBOX),
            ("active", "deleted", MAILBOX),
        ];
        let (event, (status, state, mailbox)) = match way {
            0..=2 => ("convo.status", ways[way]),
            _ => ("convo.moved", ("active", "published", 99)),
        };
        let mut conversation = self.freescout.put(ticket, status, state, mailbox);
        conversation["updatedAt"] = json!(self.now().to_rfc3339());
        if way == 4 {
            self.freescout.forget(ticket);
            return ("convo.deleted_forever", conversation);
        }
        (event, conversation)
    }

    /// FreeScout's message, with its signature.
    pub async fn webhook(&self, event: &str, body: &Value) {
        let body = body.to_string();
        let ask = Ask::new("POST", "/api/v1/freescout")
            .header("content-type", "application/json")
            .header("x-freescout-event", event)
            .header("x-freescout-signature", signature(body.as_bytes()))
            .body(body);
        let answer = Client::to(&self.gate.admin_socket()).send(&ask).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// What each of the subjects gets of each target: `200`, or the reason of the 403.
    pub async fn answers(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut asking = tokio::task::JoinSet::new();
        for (place, who) in SUBJECTS.into_iter().enumerate() {
            let (mut client, cookie) = (self.gate.client(), self.cookie(who));
            let paths: Vec<String> = self.targets.iter().map(|target| target.path.clone()).collect();
            asking.spawn(async move {
                let mut words = Vec::new();
                for path in paths {
                    let ask = Ask::get(&path).cookie(&cookie).header("accept", "application/json");
                    words.push(word(&client.send(&ask).await, &path));
                }
                (place, who, words)
            });
        }
        let mut all = asking.join_all().await;
        all.sort_by_key(|(place, ..)| *place);
        all.into_iter().map(|(_, who, words)| (who, words)).collect()
    }

    /// How many requests reached Console.
    pub fn reached(&self) -> usize {
        self.upstream.requests().iter().filter(|request| !request.head.starts_with("GET /public ")).count()
    }

    /// The ids of somebody's live grants, as the API lists them.
    pub async fn live(&self, who: &str) -> Vec<String> {
        let target = format!("/api/rbac/grants?user={who}&live=true&limit=500");
        let listed = self.api(OPERATOR, "GET", &target, &Value::Null).await.json();
        let listed = listed["grants"].as_array().expect("a list").clone();
        let mut ids: Vec<String> =
            listed.iter().filter_map(|grant| grant["id"].as_str()).map(ToOwned::to_owned).collect();
        ids.sort();
        ids
    }
}

fn word(answer: &Answer, path: &str) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    match answer.status {
        403 => {
            let found = REASONS.into_iter().find(|reason| body.contains(reason));
            found.unwrap_or_else(|| panic!("{path}: {body}")).to_owned()
        }
        status => status.to_string(),
    }
}

/// The id of a membership.
pub fn direct(who: &str, group: &str) -> String {
    format!("direct.{}.{}", URL_SAFE_NO_PAD.encode(who), URL_SAFE_NO_PAD.encode(group))
}

/// A time as the tables have it.
pub fn literal(time: Time) -> String {
    format!("'{}'", time.to_rfc3339_opts(SecondsFormat::Micros, false))
}

/// Groups, roles and permissions of the model, beside those of the seed.
fn catalog() -> String {
    let mut text = String::new();
    for group in ["blue", "green", "red", DECIDERS, "operators"] {
        text += &format!("INSERT INTO rbac_groups (id, name) VALUES ('id-{group}', '{group}');\n");
    }
    for role in ROLES.into_iter().chain(["r-grant-any"]) {
        text += &format!("INSERT INTO rbac_roles (id, name) VALUES ('id-{role}', '{role}');\n");
    }
    for (role, permission) in PERMITS.into_iter().chain([("r-grant-any", "rbac:grant:any")]) {
        text += &format!(
            "INSERT INTO rbac_permissions (id, name) VALUES ('{permission}', '{permission}');
             INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES ('id-{role}', '{permission}');\n"
        );
    }
    for (child, parent) in INHERITS {
        text += &format!(
            "INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id) VALUES ('id-{child}', 'id-{parent}');\n"
        );
    }
    let operators =
        ["r-grant-any", "console-audit-user", "console-invite-admin"].map(|role| ("operators", role));
    for (group, role) in GROUP_ROLES.into_iter().chain(operators) {
        text += &format!(
            "INSERT INTO rbac_group_roles (group_id, role_id)
             SELECT g.id, r.id FROM rbac_groups g, rbac_roles r WHERE g.name = '{group}' AND r.name = '{role}';\n"
        );
    }
    text
}

fn mapping() -> String {
    let mut text = "version = 1\nclusters.V = \"v2\"\n[approval]\n".to_owned();
    for (group, quorum, minutes) in RULES {
        text +=
            &format!("{group} = {{ by = [\"{DECIDERS}\"], quorum = {quorum}, longest = \"{minutes}m\" }}\n");
    }
    text += "[blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\"GET /public\" = { public = true }\n";
    for role in ROLES {
        text += &format!("\"GET /{role}\" = {{ role = \"{role}\" }}\n");
    }
    text += r#"
"GET /p-read" = { permission = "p:read" }
"GET /p-desk" = { permission = "p:desk" }
"GET /desk/<int:id>" = { role = "t-desk", ticket = { query = "ticket_id", customer = "path:id", without = ["r-owner"] } }
"GET /lead/<int:id>" = { role = "t-lead", ticket = { query = "ticket_id", customer = "path:id", without = ["r-glass"] } }
"GET /bare" = { permission = "p:desk", ticket = { query = "ticket", customer = "query:customer" } }
[blueprints.api.routes]
"GET /api/rbac/*" = { role = "console-audit-user", gate = true, unauthenticated = "401" }
"POST,PUT,DELETE /api/rbac/*" = { role = "console-invite-admin", gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/requests/<id>" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/requests/<id>/<step>" = { session = true, gate = true, unauthenticated = "401" }
"#;
    text
}

fn targets() -> Vec<Target> {
    let plain = |path: String, need: Need| Target { path, need, ticket: None };
    let mut all: Vec<Target> = ROLES.map(|role| plain(format!("/{role}"), Need::Role(role))).into();
    for permission in ["p:read", "p:desk"] {
        all.push(plain(format!("/{}", permission.replace(':', "-")), Need::Permission(permission)));
    }
    let mut for_ticket =
        |path: String, need: Need, named: Option<(u64, i64)>, without: Option<&'static str>| {
            all.push(Target { path, need, ticket: Some(ForTicket { named, without }) });
        };
    for ticket in TICKETS {
        for customer in CUSTOMERS {
            let named = Some((ticket, customer));
            let query = format!("{customer}?ticket_id={ticket}");
            for_ticket(format!("/desk/{query}"), Need::Role("t-desk"), named, Some("r-owner"));
            if (ticket, customer) == (TICKETS[0], CUSTOMERS[0]) {
                for_ticket(format!("/lead/{query}"), Need::Role("t-lead"), named, Some("r-glass"));
                let path = format!("/bare?customer={customer}&ticket={ticket}");
                for_ticket(path, Need::Permission("p:desk"), named, None);
            }
        }
    }
    for_ticket("/desk/7".into(), Need::Role("t-desk"), None, Some("r-owner"));
    for_ticket("/desk/7?ticket_id=042".into(), Need::Role("t-desk"), None, Some("r-owner"));
    for_ticket("/bare?ticket=42&customer=7&customer=8".into(), Need::Permission("p:desk"), None, None);
    all
}

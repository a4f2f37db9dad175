//! I-5 and I-9 for commands: each row that records a grant or an end is made impossible to write, and nothing has changed.
//! What the API does then is in `rbac_api::faults`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::freescout::{FreeScout, KEY};
use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
[approval]
raxx-support-team = { by = ["raxx-platform-admins"] }
[blueprints.v]
cluster = "V"
routes."GET /audit" = { role = "console-audit-user" }
[blueprints.api.routes]
"* /api/rbac/*" = { session = true, gate = true, unauthenticated = "401" }
"#;
const GROUP: &str = "raxx-support-team";
/// What has to be written for each change.
const RECORDS: [&str; 3] = ["gate_audit_events", "rbac_grants_audit", "customer_audit_events"];

struct Place {
    world: World,
    gate: Gate,
    freescout: FreeScout,
    _upstream: Recorder,
}

impl Place {
    async fn new(database: Database) -> Place {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let freescout = FreeScout::start().await;
        freescout.open(42);
        world.admin("anna", &["raxx-platform-admins"], &[]).await;
        world.admin("carol", &[], &[]).await;
        world.admin("dora", &[GROUP], &[]).await;
        let setup = Setup {
            mapping: Some(MAPPING),
            upstream: Some(upstream.socket()),
            sections: freescout.settings(20_000).leak(),
            variables: Some(vec![("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned())]),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        Place { world, gate, freescout, _upstream: upstream }
    }

    async fn command(&self, arguments: &[&str]) -> (i32, Value, String) {
        let mut command = self.gate.command(arguments);
        // FreeScout answers it from this thread.
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends");
        let output = output.expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().expect("it ended by itself"), printed, error)
    }

    /// Makes a change whose id is needed.
    async fn made(&self, arguments: &[&str]) -> String {
        let (code, printed, error) = self.command(&[arguments, &["--format", "json"]].concat()).await;
        assert_eq!(code, 0, "{arguments:?}: {error}");
        printed["changes"][0]["id"].as_str().expect("an id").to_owned()
    }

    async fn api(&self, admin: &str, target: &str, body: &Value) -> crate::support::Answer {
        let ask = Ask::new("POST", target).cookie(&self.world.cookie(admin));
        let ask = ask.header("sec-fetch-site", "same-origin").header("content-type", "application/json");
        self.gate.send(&ask.body(body.to_string())).await
    }

    /// All grants, and everything that records them.
    async fn everything(&self) -> Value {
        let store = &self.world.store;
        let sealed = store.recent(10_000).await.expect("the audit");
        let kinds = ["rbac_changed", "access_request"];
        let sealed: BTreeSet<String> = sealed
            .iter()
            .filter(|event| kinds.contains(&event.event_type.as_str()))
            .map(|event| event.id.to_string())
            .collect();
        let timed = store.timed_grants().await.expect("the grants");
        let tickets = store.ticket_grants(None).await.expect("the grants");
        json!([
            sealed,
            store.memberships().await.expect("the memberships"),
            format!("{timed:?} {tickets:?}"),
            store.grants_audit(None, None, 10_000).await.expect("the rows"),
        ])
    }
}

#[tokio::test]
async fn what_a_command_cannot_record_it_does_not_do() {
    for database in [Database::Sqlite, Database::Postgres] {
        let place = Place::new(database).await;
        let timed = place.made(&["group", "add", GROUP, "carol", "--until", "8h"]).await;
        let role = "raptor-audit-support";
        let for_ticket = ["ticket", "grant", "carol", role, "--ticket", "42", "--customer", "7"];
        let ticket = place.made(&for_ticket).await;
        let commands: [&[&str]; 6] = [
            &["group", "add", GROUP, "carol"],
            &["group", "add", GROUP, "carol", "--until", "8h"],
            &["group", "remove", GROUP, "dora"],
            &["grant", "end", &timed],
            &for_ticket,
            &["ticket", "end", &ticket],
        ];
        let before = place.everything().await;
        for table in RECORDS {
            place.world.break_inserts(table, true).await;
            for command in commands {
                let (code, _, error) = place.command(command).await;
                assert_eq!(code, 2, "{table}: {command:?}: {error}");
            }
            // A ticket that is closed: whoever asks is refused, and the grant is kept until its end can be recorded.
            place.freescout.put(42, "closed", "published", crate::support::freescout::MAILBOX);
            let (code, _, error) = place.command(&["ticket", "check", "--end"]).await;
            assert_eq!(code, 2, "{table}: {error}");
            place.freescout.open(42);
            place.world.break_inserts(table, false).await;
            assert_eq!(place.everything().await, before, "{database:?}: {table}");
        }
        for command in commands {
            let (code, _, error) = place.command(command).await;
            assert_eq!(code, 0, "{command:?}: {error}");
        }
        assert_ne!(place.everything().await, before);
    }
}

/// The last approval grants: with its rows, or not at all.
#[tokio::test]
async fn what_an_approval_cannot_record_it_does_not_grant() {
    for database in [Database::Sqlite, Database::Postgres] {
        let place = Place::new(database).await;
        let ask = json!({ "group": GROUP, "for": "1h", "reason": "an incident" });
        let asked = place.api("carol", "/api/rbac/requests", &ask).await;
        let target = asked.header("location").to_owned();
        let look = Ask::get(&target).cookie(&place.world.cookie("anna"));
        let shown = place.gate.send(&look).await.json();
        let approve = json!({ "impact_sha256": shown["impact_sha256"] });
        let before = place.everything().await;
        for table in RECORDS.into_iter().chain(["gate_access_votes", "gate_grants"]) {
            place.world.break_inserts(table, true).await;
            let answer = place.api("anna", &format!("{target}/approve"), &approve).await;
            assert_eq!(answer.status, 503, "{table}: {}", String::from_utf8_lossy(&answer.body));
            place.world.break_inserts(table, false).await;
            assert_eq!(place.everything().await, before, "{database:?}: {table}");
        }
        let answer = place.api("anna", &format!("{target}/approve"), &approve).await;
        assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("approved")));
    }
}

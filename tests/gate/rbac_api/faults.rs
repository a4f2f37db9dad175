//! What goes wrong: inserts that fail, requests that are repeated, many at once, and gates that know things from before.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Api, BOTH, delegations, direct, text};
use crate::support::recorder::Recorder;
use crate::support::tier::in_tier;
use crate::support::{Ask, Client, Database, Setup, World};

const SUPPORT: &str = "raxx-support-team";

impl Api {
    async fn customers_events(&self) -> usize {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
        let store = self.world.store.clone();
        let sending = tokio::spawn(async move { store.send_evidence(sender).await });
        let mut count = 0;
        while let Some(evidence) = receiver.recv().await {
            count += usize::from(format!("{evidence:?}").starts_with("Customer"));
        }
        sending.await.expect("a task").expect("the evidence");
        count
    }
}

/// I-9 and I-5: the three rows come first. Where one of them, or the change itself, cannot be written, nothing changes.
#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made() {
    for database in BOTH {
        let api = Api::new(database).await;
        let tables = ["gate_audit_events", "rbac_grants_audit", "customer_audit_events", "rbac_user_groups"];
        let before = (api.everything().await, api.customers_events().await);
        for table in tables {
            api.world.break_inserts(table, true).await;
            let body = json!({ "user": "carol", "group": SUPPORT, "reason": "x" });
            let answer = api.gate.send(&api.write("anna", "POST", "/api/rbac/grants", &body)).await;
            assert!(answer.status == 503, "{table}: {}", text(&answer));
            api.world.break_inserts(table, false).await;
            assert_eq!((api.everything().await, api.customers_events().await), before, "{table}");
            assert!(!api.is_member("carol", SUPPORT).await, "{table}");
        }
        let sealed = ["gate_audit_events", "rbac_grants_audit", "customer_audit_events"];
        for table in sealed {
            api.world.break_inserts(table, true).await;
            let target = format!("/api/rbac/grants/{}", direct("ben", SUPPORT));
            let answer = api.gate.send(&api.write("anna", "DELETE", &target, &Value::Null)).await;
            assert_eq!(answer.status, 503, "{table}: {}", text(&answer));
            api.world.break_inserts(table, false).await;
            assert!(api.is_member("ben", SUPPORT).await, "{table}");
        }
        assert_eq!((api.everything().await, api.customers_events().await), before);
        assert_eq!(api.grant("anna", "carol", SUPPORT).await.status, 201);
        assert_eq!(api.customers_events().await, before.1 + 1);
        let (code, said) = api.gate.attempt(&["audit", "verify"]);
        assert_eq!(code, 0, "{said}");
    }
}

/// Many clients grant and revoke one membership at once. The audit tells a sequence that ends as the table does: every
/// grant follows a revocation, and replaying the rows gives exactly the memberships. `GATE_ROUNDS` sets the number of
/// requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_end_as_the_audit_says() {
    const WORKERS: usize = 20;
    let rounds = std::env::var("GATE_ROUNDS")
        .map_or_else(|_| in_tier(80, 160), |text| text.parse().expect("GATE_ROUNDS is a number"));
    let each: usize = rounds / WORKERS;
    for database in BOTH {
        let begun = std::time::Instant::now();
        let api = Arc::new(Api::new(database).await);
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..WORKERS {
            let api = api.clone();
            tasks.spawn(async move {
                let mut client = Client::to(&api.gate.socket());
                let mut statuses = Vec::new();
                for number in 0..each {
                    let target = format!("/api/rbac/grants/{}", direct("carol", SUPPORT));
                    let body =
                        json!({ "user": "carol", "group": SUPPORT, "reason": format!("{worker}/{number}") });
                    let ask = match (worker + number) % 2 {
                        0 => api.write("anna", "POST", "/api/rbac/grants", &body),
                        _ => api.write("anna", "DELETE", &target, &Value::Null),
                    };
                    statuses.push(client.send(&ask).await.status);
                }
                statuses
            });
        }
        let statuses: Vec<u16> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(statuses.len(), WORKERS * each);
        let known: BTreeSet<u16> = statuses.iter().copied().collect();
        // 404: a revocation before the first grant.
        assert!(known.is_subset(&[200, 201, 204, 404].into()), "{known:?}");
        let mut rows =
            api.world.store.grants_audit(Some("carol"), Some(SUPPORT), 10_000).await.expect("rows");
        rows.sort_by_key(|row| row.created_at_utc);
        let made = statuses.iter().filter(|status| **status == 201).count();
        assert_eq!(rows.iter().filter(|row| row.event_type == "grant").count(), made);
        for (number, row) in rows.iter().enumerate() {
            let expected = if number % 2 == 0 { "grant" } else { "revoke" };
            assert_eq!(row.event_type, expected, "row {number} of {}", rows.len());
        }
        assert_eq!(api.is_member("carol", SUPPORT).await, rows.len() % 2 == 1);
        // Nobody else was granted anything by the API.
        let mut replayed = BTreeSet::new();
        for row in rows {
            let membership = (row.admin, row.group);
            match row.event_type.as_str() {
                "grant" => assert!(replayed.insert(membership), "granted twice"),
                _ => assert!(replayed.remove(&membership), "revoked twice"),
            }
        }
        let memberships = api.world.store.memberships().await.expect("the memberships");
        let of_carol = memberships.into_iter().filter(|one| *one.admin == *"carol");
        let table: BTreeSet<_> =
            of_carol.map(|one| (one.admin.to_string(), Some(one.group.to_string()))).collect();
        assert_eq!(table, replayed);
        let (code, said) = api.gate.attempt(&["audit", "verify"]);
        assert_eq!(code, 0, "{said}");
        println!(
            "{} grants and revocations of one membership at once on {database:?}: {made} granted, explained by the \
             audit ({:.1?})",
            WORKERS * each,
            begun.elapsed()
        );
    }
}

/// A request that is repeated under its key is made once, and answered alike, however many repeat it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_answered_and_not_made_again() {
    for database in BOTH {
        let api = Arc::new(Api::new(database).await);
        let body = json!({ "user": "carol", "group": SUPPORT, "reason": "RAXX-7" });
        let ask = |key: &str, body: &Value| {
            api.write("anna", "POST", "/api/rbac/grants", body).header("idempotency-key", key)
        };
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (api, ask) = (api.clone(), ask("k1", &body));
            tasks.spawn(async move { api.gate.send(&ask).await });
        }
        let answers = tasks.join_all().await;
        for answer in &answers {
            assert!([201, 409].contains(&answer.status), "{}", text(answer));
        }
        let first: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 201 && answer.header("idempotency-replayed").is_empty())
            .collect();
        assert_eq!(first.len(), 1);
        let again = api.send(&ask("k1", &body)).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
        assert_eq!((again.json(), again.header("location")), (first[0].json(), first[0].header("location")));
        let other = json!({ "user": "carol", "group": SUPPORT, "reason": "RAXX-8" });
        assert_eq!(api.send(&ask("k1", &other)).await.status, 422);
        // Another principal's key is another key.
        let of_ivan = api.write(
            "ivan",
            "POST",
            "/api/rbac/grants",
            &json!({ "user": "carol", "group": "watch", "reason": "x" }),
        );
        assert_eq!(api.send(&of_ivan.header("idempotency-key", "k1")).await.status, 201);
        let grants = api.world.store.grants_audit(Some("carol"), Some(SUPPORT), 10).await.expect("rows");
        assert_eq!(grants.len(), 1);
        // What was refused may be made again once it would not be.
        let early = json!({ "user": "dan", "group": SUPPORT, "reason": "x" });
        assert_eq!(api.send(&ask("k2", &early)).await.status, 422);
        api.world.admin("dan", &[], &[]).await;
        assert_eq!(api.send(&ask("k2", &early)).await.status, 201);
        // A revocation between the request and its repeat stays: the repeat changes nothing.
        assert_eq!(api.revoke("anna", "dan", SUPPORT).await.status, 204);
        assert_eq!(api.send(&ask("k2", &early)).await.status, 201);
        assert!(!api.is_member("dan", SUPPORT).await);
        for key in ["", &"x".repeat(256)] {
            assert_eq!(api.send(&ask(key, &body)).await.status, 400, "{key}");
        }
        let twice = ask("a", &body).header("idempotency-key", "b");
        assert_eq!(api.send(&twice).await.status, 400);
    }
}

/// What a dry run says is what the change then does: the same rows, and the routes that open are those that it named.
#[tokio::test]
async fn a_dry_run_says_what_then_happens() {
    for database in BOTH {
        let api = Api::new(database).await;
        let paths =
            [("GET /audit", "/audit"), ("GET /secrets", "/secrets"), ("GET /permission", "/permission")];
        let before = api.everything().await;
        let body = json!({ "user": "carol", "group": SUPPORT, "reason": "x" });
        let dry = api.send(&api.write("anna", "POST", "/api/rbac/grants?dry_run=true", &body)).await;
        assert_eq!(dry.status, 200, "{}", text(&dry));
        assert_eq!(api.everything().await, before);
        let dry = dry.json();
        assert_eq!(dry["changes"], json!([{ "change": "join", "admin": "carol", "group": SUPPORT }]));
        let opened: BTreeSet<&str> = dry["impact"]["changes"]
            .as_array()
            .expect("changes")
            .iter()
            .filter(|change| change["gains"].as_array().is_some_and(|gains| !gains.is_empty()))
            .filter_map(|change| change["route"].as_str())
            .collect();
        let was: Vec<u16> = statuses(&api, "carol", &paths).await;
        let made = api.grant("anna", "carol", SUPPORT).await;
        assert_eq!(made.json()["audit"], dry["audit"]);
        let is: Vec<u16> = statuses(&api, "carol", &paths).await;
        for (number, (route, _)) in paths.iter().enumerate() {
            assert_eq!(opened.contains(route), was[number] == 403 && is[number] == 200, "{route}");
        }
        let target = format!("/api/rbac/grants/{}?dry_run=true", direct("carol", SUPPORT));
        let dry = api.send(&api.write("anna", "DELETE", &target, &Value::Null)).await;
        let lost = dry.json()["impact"]["summary"]["admins"]["losses"].as_u64();
        assert!(lost.is_some_and(|lost| lost > 0), "{}", text(&dry));
        assert!(api.is_member("carol", SUPPORT).await);
        let refused = json!({ "user": "carol", "group": "raxx-devops-team", "reason": "x" });
        let refused = api.send(&api.write("ivan", "POST", "/api/rbac/grants?dry_run=true", &refused)).await;
        assert_eq!(refused.status, 403, "a dry run is refused where the change is");
    }
}

async fn statuses(api: &Api, admin: &str, paths: &[(&str, &str)]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (_, path) in paths {
        statuses.push(api.get(admin, path).await.status);
    }
    statuses
}

/// Two gates that answer from what was pushed to them: what one of them revokes, neither honours once it has answered.
#[tokio::test]
async fn no_gate_honours_what_was_revoked() {
    const PUSH: &str = r#"
version = 1
clusters.V = "v2"
[blueprints.v]
cluster = "V"
freshness = "push"
[blueprints.v.routes]
"GET /audit" = { legacy = ["ops"], role = "console-audit-user" }
[blueprints.api_rbac.routes]
"* /api/rbac/*" = { role = "console-invite-admin", gate = true, unauthenticated = "401" }
"#;
    let world = World::new(Database::Postgres).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-platform-admins"], &[]).await;
    world.admin("carol", &[], &[]).await;
    world.execute(&delegations(&[SUPPORT])).await;
    let setup = Setup { mapping: Some(PUSH), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gates = [world.gate(&setup).await, world.gate(&setup).await];
    let (anna, carol) = (world.cookie("anna"), world.cookie("carol"));
    let audit = Ask::get("/audit").cookie(&carol);
    for round in 0..10 {
        let body = json!({ "user": "carol", "group": SUPPORT, "reason": "x" }).to_string();
        let grant =
            Ask::new("POST", "/api/rbac/grants").cookie(&anna).header("sec-fetch-site", "same-origin");
        let grant = grant.header("content-type", "application/json").body(body);
        assert_eq!(gates[round % 2].send(&grant).await.status, 201);
        // Until each has heard of it, and keeps it.
        for gate in &gates {
            while gate.send(&audit).await.status != 200 {
                tokio::task::yield_now().await;
            }
        }
        let target = format!("/api/rbac/grants/{}", direct("carol", SUPPORT));
        let revoke = Ask::new("DELETE", &target).cookie(&anna).header("sec-fetch-site", "same-origin");
        let answer = gates[round % 2].send(&revoke).await;
        assert_eq!(answer.status, 204, "{}", text(&answer));
        for gate in &gates {
            assert_eq!(gate.send(&audit).await.status, 403, "round {round}");
        }
    }
}

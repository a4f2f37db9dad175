//! Rows for a ticket (RBAC V2 design, 3.4, 5 and 9.3): through the real binary, on both databases, with a FreeScout that is
//! honest, down, slow or lying.

use policy::rbac::LegacyRole;
use serde_json::{Value, json};

use crate::support::freescout::{FreeScout, KEY, MAILBOX, Mood, SECRET, signature};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Ask, Client, Database, Gate, Setup, World};

const MAPPING: &str = r#"
version = 1
[clusters]
V = "v2"
S = "shadow"
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /audit/<int:id>" = { legacy = ["superadmin"], role = "raptor-audit-support", ticket = { query = "ticket_id", customer = "path:id", without = ["raptor-audit-admin", "raptor-audit-compliance"] } }
"GET /bare/<int:id>" = { permission = "raptor:audit:read-support", ticket = { query = "ticket_id", customer = "path:id" } }
"GET /dims" = { legacy = ["ops"], role = "raptor-audit-support" }
[blueprints.s]
cluster = "S"
routes."GET /shadow/<int:id>" = { legacy = ["ops"], role = "raptor-audit-support", ticket = { query = "ticket_id", customer = "path:id" } }
"#;
const BOTH: [Database; 2] = [Database::Sqlite, Database::Postgres];

struct Desk {
    world: World,
    gate: Gate,
    upstream: Recorder,
    freescout: FreeScout,
}

impl Desk {
    async fn new(database: Database) -> Desk {
        Desk::with(database, 20_000, &[]).await
    }

    async fn with(database: Database, deadline_ms: u64, variables: &[(&'static str, &str)]) -> Desk {
        Desk::mapped(database, MAPPING, deadline_ms, variables).await
    }

    async fn mapped(
        database: Database,
        mapping: &'static str,
        deadline_ms: u64,
        variables: &[(&'static str, &str)],
    ) -> Desk {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        // Whoever is in the support team holds the role, and no ticket.
        world.admin("ben", &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
        world.admin("carol", &[], &[]).await;
        world.admin("anna", &["raxx-platform-admins"], &[]).await;
        world.admin_holding("cleo", &["raptor-audit-compliance"]).await;
        let freescout = FreeScout::start().await;
        freescout.open(42);
        freescout.open(43);
        let mut all = vec![
            ("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned()),
            ("CONSOLE_GATE_FREESCOUT_WEBHOOK_SECRET", SECRET.to_owned()),
        ];
        all.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let setup = Setup {
            mapping: Some(mapping),
            upstream: Some(upstream.socket()),
            // A gate's settings are read while the test runs.
            sections: freescout.settings(deadline_ms).leak(),
            variables: Some(all),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        Desk { world, gate, upstream, freescout }
    }

    async fn get(&self, admin: &str, target: &str) -> Answer {
        let ask = Ask::get(target).header("accept", "application/json").cookie(&self.world.cookie(admin));
        self.gate.send(&ask).await
    }

    /// The status of a request, with the reason of a denial.
    async fn of(&self, admin: &str, target: &str) -> String {
        let answer = self.get(admin, target).await;
        match answer.status {
            403 => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                let reasons = ["ticket_required", "no_ticket_grant", "ticket_closed", "ticket_grants_off"];
                let found =
                    reasons.into_iter().chain(["missing_role", "no_legacy_gate", "missing_legacy_role"]);
                let found = found.into_iter().find(|reason| body.contains(reason));
                found.unwrap_or_else(|| panic!("{target}: {body}")).to_owned()
            }
            status => status.to_string(),
        }
    }

    async fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.gate.command(arguments);
        // FreeScout answers it from this thread.
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("it ends").expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary writes UTF-8");
        (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
    }

    /// Grants the role to an admin for a ticket and a customer, and returns the id.
    async fn grant(&self, admin: &str, ticket: &str, customer: &str) -> String {
        let arguments =
            ["ticket", "grant", admin, "raptor-audit-support", "--ticket", ticket, "--customer", customer];
        let arguments = [&arguments[..], &["--format", "json"]].concat();
        let (status, printed, error) = self.command(&arguments).await;
        assert_eq!(status, 0, "{error}");
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        printed["changes"][0]["id"].as_str().expect("an id").to_owned()
    }

    async fn webhook(&self, event: &str, body: &str, signature: &str) -> Answer {
        let ask = Ask::new("POST", "/api/v1/freescout")
            .header("content-type", "application/json")
            .header("x-freescout-event", event)
            .header("x-freescout-signature", signature)
            .body(body.to_owned());
        Client::to(&self.gate.admin_socket()).send(&ask).await
    }

    async fn signed(&self, event: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.webhook(event, &body, &signature(body.as_bytes())).await
    }

    async fn live(&self) -> usize {
        self.world.store.ticket_grants(None).await.expect("the grants").len()
    }

    /// The rows of `rbac_grants_audit`, the newest first.
    async fn events(&self) -> Vec<String> {
        let rows = self.world.store.grants_audit(None, None, 100).await.expect("the rows");
        rows.into_iter().map(|row| row.event_type).collect()
    }
}

#[tokio::test]
async fn a_grant_opens_its_ticket_and_its_customer_and_nothing_else() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        assert_eq!(
            desk.of("ben", "/audit/7?ticket_id=42").await,
            "no_ticket_grant",
            "the role is not enough"
        );
        assert_eq!(desk.freescout.questions(), 0, "nobody without a grant makes FreeScout work");
        desk.grant("carol", "42", "7").await;
        desk.grant("ben", "43", "8").await;
        let table = [
            ("carol", "/audit/7?ticket_id=42", "200"),
            ("carol", "/audit/7?page=1&ticket_id=42", "200"),
            ("carol", "/audit/8?ticket_id=42", "no_ticket_grant"),
            ("carol", "/audit/7?ticket_id=43", "no_ticket_grant"),
            ("carol", "/audit/8?ticket_id=43", "no_ticket_grant"),
            ("carol", "/audit/7", "ticket_required"),
            ("carol", "/audit/7?ticket_id=", "ticket_required"),
            ("carol", "/audit/7?ticket_id=42&ticket_id=42", "ticket_required"),
            ("carol", "/audit/7?ticket_id=42&ticket%5Fid=43", "ticket_required"),
            ("carol", "/audit/007?ticket_id=42", "ticket_required"),
            ("carol", "/audit/7?ticket_id=042", "ticket_required"),
            ("carol", "/bare/7?ticket_id=42", "200"),
            ("carol", "/bare/8?ticket_id=42", "no_ticket_grant"),
            ("carol", "/dims", "missing_role"),
            ("ben", "/audit/8?ticket_id=43", "200"),
            ("ben", "/audit/7?ticket_id=42", "no_ticket_grant"),
            ("ben", "/dims", "200"),
            ("anna", "/audit/7", "200"),
            ("anna", "/audit/7?ticket_id=99", "200"),
            ("cleo", "/audit/7", "200"),
            ("anna", "/bare/7", "ticket_required"),
        ];
        for (admin, target, expected) in table {
            assert_eq!(desk.of(admin, target).await, expected, "{database:?}: {admin} {target}");
        }
        let reached = desk.upstream.requests().len();
        assert_eq!(reached, table.iter().filter(|(.., expected)| *expected == "200").count());
        assert_eq!(desk.gate.send(&Ask::get("/audit/7?ticket_id=42")).await.status, 302);
    }
}

/// Every row that asks for the role or its permission asks for a ticket.
const CHECKED: &str = r#"
version = 1
[clusters]
V = "v2"
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /audit/<int:id>" = { legacy = ["superadmin"], role = "raptor-audit-support", ticket = { query = "ticket_id", customer = "path:id", without = ["raptor-audit-admin", "raptor-audit-compliance"] } }
"GET /bare/<int:id>" = { permission = "raptor:audit:read-support", ticket = { query = "ticket_id", customer = "path:id" } }
"GET /plain" = { permission = "raptor:audit:read-admin" }
"GET /own/<int:id>" = { permission = "console:audit:read", ticket = { query = "ticket_id", customer = "path:id" } }
"GET /both" = { permission = ["raptor:audit:read-admin", "console:audit:read"] }
"GET /api/rbac/permissions/check" = { session = true, gate = true, unauthenticated = "401" }
"#;

/// `/permissions/check` answers as the rows do.
#[tokio::test]
async fn a_check_knows_the_ticket_and_the_customer() {
    for database in BOTH {
        let mut desk = Desk::mapped(database, CHECKED, 20_000, &[]).await;
        desk.grant("carol", "42", "7").await;
        desk.grant("ben", "43", "8").await;
        let check =
            |named: &str| format!("/api/rbac/permissions/check?permission=raptor:audit:read-support{named}");
        let table = [
            // Through a group alone: a request that names no ticket is refused, and one that names another.
            ("ben", "", false),
            ("ben", "&ticket=43&customer=8", true),
            ("ben", "&ticket=42&customer=7", false),
            ("carol", "", false),
            ("carol", "&ticket=42&customer=7", true),
            ("carol", "&ticket=42&customer=8", false),
            ("carol", "&ticket=43&customer=7", false),
            // Who needs no ticket.
            ("anna", "", true),
            ("cleo", "&ticket=99&customer=1", true),
        ];
        for (admin, named, expected) in table {
            let answer = desk.get(admin, &check(named)).await;
            assert_eq!(answer.status, 200, "{named}: {}", String::from_utf8_lossy(&answer.body));
            let answer = answer.json();
            assert_eq!(
                (&answer["allowed"], &answer["needs_ticket"]),
                (&json!(expected), &json!(true)),
                "{admin} {answer}"
            );
            let ways = ["through", "through_tickets"].map(|ways| answer[ways].as_array().map_or(0, Vec::len));
            assert_eq!(ways.iter().sum::<usize>() > 0, expected, "{admin} {answer}");
        }
        let plain =
            desk.get("anna", "/api/rbac/permissions/check?permission=raptor:audit:read-admin").await.json();
        assert_eq!((&plain["allowed"], &plain["needs_ticket"]), (&json!(true), &json!(false)), "{plain}");
        // One row asks for it without a ticket, beside another permission.
        let both = desk.get("anna", "/api/rbac/permissions/check?permission=console:audit:read").await.json();
        assert_eq!((&both["allowed"], &both["needs_ticket"]), (&json!(true), &json!(false)), "{both}");
        for named in ["&ticket=42", "&customer=7", "&ticket=042&customer=7", "&ticket=42&customer=-7"] {
            assert_eq!(desk.get("carol", &check(named)).await.status, 400, "{named}");
        }
        desk.freescout.put(42, "closed", "published", MAILBOX);
        let closed = desk.get("carol", &check("&ticket=42&customer=7")).await.json();
        assert_eq!(closed["allowed"], json!(false), "{closed}");
        assert_eq!(desk.live().await, 2, "a question ends nothing");
        desk.freescout.stop().await;
        assert_eq!(desk.get("carol", &check("&ticket=42&customer=7")).await.status, 503);
    }
}

/// A customer that the column cannot hold is the client's mistake, and no fault of the database.
#[tokio::test]
async fn a_customer_beyond_its_column_is_refused_as_such() {
    let desk = Desk::new(Database::Postgres).await;
    let largest = "2147483648";
    let grant = ["ticket", "grant", "carol", "raptor-audit-support", "--ticket", "42", "--customer", largest];
    let (status, _, error) = desk.command(&grant).await;
    assert!(
        status == 2 && error.contains("the customer 2147483648 is more than its column can hold"),
        "{error}"
    );
    assert_eq!(desk.live().await, 0);
    desk.grant("carol", "42", "2147483647").await;
    assert_eq!(desk.live().await, 1);
}

/// Whatever ends a ticket ends the grants for it, at the request that finds out; and opening it again brings none back.
#[tokio::test]
async fn a_ticket_that_is_not_open_ends_its_grants_for_good() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let ends = [
            ("closed", "published", MAILBOX),
            ("spam", "published", MAILBOX),
            ("active", "deleted", MAILBOX),
            ("active", "published", 99),
            ("gone", "", 0),
        ];
        for (status, state, mailbox) in ends {
            desk.freescout.open(42);
            desk.grant("carol", "42", "7").await;
            desk.grant("ben", "42", "7").await;
            assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200", "{status}");
            match status {
                "gone" => desk.freescout.forget(42),
                _ => drop(desk.freescout.put(42, status, state, mailbox)),
            }
            assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "ticket_closed", "{status} {state}");
            assert_eq!(desk.live().await, 0, "{status}: the other's grant for the ticket too");
            desk.freescout.open(42);
            assert_eq!(
                desk.of("carol", "/audit/7?ticket_id=42").await,
                "no_ticket_grant",
                "{status}: reopened"
            );
            assert_eq!(
                desk.of("ben", "/audit/7?ticket_id=42").await,
                "no_ticket_grant",
                "{status}: reopened"
            );
        }
        let events = desk.events().await;
        let count = |kind: &str| events.iter().filter(|event| *event == kind).count();
        assert_eq!((count("ticket_grant"), count("ticket_expire"), count("revoke")), (10, 10, 0));
        desk.freescout.put(42, "pending", "published", 4);
        desk.grant("carol", "42", "7").await;
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200", "pending, in the other mailbox");
    }
}

/// No answer, and no answer that can be believed, is 503: never 200, and no grant ends for it.
#[tokio::test]
async fn without_a_credible_answer_nobody_is_let_in() {
    let mut desk = Desk::with(Database::Sqlite, 1_000, &[]).await;
    desk.grant("carol", "42", "7").await;
    assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200");
    let moods = [
        Mood::Failing(401),
        Mood::Failing(403),
        Mood::Failing(500),
        Mood::Failing(503),
        Mood::Failing(302),
        Mood::Page(200),
        Mood::Page(404),
        Mood::Page(500),
        Mood::Torn,
        Mood::Confused,
        Mood::Failing(429),
        Mood::Silent,
    ];
    for mood in moods {
        desk.freescout.is(mood);
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "503", "{mood:?}");
        assert_eq!(desk.of("anna", "/audit/7?ticket_id=42").await, "200", "{mood:?}: who needs no ticket");
        assert_eq!(desk.of("ben", "/audit/7?ticket_id=42").await, "no_ticket_grant", "{mood:?}");
        // One success, so that the circuit stays closed.
        desk.freescout.is(Mood::Honest);
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200", "{mood:?}: and back");
    }
    for status in [500, 502, 503, 504] {
        desk.freescout.is(Mood::FailingOnce(status));
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200", "{status}: asked again");
    }
    // Five failures in a row: FreeScout is left alone, and whoever asks hears so at once.
    desk.freescout.is(Mood::Failing(401));
    for _ in 0..5 {
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "503");
    }
    let asked = desk.freescout.questions();
    assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "503");
    assert_eq!(desk.freescout.questions(), asked, "the circuit is open");
    desk.freescout.stop().await;
    assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "503");
    assert_eq!(desk.live().await, 1, "no grant ended");
}

#[tokio::test]
async fn a_revoked_grant_ends_before_the_next_request() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let (first, second) = (desk.grant("carol", "42", "7").await, desk.grant("carol", "42", "7").await);
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200");
        let (status, printed, error) = desk.command(&["ticket", "end", &first]).await;
        assert_eq!(status, 0, "{printed}{error}");
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200", "the other grant is there");
        assert_eq!(desk.command(&["ticket", "end", &second]).await.0, 0);
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "no_ticket_grant");
        let (status, _, error) = desk.command(&["ticket", "end", &second]).await;
        assert!(status == 2 && error.contains("has ended already"), "{error}");
        assert_eq!(desk.events().await, ["revoke", "revoke", "ticket_grant", "ticket_grant"]);
    }
}

#[tokio::test]
async fn the_switches_close_rows_for_tickets() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        desk.grant("carol", "42", "7").await;
        let target = "/audit/7?ticket_id=42";
        assert_eq!(desk.of("carol", target).await, "200");
        assert_eq!(desk.command(&["flag", "ticket-grants", "off"]).await.0, 0);
        assert_eq!(desk.of("carol", target).await, "ticket_grants_off");
        assert_eq!(desk.of("anna", target).await, "200", "who needs no ticket");
        assert_eq!(desk.command(&["flag", "ticket-grants", "on"]).await.0, 0);
        assert_eq!(desk.of("carol", target).await, "200");
        // The kill-switch leaves every row to its legacy gate; one without is closed.
        assert_eq!(desk.command(&["flag", "rbac-v2", "off"]).await.0, 0);
        assert_eq!(desk.of("carol", target).await, "missing_legacy_role");
        assert_eq!(desk.of("carol", "/bare/7?ticket_id=42").await, "no_legacy_gate");
        assert_eq!(desk.of("ben", "/shadow/7").await, "200");
    }
    let off = Desk::with(Database::Sqlite, 20_000, &[("FLAG_TICKET_SCOPED_GRANTS", "0")]).await;
    off.grant("carol", "42", "7").await;
    assert_eq!(off.of("carol", "/audit/7?ticket_id=42").await, "ticket_grants_off");
    assert_eq!(off.command(&["flag", "ticket-grants", "on"]).await.0, 0);
    assert_eq!(off.of("carol", "/audit/7?ticket_id=42").await, "ticket_grants_off", "off there is off");
}

/// In shadow mode the legacy gate decides, and FreeScout is not asked: what it says would decide nothing.
#[tokio::test]
async fn in_shadow_mode_the_grant_is_compared_and_freescout_is_left_alone() {
    let mut desk = Desk::new(Database::Sqlite).await;
    desk.grant("ben", "42", "7").await;
    desk.freescout.stop().await;
    let asked = desk.freescout.questions();
    for target in ["/shadow/7?ticket_id=42", "/shadow/8?ticket_id=42", "/shadow/7"] {
        assert_eq!(desk.of("ben", target).await, "200", "{target}");
    }
    assert_eq!(desk.freescout.questions(), asked);
}

#[tokio::test]
async fn nothing_is_granted_for_a_ticket_that_is_not_open() {
    let mut desk = Desk::new(Database::Sqlite).await;
    desk.freescout.put(50, "closed", "published", MAILBOX);
    let grant = |ticket: &'static str| {
        ["ticket", "grant", "carol", "raptor-audit-support", "--ticket", ticket, "--customer", "7"]
    };
    for (ticket, said) in [
        ("50", "the ticket was closed"),
        ("51", "the ticket was deleted"),
        ("T-1", "not the number of a ticket"),
        ("42/../50", "not the number of a ticket"),
    ] {
        let (status, _, error) = desk.command(&grant(ticket)).await;
        assert!(status == 2 && error.contains(said), "{ticket}: {error}");
    }
    desk.freescout.stop().await;
    let (status, _, error) = desk.command(&grant("42")).await;
    assert!(status == 2 && error.contains("FreeScout"), "{error}");
    assert!(!error.contains(KEY), "{error}");
    assert_eq!(desk.live().await, 0);
}

/// FreeScout's own message ends grants at once; only with its signature, and an old one ends nothing that is newer.
#[tokio::test]
async fn a_webhook_ends_the_grants_of_its_ticket() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        desk.grant("carol", "42", "7").await;
        let closed = desk.freescout.put(42, "closed", "published", MAILBOX);
        let body = closed.to_string();
        let good = signature(body.as_bytes());
        let bad = ["", "nonsense", &signature(b"another body"), &good[..good.len() - 4]];
        for signature in bad {
            assert_eq!(desk.webhook("convo.status", &body, signature).await.status, 401, "{signature}");
        }
        let altered = body.replace("\"closed\"", "\"spam\"");
        assert_eq!(desk.webhook("convo.status", &altered, &good).await.status, 401);
        assert_eq!(desk.live().await, 1);
        let answer = desk.webhook("convo.status", &body, &good).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "ended": 1 })));
        assert_eq!(desk.live().await, 0);
        // The ticket is opened again and granted anew: the same message again ends nothing.
        desk.freescout.open(42);
        desk.grant("carol", "42", "7").await;
        let answer = desk.webhook("convo.status", &body, &good).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "ended": 1 })), "answered as it was");
        // Nor does it under another event's name, which FreeScout does not sign.
        let answer = desk.webhook("convo.assigned", &body, &good).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "ended": 0 })));
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "200");
        // What is old by its own word is not looked at.
        let mut old = closed.clone();
        old["updatedAt"] = json!("2020-03-15T22:46:22Z");
        assert!(desk.signed("convo.status", &old).await.json()["ignored"].is_string());
        // One that is closed for a moment and open again was closed: what was given before ends.
        let mut moment = closed.clone();
        moment["updatedAt"] = json!(chrono::Utc::now().to_rfc3339());
        assert_eq!(desk.signed("convo.status", &moment).await.json(), json!({ "ended": 1 }));
        assert_eq!(desk.of("carol", "/audit/7?ticket_id=42").await, "no_ticket_grant");
        // Deleted forever: FreeScout itself is asked.
        desk.freescout.open(43);
        desk.grant("carol", "43", "7").await;
        let open = desk.freescout.open(43);
        assert_eq!(desk.signed("convo.note.created", &open).await.json(), json!({ "ended": 0 }));
        desk.freescout.forget(43);
        assert_eq!(desk.signed("convo.deleted_forever", &open).await.json(), json!({ "ended": 1 }));
        assert_eq!(desk.signed("customer.updated", &json!({ "id": 1 })).await.status, 200);
        assert_eq!(desk.signed("convo.status", &json!({ "id": "x" })).await.status, 400);
    }
}

/// A message that cannot be carried out is refused, so that FreeScout sends it again; and then it is carried out.
#[tokio::test]
async fn a_webhook_that_fails_comes_again() {
    let desk = Desk::with(Database::Sqlite, 1_000, &[]).await;
    desk.grant("carol", "43", "7").await;
    let mut moved = desk.freescout.put(43, "active", "published", 99);
    moved["updatedAt"] = Value::Null;
    desk.freescout.is(Mood::Failing(429));
    assert_eq!(desk.signed("convo.moved", &moved).await.status, 503);
    assert_eq!(desk.live().await, 1);
    desk.freescout.is(Mood::Honest);
    let answer = desk.signed("convo.moved", &moved).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "ended": 1 })));
}

/// What no message told is found at the look at all tickets, which a start that missed it makes at once.
#[tokio::test]
async fn a_start_ends_what_was_closed_while_no_gate_ran() {
    for database in BOTH {
        let mut desk = Desk::new(database).await;
        desk.grant("carol", "42", "7").await;
        desk.grant("ben", "43", "8").await;
        desk.world
            .execute(
                "INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by, expires_at_utc)
                 SELECT 'late', 'carol', r.id, '43', 9, 'olga', '2026-01-01T00:00:00+00:00'
                   FROM rbac_roles r WHERE r.name = 'raptor-audit-support'",
            )
            .await;
        let (status, printed, _) = desk.command(&["ticket", "check"]).await;
        assert_eq!((status, printed.as_str()), (0, "ticket 42  open\nticket 43  open\n"));
        desk.gate.stop().await;
        desk.freescout.put(42, "closed", "published", MAILBOX);
        let (status, printed, _) = desk.command(&["ticket", "check"]).await;
        assert_eq!(
            (status, printed.as_str()),
            (1, "ticket 42  over: the ticket was closed\nticket 43  open\n")
        );
        // As if the last look had been long ago.
        desk.world.execute("UPDATE gate_timed_work SET due_at_utc = '2026-01-01T00:00:00+00:00'").await;
        desk.gate.restart().await;
        let mut left = desk.live().await;
        for _ in 0..600 {
            if left == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            left = desk.live().await;
        }
        assert_eq!(left, 1, "{database:?}");
        assert_eq!(desk.events().await.iter().filter(|event| *event == "ticket_expire").count(), 2);
        assert_eq!(desk.of("ben", "/audit/8?ticket_id=43").await, "200");
        desk.freescout.put(43, "spam", "published", MAILBOX);
        let (status, printed, _) = desk.command(&["ticket", "check", "--end"]).await;
        let said = "1 tickets with grants: 1 grants ended, 0 tickets unknown\n";
        assert_eq!((status, printed.as_str()), (0, said));
        assert_eq!(desk.command(&["ticket", "list"]).await.1, "no grants\n");
        let all = desk.command(&["ticket", "list", "--all", "--format", "json"]).await.1;
        let all: Value = serde_json::from_str(&all).expect("JSON");
        assert_eq!(all.as_array().map(Vec::len), Some(3));
    }
}
